//! How the runs of this machine and their modifications stand.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use flopsmeter_core::assess::Verdict;
use flopsmeter_core::unit::{Flops, Joules};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::daemon::runs::Runs;
use crate::daemon::status::RunStatus;

type Real = Gauge<f64, AtomicU64>;
type Rising = Counter<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    run: String,
    modification: String,
    user: String,
    ledger: String,
}

impl RunLabels {
    fn of(status: &RunStatus, user: &str) -> Self {
        Self {
            run: status.run.clone(),
            modification: status.modification.clone().unwrap_or_default(),
            user: user.to_owned(),
            ledger: status.ledger.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunVerdict {
    run: String,
    modification: String,
    verdict: &'static str,
    user: String,
    ledger: String,
}

/// A name is a modification's own in one ledger alone, and of what ledgers there are a user tells what it likes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct ModificationLabels {
    modification: String,
    user: String,
    ledger: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModificationVerdict {
    modification: String,
    verdict: &'static str,
    user: String,
    ledger: String,
}

const VERDICTS: [(Verdict, &str); 4] = [
    (Verdict::Below, "below"),
    (Verdict::Near, "near"),
    (Verdict::Exceeds, "exceeds"),
    (Verdict::Undetermined, "undetermined"),
];

fn operations() -> Unit {
    Unit::Other("operations".to_owned())
}

fn ratio() -> Unit {
    Unit::Other("ratio".to_owned())
}

pub(super) fn register(registry: &mut Registry, runs: &Runs) {
    register_runs(registry.sub_registry_with_prefix("run"), runs);
    register_modifications(registry.sub_registry_with_prefix("modification"), runs);
}

fn register_runs(registry: &mut Registry, runs: &Runs) {
    let (training, executed) = (Family::<RunLabels, Rising>::default(), Family::<RunLabels, Rising>::default());
    let (ceiling, spent) = (Family::<RunLabels, Real>::default(), Family::<RunLabels, Real>::default());
    let (energy, missing) = (Family::<RunLabels, Rising>::default(), Family::<RunLabels, Rising>::default());
    let (devices, gaps) = (Family::<RunLabels, Gauge>::default(), Family::<RunLabels, Gauge>::default());
    let (running, verdicts) = (Family::<RunLabels, Gauge>::default(), Family::<RunVerdict, Gauge>::default());
    let complete = Family::<RunLabels, Gauge>::default();
    let forecasts = Forecasts::default();
    for (status, user, is_running) in runs.iter() {
        let run = RunLabels::of(status, user);
        rise(&training, &run, status.training.map(real));
        rise(&executed, &run, status.executed.map(real));
        // What bounds only a part is no ceiling.
        set(&ceiling, &run, status.ceiling.filter(|_| status.ceiling_complete).map(real));
        complete.get_or_create(&run).set(i64::from(status.ceiling_complete && status.ceiling.is_some()));
        set(&spent, &run, spent_ratio(status));
        rise(&energy, &run, status.energy_joules.map(joules));
        rise(&missing, &run, Some(status.gap_seconds));
        forecasts.set(&run, status);
        devices.get_or_create(&run).set(whole(status.held_devices));
        gaps.get_or_create(&run).set(whole(status.gaps));
        running.get_or_create(&run).set(i64::from(is_running));
        for (verdict, name) in VERDICTS {
            let RunLabels { run, modification, user, ledger } = run.clone();
            let labels = RunVerdict { run, modification, user, ledger, verdict: name };
            verdicts.get_or_create(&labels).set(i64::from(verdict == status.verdict));
        }
    }
    let help = "Model operations that the run has done";
    registry.register_with_unit("training", help, operations(), training);
    let help = "Operations that the run has done, recomputation and passes that train nothing included";
    registry.register_with_unit("executed", help, operations(), executed);
    let help = "Operations that the run's hardware can have done at most, where all of it is bounded";
    registry.register_with_unit("ceiling", help, operations(), ceiling);
    registry.register("ceiling_complete", "Whether all of the run's hardware is bounded", complete);
    let help = "Share of the legal line that is spent by the run's modification, or by the run if it has none";
    registry.register_with_unit("line_spent", help, ratio(), spent);
    let help =
        "Energy of the boards that the run holds, whoever uses them: runs that share a board each have all of it";
    registry.register_with_unit("energy", help, Unit::Joules, energy);
    let help = "Time in which a device of the run could not be read, or was read late";
    registry.register_with_unit("gap", help, Unit::Seconds, missing);
    registry.register("held_devices", "Devices that the run holds", devices);
    registry.register(
        "gaps",
        "Stretches of time in which a device of the run could not be read, or was read late",
        gaps,
    );
    registry.register("running", "Whether the run is going on", running);
    registry.register("verdict", "The verdict that holds is 1", verdicts);
    forecasts.register(registry);
}

/// Where runs lead their modifications.
#[derive(Default)]
struct Forecasts {
    low: Family<RunLabels, Real>,
    high: Family<RunLabels, Real>,
    crosses: Family<RunLabels, Gauge>,
}

impl Forecasts {
    fn set(&self, run: &RunLabels, status: &RunStatus) {
        let Some(forecast) = status.forecast else { return };
        set(&self.low, run, forecast.low.map(real));
        set(&self.high, run, forecast.high.map(real));
        if let Some(seconds) = forecast.crosses {
            self.crosses.get_or_create(run).set(seconds);
        }
    }

    fn register(self, registry: &mut Registry) {
        let help = "Model operations of the run's modification when the run's schedule ends, at its slowest so far";
        registry.register_with_unit("forecast_low", help, operations(), self.low);
        let help = "Model operations of the run's modification when the run's schedule ends, at its fastest so far";
        registry.register_with_unit("forecast_high", help, operations(), self.high);
        let help = "When the run's modification crosses the legal line at the rate so far, as a Unix time";
        registry.register_with_unit("crossing_timestamp", help, Unit::Seconds, self.crosses);
    }
}

fn register_modifications(registry: &mut Registry, runs: &Runs) {
    let (training, line) =
        (Family::<ModificationLabels, Real>::default(), Family::<ModificationLabels, Real>::default());
    let (spent, verdicts) =
        (Family::<ModificationLabels, Real>::default(), Family::<ModificationVerdict, Gauge>::default());
    let reserved = Family::<ModificationLabels, Real>::default();
    for (labels, status) in latest(runs) {
        set(&training, &labels, status.modification_training.map(real));
        set(&line, &labels, status.line.map(real));
        set(&reserved, &labels, status.reserved.map(real));
        set(&spent, &labels, spent_ratio(status));
        for (verdict, name) in VERDICTS {
            let ModificationLabels { modification, user, ledger } = labels.clone();
            let labels = ModificationVerdict { modification, user, ledger, verdict: name };
            verdicts.get_or_create(&labels).set(i64::from(verdict == status.verdict));
        }
    }
    let help = "Operations that are set aside for other runs of the modification and not spent yet";
    registry.register_with_unit("reserved", help, operations(), reserved);
    let help = "Model operations of the modification, all its runs together";
    registry.register_with_unit("training", help, operations(), training);
    registry.register_with_unit("line", "The legal line for them", operations(), line);
    registry.register_with_unit("line_spent", "Share of the legal line that is spent", ratio(), spent);
    registry.register("verdict", "The verdict that holds is 1", verdicts);
}

/// Of the runs that tell of one modification, the one that has heard most of it.
fn latest(runs: &Runs) -> BTreeMap<ModificationLabels, &RunStatus> {
    let mut latest: BTreeMap<ModificationLabels, &RunStatus> = BTreeMap::new();
    for (status, user, _) in runs.iter() {
        let Some(modification) = status.modification.clone() else { continue };
        let labels = ModificationLabels { modification, user: user.to_owned(), ledger: status.ledger.clone() };
        let shown = latest.entry(labels).or_insert(status);
        if status.modification_training > shown.modification_training {
            *shown = status;
        }
    }
    latest
}

fn rise<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Rising>, labels: &L, value: Option<f64>) {
    if let Some(value) = value.filter(|value| *value >= 0.0 && value.is_finite()) {
        family.get_or_create(labels).inc_by(value);
    }
}

fn set<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Real>, labels: &L, value: Option<f64>) {
    if let Some(value) = value {
        family.get_or_create(labels).set(value);
    }
}

/// Prometheus knows no other numbers. Written and read: there is no cast here that could lose digits unseen.
fn real(flops: Flops) -> f64 {
    flops.0.to_string().parse().unwrap_or(f64::INFINITY)
}

fn joules(energy: Joules) -> f64 {
    let millijoules = energy.millijoules();
    format!("{}.{:03}", millijoules / 1000, millijoules % 1000).parse().unwrap_or(f64::INFINITY)
}

fn spent_ratio(status: &RunStatus) -> Option<f64> {
    let percent: f64 = status.share_of_line_percent.as_ref()?.parse().ok()?;
    percent.is_finite().then_some(percent / 100.0)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::daemon::runs::tests::status;
    use crate::daemon::status::RunForecast;

    fn page(runs: &Runs) -> String {
        let mut registry = Registry::with_prefix("flopsmeter");
        register(&mut registry, runs);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_run_and_its_modification_are_told_with_units() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", status("r1")).unwrap();
        let text = page(&runs);
        for line in [
            "# TYPE flopsmeter_run_training_operations counter",
            "# UNIT flopsmeter_run_training_operations operations",
            "flopsmeter_run_training_operations_total{run=\"r1\",modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"} 1.1805916207174114e21",
            "flopsmeter_run_energy_joules_total{run=\"r1\",modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"} 1.5",
            "flopsmeter_run_line_spent_ratio{run=\"r1\",modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"} 0.25",
            "flopsmeter_run_verdict{run=\"r1\",modification=\"demo\",verdict=\"near\",user=\"ada\",ledger=\"1f2e3d4c\"} 1",
            "flopsmeter_run_verdict{run=\"r1\",modification=\"demo\",verdict=\"below\",user=\"ada\",ledger=\"1f2e3d4c\"} 0",
            "flopsmeter_run_held_devices{run=\"r1\",modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"} 9",
            "flopsmeter_modification_line_spent_ratio{modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"} 0.25",
            "flopsmeter_modification_verdict{modification=\"demo\",verdict=\"near\",user=\"ada\",ledger=\"1f2e3d4c\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_modification_is_told_once_by_the_run_that_knows_most() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", RunStatus { modification_training: None, verdict: Verdict::Below, ..status("r1") })
            .unwrap();
        runs.tell(2, "ada", status("r2")).unwrap();
        runs.tell(3, "ada", RunStatus { modification_training: Some(Flops(1)), ..status("r3") }).unwrap();
        let text = page(&runs);
        assert!(text.contains("flopsmeter_modification_verdict{modification=\"demo\",verdict=\"near\",user=\"ada\",ledger=\"1f2e3d4c\"} 1\n"), "{text}");
        assert_eq!(text.matches("flopsmeter_modification_line_operations{").count(), 1);
    }

    #[test]
    fn modifications_of_one_name_in_two_ledgers_or_of_two_users_are_apart() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", status("r1")).unwrap();
        runs.tell(2, "ben", RunStatus { line: Some(Flops(7)), ..status("r2") }).unwrap();
        runs.tell(3, "ada", RunStatus { ledger: "00000000".to_owned(), line: Some(Flops(9)), ..status("r3") }).unwrap();
        let text = page(&runs);
        for (user, ledger, line) in [("ben", "1f2e3d4c", "7.0"), ("ada", "00000000", "9.0")] {
            let labels = format!("modification=\"demo\",user=\"{user}\",ledger=\"{ledger}\"");
            assert!(text.contains(&format!("flopsmeter_modification_line_operations{{{labels}}} {line}\n")), "{text}");
        }
        assert_eq!(text.matches("flopsmeter_modification_line_operations{").count(), 3);
    }

    #[test]
    fn a_ceiling_of_a_part_is_none() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", RunStatus { ceiling_complete: false, ..status("r1") }).unwrap();
        runs.tell(2, "ada", status("r2")).unwrap();
        let text = page(&runs);
        assert_eq!(text.matches("flopsmeter_run_ceiling_operations{").count(), 1, "{text}");
        for (run, complete) in [("r1", 0), ("r2", 1)] {
            let told = |line: &str| {
                line.starts_with(&format!("flopsmeter_run_ceiling_complete{{run=\"{run}\","))
                    && line.ends_with(&format!("}} {complete}"))
            };
            assert!(text.lines().any(told), "{run}: {text}");
        }
    }

    #[test]
    fn a_forecast_is_told_as_far_as_there_is_one() {
        let mut runs = Runs::default();
        let forecast = RunForecast { low: Some(Flops(7)), high: Some(Flops(9)), crosses: Some(1_795_000_000) };
        runs.tell(1, "ada", RunStatus { forecast: Some(forecast), ..status("r1") }).unwrap();
        let rate = RunForecast { crosses: Some(1), ..RunForecast::default() };
        runs.tell(2, "ada", RunStatus { forecast: Some(rate), ..status("r2") }).unwrap();
        runs.tell(3, "ada", status("r3")).unwrap();
        let text = page(&runs);
        for (series, value) in [
            ("flopsmeter_run_forecast_low_operations{run=\"r1\",", " 7.0"),
            ("flopsmeter_run_forecast_high_operations{run=\"r1\",", " 9.0"),
            ("flopsmeter_run_crossing_timestamp_seconds{run=\"r1\",", " 1795000000"),
        ] {
            assert!(text.lines().any(|line| line.starts_with(series) && line.ends_with(value)), "{series}: {text}");
        }
        assert_eq!(text.matches("flopsmeter_run_forecast_low_operations{").count(), 1);
        assert_eq!(text.matches("flopsmeter_run_crossing_timestamp_seconds{").count(), 2);
    }

    #[test]
    fn what_is_set_aside_is_told_of_the_modification() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", RunStatus { reserved: Some(Flops(5)), ..status("r1") }).unwrap();
        let labels = "modification=\"demo\",user=\"ada\",ledger=\"1f2e3d4c\"";
        let text = page(&runs);
        assert!(text.contains(&format!("flopsmeter_modification_reserved_operations{{{labels}}} 5.0\n")), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let mut runs = Runs::default();
        let unknown = RunStatus { training: None, ceiling: None, share_of_line_percent: None, ..status("r1") };
        runs.tell(1, "ada", unknown).unwrap();
        let text = page(&runs);
        assert!(!text.contains("flopsmeter_run_training_operations_total{"), "{text}");
        assert!(!text.contains("flopsmeter_run_ceiling_operations{") && !text.contains("line_spent_ratio{"), "{text}");
    }
}
