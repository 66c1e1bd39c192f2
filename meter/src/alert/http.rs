//! One POST over HTTP or HTTPS. The client is made when the first alert goes out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

use super::NotDelivered;

/// From the name's look-up to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to post. Its path may be a secret (that of a chat's webhook is), so only [`Endpoint::shown`] is ever told.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    ca_file: Option<PathBuf>,
}

impl Endpoint {
    /// `http://` or `https://` with a host; a fragment that says what is wrong otherwise, without the address.
    pub(super) fn new(url: &str, ca_file: Option<PathBuf>) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let is_whole = !host.is_empty() && url.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_whole {
            return Err("is no address; write https://HOST/PATH (or http:// inside a trusted network)".to_owned());
        }
        if host.contains('@') {
            return Err("has a user or password in it; sign the body with a secret instead".to_owned());
        }
        Ok(Self { url: url.to_owned(), ca_file })
    }

    /// All of it: for comparing alone.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Scheme and host.
    pub(super) fn shown(&self) -> String {
        self.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
    }

    /// Posts a JSON body; anything but a status of 200 to 299 is a failure.
    pub(super) fn post(&self, body: &str, headers: &[(&str, String)]) -> Result<(), NotDelivered> {
        let agent = agent(self.ca_file.as_deref())?;
        let mut request = agent.post(&self.url).header("Content-Type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let status = request.send(body).map_err(|problem| self.failed(&problem))?.status().as_u16();
        match status {
            200..=299 => Ok(()),
            // Too early, too many, or a fault of its own.
            408 | 425 | 429 | 500..=599 => Err(NotDelivered::for_now(format!("it answered with status {status}"))),
            _ => Err(NotDelivered::for_good(format!("it answered with status {status}"))),
        }
    }

    fn failed(&self, problem: &ureq::Error) -> NotDelivered {
        // The client's words may hold the whole address.
        NotDelivered::for_now(problem.to_string().replace(&self.url, &self.shown()))
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(&self.shown())
    }
}

/// A redirect is not followed: a body goes to whom it was signed for.
fn agent(ca_file: Option<&Path>) -> Result<Agent, NotDelivered> {
    let roots = match ca_file {
        Some(path) => RootCerts::from(certificates(path)?.into_iter()),
        None => RootCerts::WebPki,
    };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("flopsmeter/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    Ok(config.new_agent())
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, NotDelivered> {
    let pem = fs_err::read(path).map_err(|problem| NotDelivered::for_good(problem.to_string()))?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(NotDelivered::for_good(format!("{} holds no certificate in PEM form", path.display())));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_only_its_host_is_told() {
        let endpoint = Endpoint::new("https://hooks.example.org/services/T0/B0/secret", None).unwrap();
        assert_eq!(endpoint.shown(), "https://hooks.example.org");
        assert_eq!(format!("{endpoint:?}"), "https://hooks.example.org");
        for text in ["", "hooks.example.org", "ftp://x", "https://", "https:///x", "https://a b/", "https://u:p@host/"]
        {
            assert!(Endpoint::new(text, None).is_err(), "{text} was accepted");
        }
    }
}
