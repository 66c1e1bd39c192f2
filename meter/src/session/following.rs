//! Following the other runs of the modification and those behind it: when they are read, and what of the budget this run settles.

use std::collections::BTreeMap;
use std::time::Duration;

use flopsmeter_core::assess::Spent;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::{LevelsHeard, LevelsMissed, RunOpened};
use flopsmeter_core::ledger::{Body, Head, modification_stream};
use flopsmeter_core::run::{Finding, RunSummary};
use flopsmeter_core::tally::{Part, Tally};
use flopsmeter_core::unit::Flops;

use super::siblings::Standing;
use super::{Session, Siblings, announcements};
use crate::alert::{Heard, Missed, Outcomes};
use crate::store::Ledger;
use crate::{budget, clock};

/// Modifications behind that are asked once a second whether there is news of them; of more, the reading of each minute tells.
const MOST_ASKED: usize = 16;

/// What is known of the modification and those behind it, and when their runs were last asked for.
#[derive(Debug)]
pub(super) struct Following {
    run: String,
    modification: Option<String>,
    /// Ends of their chains as they were read last, or woke the reading.
    heads: BTreeMap<String, Option<Head>>,
    woken: Duration,
    /// At the last reading nobody else was there, and nothing behind.
    is_alone: bool,
}

impl Following {
    pub(super) fn of(run: &RunOpened) -> Self {
        let (run, modification) = (run.run.clone(), run.modification.clone());
        let heads = modification.iter().map(|slug| (slug.clone(), None)).collect();
        Self { run, modification, heads, woken: Duration::ZERO, is_alone: false }
    }
}

impl Following {
    /// Has those behind asked for news from now on.
    fn ask_behind(&mut self, behind: &BTreeMap<String, Standing>) {
        let own = self.modification.as_ref();
        self.heads.retain(|slug, _| Some(slug) == own || behind.contains_key(slug));
        for (slug, standing) in behind.iter().take(MOST_ASKED) {
            self.heads.entry(slug.clone()).or_insert_with(|| standing.head.clone());
        }
    }

    /// Whether one of the modifications has entries that it had not at the last time; `None` where one of them cannot be asked.
    fn ask(&mut self, ledger: &Ledger) -> Option<bool> {
        let (mut is_news, mut have_answered) = (false, true);
        for (slug, known) in &mut self.heads {
            match ledger.head(&modification_stream(slug)) {
                Ok(head) if head.is_some() && head != *known => (*known, is_news) = (head, true),
                Ok(_) => {}
                Err(_) => have_answered = false,
            }
        }
        (is_news || have_answered).then_some(is_news)
    }
}

/// The job of a run that comes to `own`: with its parts on other nodes, as far as they were read.
pub(super) fn job_of(tally: &Tally, beside: &[Part], own: RunSummary) -> RunSummary {
    if beside.is_empty() {
        return own;
    }
    let own = tally.part(own);
    let parts: Vec<&Part> = beside.iter().chain([&own]).collect();
    Part::together(&parts).unwrap_or_else(|| own.alone().clone())
}

impl Session<'_> {
    /// The modification's other runs as they stand, and what is behind it: parallel jobs grow.
    pub(super) fn take_others(&mut self) {
        let Some(reading) = self.siblings.as_ref().and_then(Siblings::latest) else { return };
        let age = clock::monotonic().saturating_duration_since(reading.began);
        let seen = self.clock.elapsed().saturating_sub(age);
        let before = self.company.reserved();
        let read = (&reading.own, &reading.behind);
        self.company.observe(&self.judge, read, &self.following.run, (seen, self.clock.at(seen)));
        self.fed |= self.company.reserved() != before;
        self.following.ask_behind(&reading.behind);
        self.following.is_alone = reading.is_alone();
        if reading.ancestry.is_some() && reading.ancestry != self.judge.ancestry {
            if let Some((house, line)) = &mut self.house {
                house.ancestry.clone_from(&reading.ancestry);
                line.assess_anew();
            }
            self.judge.ancestry = reading.ancestry;
            self.line.assess_anew();
            self.fed = true;
        }
        if (&self.others, &self.beside) != (&reading.own.jobs, &reading.own.beside) {
            (self.others, self.beside) = (reading.own.jobs, reading.own.beside);
            self.fed = true;
        }
    }

    /// Has the others read where one of them began or ended, and as often as they could come to a level of the line meanwhile.
    pub(super) fn follow_others(&mut self, elapsed: Duration) {
        let Some(siblings) = self.siblings.as_ref() else { return };
        let asked = self.recorder.ledger().and_then(|ledger| self.following.ask(ledger));
        let is_news = asked.unwrap_or(false);
        // Whoever comes is news, while the ledger can be asked.
        let stays_alone = asked.is_some() && self.following.is_alone;
        let rests = || stays_alone || elapsed.saturating_sub(self.following.woken) < self.company.pause(self.left());
        if is_news || !rests() {
            siblings.wake();
            self.following.woken = elapsed;
        }
    }

    /// What all runs together have left until the next level, of the law's line or of a house rule's.
    fn left(&self) -> Option<Flops> {
        if !self.company.is_any() {
            return None;
        }
        let job = job_of(&self.tally, &self.beside, self.tally.sums());
        let spent = Spent::of_runs(self.judge.rules, self.others.iter().chain([&job]));
        let counted = Spent { training: Some(spent.training.unwrap_or_default()), ..spent };
        let left = |judge: &Judge| judge.stand(counted.clone())?.left_until_next(self.line.levels());
        let house = self.house.as_ref().and_then(|(judge, _)| left(judge));
        left(&self.judge).into_iter().chain(house).min()
    }

    /// Notes who took which alerts, and who did not.
    pub(super) fn note_outcomes(&mut self, outcomes: Outcomes) {
        for Heard { id, sink } in outcomes.heard {
            let at = self.clock.now();
            if let Some((slug, ledger)) = self.following.modification.as_deref().zip(self.recorder.ledger()) {
                let heard = LevelsHeard { run: self.following.run.clone(), id: id.clone(), sinks: vec![sink] };
                // Not noted, the next run says it there again, under the same id.
                let _unnoted = announcements::note(ledger, slug, at, (&id, &Body::LevelsHeard(heard)));
            }
        }
        self.note_missed(outcomes.missed);
    }

    /// Says which alerts did not reach whom, and leaves it to the next run to say so there.
    pub(super) fn note_missed(&mut self, missed: Vec<Missed>) {
        for Missed { id, sink, finding } in missed {
            self.find(finding);
            let at = self.clock.now();
            if let Some((slug, ledger)) = self.following.modification.as_deref().zip(self.recorder.ledger()) {
                let missed = LevelsMissed { run: self.following.run.clone(), id: id.clone(), sinks: vec![sink] };
                // Not noted, it is said there again once this run has ended.
                let _unnoted = announcements::note(ledger, slug, at, (&id, &Body::LevelsMissed(missed)));
            }
        }
    }

    /// Notes what of its reservation this run has spent.
    pub(super) fn settle_reservation(&mut self) {
        let Some((held, slug)) = self.reservation.take().zip(self.following.modification.clone()) else { return };
        let (id, run) = (held.reserved.reservation, self.following.run.clone());
        let spent = Spent::of_runs(self.judge.rules, [&self.tally.sums()]).training.unwrap_or_default();
        let at = self.clock.now();
        // While the ledger cannot be written, the end of the run stands in the spool, which releases the rest as well.
        let Some(ledger) = self.recorder.ledger() else { return };
        match budget::settle(ledger, &slug, &id, &run, spent, at) {
            Ok(Some(settled)) if settled.overrun > Flops::ZERO => {
                let text = format!(
                    "reservation {id} held {} FLOP, and {} FLOP more were spent: set aside what is still to come by `flopsmeter plan \
                     --reserve`",
                    held.reserved.flop.scientific(3),
                    settled.overrun.scientific(3)
                );
                self.find(Finding { code: "reservation-overrun".to_owned(), text });
            }
            Ok(_) => {}
            Err(problem) => {
                let text =
                    format!("reservation {id} could not be settled ({problem}); the end of run {run} releases it");
                self.find(Finding { code: "reservation-unsettled".to_owned(), text });
            }
        }
    }
}
