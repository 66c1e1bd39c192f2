//! The daemon: reads the GPUs of one machine once a second, however many jobs or ranks ask.
//!
//! It speaks to its clients over a Unix socket, in the very lines of JSON that [`crate::device::nvml::reader`] speaks to its
//! meter, so that a meter can ask either. One task owns all state (`hub`); everything else sends it messages through bounded
//! queues. A client that is slow, dead or not understood is dropped, never waited for.

mod client;
mod connection;
mod hub;
mod line;
mod lists;
mod metrics;
mod owner;
mod proof;
mod reader;
mod runs;
mod serve;
pub mod socket;
mod status;
mod trust;
mod user;

pub use connection::DaemonConnection;
pub use serve::{DaemonOptions, DaemonProblem, run};
pub use status::{RunForecast, RunStatus, StatusReporter, ledger_name};
