//! Following the other runs of the modification: when they are read, and what of the budget this run settles.

use std::time::Duration;

use flopsmeter_core::assess::Spent;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::{LevelsHeard, LevelsMissed, RunOpened};
use flopsmeter_core::ledger::{Head, modification_stream};
use flopsmeter_core::run::Finding;
use flopsmeter_core::unit::Flops;

use super::{Session, Siblings, announcements};
use crate::alert::{Heard, Missed, Outcomes};
use crate::{budget, clock};

/// What is known of the modification, and when its runs were last asked for.
#[derive(Debug)]
pub(super) struct Following {
    run: String,
    modification: Option<String>,
    head: Option<Head>,
    woken: Duration,
}

impl Following {
    pub(super) fn of(run: &RunOpened) -> Self {
        let (run, modification) = (run.run.clone(), run.modification.clone());
        Self { run, modification, head: None, woken: Duration::ZERO }
    }
}

impl Session<'_> {
    /// The modification's other runs as they stand: parallel jobs grow.
    pub(super) fn take_others(&mut self) {
        let Some(reading) = self.siblings.as_ref().and_then(Siblings::latest) else { return };
        let age = clock::monotonic().saturating_duration_since(reading.began);
        let seen = self.clock.elapsed().saturating_sub(age);
        let read = (reading.runs.as_slice(), reading.reservations.as_slice());
        let before = self.company.reserved();
        self.company.observe(&self.judge, read, &self.following.run, (seen, self.clock.at(seen)));
        self.fed |= self.company.reserved() != before;
        if self.others != reading.runs {
            self.others = reading.runs;
            self.fed = true;
        }
    }

    /// Has the others read where one of them began or ended, and as often as they could come to a level of the line meanwhile.
    pub(super) fn follow_others(&mut self, elapsed: Duration) {
        let Some((siblings, slug)) = self.siblings.as_ref().zip(self.following.modification.as_deref()) else { return };
        let stream = modification_stream(slug);
        let head = self.recorder.ledger().and_then(|ledger| ledger.head(&stream).ok()).flatten();
        let is_news = head.is_some() && head != self.following.head;
        if is_news {
            self.following.head = head;
        }
        let rests = || elapsed.saturating_sub(self.following.woken) < self.company.pause(self.left());
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
        let own = self.tally.sums();
        let spent = Spent::of_runs(self.judge.rules, self.others.iter().chain([&own]));
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
                let note = LevelsHeard { run: self.following.run.clone(), id, sinks: vec![sink] };
                // Not noted, the next run says it there again, under the same id.
                let _unnoted = announcements::heard(ledger, slug, at, &note);
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
                let note = LevelsMissed { run: self.following.run.clone(), id, sinks: vec![sink] };
                // Not noted, it is said there again once this run has ended.
                let _unnoted = announcements::missed(ledger, slug, at, &note);
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
