//! A mail, by SMTP.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::SmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message as Mail, Transport as _};

use super::NotDelivered;
use super::message::Message;

/// For each answer of the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a mail server is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRoute {
    /// Host name.
    pub(super) server: String,
    /// Port.
    pub(super) port: u16,
    /// How the connection is secured.
    pub(super) security: Security,
    /// Certificates to trust besides the public ones.
    pub(super) ca_file: Option<PathBuf>,
    /// User and password.
    pub(super) credentials: Option<Credentials>,
    /// Sender.
    pub(super) from: Mailbox,
    /// Receivers.
    pub(super) to: Vec<Mailbox>,
}

/// How a connection to a mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// Begins in the clear and must change to TLS (port 587).
    StartTls,
    /// TLS from the first byte (port 465).
    Tls,
    /// Not at all (port 25): for a relay on this machine.
    None,
}

pub(super) fn deliver(route: &MailRoute, message: &Message) -> Result<(), NotDelivered> {
    let mail = compose(route, message)?;
    let transport = transport(route)?;
    transport.send(&mail).map(drop).map_err(|problem| {
        if problem.is_permanent() || problem.is_client() {
            NotDelivered::for_good(problem.to_string())
        } else {
            NotDelivered::for_now(problem.to_string())
        }
    })
}

fn compose(route: &MailRoute, message: &Message) -> Result<Mail, NotDelivered> {
    let crossing = message.alert.crossing.as_ref();
    let level =
        crossing.and_then(|crossing| crossing.levels.last()).map_or_else(String::new, |level| format!(" ({level})"));
    let subject = format!("flopsmeter: {} {}{level}", message.subject(), message.alert.verdict);
    let text = format!(
        "{}\n\nAbout    {}\nRun      {}\nHost     {}\nAt       {}\nNext     {}\n",
        message.alert.text,
        message.subject(),
        message.sender.run,
        message.sender.host,
        message.alert.at.format("%Y-%m-%d %H:%M:%S UTC"),
        message.next_step(),
    );
    // The same id at every attempt: a mail that arrives twice is one.
    let builder = Mail::builder().from(route.from.clone()).message_id(Some(format!("<{}@flopsmeter>", message.id)));
    let builder = route.to.iter().cloned().fold(builder, MessageBuilder::to);
    let composed = builder.subject(subject).header(ContentType::TEXT_PLAIN).body(text);
    composed.map_err(|problem| NotDelivered::for_good(problem.to_string()))
}

fn transport(route: &MailRoute) -> Result<SmtpTransport, NotDelivered> {
    let tls = match route.security {
        Security::None => Tls::None,
        Security::StartTls => Tls::Required(parameters(route)?),
        Security::Tls => Tls::Wrapper(parameters(route)?),
    };
    // "Dangerous" is that it takes whatever security it is told; it is told above.
    let mut builder = SmtpTransport::builder_dangerous(&route.server).port(route.port).tls(tls).timeout(Some(PATIENCE));
    if let Some(credentials) = &route.credentials {
        builder = builder.credentials(credentials.clone());
    }
    Ok(builder.build())
}

fn parameters(route: &MailRoute) -> Result<TlsParameters, NotDelivered> {
    let failed = |problem: lettre::transport::smtp::Error| NotDelivered::for_good(problem.to_string());
    let mut builder = TlsParameters::builder(route.server.clone());
    if let Some(path) = &route.ca_file {
        let pem = fs_err::read(path).map_err(|problem| NotDelivered::for_good(problem.to_string()))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(failed)?);
    }
    builder.build_rustls().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    #[test]
    fn a_mail_says_what_the_alert_says() {
        let route = MailRoute {
            server: "localhost".to_owned(),
            port: 25,
            security: Security::None,
            ca_file: None,
            credentials: None,
            from: "flopsmeter <meter@example.org>".parse().unwrap(),
            to: vec!["a@example.org".parse().unwrap(), "b@example.org".parse().unwrap()],
        };
        let message = message("NEAR the line");
        let mail = String::from_utf8(compose(&route, &message).unwrap().formatted()).unwrap();
        for part in [
            "Subject: flopsmeter: modification demo near\r\n",
            "To: a@example.org, b@example.org\r\n",
            &format!("Message-ID: <{}@flopsmeter>\r\n", message.id),
            "NEAR the line\r\n",
            "Next     flopsmeter assess demo",
        ] {
            assert!(mail.contains(part), "{part:?} is not in\n{mail}");
        }
    }
}
