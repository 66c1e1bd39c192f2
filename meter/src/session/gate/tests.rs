//! A job that approaches its line step by step.

use flopsmeter_core::assess::Answers;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::registry::{Base, DeclaredBase};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{RunFlops, RunSummary};
use flopsmeter_core::tally::Tally;

use super::*;
use crate::clock::SessionClock;

/// Against a line of 1000; each step takes a second and ten operations.
struct Scene {
    judge: Judge,
    clock: SessionClock,
    keeper: GateKeeper,
    course: Course,
    end: Option<u64>,
    ranks: Ranks,
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
        };
        let order = GateOrder { gate: gate.parse().unwrap(), grace: Duration::from_mins(1) };
        Self {
            judge,
            clock: SessionClock::start(),
            keeper: GateKeeper::new(order),
            course: Course::from(0, Flops::ZERO),
            end,
            ranks: Ranks { heard: 2, all: 2 },
        }
    }

    fn look(&mut self, milliseconds: u64, training: u128, step: Option<u64>) -> Option<GateAct> {
        let flops = RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() };
        let own = RunSummary { flops: Some(flops), complete: true, ..Tally::new().summary() };
        let elapsed = Duration::from_millis(milliseconds);
        let sight = Sight { judge: &self.judge, others: &[], own: &own, clock: self.clock, elapsed };
        if let Some(step) = step {
            self.course.observe(step, Flops(training));
        }
        let progress = step.map(|step| Progress { step, first_step: 0, max_steps: self.end });
        let last = Some(self.course.position());
        let training = Training { progress, last, ranks: self.ranks };
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
    // 100 steps are the line. It is told a second and two steps ahead, with the margin of two.
    let (step, act) = scene.run_to_act().unwrap();
    assert_eq!((step, act), (96, GateAct::StopAfter(99)));
    assert_eq!(scene.keeper.stopped(), None, "it has not stopped yet");
    assert_eq!(scene.look(99_000, 990, Some(99)), None);
    assert_eq!(scene.keeper.stopped(), Some(Verdict::Exceeds));
    // It has said goodbye: whatever its process still does, the gate has no part in it.
    assert_eq!(scene.look(10_000_000, 990, None), None);
}

#[test]
fn near_stops_before_the_near_edge() {
    let mut scene = Scene::new("near", None);
    // The near edge is at 538.5.
    assert_eq!(scene.run_to_act(), Some((49, GateAct::StopAfter(52))));
}

#[test]
fn a_trainer_that_goes_on_is_terminated_after_the_grace() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.run_to_act(), Some((96, GateAct::StopAfter(99))));
    // Twice three steps and a minute later.
    assert_eq!(scene.look(161_000, 1000, Some(100)), None);
    assert_eq!(scene.look(163_000, 1000, Some(100)), Some(GateAct::Terminate));
    assert_eq!(scene.look(200_000, 1000, Some(100)), None, "never twice");
    assert_eq!(scene.keeper.stopped(), Some(Verdict::Exceeds));
}

#[test]
fn a_trainer_that_begins_anew_is_terminated() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.run_to_act(), Some((96, GateAct::StopAfter(99))));
    assert_eq!(scene.look(99_000, 990, None), None);
    assert_eq!(scene.look(500_000, 990, None), None);
    assert_eq!(scene.look(501_000, 1000, None), Some(GateAct::Terminate));
}

#[test]
fn a_job_that_ends_by_itself_is_left_alone() {
    let mut scene = Scene::new("exceeds", Some(99));
    assert_eq!(scene.run_to_act(), None);
    assert_eq!(scene.keeper.stopped(), None);
}

#[test]
fn ranks_that_cannot_be_stopped_together_are_terminated() {
    let mut scene = Scene { ranks: Ranks { heard: 2, all: 4 }, ..Scene::new("exceeds", None) };
    assert_eq!(scene.run_to_act(), Some((98, GateAct::Terminate)));
}

#[test]
fn without_steps_there_is_only_sigterm() {
    let mut scene = Scene::new("exceeds", None);
    assert_eq!(scene.look(1000, 900, None), None);
    assert_eq!(scene.look(2000, 1001, None), None, "a step may still be told");
    assert_eq!(scene.look(4000, 1001, None), Some(GateAct::Terminate));
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
