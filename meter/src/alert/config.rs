//! The file that says where alerts go.
//!
//! ```toml
//! at = ["near", "80%", "100%"]
//!
//! [[sink]]
//! kind = "webhook"
//! url = "https://ops.example.org/flopsmeter"
//! secret-env = "FLOPSMETER_WEBHOOK_SECRET"
//! ```
//!
//! Secrets stand in environment variables or files that it names, never in it.

mod row;

use std::path::{Path, PathBuf};
use std::time::Duration;

use flopsmeter_core::alert::{Level, Levels};
use flopsmeter_core::ledger::Digest;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;

use super::http::Endpoint;
use super::mail::{MailRoute, Security};
use row::Row;

/// Sinks that may be configured.
const MAXIMUM_SINKS: usize = 16;

/// Time that a command has, where the file names none.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// A file that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// It cannot be read.
    #[error("the alert configuration cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is no TOML.
    #[error("{path}: this is no TOML: {cause}")]
    NoToml {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        cause: String,
    },
    /// A value is missing, unknown or wrong.
    #[error("{path}: {row}: `{key}` {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// `top level`, or `sink 2 (webhook)`.
        row: String,
        /// The key.
        key: String,
        /// What is wrong with it and what to write.
        problem: String,
    },
    /// A secret cannot be had where the file says that it is: the file is right, and this machine is not.
    #[error("{path}: {row}: `{key}` {problem}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// `sink 2 (webhook)`.
        row: String,
        /// The key.
        key: String,
        /// What is missing.
        problem: String,
    },
}

/// Where alerts go, and when they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertConfig {
    /// Levels, where the file names them.
    pub levels: Option<Levels>,
    /// Each sink.
    pub sinks: Vec<Sink>,
}

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sink {
    /// A command line for `/bin/sh`, which gets the message on its standard input.
    Command {
        /// The line.
        command: String,
        /// Time that it has.
        patience: Duration,
    },
    /// A webhook of one's own.
    Webhook {
        /// Where.
        endpoint: Endpoint,
        /// Under which bodies are signed.
        secret: Option<Secret>,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Where.
        endpoint: Endpoint,
    },
    /// A Teams workflow.
    Teams {
        /// Where.
        endpoint: Endpoint,
    },
    /// A mail.
    Mail(Box<MailRoute>),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("(secret)")
    }
}

impl Sink {
    /// The same for the same place wherever it is configured; nothing can be read off it.
    pub(super) fn key(&self) -> String {
        let place = match self {
            Self::Command { command, .. } => format!("command {command}"),
            Self::Webhook { endpoint, .. } => format!("webhook {}", endpoint.url()),
            Self::Slack { endpoint } => format!("slack {}", endpoint.url()),
            Self::Teams { endpoint } => format!("teams {}", endpoint.url()),
            Self::Mail(route) => format!("mail {} {:?}", route.server, route.to),
        };
        Digest::of(place.as_bytes()).to_string().chars().take(16).collect()
    }

    /// What people call it: its kind, and its host where it has one.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Command { .. } => "command".to_owned(),
            Self::Webhook { endpoint, .. } => format!("webhook at {}", endpoint.shown()),
            Self::Slack { endpoint } => format!("slack at {}", endpoint.shown()),
            Self::Teams { endpoint } => format!("teams at {}", endpoint.shown()),
            Self::Mail(route) => format!("mail by {}", route.server),
        }
    }
}

impl AlertConfig {
    /// Reads the file at `path`; `environment` gives the value of a variable.
    pub fn read(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigProblem> {
        let text = fs_err::read_to_string(path).map_err(ConfigProblem::Unreadable)?;
        Self::parse(&text, path, environment)
    }

    fn parse(text: &str, path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigProblem> {
        let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| ConfigProblem::NoToml {
            path: path.to_owned(),
            cause: cause.to_string(),
        })?;
        let mut top = Row::new(path, "top level".to_owned(), table, environment);
        let levels = top.texts("at")?.map(|texts| levels(&texts)).transpose().map_err(|text| top.wrong("at", text))?;
        let rows = top.tables("sink")?;
        if rows.len() > MAXIMUM_SINKS {
            return Err(top.wrong("sink", format!("stands {} times; {MAXIMUM_SINKS} sinks are the most", rows.len())));
        }
        top.finish()?;
        let sinks = rows.into_iter().zip(1..).map(|(table, number)| {
            let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or("?");
            let mut row = Row::new(path, format!("sink {number} ({kind})"), table, environment);
            let sink = sink(&mut row)?;
            row.finish()?;
            Ok(sink)
        });
        Ok(Self { levels, sinks: sinks.collect::<Result<_, _>>()? })
    }
}

fn levels(texts: &[String]) -> Result<Levels, String> {
    let levels: Result<Vec<Level>, _> = texts.iter().map(|text| text.parse()).collect();
    levels.and_then(Levels::new).map_err(|problem| format!("is no list of levels: {problem}"))
}

fn sink(row: &mut Row<'_>) -> Result<Sink, ConfigProblem> {
    match row.required("kind")?.as_str() {
        "command" => {
            let command = row.required("command")?;
            let patience = row.seconds("timeout-seconds", COMMAND_PATIENCE)?;
            Ok(Sink::Command { command, patience })
        }
        "webhook" => {
            let endpoint = endpoint(row)?;
            let secret = row.secret("secret")?.map(Secret);
            Ok(Sink::Webhook { endpoint, secret })
        }
        "slack" => Ok(Sink::Slack { endpoint: endpoint(row)? }),
        "teams" => Ok(Sink::Teams { endpoint: endpoint(row)? }),
        "mail" => mail(row),
        _ => Err(row.wrong("kind", "is none of command, webhook, slack, teams, mail".to_owned())),
    }
}

/// An address may itself be a secret: then it is named like one.
fn endpoint(row: &mut Row<'_>) -> Result<Endpoint, ConfigProblem> {
    let url = match row.text("url")? {
        Some(url) => url,
        None => row.secret("url")?.ok_or_else(|| {
            row.wrong("url", "is missing; write url, url-env (a variable that has it) or url-file".to_owned())
        })?,
    };
    let ca_file = row.path("ca-file")?;
    Endpoint::new(&url, ca_file).map_err(|problem| row.wrong("url", problem))
}

fn mail(row: &mut Row<'_>) -> Result<Sink, ConfigProblem> {
    let security = match row.text("security")?.as_deref() {
        None | Some("starttls") => Security::StartTls,
        Some("tls") => Security::Tls,
        Some("none") => Security::None,
        Some(_) => return Err(row.wrong("security", "is none of starttls, tls, none".to_owned())),
    };
    let usual = match security {
        Security::StartTls => 587,
        Security::Tls => 465,
        Security::None => 25,
    };
    let credentials = match (row.text("user")?, row.secret("password")?) {
        (Some(user), Some(password)) if security != Security::None => Some(Credentials::new(user, password)),
        (Some(_), Some(_)) => {
            return Err(row.wrong("security", "is none, so the password would be sent in the clear".to_owned()));
        }
        (None, None) => None,
        (Some(_), None) => {
            return Err(row.wrong("password-env", "is missing beside `user` (or password-file)".to_owned()));
        }
        (None, Some(_)) => return Err(row.wrong("user", "is missing beside the password".to_owned())),
    };
    let from = row.required("from")?;
    let to = row.texts("to")?.filter(|to| !to.is_empty());
    let to = to.ok_or_else(|| row.wrong("to", "is missing; write a list of addresses".to_owned()))?;
    let mailbox = |row: &Row<'_>, key: &str, text: &str| -> Result<Mailbox, ConfigProblem> {
        text.parse().map_err(|_| row.wrong(key, format!("has `{text}`, which is no mail address")))
    };
    Ok(Sink::Mail(Box::new(MailRoute {
        from: mailbox(row, "from", &from)?,
        to: to.iter().map(|text| mailbox(row, "to", text)).collect::<Result<_, _>>()?,
        server: row.required("server")?,
        port: row.port("port", usual)?,
        security,
        ca_file: row.path("ca-file")?,
        credentials,
    })))
}

#[cfg(test)]
mod tests;
