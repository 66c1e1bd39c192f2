//! Energy in words: of what, from where, and what is outside it.

use flopsmeter_core::run::{DeviceCeiling, DeviceEnergy, EnergyBoundary, EnergyBounds, EnergySource, RunSummary};

/// The sums of a run, then each device; nothing where there is no GPU and no processor tells its energy.
pub(super) fn lines(run: &RunSummary) -> String {
    let mut lines = Vec::new();
    if run.ceiling.devices.iter().any(|device| !device.is_processor()) {
        match (run.energy_joules, run.energy_bounds) {
            (Some(joules), _) => lines.push(format!("{joules} J: GPU boards, with all processes on them")),
            (None, Some(bounds)) => lines.push(between("GPU boards", bounds)),
            (None, None) => lines.push("unknown for the GPU boards: not all of them could be read".to_owned()),
        }
    }
    if let Some(sum) = run.package_energy() {
        lines.push(match sum.exact() {
            Some(joules) => format!("{joules} J: CPU packages, with all processes on them"),
            None => between("CPU packages", sum.bounds),
        });
    }
    lines.extend(run.ceiling.energies().into_iter().map(|(device, energy)| line(device, energy)));
    if lines.iter().any(|line| line.contains(" J")) {
        lines.push("not in it: the rest of the node (fans, network, storage) and of the building (PUE)".to_owned());
    }
    let labels = std::iter::once("energy").chain(std::iter::repeat(""));
    lines.iter().zip(labels).fold(String::new(), |text, (line, label)| text + &format!("{label:<11}{line}\n"))
}

fn between(what: &str, bounds: EnergyBounds) -> String {
    format!(
        "between {} J and {} J: {what}, with all processes on them; parts of the run held the same at the same time, and each has all it drew",
        bounds.least_joules, bounds.most_joules
    )
}

fn line(device: &DeviceCeiling, energy: &DeviceEnergy) -> String {
    let source = match (energy.source, energy.boundary) {
        (EnergySource::Counter, EnergyBoundary::CpuPackages) => "the kernel's counter",
        (EnergySource::Counter, _) => "its counter",
        (EnergySource::PowerIntegral, _) => "power × time",
    };
    let board = energy.board.as_ref().map_or_else(String::new, |board| format!(", the whole board {board}"));
    format!(
        "{}{board}: {} J ({source}, {:.1} s of {:.1} s)",
        device.name, energy.joules, energy.coverage_seconds, device.held_seconds
    )
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::run::Hold;
    use flopsmeter_core::unit::Joules;
    use serde_json::json;

    use super::*;

    fn device(id: &str, energy: Option<DeviceEnergy>) -> DeviceCeiling {
        let name = if id.starts_with("cpu:") { "Some processor" } else { "NVIDIA H200" };
        let device = json!({
            "device": id, "name": name, "flop": null, "layer": null, "layers": [], "held_seconds": 60.04, "busy_seconds": null,
            "strict_peak": null, "nominal_peak": null, "energy_joules": null, "assumptions": []
        });
        DeviceCeiling { energy, ..serde_json::from_value(device).unwrap() }
    }

    /// As held by this segment of the run, from one second until another.
    fn held(device: DeviceCeiling, segment: u32, started: i64, ended: i64) -> DeviceCeiling {
        let at = |second| chrono::DateTime::from_timestamp(second, 0).unwrap();
        let hold = Some(Hold { segment, started: at(started), read_from: None, ended: at(ended), boot: None });
        DeviceCeiling { hold, ..device }
    }

    fn energy(whole: u64, source: EnergySource, boundary: EnergyBoundary, board: Option<&str>) -> DeviceEnergy {
        DeviceEnergy {
            joules: Joules::from_millijoules(whole * 1000),
            source,
            boundary,
            board: board.map(str::to_owned),
            coverage_seconds: 59.0,
            counter_joules: None,
            power_integral_joules: None,
        }
    }

    fn run(devices: Vec<DeviceCeiling>, millijoules: Option<u64>) -> RunSummary {
        let run = json!({
            "schema": "flopsmeter.run/1", "run": "r", "modification": null, "state": "closed", "started": "2026-11-01T00:00:00Z",
            "ended": null, "command": [], "exit": null, "flops": null, "complete": false, "tokens": { "fed": 0, "real": null },
            "phases": [], "models": [], "ceiling": { "flop": null, "layer": null, "complete": false, "devices": [] },
            "energy_joules": null, "gaps": [], "findings": [], "alerts": [], "assessment": null
        });
        let mut run: RunSummary = serde_json::from_value(run).unwrap();
        run.ceiling.devices = devices;
        run.energy_joules = millijoules.map(Joules::from_millijoules);
        run
    }

    #[test]
    fn each_sum_has_its_boundary_and_a_board_is_told_once() {
        let slice = || Some(energy(7, EnergySource::PowerIntegral, EnergyBoundary::ParentBoard, Some("GPU-a")));
        let devices = vec![
            device("cpu:host", Some(energy(3, EnergySource::Counter, EnergyBoundary::CpuPackages, None))),
            device("MIG-1", slice()),
            device("MIG-2", slice()),
            device("GPU-b", Some(energy(5, EnergySource::Counter, EnergyBoundary::GpuBoard, None))),
        ];
        insta::assert_snapshot!(lines(&run(devices, Some(12_000))), @r"
        energy     12.000 J: GPU boards, with all processes on them
                   3.000 J: CPU packages, with all processes on them
                   Some processor: 3.000 J (the kernel's counter, 59.0 s of 60.0 s)
                   NVIDIA H200, the whole board GPU-a: 7.000 J (power × time, 59.0 s of 60.0 s)
                   NVIDIA H200: 5.000 J (its counter, 59.0 s of 60.0 s)
                   not in it: the rest of the node (fans, network, storage) and of the building (PUE)
        ");
    }

    #[test]
    fn a_run_that_went_on_tells_a_board_for_each_of_its_segments() {
        let slice = |whole| {
            let board = energy(whole, EnergySource::PowerIntegral, EnergyBoundary::ParentBoard, Some("GPU-a"));
            device("MIG-1", Some(board))
        };
        let segments = vec![held(slice(1160), 1, 0, 3), held(slice(1200), 2, 5, 8)];
        let text = lines(&run(segments, Some(2_360_000)));
        for said in
            ["energy     2360.000 J: ", "the whole board GPU-a: 1160.000 J (", "the whole board GPU-a: 1200.000 J ("]
        {
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_segments_held_at_the_same_time_is_told_within_bounds() {
        let packages = |whole| {
            let energy = energy(whole, EnergySource::Counter, EnergyBoundary::CpuPackages, None);
            device("cpu:host", Some(energy))
        };
        let text = lines(&run(vec![held(packages(3), 1, 0, 3), held(packages(4), 2, 2, 5)], None));
        let told =
            "energy     between 4.000 J and 7.000 J: CPU packages, with all processes on them; parts of the run held";
        assert!(text.starts_with(told), "{text}");
    }

    #[test]
    fn what_could_not_be_read_is_no_number() {
        assert_eq!(lines(&run(vec![device("cpu:host", None)], None)), "");
        let text = lines(&run(vec![device("cpu:host", None), device("GPU-a", None)], None));
        assert_eq!(text, "energy     unknown for the GPU boards: not all of them could be read\n");
        let known = Some(energy(5, EnergySource::Counter, EnergyBoundary::GpuBoard, None));
        let text = lines(&run(vec![device("GPU-a", None), device("GPU-b", known)], None));
        assert!(text.starts_with("energy     unknown for the GPU boards"), "{text}");
    }
}
