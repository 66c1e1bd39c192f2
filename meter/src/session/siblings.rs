//! The other runs of a modification and those of the modifications behind it, read in the background: a long history must not hold up a
//! job that has started.
//!
//! A reading takes what is new of runs that go on, and nothing else once the rest was read, so that it may be made every second.

mod followed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use flopsmeter_core::assess::Spent;
use flopsmeter_core::lineage::{Ancestry, LineageProblem, Modification, Modifications};
use flopsmeter_core::registry::Registry;
use flopsmeter_core::rules::RuleSet;

use crate::clock;
use crate::store::{Ledger, StoreProblem};

use followed::Followed;
pub(super) use followed::Standing;

/// Most time between two readings while there is anybody.
pub(super) const PERIOD: Duration = Duration::from_mins(1);

/// The session wakes the reading where somebody comes, and every minute where it cannot ask its ledger who has come.
const UNTIL_SOMEBODY_COMES: Duration = Duration::from_hours(1);

/// What is read for a run.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The ledger.
    pub ledger: PathBuf,
    /// The run itself, which is no other's.
    pub run: String,
    /// The job that it is a part of, where it was named.
    pub job: Option<String>,
    /// The modification that it is counted to; without a name, what it is made from alone.
    pub modification: Modification,
    /// By which its ancestors' compute is added up.
    pub rules: &'static RuleSet,
    /// Where originals are looked up.
    pub registry: &'static Registry,
}

/// Keeps reading until it is dropped.
#[derive(Debug)]
pub struct Siblings {
    readings: Receiver<Reading>,
    wake: SyncSender<()>,
}

/// The other runs as they stood at one time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The modification itself, without the run that reads.
    pub(super) own: Standing,
    /// Each one behind it.
    pub(super) behind: BTreeMap<String, Standing>,
    /// What they come to; `None` where nothing of this ledger is behind it.
    pub(super) ancestry: Option<Ancestry>,
    /// When reading began: what came later may be missing.
    pub(super) began: Instant,
}

impl Reading {
    /// Whether nobody else was there and nothing is behind: who comes writes that into the modification's stream.
    pub(super) fn is_alone(&self) -> bool {
        let Standing { runs, jobs, beside, reservations, head: _ } = &self.own;
        runs.is_empty() && jobs.is_empty() && beside.is_empty() && reservations.is_empty() && self.behind.is_empty()
    }
}

impl Siblings {
    /// Reads them now, whenever it is woken, and every minute while there is anybody. `None` if there is no room for a thread.
    pub fn watch(watched: Watched) -> Option<Self> {
        let (readings_sender, readings) = sync_channel(1);
        let (wake, woken) = sync_channel(1);
        let reader = Reader::new(watched);
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
        let mut patience = PERIOD;
        if let Ok(reading) = reader.read(in_full, began) {
            if in_full {
                read_in_full = Some(began);
            }
            if reading.is_alone() {
                patience = UNTIL_SOMEBODY_COMES;
            }
            if let Err(TrySendError::Disconnected(_)) = readings.try_send(reading) {
                return;
            }
        }
        match woken.recv_timeout(patience) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What was read so far.
#[derive(Debug)]
struct Reader {
    watched: Watched,
    /// Kept open while another run goes on.
    ledger: Option<Ledger>,
    own: Followed,
    behind: BTreeMap<String, Followed>,
    ancestry: Option<Ancestry>,
    /// Something behind was new since that was traced.
    is_stale: bool,
}

impl Reader {
    fn new(watched: Watched) -> Self {
        let own = Followed::new(&watched.modification.slug, &watched.run);
        Self { watched, ledger: None, own, behind: BTreeMap::new(), ancestry: None, is_stale: true }
    }

    /// The other runs, and what is set aside. In full, runs that have ended are looked at as well: they may go on.
    fn read(&mut self, in_full: bool, began: Instant) -> Result<Reading, StoreProblem> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => Ledger::open_to_read(&self.watched.ledger)?,
        };
        if !self.watched.modification.slug.is_empty() {
            self.own.follow(&ledger, in_full)?;
        }
        self.is_stale |= self.follow_back(&ledger, in_full)?;
        if self.is_stale
            // What was found at the start is kept where it cannot be followed, with the finding that says so.
            && let Ok(traced) = self.trace()
        {
            (self.ancestry, self.is_stale) = (traced, false);
        }
        let goes_on = core::iter::once(&self.own).chain(self.behind.values()).any(Followed::goes_on);
        self.ledger = goes_on.then_some(ledger);
        Ok(Reading {
            own: self.own.standing(self.watched.job.as_deref()),
            behind: self.behind.iter().map(|(slug, one)| (slug.clone(), one.standing(None))).collect(),
            ancestry: self.ancestry.clone(),
            began,
        })
    }

    /// What the run's model is made from, as the ledger has it now: a base may be bound anew.
    fn made_from(&self) -> Modification {
        let (known, now) = (&self.watched.modification, self.own.modification());
        let base = now.base.clone().or_else(|| known.base.clone());
        let merge = now.merge.clone().or_else(|| known.merge.clone());
        Modification { slug: known.slug.clone(), base, merge, ..Modification::default() }
    }

    /// Follows each modification behind this one. Gives whether there was anything new; one that is no longer behind it is.
    fn follow_back(&mut self, ledger: &Ledger, in_full: bool) -> Result<bool, StoreProblem> {
        let mut is_news = false;
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let mut ahead: Vec<String> = self.made_from().parent_slugs().map(str::to_owned).collect();
        while let Some(slug) = ahead.pop() {
            if !reached.insert(slug.clone()) {
                continue;
            }
            let one = self.behind.entry(slug.clone()).or_insert_with(|| Followed::new(&slug, &self.watched.run));
            is_news |= one.follow(ledger, in_full)?;
            ahead.extend(one.modification().parent_slugs().map(str::to_owned));
        }
        let before = self.behind.len();
        self.behind.retain(|slug, _| reached.contains(slug));
        Ok(is_news || self.behind.len() != before)
    }

    /// What all that is behind comes to; nothing where no modification is.
    fn trace(&self) -> Result<Option<Ancestry>, LineageProblem> {
        if self.behind.is_empty() {
            return Ok(None);
        }
        let all: Modifications =
            self.behind.iter().map(|(slug, one)| (slug.clone(), one.modification().clone())).collect();
        let spent_of = |of: &Modification| {
            let one = self.behind.get(&of.slug);
            Ok::<_, LineageProblem>(one.map_or_else(Spent::default, |one| one.spent(self.watched.rules)))
        };
        Ancestry::trace(&self.made_from(), &all, self.watched.registry, spent_of).map(Some)
    }
}

#[cfg(test)]
mod tests;
