//! The other runs of a modification, read in the background: a long history must not hold up a job that has started.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use flopsmeter_core::run::RunSummary;

use crate::records::{self, Assignments};
use crate::store::{Ledger, StoreProblem};

/// Time between two readings.
const PERIOD: Duration = Duration::from_mins(1);

/// Keeps reading until it is dropped.
#[derive(Debug)]
pub struct Siblings {
    readings: Receiver<Vec<RunSummary>>,
    _stop: Sender<()>,
}

impl Siblings {
    /// Reads the runs of modification `slug` other than `run`, now and every minute. `None` if there is no room for a thread.
    pub fn watch(ledger: &Path, slug: &str, run: &str) -> Option<Self> {
        let (readings_sender, readings) = sync_channel(1);
        let (stop, stopped) = channel();
        let (ledger, slug, run) = (ledger.to_owned(), slug.to_owned(), run.to_owned());
        let keep_reading = move || read_until_stopped(&ledger, &slug, &run, &readings_sender, &stopped);
        thread::Builder::new().name("siblings".to_owned()).spawn(keep_reading).ok()?;
        Some(Self { readings, _stop: stop })
    }

    /// A reading that was not taken yet.
    pub fn latest(&self) -> Option<Vec<RunSummary>> {
        self.readings.try_recv().ok()
    }
}

fn read_until_stopped(
    ledger: &Path,
    slug: &str,
    run: &str,
    readings: &SyncSender<Vec<RunSummary>>,
    stopped: &Receiver<()>,
) {
    loop {
        // A ledger that cannot be read now may be readable in a minute; the recorder tells of its own troubles.
        if let Ok(others) = read(ledger, slug, run)
            && let Err(TrySendError::Disconnected(_)) = readings.try_send(others)
        {
            return;
        }
        if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn read(ledger: &Path, slug: &str, run: &str) -> Result<Vec<RunSummary>, StoreProblem> {
    let ledger = Ledger::open_to_read(ledger)?;
    let modification = records::modification(&ledger, slug)?.unwrap_or_default();
    let others = modification.runs.iter().filter(|other| *other != run && modification.exclusion_of(other).is_none());
    others.map(|other| Ok(records::run(&ledger, other, &Assignments::default())?.summary)).collect()
}
