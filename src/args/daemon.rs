//! Arguments of the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonArguments {
    /// Where it listens [default: /run/flopsmeter/flopsmeter.sock if that folder is there, else in XDG_RUNTIME_DIR]
    ///
    /// A socket that systemd passes on is used in its place. Jobs look at the default places; for another one the environment
    /// variable FLOPSMETER_DAEMON names it to them, and `none` there keeps them from any daemon.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Let this group use the socket, too (mode 0660 in place of 0600)
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,

    /// Serve /metrics for Prometheus here, for example 127.0.0.1:9464 [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
}
