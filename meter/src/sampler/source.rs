//! Who is asked for readings: a process of ours, or the daemon of this machine. Both obey the same orders.

use crate::daemon::DaemonConnection;
use crate::device::nvml::process::DriverProcess;
use crate::device::nvml::reader::Order;

#[derive(Debug)]
pub(super) enum Source {
    Process(DriverProcess),
    Daemon(DaemonConnection),
}

impl Source {
    /// Gives an order. `false` if whoever should obey it is gone. Never waits.
    pub(super) fn order(&mut self, order: &Order) -> bool {
        match self {
            Self::Process(process) => process.order(order),
            Self::Daemon(daemon) => daemon.order(order),
        }
    }

    /// Whether it is a daemon that lists processes as well.
    pub(super) fn lists_processes(&self) -> bool {
        self.daemon().is_some_and(DaemonConnection::lists_processes)
    }

    pub(super) fn daemon(&self) -> Option<&DaemonConnection> {
        match self {
            Self::Daemon(daemon) => Some(daemon),
            Self::Process(_) => None,
        }
    }
}
