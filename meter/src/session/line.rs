//! Watches how close the modification comes to its line, and how close it will come.

mod assessed;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::alert::{Key, Level, Levels, Stand, Watch, What, words};
use flopsmeter_core::assess::{Spent, Verdict};
use flopsmeter_core::facts::Progress;
use flopsmeter_core::forecast::{Course, Range};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::Digest;
use flopsmeter_core::ledger::body::{LevelsLeft, RunOpened};
use flopsmeter_core::run::{Alert, Crossing, Outlook, RunSummary};
use flopsmeter_core::unit::Flops;

use super::announcements::{self, Speaker};
use super::company::Company;
use crate::clock::SessionClock;
use crate::daemon::RunForecast;
use crate::store::Ledger;
use assessed::Assessed;

/// Between two forecasts at least, and where the run has lasted: what comes of an hour does not turn within a second, and each is four
/// assessments.
const FORECAST_PERIOD: Duration = Duration::from_secs(1);
const LATE_FORECAST_PERIOD: Duration = Duration::from_secs(10);

/// A sixth of the run so far, within these.
fn forecast_period(elapsed: Duration) -> Duration {
    (elapsed / 6).clamp(FORECAST_PERIOD, LATE_FORECAST_PERIOD)
}

/// Between two looks whether another run has come to tell what it took upon itself.
const PUT_OFF: Duration = Duration::from_secs(30);

/// How far ahead is looked where the schedule has no end: any job that goes on for ever reaches every line.
const HORIZON: Duration = Duration::from_hours(24);

/// What has to be seen before so much is foreseen.
const MINIMUM_SEEN: Duration = Duration::from_mins(1);

/// What is looked at.
pub(super) struct Sight<'a> {
    pub(super) judge: &'a Judge,
    /// Other jobs.
    pub(super) others: &'a [RunSummary],
    /// What those may still spend.
    pub(super) company: &'a Company,
    pub(super) own: &'a RunSummary,
    /// Its job: the run itself, with its parts on other nodes where it has any.
    pub(super) job: &'a RunSummary,
    pub(super) clock: SessionClock,
    /// Time of the session.
    pub(super) elapsed: Duration,
}

impl Sight<'_> {
    pub(super) fn all(&self) -> Spent {
        Spent::of_runs(self.judge.rules, self.others.iter().chain([self.job]))
    }

    pub(super) fn training(&self) -> Flops {
        self.own.flops.map_or(Flops::ZERO, |flops| flops.training)
    }

    /// What the modification will have spent once this run has done `then` training operations, and what is held for others is spent.
    fn spent_at(&self, then: Flops) -> Spent {
        self.judge.grown(&self.all(), self.own, then).and_more(self.company.reserved().own)
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.at(self.elapsed)
    }
}

/// An alert, and who is to hear it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) alert: Alert,
    /// Keys of the sinks that have not heard of it; `None` for all.
    pub(super) sinks: Option<BTreeSet<String>>,
}

/// What was said, and how the run has grown.
#[derive(Debug)]
pub(super) struct LineWatch {
    watch: Watch,
    run: String,
    modification: Option<String>,
    /// Keys of the sinks that this run tells.
    sinks: BTreeSet<String>,
    by_step: Option<BySteps>,
    /// Training operations over milliseconds of the session.
    by_time: Course,
    next_forecast: Duration,
    /// The last assessment: until the next forecast another one is made only where it can say something else.
    assessed: Option<Assessed>,
    /// How often levels were left behind.
    times_left: usize,
    /// Levels that another run is telling sinks of this one, which may not come to it, and when to look again.
    put_off: BTreeSet<Key>,
    look_again: Duration,
    /// Something was fed since the last forecast.
    owes_forecast: bool,
    /// Where the run leads, as it was foreseen last.
    foreseen: Option<RunForecast>,
}

/// Training operations over the steps of one schedule.
#[derive(Debug)]
struct BySteps {
    first_step: u64,
    end: Option<u64>,
    course: Course,
}

impl LineWatch {
    pub(super) fn new(levels: Levels, run: &RunOpened) -> Self {
        Self {
            watch: Watch::new(levels),
            run: run.run.clone(),
            modification: run.modification.clone(),
            sinks: BTreeSet::new(),
            by_step: None,
            by_time: Course::from(0, Flops::ZERO),
            next_forecast: Duration::ZERO,
            assessed: None,
            times_left: 0,
            put_off: BTreeSet::new(),
            look_again: Duration::ZERO,
            owes_forecast: false,
            foreseen: None,
        }
    }

    /// The same, telling these sinks.
    pub(super) fn telling(self, sinks: BTreeSet<String>) -> Self {
        Self { sinks, ..self }
    }

    /// The levels that are watched.
    pub(super) const fn levels(&self) -> &Levels {
        self.watch.levels()
    }

    /// The training operations of the run when its schedule ends, as far as stretches differ so far.
    pub(super) fn ends(&self) -> Option<Range<Flops>> {
        let steps = self.by_step.as_ref()?;
        steps.course.at(steps.end?)
    }

    /// Where the run leads its modification.
    pub(super) const fn foreseen(&self) -> Option<RunForecast> {
        self.foreseen
    }

    /// Whether to look though nothing was fed: something was put off.
    pub(super) fn is_due(&self, elapsed: Duration) -> bool {
        (self.owes_forecast && elapsed >= self.next_forecast)
            || (!self.put_off.is_empty() && elapsed >= self.look_again)
    }

    /// Has the next look assess anew: what is held against the line, or the line, is not what it was.
    pub(super) const fn assess_anew(&mut self) {
        self.assessed = None;
    }

    /// Training operations over the steps of the schedule, as far as steps were told of.
    pub(super) fn by_step(&self) -> Option<&Course> {
        self.by_step.as_ref().map(|steps| &steps.course)
    }

    /// Observes how the run has grown, and gives what is to be said now.
    pub(super) fn look(
        &mut self,
        sight: &Sight<'_>,
        progress: Option<(Progress, Flops)>,
        has_ended: bool,
        mut ledger: Option<&mut Ledger>,
    ) -> Vec<Said> {
        self.observe(sight, progress);
        if has_ended {
            self.look_again = Duration::ZERO;
        }
        let all = sight.all();
        let rests = !has_ended && sight.elapsed < self.next_forecast && !self.is_due(sight.elapsed);
        if rests && self.assessed.as_ref().is_some_and(|before| before.holds_for(&all)) {
            self.owes_forecast = true;
            return Vec::new();
        }
        let Some(stand) = sight.judge.stand(all.clone()) else { return Vec::new() };
        self.assessed = Some(Assessed::of(&all, &stand, self.levels()));
        if self.watch.has_said(What::Spent)
            && let Some(eased) = sight.judge.eased(&all, &stand)
        {
            self.leave_behind(What::Spent, &eased, sight, ledger.as_deref_mut());
        }
        let reached = self.say(What::Spent, &stand, sight, ledger.as_deref_mut(), |keys| {
            (words::reached(&stand, &levels(keys)), None)
        });
        self.owes_forecast = !has_ended && sight.elapsed < self.next_forecast;
        if has_ended || self.owes_forecast {
            return reached.into_iter().collect();
        }
        self.next_forecast = sight.elapsed + forecast_period(sight.elapsed);
        let foreseen = self.foresee(&stand, sight, ledger);
        if sight.elapsed >= self.look_again {
            // What is still put off is of another line, or is foreseen no more.
            self.put_off.clear();
        }
        reached.into_iter().chain(foreseen).collect()
    }

    fn observe(&mut self, sight: &Sight<'_>, progress: Option<(Progress, Flops)>) {
        let training = sight.training();
        if training == Flops::ZERO {
            return;
        }
        let milliseconds = u64::try_from(sight.elapsed.as_millis()).unwrap_or(u64::MAX);
        if self.by_time.position() == 0 {
            // What came before the first step was no training.
            self.by_time = Course::from(milliseconds.max(1), training);
        } else {
            self.by_time.observe(milliseconds, training);
        }
        let Some((Progress { step, first_step, max_steps: end }, began)) = progress else { return };
        let is_same =
            |steps: &BySteps| steps.first_step == first_step && steps.end == end && steps.course.position() <= step;
        if !self.by_step.as_ref().is_some_and(is_same) {
            self.by_step = Some(BySteps { first_step, end, course: Course::from(first_step, began) });
        }
        if let Some(steps) = &mut self.by_step {
            steps.course.observe(step, training);
        }
    }

    /// What is foreseen: at the end of the schedule, or where it has none, within the horizon.
    fn foresee(&mut self, now: &Stand, sight: &Sight<'_>, mut ledger: Option<&mut Ledger>) -> Option<Said> {
        let (totals, is_end, is_settled) = self.totals(sight.elapsed)?;
        let reserved = sight.company.reserved();
        let judge = sight.judge.after(&reserved);
        let best = sight.spent_at(totals.best);
        let then = judge.stand(best.clone())?;
        if self.watch.has_said(What::Forecast)
            && let Some(eased) = judge.eased(&best, &then)
        {
            self.leave_behind(What::Forecast, &eased, sight, ledger.as_deref_mut());
        }
        let by_time = self.by_time.clone();
        let stand_at = |then: Flops| judge.stand(sight.spent_at(then));
        let (low, high) = (stand_at(totals.low), stand_at(totals.high));
        let crosses = || when(Level::Share(100), now, sight, &by_time)?.best.map(|time| time.timestamp());
        let at_end = |stand: &Option<Stand>| stand.as_ref().filter(|_| is_end).and_then(|stand| stand.amount);
        self.foreseen = Some(RunForecast {
            low: at_end(&low),
            high: at_end(&high),
            crosses: (now.amount <= now.line()).then(crosses).flatten(),
        });
        // A first impression is said only where even its low end leads there.
        let seen = if is_settled { &then } else { low.as_ref()? };
        self.say(What::Forecast, seen, sight, ledger, |keys| {
            let levels = levels(keys);
            let is_certain = levels.last().zip(low.as_ref()).is_some_and(|(level, low)| low.reaches(*level));
            let amount = |stand: Option<&Stand>| stand.and_then(|stand| stand.amount).unwrap_or_default();
            let ends = Range { low: amount(low.as_ref()), best: amount(Some(&then)), high: amount(high.as_ref()) };
            let reached = levels.last().and_then(|level| when(*level, now, sight, &by_time));
            let outlook = Outlook { at_end: is_end.then_some(ends), reached, reserved: reserved.together() };
            let text = words::foreseen(seen, is_certain, now.amount.unwrap_or_default(), &levels, &outlook);
            (text, Some(outlook))
        })
    }

    /// Training operations of the run to come, whether that is at the end of a schedule, and whether enough was seen.
    fn totals(&self, elapsed: Duration) -> Option<(Range<Flops>, bool, bool)> {
        if let Some(steps) = self.by_step.as_ref().filter(|steps| steps.end.is_some()) {
            return Some((self.ends()?, true, steps.course.is_settled()));
        }
        if u128::from(self.by_time.length()) < MINIMUM_SEEN.as_millis() {
            return None;
        }
        let ahead = u64::try_from((elapsed + HORIZON).as_millis()).ok()?;
        Some((self.by_time.at(ahead)?, false, self.by_time.is_settled()))
    }

    /// The alert of the levels that are due, if it falls to this run to say so.
    fn say(
        &mut self,
        what: What,
        stand: &Stand,
        sight: &Sight<'_>,
        ledger: Option<&mut Ledger>,
        words: impl FnOnce(&[Key]) -> (String, Option<Outlook>),
    ) -> Option<Said> {
        let mut due = self.watch.due(what, stand);
        due.extend(self.take_put_off(what, stand, sight.elapsed));
        let line = stand.assessment.line.as_ref().filter(|_| !due.is_empty())?;
        let id = |left: usize| self.id(&due, left);
        let claimed = self.modification.as_deref().zip(ledger).and_then(|(slug, ledger)| {
            let speaker = Speaker { slug, run: &self.run, since: sight.clock.started(), sinks: &self.sinks };
            announcements::claim(ledger, speaker, sight.now(), &due, id).ok()
        });
        // A ledger that cannot be asked leaves it said twice rather than never.
        let (own, id, sinks) = match claimed {
            Some(claim) => {
                if !claim.under_way.is_empty() {
                    self.put_off.extend(claim.under_way);
                    self.look_again = sight.elapsed + PUT_OFF;
                }
                (claim.keys, claim.id, Some(claim.sinks))
            }
            None => (due.clone(), id(self.times_left), None),
        };
        for key in due {
            self.watch.say(key);
        }
        if own.is_empty() {
            return None;
        }
        let (text, outlook) = words(&own);
        let spent = sight.judge.stand(sight.all());
        let crossing = Crossing {
            id,
            modification: self.modification.clone(),
            what,
            levels: levels(&own),
            spent: spent.as_ref().and_then(|now| now.amount).unwrap_or_default(),
            line: line.flop,
            rule: line.rule.clone(),
            house: stand.house.clone(),
            share_of_line_percent: spent.and_then(|now| now.assessment.share_of_line_percent),
            is_lower_bound: stand.is_lower_bound,
            outlook,
        };
        let verdict = verdict_name(stand.assessment.verdict).to_owned();
        Some(Said { alert: Alert { at: sight.now(), verdict, text, crossing: Some(crossing) }, sinks })
    }

    /// Levels that were left to another run, once it is time to see what became of them.
    fn take_put_off(&mut self, what: What, stand: &Stand, elapsed: Duration) -> Vec<Key> {
        if self.put_off.is_empty() || elapsed < self.look_again {
            return Vec::new();
        }
        let line = stand.line_key();
        let is_still = |key: &Key| key.what == what && line.as_ref() == Some(&key.line);
        let (taken, left) = core::mem::take(&mut self.put_off).into_iter().partition(is_still);
        self.put_off = left;
        let taken: BTreeSet<Key> = taken;
        taken.into_iter().filter(|key| stand.reaches(key.level)).collect()
    }

    fn leave_behind(&mut self, what: What, eased: &Stand, sight: &Sight<'_>, ledger: Option<&mut Ledger>) {
        let keys = self.watch.leave_behind(what, eased);
        if keys.is_empty() {
            return;
        }
        self.times_left += 1;
        if let Some((slug, ledger)) = self.modification.as_deref().zip(ledger) {
            let left = LevelsLeft { run: self.run.clone(), keys };
            // Not noted, the level is not said again: the milder fault.
            let _unnoted = announcements::release(ledger, slug, sight.now(), &left);
        }
    }

    /// Another one after the levels were left behind: who gets an alert takes one of the same id for the same.
    fn id(&self, keys: &[Key], left: usize) -> String {
        let of = self
            .modification
            .as_deref()
            .map_or_else(|| format!("run/{}", self.run), |slug| format!("modification/{slug}"));
        let keys: Vec<String> = keys.iter().map(|key| format!("{} {:?} {}", key.line, key.what, key.level)).collect();
        let digest = Digest::of(format!("{of}\n{left}\n{}", keys.join("\n")).as_bytes()).to_string();
        digest.chars().take(32).collect()
    }
}

/// When this run brings the modification to a level at the rates seen so far; `None` where its own operations and what is held
/// against the line are different sums.
fn when(level: Level, now: &Stand, sight: &Sight<'_>, by_time: &Course) -> Option<Range<Option<DateTime<Utc>>>> {
    let own = Spent::of_runs(sight.judge.rules, [sight.own]);
    if own.training != own.cumulative || own.training != Some(sight.training()) {
        return None;
    }
    let lacking = now.amount_of(level)?.0.saturating_sub(now.amount?.0).saturating_add(1);
    let reached = by_time.reach(sight.training() + Flops(lacking))?;
    Some(reached.map(|milliseconds| Some(sight.clock.at(Duration::from_millis(milliseconds?)))))
}

fn levels(keys: &[Key]) -> Vec<Level> {
    keys.iter().map(|key| key.level).collect()
}

pub(super) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Exceeds => "exceeds",
        Verdict::Near => "near",
        Verdict::Below => "below",
        Verdict::Undetermined => "undetermined",
    }
}

#[cfg(test)]
mod tests;
