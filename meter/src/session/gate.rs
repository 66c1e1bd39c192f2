//! A gate: has the trainer save and stop before the modification reaches the verdict that it is to stop.
//!
//! The trainer is told a step that lies ahead of all its ranks, so that each of them stops after the same one; ranks that stopped
//! apart would wait for each other for ever. Ranks read what they are told after each step, so the step is chosen at least
//! [`LEAD`] away at the fastest pace of late. A rank that hears it too late goes on, and all are told a later one.

mod pace;

use std::time::Duration;

use flopsmeter_core::assess::{Spent, Verdict};
use flopsmeter_core::budget::ToCome;
use flopsmeter_core::facts::Progress;
use flopsmeter_core::forecast::{Course, Range};
use flopsmeter_core::gate::Gate;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::run::Finding;
use flopsmeter_core::unit::Flops;

use super::line::Sight;
use pace::Pace;

/// Time in which every rank reads what it was told; where a rank stands is heard up to a second late as well.
const LEAD: Duration = Duration::from_secs(3);

/// Steps that are always left besides: the one that is being made, the one after, and one for a rank that is ahead of what it told.
const LEAST_STEPS: u64 = 3;

/// Until the next look, with room for a busy machine.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// Times that a later step is named because a rank went past the last one.
const MOST_LATER_STEPS: u8 = 3;

/// Of the slowest step so far, what a trainer may be silent for before its stop.
const SILENT_STEPS: u32 = 10;

/// What is asked for by `--gate`.
#[derive(Clone, Copy, Debug)]
pub struct GateOrder {
    /// Verdicts that are stopped.
    pub gate: Gate,
    /// Time that the trainer has to stop by itself once it should have.
    pub grace: Duration,
}

/// What is to be done to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateAct {
    /// Tell all ranks to save and stop after this step.
    StopAfter(u64),
    /// End the command by SIGTERM.
    Terminate,
}

/// Ranks of the job that tell of their steps here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranks {
    pub(super) heard: u64,
    pub(super) all: u64,
}

/// How the trainer stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Training {
    /// The rank that is furthest behind; `None` while no trainer tells of steps.
    pub(super) progress: Option<Progress>,
    /// The step of the rank that is furthest ahead.
    pub(super) furthest: Option<u64>,
    /// The last step that was told of, also by trainers that have ended.
    pub(super) last: Option<u64>,
    /// One has gone without a goodbye, and may go on unheard.
    pub(super) is_lost: bool,
    pub(super) ranks: Ranks,
}

/// How a gate ended a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The trainer did as it was told, ahead of this verdict.
    ByTrainer(Verdict),
    /// It was to be sent SIGTERM at this verdict.
    BySignal(Verdict),
}

/// What has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A verdict is ahead, and nobody can be asked to stop.
    Waiting {
        since: Duration,
    },
    Announced(Announced),
    Terminated {
        verdict: Verdict,
    },
}

/// The trainer was told where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    verdict: Verdict,
    after_step: u64,
    /// When it was first seen that it should have stopped.
    grace_began: Option<Duration>,
    /// How often another step was named before.
    later_steps: u8,
}

/// Watches one job.
#[derive(Debug)]
pub(super) struct GateKeeper {
    order: GateOrder,
    state: State,
    pace: Pace,
    last_step: u64,
    /// Where the schedule of the trainer that told of itself last ends.
    end: Option<u64>,
    /// Training operations when the last trainer had ended, while none runs.
    quiet_at: Option<Flops>,
    /// Training operations when the trainer had stopped by itself.
    stopped_at: Option<Flops>,
    /// What was executed and the furthest step, and since when that has not changed.
    alive: (Flops, Option<u64>, Duration),
}

impl GateKeeper {
    pub(super) fn new(order: GateOrder) -> Self {
        Self {
            order,
            state: State::Open,
            pace: Pace::default(),
            last_step: 0,
            end: None,
            quiet_at: None,
            stopped_at: None,
            alive: (Flops::ZERO, None, Duration::ZERO),
        }
    }

    /// What is to be done now, and what is to be said of it. `course` is the run's training operations over steps.
    pub(super) fn look(
        &mut self,
        sight: &Sight<'_>,
        training: Training,
        course: Option<&Course>,
    ) -> Option<(GateAct, Finding)> {
        self.observe(sight, training);
        match self.state {
            State::Open | State::Waiting { .. } => self.decide(sight, training, course),
            State::Announced(announced) => self.follow_up(announced, sight, training),
            State::Terminated { .. } => None,
        }
    }

    /// Takes the last that was heard of a job that has ended, which nothing can be done to any more.
    pub(super) fn note_end(&mut self, last: Option<u64>) {
        self.last_step = last.unwrap_or(self.last_step);
    }

    /// How the gate ended the job, if it did: a trainer that ended elsewhere than where it was told had reasons of its own.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        match self.state {
            State::Announced(Announced { verdict, after_step, .. })
                if self.last_step == after_step && self.end.is_none_or(|end| end > after_step) =>
            {
                Some(Stopped::ByTrainer(verdict))
            }
            State::Terminated { verdict } => Some(Stopped::BySignal(verdict)),
            _ => None,
        }
    }

    fn observe(&mut self, sight: &Sight<'_>, training: Training) {
        if let Some(progress) = training.progress {
            self.pace.observe(progress, sight.elapsed);
            self.end = progress.max_steps;
            self.quiet_at = None;
        } else if training.last.is_some() {
            self.quiet_at.get_or_insert(sight.training());
        }
        self.last_step = training.last.unwrap_or(self.last_step);
        let executed = sight.own.flops.map_or(Flops::ZERO, |flops| flops.executed);
        if (self.alive.0, self.alive.1) != (executed, training.furthest) {
            self.alive = (executed, training.furthest, sight.elapsed);
        }
    }

    fn decide(&mut self, sight: &Sight<'_>, training: Training, course: Option<&Course>) -> Option<(GateAct, Finding)> {
        // Before anything was counted, nothing of this job can be judged.
        sight.own.flops?;
        let may_go_on = training.is_lost && self.order.gate.stops(Verdict::Undetermined);
        if self.quiet_at.is_some_and(|quiet| sight.training() <= quiet) && !may_go_on {
            // Its training is over: what it does now, perhaps save its model, brings no line nearer.
            self.state = State::Open;
            return None;
        }
        let after_step = self.reachable(training, sight.elapsed);
        let then = after_step.map_or(sight.training(), |step| spent_by(sight, step, self.margin(), course));
        let others = sight.company.ahead(sight.elapsed.saturating_add(self.time_until(after_step, training)));
        let Some((verdict, whose)) = self.stopping(sight, then, &others) else {
            self.state = State::Open;
            return None;
        };
        let Some(after_step) = after_step else {
            let is_over = self.has_waited(sight.elapsed);
            let why = "no trainer tells of its steps, so none can be asked to stop after one";
            return is_over.then(|| self.terminate(verdict, why));
        };
        let Ranks { heard, all } = training.ranks;
        if heard < all {
            let is_over = self.has_waited(sight.elapsed);
            let why = format!(
                "only {heard} of {all} ranks tell this meter of their steps, so they cannot be stopped together"
            );
            return is_over.then(|| self.terminate(verdict, &why));
        }
        if self.end.is_some_and(|end| end <= after_step) {
            // It ends by itself before anybody could be told.
            return None;
        }
        self.state = State::Announced(Announced { verdict, after_step, grace_began: None, later_steps: 0 });
        let text = format!(
            "the gate `{}` has the trainer save and stop after step {after_step}: with the steps after it {}the verdict {whose}would be \
             `{}`; assess the modification before going on",
            self.order.gate,
            if others == ToCome::default() { "" } else { "and what other runs spend or have set aside " },
            super::line::verdict_name(verdict)
        );
        Some((GateAct::StopAfter(after_step), Finding { code: "gate-stop".to_owned(), text }))
    }

    /// The grace begins where the trainer is seen to be where it should stop; until then it may take as long as it is heard of.
    fn follow_up(&mut self, announced: Announced, sight: &Sight<'_>, training: Training) -> Option<(GateAct, Finding)> {
        let Announced { verdict, after_step, .. } = announced;
        if training.progress.is_none() {
            self.stopped_at.get_or_insert(sight.training());
        }
        let begins_anew = self.stopped_at.is_some_and(|stopped| sight.training() > stopped);
        if training.progress.is_none() && !begins_anew {
            self.state = State::Announced(Announced { grace_began: None, ..announced });
            return None;
        }
        if !begins_anew && let Some(later) = self.name_later(announced, training, sight.elapsed) {
            return Some(later);
        }
        if begins_anew || training.furthest.is_some_and(|step| step >= after_step) {
            let began = announced.grace_began.unwrap_or(sight.elapsed);
            self.state = State::Announced(Announced { grace_began: Some(began), ..announced });
            let is_over = sight.elapsed.saturating_sub(began) >= self.order.grace;
            let why = format!("the trainer has not stopped after step {after_step}");
            return is_over.then(|| self.terminate(verdict, &why));
        }
        let patience = self.order.grace.saturating_add(self.pace.slowest().saturating_mul(SILENT_STEPS));
        let is_silent = sight.elapsed.saturating_sub(self.alive.2) >= patience;
        let why =
            format!("nothing was heard of the trainer for {patience:?}, and it has not come to step {after_step}");
        is_silent.then(|| self.terminate(verdict, &why))
    }

    /// A later step for all ranks, where one has gone past the last one: it has heard of it too late, and does not stop alone.
    fn name_later(
        &mut self,
        announced: Announced,
        training: Training,
        elapsed: Duration,
    ) -> Option<(GateAct, Finding)> {
        let Announced { after_step, later_steps, .. } = announced;
        let furthest = training.furthest.filter(|step| *step > after_step)?;
        if training.ranks.all < 2 || later_steps >= MOST_LATER_STEPS {
            return None;
        }
        let later = self.reachable(training, elapsed).filter(|step| self.end.is_none_or(|end| end > *step))?;
        let later_steps = later_steps + 1;
        self.state = State::Announced(Announced { after_step: later, grace_began: None, later_steps, ..announced });
        let text = format!(
            "a rank has come to step {furthest} without stopping after step {after_step}: the gate `{}` has all ranks save and stop \
             after step {later} instead",
            self.order.gate
        );
        Some((GateAct::StopAfter(later), Finding { code: "gate-late".to_owned(), text }))
    }

    /// A step that lies ahead of all ranks when they hear of it.
    fn reachable(&self, training: Training, elapsed: Duration) -> Option<u64> {
        let progress = training.progress?;
        let step = training.furthest.map_or(progress.step, |furthest| furthest.max(progress.step));
        let made = self.pace.steps_in(self.pace.since(elapsed)?.saturating_add(LEAD))?;
        step.checked_add(made)?.checked_add(LEAST_STEPS)
    }

    /// The verdict that is to be stopped, the law's or, where that passes, a house rule's, and words for whose it is.
    fn stopping(&self, sight: &Sight<'_>, then: Flops, others: &ToCome) -> Option<(Verdict, &'static str)> {
        let stops = |verdict: &Verdict| self.order.gate.stops(*verdict);
        let spent = sight.judge.grown(&sight.all(), sight.own, then).and_more(others.own);
        let judge = sight.judge.after(others);
        let by_law = Some(verdict(sight, &judge, &spent)).filter(stops).map(|verdict| (verdict, ""));
        let by_house = || judge.house_verdict_at_least(&spent).filter(stops);
        by_law.or_else(|| Some((by_house()?, "by the house rule ")))
    }

    /// Until the trainer has stopped after this step and the meter has seen it; the others go on for as long.
    fn time_until(&self, after_step: Option<u64>, training: Training) -> Duration {
        let behind = training.progress.map(|progress| progress.step);
        let steps = after_step.zip(behind).map_or(0, |(after, step)| after.saturating_sub(step));
        self.pace.time_of(steps.saturating_add(self.margin())).max(LEAD).saturating_add(LOOKS_APART)
    }

    /// Steps until the next look.
    fn margin(&self) -> u64 {
        self.pace.steps_in(LOOKS_APART).unwrap_or(0).saturating_add(1)
    }

    /// Whether the grace is over since nobody could be asked. Ranks on other nodes are metered there and cannot be told from here: then
    /// none is asked, since those that were not would wait for those that have stopped.
    fn has_waited(&mut self, elapsed: Duration) -> bool {
        let since = match self.state {
            State::Waiting { since } => since,
            _ => elapsed,
        };
        self.state = State::Waiting { since };
        elapsed.saturating_sub(since) >= self.order.grace
    }

    fn terminate(&mut self, verdict: Verdict, why: &str) -> (GateAct, Finding) {
        self.state = State::Terminated { verdict };
        let text = format!(
            "the gate `{}` ends the job by SIGTERM at the verdict `{}`: {why}",
            self.order.gate,
            super::line::verdict_name(verdict)
        );
        (GateAct::Terminate, Finding { code: "gate-terminated".to_owned(), text })
    }
}

/// The run's training operations once the step after `step` and those of the margin are done as well: what stopping after `step`
/// would come too late for.
fn spent_by(sight: &Sight<'_>, step: u64, margin: u64, course: Option<&Course>) -> Flops {
    let end = step.saturating_add(margin);
    course.and_then(|course| course.guess(end)).map_or(sight.training(), |range: Range<Flops>| range.high)
}

/// The law's verdict on what will be spent, or what the counted part says where that is already worse.
fn verdict(sight: &Sight<'_>, judge: &Judge, then: &Spent) -> Verdict {
    match judge.verdict_at_least(then) {
        // What is to come has no ceiling; what has come may have one, which settles it for now.
        Verdict::Undetermined => sight.judge.verdict(sight.all()),
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests;
