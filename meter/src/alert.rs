//! Where alerts go besides standard error and the ledger. Without a configured sink nothing here is started: no thread, no network
//! client, no mail.
//!
//! A sink never holds up the job: each has a thread and a bounded queue of its own, and what could not be delivered is a finding.

mod chat;
mod command;
pub mod config;
mod dispatch;
mod http;
mod mail;
mod message;
mod webhook;

pub use config::{AlertConfig, ConfigProblem, Sink};
pub use dispatch::{Dispatcher, FINISH_PATIENCE, Heard, Missed, Outcomes};
pub use message::{MESSAGE_SCHEMA, Sender};
pub use webhook::SIGNATURE_HEADER;

/// Why a sink did not take an alert, as a fragment without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
struct NotDelivered {
    text: String,
    /// Another attempt may succeed.
    may_pass: bool,
}

impl NotDelivered {
    fn for_good(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: false }
    }

    fn for_now(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: true }
    }
}
