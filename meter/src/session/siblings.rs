//! The other runs of a modification, read in the background: a long history must not hold up a job that has started.
//!
//! A reading takes what is new of runs that go on, and nothing else once the rest was read, so that it may be made every second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use flopsmeter_core::budget::Reservation;
use flopsmeter_core::ledger::{Head, modification_stream, run_stream};
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::run::{RunState, RunSummary};

use crate::clock;
use crate::records::{self, RunReader};
use crate::store::{Ledger, StoreProblem};

/// Most time between two readings.
pub(super) const PERIOD: Duration = Duration::from_mins(1);

/// Keeps reading until it is dropped.
#[derive(Debug)]
pub struct Siblings {
    readings: Receiver<Reading>,
    wake: SyncSender<()>,
}

/// The other runs as they stood at one time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Those that are not left out by a declaration.
    pub(super) runs: Vec<RunSummary>,
    /// What is set aside for runs of the modification.
    pub(super) reservations: Vec<Reservation>,
    /// When reading began: what came later may be missing.
    pub(super) began: Instant,
}

impl Siblings {
    /// Reads the runs of modification `slug` other than `run`, now, whenever it is woken, and every minute. `None` if there is no room
    /// for a thread.
    pub fn watch(ledger: &Path, slug: &str, run: &str) -> Option<Self> {
        let (readings_sender, readings) = sync_channel(1);
        let (wake, woken) = sync_channel(1);
        let reader = Reader::new(ledger.to_owned(), slug.to_owned(), run.to_owned());
        let keep_reading = move || read_until_stopped(reader, &readings_sender, &woken);
        thread::Builder::new().name("siblings".to_owned()).spawn(keep_reading).ok()?;
        Some(Self { readings, wake })
    }

    /// A reading that was not taken yet.
    pub(super) fn latest(&self) -> Option<Reading> {
        self.readings.try_recv().ok()
    }

    /// Has them read again soon, without waiting for it.
    pub(super) fn wake(&self) {
        // Where it was woken already and has not come to it, once is enough.
        let _woken_already = self.wake.try_send(());
    }
}

fn read_until_stopped(mut reader: Reader, readings: &SyncSender<Reading>, woken: &Receiver<()>) {
    let mut read_in_full: Option<Instant> = None;
    loop {
        let began = clock::monotonic();
        let in_full = read_in_full.is_none_or(|last| began.saturating_duration_since(last) >= PERIOD);
        // A ledger that cannot be read now may be readable in a minute; the recorder tells of its own troubles.
        if let Ok((runs, reservations)) = reader.read(in_full) {
            if in_full {
                read_in_full = Some(began);
            }
            if let Err(TrySendError::Disconnected(_)) = readings.try_send(Reading { runs, reservations, began }) {
                return;
            }
        }
        match woken.recv_timeout(PERIOD) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What was read so far.
#[derive(Debug)]
struct Reader {
    path: PathBuf,
    slug: String,
    run: String,
    /// Kept open while another run goes on.
    ledger: Option<Ledger>,
    head: Option<Head>,
    modification: Modification,
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    summary: RunSummary,
    /// The last entry that is in it.
    head: Option<Head>,
    /// Kept while the run goes on, to take what is new.
    reader: Option<RunReader>,
}

impl Reader {
    fn new(path: PathBuf, slug: String, run: String) -> Self {
        let (modification, known) = (Modification::default(), BTreeMap::new());
        Self { path, slug, run, ledger: None, head: None, modification, known }
    }

    /// The other runs, and what is set aside. In full, runs that have ended are looked at as well: they may go on.
    fn read(&mut self, in_full: bool) -> Result<(Vec<RunSummary>, Vec<Reservation>), StoreProblem> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => Ledger::open_to_read(&self.path)?,
        };
        let head = ledger.head(&modification_stream(&self.slug))?;
        if head != self.head {
            self.modification = records::modification(&ledger, &self.slug)?.unwrap_or_default();
            self.head = head;
        }
        let modification = &self.modification;
        let counts = |run: &&String| **run != self.run && modification.exclusion_of(run).is_none();
        let others: Vec<&String> = modification.runs.iter().filter(counts).collect();
        self.known.retain(|run, _| others.contains(&run));
        for run in others {
            match self.known.get_mut(run) {
                Some(known) => known.follow(&ledger, run, in_full)?,
                None => {
                    self.known.insert(run.clone(), Known::read(&ledger, run)?);
                }
            }
        }
        let goes_on = self.known.values().any(|known| known.reader.is_some());
        self.ledger = goes_on.then_some(ledger);
        let runs = modification.runs.iter().filter_map(|run| Some(self.known.get(run)?.summary.clone()));
        Ok((runs.collect(), modification.reservations.clone()))
    }
}

impl Known {
    fn read(ledger: &Ledger, run: &str) -> Result<Self, StoreProblem> {
        let mut reader = RunReader::new(run);
        reader.follow(ledger)?;
        Ok(Self::of(reader))
    }

    fn of(reader: RunReader) -> Self {
        let (summary, head) = (reader.summary(), reader.head().cloned());
        let reader = (summary.state == RunState::Open).then_some(reader);
        Self { summary, head, reader }
    }

    fn follow(&mut self, ledger: &Ledger, run: &str, in_full: bool) -> Result<(), StoreProblem> {
        let Some(reader) = &mut self.reader else {
            // Its entries are not kept: one that goes on after its end is read anew.
            if in_full && ledger.head(&run_stream(run))? != self.head {
                *self = Self::read(ledger, run)?;
            }
            return Ok(());
        };
        if reader.follow(ledger)? {
            (self.summary, self.head) = (reader.summary(), reader.head().cloned());
            if self.summary.state == RunState::Closed {
                self.reader = None;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
