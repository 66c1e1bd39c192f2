//! A job that approaches its line step by step.

use std::collections::BTreeMap;

use flopsmeter_core::assess::Answers;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::registry::{Base, DeclaredBase};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{Ceiling, RunFlops, RunSummary};
use flopsmeter_core::tally::Tally;

use super::*;
use crate::clock::SessionClock;
use crate::session::company::Company;
use crate::session::siblings::Standing;

/// Against a line of 1000; each step takes a second and ten operations.
struct Scene {
    judge: Judge,
    company: Company,
    others: Vec<RunSummary>,
    clock: SessionClock,
    keeper: GateKeeper,
    course: Course,
    end: Option<u64>,
    ranks: Ranks,
    /// How far the first rank is ahead of the last.
    apart: u64,
    has_told: bool,
    is_lost: bool,
    own: RunSummary,
}

impl Scene {
    fn new(gate: &str, end: Option<u64>) -> Self {
        let text = "name = \"a/b\"\nflop = \"3000\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n";
        let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        let judge = Judge {
            base: Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap()))),
            rules: RuleSet::in_force(as_of).unwrap(),
            as_of,
            answers: Answers::default(),
            ancestry: None,
        };
        let order = GateOrder { gate: gate.parse().unwrap(), grace: Duration::from_mins(1) };
        Self {
            judge,
            company: Company::default(),
            others: Vec::new(),
            clock: SessionClock::start(),
            keeper: GateKeeper::new(order),
            course: Course::from(0, Flops::ZERO),
            end,
            ranks: Ranks { heard: 2, all: 2 },
            apart: 0,
            has_told: false,
            is_lost: false,
            own: RunSummary { complete: true, ..Tally::new().summary() },
        }
    }

    fn look(&mut self, milliseconds: u64, training: u128, step: Option<u64>) -> Option<GateAct> {
        let flops = RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() };
        let own = RunSummary { flops: Some(flops), ..self.own.clone() };
        let elapsed = Duration::from_millis(milliseconds);
        let sight = Sight {
            judge: &self.judge,
            others: &self.others,
            company: &self.company,
            own: &own,
            job: &own,
            clock: self.clock,
            elapsed,
        };
        if let Some(step) = step {
            self.has_told = true;
            self.course.observe(step, Flops(training));
        }
        let progress = step.map(|step| Progress { step, first_step: 0, max_steps: self.end });
        let last = self.has_told.then_some(self.course.position());
        let furthest = step.map(|step| step + self.apart);
        let training = Training { progress, furthest, last, is_lost: self.is_lost, ranks: self.ranks };
        self.keeper.look(&sight, training, Some(&self.course)).map(|(act, _)| act)
    }

    /// Steps of a second each, up to the first act.
    fn run_to_act(&mut self) -> Option<(u64, GateAct)> {
        (1..200).find_map(|step| Some((step, self.look(1000 * step, u128::from(step) * 10, Some(step))?)))
    }
}

#[test]
fn the_trainer_is_stopped_before_the_line() {
    let mut scene = Scene::new("exceeds", Some(500));
    // 100 steps are the line. It is told three seconds and three steps ahead, with the margin of two.
    let (step, act) = scene.run_to_act().unwrap();
    assert_eq!((step, act), (93, GateAct::StopAfter(99)));
    assert_eq!(scene.keeper.stopped(), None, "it has not stopped yet");
    assert_eq!(scene.look(99_000, 990, Some(99)), None);
    assert_eq!(scene.keeper.stopped(), Some(Stopped::ByTrainer(Verdict::Exceeds)));
    // It has said goodbye: whatever its process still does, the gate has no part in it.
    assert_eq!(scene.look(10_000_000, 990, None), None);
}

/// Another run of the modification that does as much, read once a second.
#[test]
fn two_jobs_that_stop_each_by_itself_do_not_cross_together() {
    let mut scene = Scene::new("exceeds", None);
    let started = scene.clock.started();
    let other = |training: u128| RunSummary {
        run: "other".to_owned(),
        started,
        flops: Some(RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() }),
        ..scene.own.clone()
    };
    let other: Vec<RunSummary> = (0..200).map(|second| other(second * 10)).collect();
    let (step, act) = (1..200_u64)
        .find_map(|step| {
            // Read a second late.
            let read = Duration::from_secs(step - 1);
            scene.others = vec![other[usize::try_from(step - 1).unwrap()].clone()];
            let others = Standing { runs: scene.others.clone(), ..Standing::default() };
            let read_of = (&others, &BTreeMap::new());
            scene.company.observe(&scene.judge, read_of, "own", (read, scene.clock.at(read)));
            Some((step, scene.look(1000 * step, u128::from(step) * 10, Some(step))?))
        })
        .unwrap();
    let GateAct::StopAfter(after) = act else { panic!("{act:?} at step {step}") };
    assert!(20 * after <= 1000, "both stop after step {after}, and are over the line together");
    assert!(20 * after > 800, "they stop long before they have to: after step {after}");
}

#[test]
fn near_stops_before_the_near_edge() {
    let mut scene = Scene::new("near", None);
    // The near edge is at 538.5.
    assert_eq!(scene.run_to_act(), Some((46, GateAct::StopAfter(52))));
}

#[test]
fn a_trainer_that_goes_on_is_terminated_after_the_grace() {
    let mut scene = Scene { ranks: Ranks { heard: 1, all: 1 }, ..Scene::new("exceeds", None) };
    assert_eq!(scene.run_to_act(), Some((93, GateAct::StopAfter(99))));
    // However long it takes to come there.
    for step in 94..99 {
        assert_eq!(scene.look(93_000 + (step - 93) * 50_000, u128::from(step) * 10, Some(step)), None);
    }
    assert_eq!(scene.look(400_000, 990, Some(99)), None);
    assert_eq!(scene.look(459_000, 1000, Some(100)), None);
    assert_eq!(scene.look(460_000, 1000, Some(100)), Some(GateAct::Terminate));
    assert_eq!(scene.look(600_000, 1000, Some(100)), None, "never twice");
    assert_eq!(scene.keeper.stopped(), Some(Stopped::BySignal(Verdict::Exceeds)));
}

#[test]
fn a_trainer_that_falls_silent_is_terminated_late() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.run_to_act(), Some((93, GateAct::StopAfter(99))));
    // A minute and ten steps.
    assert_eq!(scene.look(162_000, 930, Some(93)), None);
    assert_eq!(scene.look(163_000, 930, Some(93)), Some(GateAct::Terminate));
}

#[test]
fn a_rank_that_heard_too_late_has_all_told_a_later_step() {
    let mut scene = Scene { apart: 2, ..Scene::new("exceeds", None) };
    // The step lies ahead of the first rank.
    assert_eq!(scene.run_to_act(), Some((91, GateAct::StopAfter(99))));
    assert_eq!(scene.look(97_000, 970, Some(97)), None);
    assert_eq!(scene.look(98_000, 980, Some(98)), Some(GateAct::StopAfter(106)));
    assert_eq!(scene.look(200_000, 1040, Some(104)), None, "the grace begins again");
    assert_eq!(scene.look(259_000, 1040, Some(104)), None);
    assert_eq!(scene.look(260_000, 1040, Some(104)), Some(GateAct::Terminate));
}

#[test]
fn a_trainer_that_begins_anew_is_terminated() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.run_to_act(), Some((93, GateAct::StopAfter(99))));
    assert_eq!(scene.look(99_000, 990, None), None);
    assert_eq!(scene.look(500_000, 990, None), None);
    assert_eq!(scene.look(501_000, 1000, None), None);
    assert_eq!(scene.look(561_000, 1000, None), Some(GateAct::Terminate));
}

#[test]
fn a_job_that_ends_by_itself_is_left_alone() {
    let mut scene = Scene::new("exceeds", Some(99));
    assert_eq!(scene.run_to_act(), None);
    assert_eq!(scene.keeper.stopped(), None);
}

#[test]
fn a_job_whose_training_is_over_may_save_its_model() {
    let mut scene = Scene::new("exceeds", Some(102));
    // The last steps come at once: nobody could be told in time.
    for step in 1..90 {
        assert_eq!(scene.look(1000 * step, u128::from(step) * 10, Some(step)), None);
    }
    assert_eq!(scene.look(90_000, 1020, None), None);
    assert_eq!(scene.look(9_000_000, 1020, None), None);
    // It trains again, and nobody tells of steps.
    assert_eq!(scene.look(9_001_000, 1030, None), None);
    assert_eq!(scene.look(9_060_000, 1030, None), None);
    assert_eq!(scene.look(9_061_000, 1030, None), Some(GateAct::Terminate));
}

#[test]
fn a_trainer_that_was_lost_is_not_over_where_the_undetermined_is_stopped() {
    let act = |gate: &str| {
        let mut scene = Scene::new(gate, Some(500));
        assert_eq!(scene.look(1000, 10, Some(1)), None);
        (scene.is_lost, scene.own.complete) = (true, false);
        assert_eq!(scene.look(2000, 10, None), None);
        scene.look(62_000, 10, None)
    };
    assert_eq!(act("near"), None);
    assert_eq!(act("near,undetermined"), Some(GateAct::Terminate));
}

#[test]
fn what_is_heard_at_the_end_decides_nothing_more() {
    let ended_at = |step: u64| {
        let mut scene = Scene::new("exceeds", Some(500));
        assert_eq!(scene.run_to_act(), Some((93, GateAct::StopAfter(99))));
        scene.keeper.note_end(Some(step));
        scene.keeper.stopped()
    };
    assert_eq!(ended_at(98), None, "it ended for a reason of its own");
    assert_eq!(ended_at(99), Some(Stopped::ByTrainer(Verdict::Exceeds)));
    assert_eq!(ended_at(100), None, "it did not heed the gate");
    let mut open = Scene::new("exceeds", Some(500));
    assert_eq!(open.look(1000, 10, Some(1)), None);
    open.keeper.note_end(Some(200));
    assert_eq!(open.keeper.stopped(), None);
}

#[test]
fn ranks_that_cannot_be_stopped_together_are_terminated_after_the_grace() {
    let mut scene = Scene { ranks: Ranks { heard: 2, all: 4 }, ..Scene::new("exceeds", None) };
    assert_eq!(scene.run_to_act(), Some((153, GateAct::Terminate)));
}

#[test]
fn without_steps_there_is_only_sigterm() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.look(1000, 900, None), None);
    assert_eq!(scene.look(2000, 1001, None), None, "a step may still be told");
    assert_eq!(scene.look(61_000, 1001, None), None);
    assert_eq!(scene.look(62_000, 1001, None), Some(GateAct::Terminate));
}

#[test]
fn what_a_ceiling_proves_below_is_not_undetermined() {
    let act = |ceiling: Option<u128>| {
        let mut scene = Scene::new("near,undetermined", None);
        scene.own.complete = false;
        scene.own.ceiling = Ceiling { flop: ceiling.map(Flops), complete: ceiling.is_some(), ..scene.own.ceiling };
        scene.look(1000, 10, Some(1))
    };
    assert_eq!(act(Some(100)), None);
    assert!(act(None).is_some());
}

#[test]
fn undetermined_stops_only_where_it_is_listed() {
    let unknown = |gate: &str| {
        let mut scene = Scene::new(gate, None);
        scene.judge.base = None;
        scene.run_to_act().is_some()
    };
    assert!(!unknown("near"));
    assert!(unknown("near,undetermined"));
}
