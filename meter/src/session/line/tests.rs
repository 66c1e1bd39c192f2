//! A run that is watched step by step.

use flopsmeter_core::assess::Answers;
use flopsmeter_core::registry::{Base, DeclaredBase};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{RunFlops, RunState};
use flopsmeter_core::tally::Tally;

use super::*;
use crate::store::Writer;

/// Against a line of 1000.
fn judge() -> Judge {
    let text =
        "name = \"a/b\"\nflop = \"3000\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n";
    let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
    Judge {
        base: Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap()))),
        rules: RuleSet::in_force(as_of).unwrap(),
        as_of,
        answers: Answers::default(),
        ancestry: None,
    }
}

fn run(training: u128) -> RunSummary {
    let flops = RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() };
    RunSummary { flops: Some(flops), complete: true, state: RunState::Open, ..Tally::new().summary() }
}

struct Scene {
    judge: Judge,
    company: Company,
    clock: SessionClock,
    line: LineWatch,
}

impl Scene {
    fn new() -> Self {
        let line = LineWatch::new(Levels::default(), &RunOpened { run: "r".to_owned(), ..RunOpened::default() });
        Self { judge: judge(), company: Company::default(), clock: SessionClock::start(), line }
    }

    /// As one of the runs of a modification that tell the same sink.
    fn of_demo(run: &str) -> Self {
        let modification = Some("demo".to_owned());
        let opened = RunOpened { run: run.to_owned(), modification, ..RunOpened::default() };
        let line = LineWatch::new(Levels::default(), &opened).telling(BTreeSet::from(["mail".to_owned()]));
        Self { line, ..Self::new() }
    }

    fn look(&mut self, seconds: u64, training: u128, progress: Option<Progress>) -> Vec<Alert> {
        self.look_by(seconds, training, progress, None)
    }

    fn look_by(
        &mut self,
        seconds: u64,
        training: u128,
        progress: Option<Progress>,
        ledger: Option<&mut Ledger>,
    ) -> Vec<Alert> {
        let (own, elapsed) = (run(training), Duration::from_secs(seconds));
        let sight = Sight {
            judge: &self.judge,
            others: &[],
            company: &self.company,
            own: &own,
            job: &own,
            clock: self.clock,
            elapsed,
        };
        let said = self.line.look(&sight, progress.map(|progress| (progress, Flops::ZERO)), false, ledger);
        said.into_iter().map(|said| said.alert).collect()
    }
}

fn said(alerts: &[Alert]) -> Vec<(What, String)> {
    let levels = |crossing: &Crossing| crossing.levels.iter().map(Level::to_string).collect::<Vec<_>>().join(",");
    alerts.iter().filter_map(|alert| alert.crossing.as_ref()).map(|one| (one.what, levels(one))).collect()
}

#[test]
fn without_a_schedule_the_rate_tells_the_time() {
    let mut scene = Scene::new();
    assert_eq!(said(&scene.look(10, 1, None)), []);
    assert_eq!(said(&scene.look(30, 1, None)), []);
    // One operation in 50 seconds: in 24 hours 1728 more.
    assert_eq!(said(&scene.look(60, 2, None)), [], "less than a minute was seen");
    assert_eq!(said(&scene.look(110, 3, None)), [], "a first impression");
    for (seconds, training) in [(120, 4), (130, 5), (140, 6), (150, 7)] {
        assert_eq!(said(&scene.look(seconds, training, None)), []);
    }
    let alerts = scene.look(160, 8, None);
    assert_eq!(said(&alerts), [(What::Forecast, "near,80%,100%".to_owned())]);
    let crossing = alerts[0].crossing.as_ref().unwrap();
    let reached = crossing.outlook.as_ref().unwrap().reached.unwrap();
    // From 8 to 1001 at 7 in 150 seconds, and at the fastest stretch 1 in 10.
    assert_eq!(reached.best, Some(scene.clock.at(Duration::from_millis(160_000 + 993 * 150_000 / 7))));
    assert_eq!(reached.high, Some(scene.clock.at(Duration::from_secs(160 + 993 * 10))));
    assert_eq!(reached.low, None, "at the slowest stretch it never is");
    assert_eq!(crossing.outlook.as_ref().unwrap().at_end, None);
    assert_eq!((crossing.spent, crossing.share_of_line_percent.as_deref()), (Flops(8), Some("0.80")));
    assert!(
        alerts[0]
            .text
            .starts_with("IS LIKELY TO EXCEED the line of 1.00e3 FLOP: 0.80 % is spent now, 100 % of it about "),
        "{}",
        alerts[0].text
    );
    assert_eq!(said(&scene.look(200, 9, None)), [], "said once");
}

#[test]
fn between_two_forecasts_a_level_is_said_at_once_and_nothing_is_assessed_without_one() {
    let mut scene = Scene::new();
    assert_eq!(said(&scene.look(100, 10, None)), []);
    let before = scene.line.assessed;
    assert_eq!(said(&scene.look(101, 11, None)), []);
    assert_eq!(scene.line.assessed, before);
    assert!(
        !scene.line.is_due(Duration::from_secs(109)) && scene.line.is_due(Duration::from_secs(110)),
        "the forecast is owed"
    );
    scene.line.assess_anew();
    assert_eq!(said(&scene.look(101, 11, None)), []);
    assert_ne!(scene.line.assessed, before, "the line may be another one");
    assert_eq!(said(&scene.look(102, 850, None)), [(What::Spent, "near,80%".to_owned())]);
    assert_eq!(said(&scene.look(103, 1000, None)), []);
    assert_eq!(said(&scene.look(104, 1001, None)), [(What::Spent, "100%".to_owned())]);
}

#[test]
fn a_schedule_that_ends_below_foresees_nothing() {
    let mut scene = Scene::new();
    let progress = |step| Some(Progress { step, first_step: 0, max_steps: Some(50) });
    for step in 1..=40 {
        let alerts = scene.look(10 * step, u128::from(step) * 10, progress(step));
        assert_eq!(said(&alerts), []);
    }
    // Its rate would bring it over the line in an hour, but it ends before.
    assert_eq!(scene.line.ends().unwrap().best, Flops(500));
}

#[test]
fn a_forecast_that_wavers_is_said_once_and_again_after_it_was_left_behind() {
    let mut scene = Scene::new();
    let progress = |step, end| Some(Progress { step, first_step: 0, max_steps: Some(end) });
    assert_eq!(said(&scene.look(10, 10, progress(1, 82))), []);
    let first = scene.look(20, 20, progress(2, 82));
    assert_eq!(said(&first), [(What::Forecast, "near,80%".to_owned())]);
    // 79 %, then 81 % again.
    assert_eq!(said(&scene.look(30, 28, progress(3, 82))), []);
    assert_eq!(said(&scene.look(40, 40, progress(4, 82))), []);
    // Down to half of it, and up.
    assert_eq!(said(&scene.look(50, 40, progress(8, 82))), []);
    assert_eq!(said(&scene.look(60, 80, progress(9, 82))), []);
    assert_eq!(said(&scene.look(70, 100, progress(10, 82))), [], "too few stretches, of which one stood still");
    let again = scene.look(80, 110, progress(11, 82));
    assert_eq!(said(&again), said(&first));
    let id = |alerts: &[Alert]| alerts[0].crossing.as_ref().unwrap().id.clone();
    assert_ne!(id(&first), id(&again), "who takes one of the same id for the same must hear of it again");
}

#[test]
fn a_put_off_forecast_is_owed() {
    let mut scene = Scene::new();
    let progress = |step| Some(Progress { step, first_step: 0, max_steps: Some(200) });
    assert_eq!(said(&scene.look(10, 10, progress(1))), []);
    assert!(!scene.line.is_due(Duration::from_secs(10)));
    assert_eq!(said(&scene.look(10, 20, progress(2))), []);
    assert!(scene.line.is_due(Duration::from_secs(12)));
}

#[test]
fn what_cannot_be_counted_makes_it_a_lower_bound() {
    let judge = judge();
    let own = RunSummary { complete: false, ..run(900) };
    let clock = SessionClock::start();
    let company = Company::default();
    let sight =
        Sight { judge: &judge, others: &[], company: &company, own: &own, job: &own, clock, elapsed: Duration::ZERO };
    let mut line = LineWatch::new(Levels::default(), &RunOpened::default());
    let said = line.look(&sight, None, false, None);
    let alerts: Vec<Alert> = said.into_iter().map(|said| said.alert).collect();
    assert!(
        alerts[0]
            .text
            .starts_with("NEAR the line of 1.00e3 FLOP: at least 90.00 % of it is spent; part of the work is not")
    );
    assert!(alerts[0].crossing.as_ref().unwrap().is_lower_bound);
}

#[test]
fn a_long_run_is_foretold_less_often() {
    let seconds = [0, 6, 18, 60, 86_400].map(|elapsed| forecast_period(Duration::from_secs(elapsed)).as_secs());
    assert_eq!(seconds, [1, 1, 3, 10, 10]);
}

#[test]
fn what_another_run_did_not_come_to_say_this_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
    let metered = Writer::take(ledger.path(), "a").unwrap();
    let (mut first, mut second) = (Scene::of_demo("a"), Scene::of_demo("b"));
    let near = [(What::Spent, "near".to_owned())];
    assert_eq!(said(&first.look_by(10, 600, None, Some(&mut ledger))), near);
    assert_eq!(said(&second.look_by(11, 600, None, Some(&mut ledger))), []);
    // Killed before the sink had it, which is seen at the next look.
    drop(metered);
    let later = 11 + PUT_OFF.as_secs();
    assert!(!second.line.is_due(Duration::from_secs(later - 1)));
    assert!(second.line.is_due(Duration::from_secs(later)));
    assert_eq!(said(&second.look_by(later, 600, None, Some(&mut ledger))), near);
    assert_eq!(said(&second.look_by(3 * later, 600, None, Some(&mut ledger))), []);
}

/// Between two forecasts a level is looked for only where this modification has grown to it; what is behind it may have grown instead.
#[test]
fn what_changes_behind_is_looked_at_at_once() {
    let mut scene = Scene::new();
    assert_eq!(said(&scene.look(60, 300, None)), []);
    let text =
        "name = \"a/b\"\nflop = \"1500\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n";
    scene.judge.base = Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap())));
    assert_eq!(said(&scene.look(61, 301, None)), [], "by what was known, no level is in reach");
    scene.line.assess_anew();
    assert_eq!(said(&scene.look(62, 302, None)), [(What::Spent, "near".to_owned())]);
}
