//! The daemon as a whole: opens its doors, and ends when it is told to.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::client;
use super::metrics::http;
use super::owner::{INBOX, Message, own};
use super::reader::ReaderProcess;
use super::socket::Listening;
use crate::device::nvml::process::ReaderCommand;
use crate::own_memory;

/// By then everything has been done once that is done again and again.
const SETTLED: Duration = Duration::from_secs(5);

/// What a daemon is told.
#[derive(Debug)]
pub struct DaemonOptions {
    /// Its socket.
    pub listening: Listening,
    /// Where `/metrics` is served; nowhere if `None`.
    pub metrics: Option<SocketAddr>,
    /// How the process that asks NVIDIA's driver is started.
    pub reader: ReaderCommand,
    /// NVML library to load in place of the system's.
    pub nvml_library: Option<PathBuf>,
    /// Version of this program.
    pub version: String,
}

/// A daemon that cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonProblem {
    /// The address is not to be had.
    #[error("/metrics cannot be served at {address} ({cause}); name another address with --metrics")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The system says no.
    #[error("the daemon cannot run ({0}); check the limits on files and processes (ulimit)")]
    Refused(#[from] io::Error),
}

/// Runs until SIGTERM or SIGINT. `ready` is told once clients can connect, and the address of `/metrics` if it is served.
pub fn run(options: DaemonOptions, ready: impl FnOnce(Option<SocketAddr>)) -> Result<(), DaemonProblem> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(serve(options, ready))
}

async fn serve(options: DaemonOptions, ready: impl FnOnce(Option<SocketAddr>)) -> Result<(), DaemonProblem> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (owner, inbox) = mpsc::channel::<Message>(INBOX);
    let mut address = None;
    if let Some(wanted) = options.metrics {
        let problem = |cause| DaemonProblem::Address { address: wanted, cause };
        let listener = TcpListener::bind(wanted).await.map_err(problem)?;
        address = listener.local_addr().ok();
        tokio::spawn(http::open_door(listener, owner.clone()));
    }
    let listener = UnixListener::from_std(options.listening.try_clone()?)?;
    tokio::spawn(client::open_door(listener, owner.clone()));
    ready(address);
    tokio::spawn(async {
        tokio::time::sleep(SETTLED).await;
        own_memory::give_back();
    });
    let reader = ReaderProcess::new(options.reader, options.nvml_library, owner);
    own(reader, inbox, &options.version, stopped).await;
    Ok(())
}
