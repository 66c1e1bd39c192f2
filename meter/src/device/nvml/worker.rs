//! The thread on which all driver calls are made.
//!
//! A call into the driver can hang and cannot be cancelled. Nothing else waits for this thread: it takes orders from a queue
//! and answers through a function, and whoever gave the order decides how long an answer is worth waiting for. A thread that
//! hangs for good is left behind.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use flopsmeter_core::sample::GpuReading;
use nvml_wrapper::Nvml;

use super::read::WatchedGpu;
use super::{Listing, library};

/// Orders that may wait: one to watch, one to read.
const MAX_ORDERS: usize = 2;

/// What the thread says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Which GPUs there are; said once, first.
    Listed(Listing),
    /// One reading for each watched GPU, in the order of watching.
    Read(Vec<Result<GpuReading, String>>),
}

enum Order {
    Watch(Vec<String>),
    Read,
}

/// The thread's other end.
#[derive(Debug)]
pub struct DriverThread {
    orders: SyncSender<Order>,
}

impl DriverThread {
    /// Starts the thread, which loads the library (from `path`, if given) and lists the GPUs.
    pub fn start(path: Option<PathBuf>, answer: impl Fn(Answer) + Send + 'static) -> std::io::Result<Self> {
        let (orders, inbox) = sync_channel(MAX_ORDERS);
        thread::Builder::new()
            .name("flopsmeter-nvml".to_owned())
            .spawn(move || run(path.as_deref(), &inbox, &answer))?;
        Ok(Self { orders })
    }

    /// Watch these GPUs or instances, by UUID. `false` if the thread is gone or too busy to hear.
    pub fn watch(&self, uuids: Vec<String>) -> bool {
        self.order(Order::Watch(uuids))
    }

    /// Read what is watched. `false` if the thread is gone or too busy to hear.
    pub fn read(&self) -> bool {
        self.order(Order::Read)
    }

    fn order(&self, order: Order) -> bool {
        match self.orders.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn run(path: Option<&Path>, orders: &Receiver<Order>, answer: &dyn Fn(Answer)) {
    let nvml = match library::load(path) {
        Ok(nvml) => nvml,
        Err(reason) => return answer(Answer::Listed(Listing::Unavailable { reason })),
    };
    answer(Answer::Listed(match library::list(nvml) {
        Ok(gpus) => Listing::Gpus(gpus),
        Err(reason) => Listing::Unavailable { reason },
    }));
    obey(nvml, orders, answer);
}

fn obey(nvml: &'static Nvml, orders: &Receiver<Order>, answer: &dyn Fn(Answer)) {
    let mut watched: Vec<WatchedGpu> = Vec::new();
    for order in orders {
        match order {
            Order::Watch(uuids) => {
                watched = uuids.into_iter().map(|uuid| WatchedGpu::new(nvml, uuid)).collect();
            }
            Order::Read => answer(Answer::Read(watched.iter_mut().map(WatchedGpu::read).collect())),
        }
    }
}
