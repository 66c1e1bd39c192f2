//! A gate: has the trainer save and stop before the modification reaches the verdict that it is to stop.
//!
//! The trainer is told a step that lies ahead of all its ranks, so that each of them stops after the same one; ranks that stopped
//! apart would wait for each other for ever. Ranks read what they are told after each step, so the step is chosen at least
//! [`LEAD`] away.

use std::time::Duration;

use flopsmeter_core::assess::{Spent, Verdict};
use flopsmeter_core::facts::Progress;
use flopsmeter_core::forecast::{Course, Range};
use flopsmeter_core::gate::Gate;
use flopsmeter_core::run::Finding;
use flopsmeter_core::unit::Flops;

use super::line::Sight;

/// Time in which every rank reads what it was told.
const LEAD: Duration = Duration::from_secs(1);

/// Steps that are always left: the one that is being made, and the one after.
const LEAST_STEPS: u64 = 2;

/// Until the next look, with room for a busy machine.
const LOOKS_APART: Duration = Duration::from_millis(500);

/// How long ranks that have not told of a step yet are waited for.
const RANKS_PATIENCE: Duration = Duration::from_secs(2);

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
    /// The last step that was told of, also by trainers that have ended.
    pub(super) last: Option<u64>,
    pub(super) ranks: Ranks,
}

/// What has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A verdict is ahead, and not all ranks have told of a step.
    Waiting {
        since: Duration,
    },
    Announced {
        verdict: Verdict,
        after_step: u64,
        deadline: Duration,
    },
    Terminated {
        verdict: Verdict,
    },
}

/// Watches one job.
#[derive(Debug)]
pub(super) struct GateKeeper {
    order: GateOrder,
    state: State,
    pace: Pace,
    last_step: u64,
    /// Training operations when the trainer had stopped by itself.
    stopped_at: Option<Flops>,
}

/// Steps over time, from the trainer's own words.
#[derive(Debug, Default)]
struct Pace {
    first: Option<(u64, Duration)>,
    last: Option<(u64, Duration)>,
}

impl Pace {
    fn observe(&mut self, step: u64, elapsed: Duration) {
        if self.last.is_some_and(|(last, _)| step < last) {
            *self = Self::default();
        }
        if self.last.is_none_or(|(last, _)| step > last) {
            self.first.get_or_insert((step, elapsed));
            self.last = Some((step, elapsed));
        }
    }

    /// Milliseconds for so many steps: how long they took so far, or for a first step the whole session.
    fn of(&self) -> Option<(u128, u64)> {
        let ((first, began), (last, now)) = (self.first?, self.last?);
        if last > first {
            Some((now.saturating_sub(began).as_millis(), last - first))
        } else {
            Some((now.as_millis(), last.max(1)))
        }
    }

    /// Steps that are made in this time, rounded up.
    fn steps_in(&self, time: Duration) -> Option<u64> {
        let (milliseconds, steps) = self.of()?;
        let made = time.as_millis().saturating_mul(steps.into()).div_ceil(milliseconds.max(1));
        u64::try_from(made).ok()
    }

    /// Time for so many steps.
    fn time_for(&self, steps: u64) -> Option<Duration> {
        let (milliseconds, made) = self.of()?;
        let milliseconds = milliseconds.saturating_mul(steps.into()).div_ceil(u128::from(made.max(1)));
        u64::try_from(milliseconds).ok().map(Duration::from_millis)
    }
}

impl GateKeeper {
    pub(super) fn new(order: GateOrder) -> Self {
        let (state, pace) = (State::Open, Pace::default());
        Self { order, state, pace, last_step: 0, stopped_at: None }
    }

    /// What is to be done now, and what is to be said of it. `course` is the run's training operations over steps.
    pub(super) fn look(
        &mut self,
        sight: &Sight<'_>,
        training: Training,
        course: Option<&Course>,
    ) -> Option<(GateAct, Finding)> {
        if let Some(progress) = training.progress {
            self.pace.observe(progress.step, sight.elapsed);
        }
        self.last_step = training.last.unwrap_or(self.last_step);
        match self.state {
            State::Open | State::Waiting { .. } => self.decide(sight, training, course),
            State::Announced { verdict, after_step, deadline } => {
                let is_over = training.progress.is_none();
                if is_over {
                    self.stopped_at.get_or_insert(sight.training());
                }
                let goes_on = self.stopped_at.is_some_and(|stopped| sight.training() > stopped);
                if sight.elapsed < deadline || (is_over && !goes_on) {
                    return None;
                }
                Some(self.terminate(verdict, &format!("the trainer has not stopped after step {after_step}")))
            }
            State::Terminated { .. } => None,
        }
    }

    /// The verdict because of which the job was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<Verdict> {
        match self.state {
            State::Announced { verdict, after_step, .. } if self.last_step >= after_step => Some(verdict),
            State::Terminated { verdict } => Some(verdict),
            _ => None,
        }
    }

    fn decide(&mut self, sight: &Sight<'_>, training: Training, course: Option<&Course>) -> Option<(GateAct, Finding)> {
        // Before anything was counted, nothing of this job can be judged.
        sight.own.flops?;
        let after_step = training.progress.and_then(|progress| self.reachable(progress, sight.elapsed));
        let then = after_step.map_or(sight.training(), |step| spent_by(sight, step, self.margin(), course));
        let verdict = verdict(sight, then);
        if !self.order.gate.stops(verdict) {
            self.state = State::Open;
            return None;
        }
        let Some((progress, after_step)) = training.progress.zip(after_step) else {
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
        if progress.max_steps.is_some_and(|end| end <= after_step) {
            // It ends by itself before anybody could be told.
            return None;
        }
        let ahead = self.pace.time_for(after_step - progress.step).unwrap_or(LEAD);
        let deadline = sight.elapsed.saturating_add(ahead.saturating_mul(2)).saturating_add(self.order.grace);
        self.state = State::Announced { verdict, after_step, deadline };
        let text = format!(
            "the gate `{}` has the trainer save and stop after step {after_step}: with the steps after it the verdict would be `{}`; \
             assess the modification before going on",
            self.order.gate,
            super::line::verdict_name(verdict)
        );
        Some((GateAct::StopAfter(after_step), Finding { code: "gate-stop".to_owned(), text }))
    }

    /// A step that lies ahead of all ranks when they hear of it.
    fn reachable(&self, progress: Progress, elapsed: Duration) -> Option<u64> {
        let since = elapsed.saturating_sub(self.pace.last?.1);
        let made = self.pace.steps_in(since.saturating_add(LEAD))?;
        progress.step.checked_add(made)?.checked_add(LEAST_STEPS)
    }

    /// Steps until the next look.
    fn margin(&self) -> u64 {
        self.pace.steps_in(LOOKS_APART).unwrap_or(0).saturating_add(1)
    }

    /// Whether ranks were waited for long enough. Those on other nodes are metered there and cannot be told from here: then none is
    /// asked, since those that were not would wait for those that have stopped.
    fn has_waited(&mut self, elapsed: Duration) -> bool {
        let since = match self.state {
            State::Waiting { since } => since,
            _ => elapsed,
        };
        self.state = State::Waiting { since };
        elapsed.saturating_sub(since) >= RANKS_PATIENCE
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

/// What the assessment says, or what the counted part says where that is already worse: a lower bound can only rise.
fn verdict(sight: &Sight<'_>, then: Flops) -> Verdict {
    let spent: Spent = sight.judge.grown(sight.others, sight.own, then);
    let counted = sight.judge.stand(spent.clone()).map(|stand| stand.assessment.verdict);
    match counted {
        Some(verdict @ (Verdict::Near | Verdict::Exceeds)) => verdict,
        _ => sight.judge.verdict(spent),
    }
}

#[cfg(test)]
mod tests;
