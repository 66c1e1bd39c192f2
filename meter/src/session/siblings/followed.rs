//! One modification of the ledger, followed while its runs go on.

use std::collections::BTreeMap;

use flopsmeter_core::assess::{ExcludedRun, Spent};
use flopsmeter_core::budget::Reservation;
use flopsmeter_core::ledger::{Head, modification_stream, run_stream};
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{RunState, RunSummary};
use flopsmeter_core::tally::Part;

use crate::records::{self, RunReader};
use crate::store::{Ledger, StoreProblem};

/// A modification as it stood at one time.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Standing {
    /// Its runs but the one that reads and those that are left out by a declaration, each by itself.
    pub(in super::super) runs: Vec<RunSummary>,
    /// The same, those of one job together; without the job of the one that reads.
    pub(in super::super) jobs: Vec<RunSummary>,
    /// The parts of that job on other nodes.
    pub(in super::super) beside: Vec<Part>,
    /// What is set aside for runs of it.
    pub(in super::super) reservations: Vec<Reservation>,
    /// End of its chain.
    pub(in super::super) head: Option<Head>,
}

/// What was read of it so far.
#[derive(Debug)]
pub(super) struct Followed {
    slug: String,
    /// The run that reads.
    reader: String,
    head: Option<Head>,
    modification: Modification,
    pub(super) known: BTreeMap<String, Known>,
}

/// A run of it.
#[derive(Debug)]
pub(super) struct Known {
    part: Part,
    /// The last entry that is in it.
    head: Option<Head>,
    /// Kept while the run goes on, to take what is new.
    pub(super) reader: Option<RunReader>,
}

impl Followed {
    /// The modification `slug`, without the run `reader`.
    pub(super) fn new(slug: &str, reader: &str) -> Self {
        let (modification, known) = (Modification::default(), BTreeMap::new());
        Self { slug: slug.to_owned(), reader: reader.to_owned(), head: None, modification, known }
    }

    pub(super) const fn modification(&self) -> &Modification {
        &self.modification
    }

    /// Reads what is new of it. Gives whether there was anything.
    pub(super) fn follow(&mut self, ledger: &Ledger, in_full: bool) -> Result<bool, StoreProblem> {
        let head = ledger.head(&modification_stream(&self.slug))?;
        let mut is_news = head != self.head;
        if is_news {
            self.modification = records::modification(ledger, &self.slug)?.unwrap_or_default();
            self.head = head;
        }
        let modification = &self.modification;
        self.known.retain(|run, _| modification.runs.contains(run));
        for run in modification.runs.iter().filter(|run| **run != self.reader) {
            match self.known.get_mut(run) {
                Some(known) => is_news |= known.follow(ledger, run, in_full)?,
                None => {
                    self.known.insert(run.clone(), Known::read(ledger, run)?);
                }
            }
        }
        Ok(is_news)
    }

    /// Whether a run of it goes on.
    pub(super) fn goes_on(&self) -> bool {
        self.known.values().any(|known| known.reader.is_some())
    }

    /// How it stands for a run of this job.
    pub(super) fn standing(&self, job: Option<&str>) -> Standing {
        let counts = |run: &&String| self.modification.exclusion_of(run).is_none();
        let runs = self.modification.runs.iter().filter(counts);
        let parts: Vec<&Part> = runs.filter_map(|run| Some(&self.known.get(run)?.part)).collect();
        let (beside, others): (Vec<&Part>, Vec<&Part>) =
            parts.iter().partition(|part| job.is_some() && part.job() == job);
        Standing {
            runs: parts.iter().map(|part| part.alone().clone()).collect(),
            jobs: Part::by_job(others),
            beside: beside.into_iter().cloned().collect(),
            reservations: self.modification.reservations.clone(),
            head: self.head.clone(),
        }
    }

    /// What it has spent by itself.
    pub(super) fn spent(&self, rules: &RuleSet) -> Spent {
        let (mut counted, mut left_out) = (Vec::new(), Vec::new());
        for run in &self.modification.runs {
            let Some(known) = self.known.get(run) else { continue };
            match self.modification.exclusion_of(run) {
                Some(declared) => left_out.push(ExcludedRun::of(rules, declared, known.part.alone())),
                None => counted.push(&known.part),
            }
        }
        Spent::of_modification(rules, &Part::by_job(counted), left_out, self.modification.merge.is_some())
    }
}

impl Known {
    fn read(ledger: &Ledger, run: &str) -> Result<Self, StoreProblem> {
        let mut reader = RunReader::new(run);
        reader.follow(ledger)?;
        Ok(Self::of(reader))
    }

    fn of(reader: RunReader) -> Self {
        let (part, head) = (reader.part(), reader.head().cloned());
        let reader = (part.alone().state == RunState::Open).then_some(reader);
        Self { part, head, reader }
    }

    /// Gives whether there was anything new.
    fn follow(&mut self, ledger: &Ledger, run: &str, in_full: bool) -> Result<bool, StoreProblem> {
        let Some(reader) = &mut self.reader else {
            // Its entries are not kept: one that goes on after its end is read anew.
            let is_news = in_full && ledger.head(&run_stream(run))? != self.head;
            if is_news {
                *self = Self::read(ledger, run)?;
            }
            return Ok(is_news);
        };
        let is_news = reader.follow(ledger)?;
        if is_news {
            (self.part, self.head) = (reader.part(), reader.head().cloned());
            if self.part.alone().state == RunState::Closed {
                self.reader = None;
            }
        }
        Ok(is_news)
    }
}
