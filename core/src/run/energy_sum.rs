//! Sums of energies that are each a whole board's: what several held at the same time is in the figure of each.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{DeviceCeiling, DeviceEnergy, RunSummary};
use crate::unit::Joules;

/// What an energy lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnergyBounds {
    /// The most that holds one after the other come to: nothing is in it twice.
    pub least_joules: Joules,
    /// All holds added up, what they have in common once for each.
    pub most_joules: Joules,
}

/// Energy of boards, or of machines' packages, over runs with all of their segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnergySum {
    /// Both ends are the sum where nothing was held more than once at a time.
    pub bounds: EnergyBounds,
    /// What was.
    pub shared: Vec<SharedEnergy>,
}

/// A board, or a machine's packages, over a time in which holds of it overlap: each has what the whole of it drew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEnergy {
    /// UUID of the board, `cpu:<host>` for a machine's packages.
    pub board: String,
    /// Runs that held it, by their start; one alone if segments of it overlap.
    pub runs: Vec<String>,
    /// What it drew over that time.
    pub bounds: EnergyBounds,
}

/// One segment's hold of a board.
#[derive(Debug)]
struct Part<'r> {
    run: &'r str,
    board: &'r str,
    started: DateTime<Utc>,
    ended: DateTime<Utc>,
    joules: Joules,
}

impl EnergySum {
    /// Of the GPUs' boards.
    pub fn of_boards<'r>(runs: impl IntoIterator<Item = &'r RunSummary>) -> Self {
        Self::of(runs, |device| !device.is_processor())
    }

    /// Of the machines' processor packages.
    pub fn of_packages<'r>(runs: impl IntoIterator<Item = &'r RunSummary>) -> Self {
        Self::of(runs, DeviceCeiling::is_processor)
    }

    /// The sum, where nothing may be in it twice.
    pub fn exact(&self) -> Option<Joules> {
        self.shared.is_empty().then_some(self.bounds.most_joules)
    }

    fn of<'r>(runs: impl IntoIterator<Item = &'r RunSummary>, is_meant: impl Fn(&DeviceCeiling) -> bool) -> Self {
        let mut boards: BTreeMap<&str, Vec<Part<'r>>> = BTreeMap::new();
        for run in runs {
            for (device, energy) in run.ceiling.energies().into_iter().filter(|(device, _)| is_meant(device)) {
                boards.entry(counter(device)).or_default().push(Part::of(run, device, energy));
            }
        }
        let mut sum = Self::default();
        for parts in boards.into_values() {
            for group in overlapping(parts) {
                sum.add(group);
            }
        }
        sum
    }

    fn add(&mut self, group: Vec<Part<'_>>) {
        let is_shared = group.len() > 1;
        let board = group.first().map(|part| part.board.to_owned()).unwrap_or_default();
        let mut runs: Vec<String> = Vec::new();
        for part in &group {
            if !runs.iter().any(|run| run == part.run) {
                runs.push(part.run.to_owned());
            }
        }
        let most_joules = group.iter().map(|part| part.joules).sum();
        let bounds = EnergyBounds { least_joules: most_apart(group), most_joules };
        self.bounds.least_joules += bounds.least_joules;
        self.bounds.most_joules += bounds.most_joules;
        if is_shared {
            self.shared.push(SharedEnergy { board, runs, bounds });
        }
    }
}

impl<'r> Part<'r> {
    fn of(run: &'r RunSummary, device: &'r DeviceCeiling, energy: &DeviceEnergy) -> Self {
        let of_run = (run.started, run.ended.unwrap_or(DateTime::<Utc>::MAX_UTC));
        let (started, ended) =
            device.hold.as_ref().map_or(of_run, |hold| (hold.read_from.unwrap_or(hold.started), hold.ended));
        Self {
            run: &run.run,
            board: device.board(),
            started,
            ended: ended - seam(ended - started),
            joules: energy.joules,
        }
    }
}

/// So much at a hold's end may be the next one's beginning as well: a meter ends its records while the next one starts. At most the
/// time between two readings, and a hundredth of the hold.
fn seam(held: TimeDelta) -> TimeDelta {
    (held / 100).clamp(TimeDelta::zero(), TimeDelta::seconds(1))
}

/// What counters are told apart by: containers of one machine call it by names of their own, and see the same packages.
fn counter(device: &DeviceCeiling) -> &str {
    let boot = device.hold.as_ref().and_then(|hold| hold.boot.as_deref());
    boot.filter(|_| device.is_processor()).unwrap_or_else(|| device.board())
}

/// Holds by their start, those together of which each overlaps another one. One that starts as another ends does not.
fn overlapping(mut parts: Vec<Part<'_>>) -> Vec<Vec<Part<'_>>> {
    parts.sort_by_key(|part| (part.started, part.ended));
    let mut groups: Vec<Vec<Part<'_>>> = Vec::new();
    let mut until = None;
    for part in parts {
        let ended = part.ended;
        match groups.last_mut().filter(|_| until.is_some_and(|until| part.started < until)) {
            Some(group) => group.push(part),
            None => groups.push(vec![part]),
        }
        until = until.max(Some(ended));
    }
    groups
}

/// The most that holds one after the other come to (weighted interval scheduling: by their ends, each is taken with the best of those that
/// ended before it started, or left out).
fn most_apart(mut parts: Vec<Part<'_>>) -> Joules {
    parts.sort_by_key(|part| part.ended);
    let mut best = vec![Joules::default()];
    for (index, part) in parts.iter().enumerate() {
        let before = parts.partition_point(|other| other.ended <= part.started).min(index);
        let taken = best.get(before).copied().unwrap_or_default() + part.joules;
        best.push(best.last().copied().unwrap_or_default().max(taken));
    }
    best.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A device that one segment held from one second until another, with what its board drew meanwhile.
    fn device(id: &str, parent: Option<&str>, segment: u32, [started, ended]: [i64; 2], joules: u64) -> Value {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        json!({
            "device": id, "name": "NVIDIA H200", "flop": null, "layer": null, "layers": [], "held_seconds": ended - started,
            "hold": { "segment": segment, "started": at(started), "ended": at(ended) }, "busy_seconds": null,
            "strict_peak": null, "nominal_peak": null, "energy_joules": joules, "assumptions": [],
            "energy": {
                "joules": joules, "source": "counter", "boundary": if parent.is_some() { "parent-board" } else { "gpu-board" },
                "board": parent, "coverage_seconds": ended - started
            }
        })
    }

    fn run(id: &str, devices: &[Value]) -> RunSummary {
        let run = json!({
            "schema": "flopsmeter.run/1", "run": id, "modification": null, "state": "closed", "started": "1970-01-01T00:00:00Z",
            "ended": null, "command": [], "exit": null, "flops": null, "complete": false, "tokens": { "fed": 0, "real": null },
            "phases": [], "models": [], "ceiling": { "flop": null, "layer": null, "complete": false, "devices": devices },
            "energy_joules": null, "gaps": [], "findings": [], "alerts": [], "assessment": null
        });
        serde_json::from_value(run).unwrap()
    }

    /// A run that held one board.
    fn alone(id: &str, board: &str, span: [i64; 2], joules: u64) -> RunSummary {
        run(id, &[device(board, None, 1, span, joules)])
    }

    fn joules([least, most]: [u64; 2]) -> EnergyBounds {
        let joules = |whole: u64| Joules::from_millijoules(whole * 1000);
        EnergyBounds { least_joules: joules(least), most_joules: joules(most) }
    }

    #[test]
    fn runs_one_after_the_other_and_on_boards_of_their_own_add_up() {
        let runs = [alone("a", "GPU-1", [0, 4], 10), alone("b", "GPU-1", [4, 9], 20), alone("c", "GPU-2", [0, 9], 40)];
        let sum = EnergySum::of_boards(&runs);
        assert_eq!((sum.exact(), sum.bounds), (Some(joules([0, 70]).most_joules), joules([70, 70])));
        assert_eq!(EnergySum::of_packages(&runs), EnergySum::default());
    }

    #[test]
    fn runs_at_the_same_time_on_one_board_give_bounds() {
        let runs = ["a", "b", "c"].map(|id| alone(id, "GPU-1", [0, 4], 1560));
        let sum = EnergySum::of_boards(&runs);
        assert_eq!((sum.exact(), sum.bounds), (None, joules([1560, 4680])));
        let [shared] = sum.shared.as_slice() else { panic!("{sum:?}") };
        assert_eq!((shared.board.as_str(), shared.runs.as_slice()), ("GPU-1", &["a", "b", "c"].map(str::to_owned)[..]));
    }

    #[test]
    fn a_part_that_begins_while_the_one_before_is_closed_shares_nothing() {
        let parts =
            |overlap: i64| [alone("a", "GPU-1", [0, 1000], 50), alone("a", "GPU-1", [1000 - overlap, 3000], 70)];
        assert_eq!(EnergySum::of_boards(&parts(1)).exact(), Some(joules([0, 120]).most_joules));
        assert_eq!(EnergySum::of_boards(&parts(2)).exact(), None);
    }

    #[test]
    fn only_what_overlaps_is_bounded() {
        // `a` and `c` do not overlap: both were drawn. `d` comes later, and another board is its own.
        let runs = [
            alone("d", "GPU-1", [8, 9], 5),
            alone("c", "GPU-1", [6, 8], 10),
            alone("b", "GPU-1", [3, 7], 12),
            alone("a", "GPU-1", [0, 4], 20),
            alone("e", "GPU-2", [0, 9], 100),
        ];
        let sum = EnergySum::of_boards(&runs);
        assert_eq!(sum.bounds, joules([20 + 10 + 5 + 100, 20 + 12 + 10 + 5 + 100]));
        assert_eq!(sum.shared.len(), 1);
        assert_eq!(
            (&sum.shared[0].runs[..], sum.shared[0].bounds),
            (&["a", "b", "c"].map(str::to_owned)[..], joules([30, 42]))
        );
    }

    #[test]
    fn slices_of_one_board_share_it_between_runs_and_are_it_once_in_a_segment() {
        let slice = |id: &str, segment, span, joules| device(id, Some("GPU-1"), segment, span, joules);
        let both = run("a", &[slice("MIG-1", 1, [0, 4], 10), slice("MIG-2", 1, [0, 4], 10)]);
        let sum = EnergySum::of_boards([&both]);
        assert_eq!(sum.exact(), Some(joules([0, 10]).most_joules));
        let beside = run("b", &[slice("MIG-3", 1, [1, 3], 6)]);
        let sum = EnergySum::of_boards([&both, &beside]);
        assert_eq!((sum.bounds, sum.shared[0].board.as_str()), (joules([10, 16]), "GPU-1"));
        let resumed = run("c", &[slice("MIG-1", 1, [0, 4], 10), slice("MIG-1", 2, [5, 9], 30)]);
        assert_eq!(EnergySum::of_boards([&resumed]).exact(), Some(joules([0, 40]).most_joules));
        let twice = run("d", &[slice("MIG-1", 1, [0, 6], 10), slice("MIG-2", 2, [5, 9], 30)]);
        let sum = EnergySum::of_boards([&twice]);
        assert_eq!((sum.bounds, &sum.shared[0].runs[..]), (joules([30, 40]), &["d".to_owned()][..]));
    }

    #[test]
    fn the_packages_of_one_machine_are_the_same_by_whatever_name() {
        let on = |id: &str, host: &str, boot: Option<&str>| {
            let mut device = device(host, None, 1, [0, 4], 7);
            device["hold"]["boot"] = boot.into();
            run(id, &[device])
        };
        let bounds = |runs: [RunSummary; 2]| EnergySum::of_packages(&runs).bounds;
        assert_eq!(bounds([on("a", "cpu:x", None), on("b", "cpu:x", None)]), joules([7, 14]));
        assert_eq!(bounds([on("a", "cpu:x", None), on("b", "cpu:y", None)]), joules([14, 14]));
        assert_eq!(bounds([on("a", "cpu:x", Some("1")), on("b", "cpu:y", Some("1"))]), joules([7, 14]));
        assert_eq!(bounds([on("a", "cpu:x", Some("1")), on("b", "cpu:x", Some("2"))]), joules([14, 14]));
        // Boards go by their own ids wherever they are.
        assert_eq!(EnergySum::of_boards(&[on("a", "cpu:x", None)]), EnergySum::default());
    }

    #[test]
    fn a_hold_that_is_on_no_record_is_the_runs() {
        let mut devices = [device("GPU-1", None, 1, [0, 1], 7)];
        devices[0].as_object_mut().unwrap().remove("hold");
        let runs = ["a", "b"].map(|id| run(id, &devices));
        assert_eq!(EnergySum::of_boards(&runs).bounds, joules([7, 14]));
    }
}
