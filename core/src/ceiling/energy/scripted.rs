//! Energy against scripted truths: what a board drew, what it said, and what became of the samples.

use proptest::prelude::*;

use crate::ceiling::scripted::{at, cpu, gpu, missing, sample};
use crate::ceiling::{CeilingMeter, exact};
use crate::run::{DeviceEnergy, EnergyBoundary, EnergySource};
use crate::sample::{Device, DeviceFacts, GpuReading, Mig, Reading, Sample};
use crate::unit::Joules;

fn told(energy_millijoules: Option<u64>, power_milliwatts: Option<u32>) -> Reading {
    Reading::Gpu(GpuReading { energy_millijoules, power_milliwatts, ..GpuReading::default() })
}

fn joules(whole: u64) -> Joules {
    Joules::from_millijoules(whole * 1000)
}

/// One reading a second of this device.
fn seconds(device: &str, readings: impl IntoIterator<Item = Reading>) -> Vec<Sample> {
    let each = (0..).step_by(1000).zip(readings);
    each.map(|(from, reading)| sample(device, from, from + 1000, reading)).collect()
}

fn played(samples: &[Sample]) -> CeilingMeter {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    for sample in samples {
        meter.add(sample);
    }
    meter
}

/// What is told of the GPU, with the codes of findings.
fn result(readings: impl IntoIterator<Item = Reading>) -> (Option<DeviceEnergy>, Vec<String>, Vec<String>) {
    let meter = played(&seconds("GPU-1", readings));
    let device = meter.ceiling().devices.remove(0);
    let codes = meter.findings().into_iter().map(|finding| finding.code).collect();
    (device.energy, device.assumptions, codes)
}

#[test]
fn a_right_counter_is_told_with_the_integral_beside_it() {
    let (energy, _, codes) = result((0..100_u64).map(|second| told(Some(7 + second * 300_000), Some(301_000))));
    assert!(codes.is_empty(), "{codes:?}");
    assert_eq!(
        energy,
        Some(DeviceEnergy {
            joules: joules(99 * 300),
            source: EnergySource::Counter,
            boundary: EnergyBoundary::GpuBoard,
            board: None,
            coverage_seconds: 99.0,
            counter_joules: Some(joules(99 * 300)),
            power_integral_joules: Some(joules(99 * 301)),
        })
    );
}

#[test]
fn without_a_counter_power_is_integrated_by_trapezoids() {
    let (energy, said, codes) = result([100_000, 300_000, 300_000].map(|power| told(None, Some(power))));
    let energy = energy.unwrap();
    assert_eq!(
        (energy.joules, energy.source, energy.coverage_seconds),
        (joules(500), EnergySource::PowerIntegral, 2.0)
    );
    assert_eq!(energy.counter_joules, None);
    assert!(codes.is_empty() && said.iter().any(|said| said.contains("counter was not read")), "{said:?}");
}

#[test]
fn a_gap_is_not_bridged_by_the_integral_but_by_the_counter() {
    let powers = [told(None, Some(200_000)), told(None, Some(200_000)), missing("lost"), told(None, Some(200_000))];
    let (energy, ..) = result(powers.clone());
    assert_eq!(energy.map(|energy| (energy.joules, energy.coverage_seconds)), Some((joules(200), 1.0)));
    let across = |from| [told(Some(from), None), missing("lost"), missing("lost"), told(Some(from + 600_000), None)];
    let (energy, _, codes) = result(across(10_000_000));
    assert_eq!(energy.map(|energy| (energy.joules, energy.coverage_seconds)), Some((joules(600), 3.0)));
    assert!(codes.is_empty(), "{codes:?}");
    // So little may have been drawn since the counter began anew within the gap.
    let (energy, _, codes) = result(across(5_000_000));
    assert_eq!((energy, codes), (None, vec!["energy-counter-fell".to_owned()]));
    let read = |from: u64| (0..10).map(move |second| told(Some(from + second * 300_000), None));
    let (energy, ..) = result(read(0).chain([missing("lost"), missing("lost")]).chain(read(4_000_000)));
    assert_eq!(energy.map(|energy| (energy.joules, energy.coverage_seconds)), Some((joules(18 * 300), 18.0)));
}

/// Two idle readings around a minute in which nobody looked are not a minute of idling.
#[test]
fn a_late_reading_is_not_bridged_by_the_integral_but_by_the_counter() {
    let ends = [0, 1000, 2000, 62_000, 63_000, 66_000];
    let figures = |counter: Option<u64>| {
        let reading = |until: i64| told(counter.map(|each| each * until.unsigned_abs()), Some(100_000));
        let all: Vec<Sample> =
            ends.windows(2).map(|pair| sample("GPU-1", pair[0], pair[1], reading(pair[1]))).collect();
        let energy = played(&all).ceiling().devices.remove(0).energy.unwrap();
        (energy.joules, energy.coverage_seconds, energy.power_integral_joules)
    };
    let integral = joules(500);
    assert_eq!(figures(None), (integral, 5.0, Some(integral)));
    assert_eq!(figures(Some(100)), (joules(6500), 65.0, Some(integral)));
}

#[test]
fn a_reading_without_power_breaks_the_integral() {
    let (energy, ..) = result([Some(1000), None, Some(1000), Some(1000)].map(|power| told(None, power)));
    assert_eq!(energy.map(|energy| (energy.joules, energy.coverage_seconds)), Some((joules(1), 1.0)));
}

#[test]
fn a_counter_that_stands_still_is_a_finding_and_not_told() {
    let (energy, said, codes) = result((0..10).map(|_| told(Some(5), Some(400_000))));
    let energy = energy.unwrap();
    assert_eq!((energy.joules, energy.source), (joules(9 * 400), EnergySource::PowerIntegral));
    assert_eq!(energy.counter_joules, Some(Joules::default()));
    assert_eq!(codes, ["energy-counter-still"]);
    let note = said.iter().find(|said| said.contains("stood still")).unwrap();
    assert!(note.contains("it counted 0.000 J and power × time is 3600.000 J"), "{note}");
}

#[test]
fn a_counter_that_stands_still_for_a_while_lacks_energy_unless_it_catches_up() {
    let stopped = |catches_up: u64| {
        (0..20_u64).map(move |second| {
            let counted =
                if second < 10 { second } else { 10 + if second > 15 { second - 15 + catches_up } else { 0 } };
            told(Some(counted * 400_000), Some(400_000))
        })
    };
    let (energy, _, codes) = result(stopped(0));
    assert_eq!(energy.map(|energy| energy.source), Some(EnergySource::PowerIntegral));
    assert_eq!(codes, ["energy-counter-still"]);
    let (energy, said, codes) = result(stopped(5));
    assert_eq!(energy.map(|energy| (energy.joules, energy.source)), Some((joules(19 * 400), EnergySource::Counter)));
    assert!(codes.is_empty() && said.iter().any(|said| said.contains("caught up")), "{said:?}");
}

#[test]
fn a_difference_is_a_finding_from_a_minute_on() {
    let drawn =
        |count: u64, milliwatts: u32| (0..count).map(move |second| told(Some(second * 187_000), Some(milliwatts)));
    for (count, milliwatts, expected) in
        [(61, 327_000, true), (61, 150_000, true), (60, 327_000, false), (61, 196_000, false), (61, 178_500, false)]
    {
        let (energy, _, codes) = result(drawn(count, milliwatts));
        assert_eq!(energy.map(|energy| energy.source), Some(EnergySource::Counter));
        assert_eq!(codes == ["energy-counter-differs"], expected, "{count} {milliwatts} {codes:?}");
    }
}

#[test]
fn a_counter_that_fell_is_summed_on_and_is_a_finding() {
    let counter = |second: u64| if second < 50 { 1_000_000 + second * 400_000 } else { (second - 50) * 400_000 };
    let (energy, said, codes) = result((0..100).map(|second| told(Some(counter(second)), Some(400_000))));
    assert_eq!(energy.as_ref().map(|energy| (energy.joules, energy.coverage_seconds)), Some((joules(98 * 400), 98.0)));
    assert_eq!(codes, ["energy-counter-fell"]);
    assert!(said.iter().any(|said| said.contains("the counter is told")), "{said:?}");
    // One that falls again and again loses too much.
    let (energy, _, codes) = result((0..100).map(|second| told(Some(second % 4 * 400_000), Some(400_000))));
    assert_eq!(
        energy.map(|energy| (energy.joules, energy.source)),
        Some((joules(99 * 400), EnergySource::PowerIntegral))
    );
    assert_eq!(codes, ["energy-counter-fell"]);
}

#[test]
fn a_power_that_no_board_draws_is_none() {
    let (energy, notes, codes) =
        result((0..60_u32).map(|second| told(None, Some(if second % 20 == 7 { u32::MAX } else { 300_000 }))));
    let energy = energy.unwrap();
    // Each leaves out the second before and the one after it.
    assert_eq!((energy.joules, energy.coverage_seconds), (joules(53 * 300), 53.0));
    assert_eq!(codes, ["energy-power-impossible"]);
    assert!(notes.iter().any(|note| note.contains("3 readings of more than 2000 W")), "{notes:?}");
    let (energy, _, codes) = result((0..60).map(|_| told(None, Some(u32::MAX))));
    assert_eq!((energy, codes), (None, vec!["energy-power-impossible".to_owned()]));
}

#[test]
fn a_counter_that_leaps_is_a_finding_and_not_told() {
    let counter = |second: u64| Some(second * 300_000 + if second > 30 { 1 << 40 } else { 0 });
    let (energy, notes, codes) = result((0..60_u64).map(|second| told(counter(second), Some(301_000))));
    let energy = energy.unwrap();
    assert_eq!((energy.joules, energy.source), (joules(59 * 301), EnergySource::PowerIntegral));
    assert_eq!(codes, ["energy-counter-leapt"]);
    assert!(notes.iter().any(|note| note.ends_with("power × time is told")), "{notes:?}");
    let (energy, _, codes) = result((0..60_u64).map(|second| told(counter(second), None)));
    assert_eq!((energy, codes), (None, vec!["energy-counter-leapt".to_owned()]));
}

#[test]
fn boards_that_were_not_read_leave_the_sum_missing() {
    let mut meter = played(&seconds("GPU-1", (0..9_u64).map(|second| told(Some(second * 300_000), None))));
    assert_eq!(meter.energy(), Some(joules(8 * 300)));
    let facts = DeviceFacts::Unreadable { reason: "lost".to_owned() };
    meter.announce(vec![Device { id: "gpu:9".to_owned(), name: "NVIDIA GPU".to_owned(), facts }]);
    assert_eq!(meter.energy(), None);
}

#[test]
fn what_was_not_read_is_never_zero() {
    let nothing = [
        vec![],
        vec![told(None, None), told(None, None)],
        vec![told(Some(5), Some(100_000))],
        vec![told(Some(5), None), missing("lost")],
        vec![told(Some(5), None), told(Some(5), None)],
        vec![told(Some(5), Some(0)), told(Some(5), Some(0))],
        vec![told(None, Some(0)), told(None, Some(0))],
    ];
    for readings in nothing {
        let (energy, said, _) = result(readings.clone());
        assert_eq!(energy, None, "{readings:?}");
        assert!(said.iter().any(|said| said.contains("energy is missing")), "{readings:?} {said:?}");
        assert_eq!(played(&seconds("GPU-1", readings)).energy(), None);
    }
}

fn slice(id: &str, parent: &str) -> Device {
    let mut slice = Device { id: id.to_owned(), ..gpu("NVIDIA H200") };
    if let DeviceFacts::Gpu(facts) = &mut slice.facts {
        facts.mig = Mig::Slice { parent: parent.to_owned(), multiprocessors: Some(16) };
    }
    slice
}

#[test]
fn slices_of_one_board_are_its_energy_once() {
    let mut meter = CeilingMeter::new(vec![slice("MIG-1", "GPU-a"), slice("MIG-2", "GPU-a"), slice("MIG-3", "GPU-b")]);
    for device in ["MIG-1", "MIG-2", "MIG-3"] {
        for sample in seconds(device, (0..10_u64).map(|second| told(Some(second * 300_000), Some(300_000)))) {
            meter.add(&sample);
        }
    }
    assert_eq!(meter.energy(), Some(joules(2 * 9 * 300)));
    let device = meter.ceiling().devices.remove(1);
    let energy = device.energy.unwrap();
    assert_eq!((energy.joules, energy.boundary), (joules(9 * 300), EnergyBoundary::ParentBoard));
    assert_eq!(energy.board.as_deref(), Some("GPU-a"));
    assert!(device.assumptions.iter().any(|said| said.contains("whole board GPU-a")), "{:?}", device.assumptions);
}

#[test]
fn slices_of_one_board_are_one_finding() {
    let mut meter = CeilingMeter::new(vec![slice("MIG-1", "GPU-a"), slice("MIG-2", "GPU-a")]);
    for device in ["MIG-1", "MIG-2"] {
        for sample in seconds(device, (0..10).map(|_| told(Some(1), Some(300_000)))) {
            meter.add(&sample);
        }
    }
    let findings = meter.findings();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].text.starts_with("NVIDIA H200 (GPU-a): the energy counter stood still"), "{findings:?}");
}

#[test]
fn packages_are_the_difference_of_cumulative_values_in_any_order() {
    let reading = |value: u64| Reading::Cpu {
        cpu_time_nanoseconds: 0,
        complete: value != 3,
        package_energy_microjoules: Some(value * 90_000_000),
    };
    let mut samples = seconds("cpu:host", [0, 1, 2, 3, 4].map(reading));
    samples.swap(0, 3);
    samples.push(samples[1].clone());
    let mut meter = CeilingMeter::new(vec![cpu()]);
    for sample in &samples {
        meter.add(sample);
    }
    let energy = meter.ceiling().devices.remove(0).energy.unwrap();
    assert_eq!((energy.joules, energy.boundary), (joules(360), EnergyBoundary::CpuPackages));
    assert_eq!(energy.coverage_seconds.to_string(), "4");
    // The run's own figure is that of the GPUs' boards.
    assert_eq!(meter.energy(), None);
}

/// One interval: its length, and what the board drew at its end; whether the sample is lost, kept or sent twice.
fn truths() -> impl Strategy<Value = Vec<(u16, u32, bool, usize)>> {
    prop::collection::vec((1_u16..4500, 1_u32..1_200_000, any::<bool>(), 0_usize..3), 1..60)
}

proptest! {
    #[test]
    fn the_integral_is_the_sum_of_trapezoids_between_neighbours(truths in truths(), order in any::<u64>()) {
        let (mut from, mut sent, mut before) = (0_i64, Vec::new(), None);
        // Twice microjoules.
        let (mut doubled, mut covered) = (0_u128, 0_u128);
        for &(milliseconds, power, told_power, copies) in &truths {
            let until = from + i64::from(milliseconds);
            let told_power = told_power.then_some(power);
            let one = sample("GPU-1", from, until, told(None, told_power));
            sent.extend(std::iter::repeat_n(one, copies));
            let now = told_power.filter(|_| copies > 0);
            if let (Some(before), Some(now), ..=3000) = (before, now, milliseconds) {
                doubled += (u128::from(before) + u128::from(now)) * u128::from(milliseconds);
                covered += u128::from(milliseconds);
            }
            before = now;
            from = until;
        }
        sent.sort_by_key(|sample| sample.started.timestamp_millis().cast_unsigned().wrapping_mul(order | 1));
        let mut meter = played(&sent);
        meter.hold(at(0), at(from));
        let energy = meter.ceiling().devices.remove(0).energy;
        let expected = u64::try_from((doubled + 1000) / 2000).unwrap();
        let figure = energy.as_ref().map_or(0, |energy| energy.joules.millijoules());
        prop_assert_eq!(figure, expected);
        if let Some(energy) = energy {
            prop_assert_eq!(energy.coverage_seconds.to_string(), exact::seconds(covered * 1_000_000).to_string());
        }
    }

    /// Whatever the order and the copies, and whatever becomes of the counter, the sum is that of its rises, where a board can draw that.
    #[test]
    fn the_counter_is_the_sum_of_its_rises(values in prop::collection::vec((1_u64 << 40..(1 << 40) + 2_000_000, 0_usize..3), 1..60), order in any::<u64>()) {
        let samples = seconds("GPU-1", values.iter().map(|&(value, _)| told(Some(value), None)));
        let mut sent: Vec<Sample> =
            samples.iter().zip(&values).flat_map(|(sample, &(_, copies))| std::iter::repeat_n(sample.clone(), copies)).collect();
        sent.sort_by_key(|sample| sample.started.timestamp_millis().cast_unsigned().wrapping_mul(order | 1));
        let kept: Vec<u64> = values.iter().filter(|(_, copies)| *copies > 0).map(|&(value, _)| value).collect();
        let risen: u64 = kept.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).sum();
        let falls = kept.windows(2).any(|pair| pair[1] < pair[0]);
        let meter = played(&sent);
        let told = meter.energy();
        prop_assert_eq!(told.map_or(0, Joules::millijoules), risen);
        prop_assert_eq!(meter.findings().iter().any(|finding| finding.code == "energy-counter-fell"), falls);
    }
}
