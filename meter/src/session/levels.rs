//! What follows from the levels of the line: a gate that stops the job, and alerts.

use flopsmeter_core::ledger::Body;

use super::Session;
use super::following::job_of;
use super::gate::{GateAct, Ranks, Training};
use super::line::{Said, Sight};

impl Session<'_> {
    /// What is to be done to the job now, if anything is.
    pub(super) fn keep_gate(&mut self) -> Option<GateAct> {
        let (elapsed, own) = (self.clock.elapsed(), self.tally.summary());
        let job = job_of(&self.tally, &self.beside, own.clone());
        let gate = self.gate.as_mut()?;
        let sight = Sight {
            judge: &self.judge,
            others: &self.others,
            company: &self.company,
            own: &own,
            job: &job,
            clock: self.clock,
            elapsed,
        };
        let (heard, all) = self.tally.ranks();
        let training = Training {
            progress: self.tally.progress().map(|(progress, _)| progress),
            furthest: self.tally.furthest_step(),
            last: self.tally.last_step(),
            is_lost: self.tally.has_lost_trainer(),
            ranks: Ranks { heard, all },
        };
        let (act, finding) = gate.look(&sight, training, self.line.by_step())?;
        self.of_gate = Some(finding);
        Some(act)
    }

    /// Says once, loudly, when a level of the line is reached or foreseen: of the law's, and of an organisation's own.
    pub(super) fn watch_the_line(&mut self, has_ended: bool) {
        let elapsed = self.clock.elapsed();
        let house_is_due = self.house.as_ref().is_some_and(|(_, line)| line.is_due(elapsed));
        if !core::mem::take(&mut self.fed) && !self.line.is_due(elapsed) && !house_is_due {
            return;
        }
        let mut own = self.tally.sums();
        if self.judge.compares_hardware() {
            own.ceiling = self.held.ceiling(&self.tally, elapsed, has_ended);
        }
        let job = job_of(&self.tally, &self.beside, own.clone());
        let progress = self.tally.progress().filter(|_| !has_ended);
        let (others, company, clock) = (&self.others, &self.company, self.clock);
        let sight = |judge| Sight { judge, others, company, own: &own, job: &job, clock, elapsed };
        let mut alerts = self.line.look(&sight(&self.judge), progress, has_ended, self.recorder.ledger());
        if let Some((judge, line)) = &mut self.house {
            alerts.extend(line.look(&sight(judge), progress, has_ended, self.recorder.ledger()));
        }
        for Said { alert, sinks } in alerts {
            self.listener.alert(&alert);
            let missed = self.sinks.give(&alert, sinks.as_ref());
            self.enter(alert.at, &Body::Alert(alert));
            self.commit();
            self.note_missed(missed);
        }
    }
}
