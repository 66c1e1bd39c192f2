//! The bound against scripted truths: what a device really did, what it said of it, and what became of the samples.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::CeilingMeter;
use crate::sample::{
    BusyStretch, ComputeCapability, CpuFacts, CycleCounters, Device, DeviceFacts, GpuFacts, GpuReading, Reading, Sample,
};
use crate::unit::Flops;

const CLOCK_HERTZ: u128 = 1_980_000_000;
const H200_PEAK: u128 = 132 * 8192 * CLOCK_HERTZ;
/// Two cores with SSE2 alone at 1 GHz.
const CPU_CORE_PEAK: u128 = 8 * 1_000_000_000;

pub(super) fn gpu(name: &str) -> Device {
    let facts = GpuFacts {
        compute_capability: Some(ComputeCapability { major: 9, minor: 0 }),
        core_count: Some(16_896),
        max_sm_clock_mhz: Some(1980),
        ..GpuFacts::default()
    };
    Device { id: "GPU-1".to_owned(), name: name.to_owned(), facts: DeviceFacts::Gpu(facts) }
}

pub(super) fn cpu() -> Device {
    let facts = CpuFacts {
        logical_cores: 2,
        max_clock_mhz: Some(1000),
        features: vec!["sse2".to_owned()],
        architecture: "x86_64".to_owned(),
        package_energy_missing: None,
    };
    Device { id: "cpu:host".to_owned(), name: "Some processor".to_owned(), facts: DeviceFacts::Cpu(facts) }
}

pub(super) fn at(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::milliseconds(milliseconds)
}

pub(super) fn sample(device: &str, from: i64, until: i64, reading: Reading) -> Sample {
    let duration_nanoseconds = u64::try_from(until - from).unwrap() * 1_000_000;
    Sample { device: device.to_owned(), started: at(from), duration_nanoseconds, reading }
}

fn busy(stretches: &[(u64, u32)], energy_millijoules: Option<u64>) -> Reading {
    let busy = Some(stretches.iter().copied().map(BusyStretch::from).collect());
    Reading::Gpu(GpuReading { busy, energy_millijoules, ..GpuReading::default() })
}

fn processor(cpu_time_nanoseconds: u64, complete: bool) -> Reading {
    Reading::Cpu { cpu_time_nanoseconds, complete, package_energy_microjoules: None }
}

pub(super) fn missing(reason: &str) -> Reading {
    Reading::Missing { reason: reason.to_owned() }
}

/// One stretch of a scripted GPU: whole microseconds and the true share of them it was busy, in tenths of a per cent.
#[derive(Clone, Debug)]
struct Truth {
    milliseconds: u16,
    busy_permille: u16,
    /// The reading is not supported, lost, or fine.
    fate: u8,
    /// Dropped, kept, or sent twice.
    copies: usize,
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let truth = (1_u16..3000, 0_u16..=1000, 0_u8..4, 0_usize..3)
        .prop_map(|(milliseconds, busy_permille, fate, copies)| Truth { milliseconds, busy_permille, fate, copies });
    prop::collection::vec(truth, 1..40)
}

/// What the driver says of a stretch: whole per cent, rounded down as the worst case.
fn reading(truth: &Truth) -> Reading {
    match truth.fate {
        0 => missing("GPU is lost"),
        1 => Reading::Gpu(GpuReading::default()),
        _ => busy(&[(u64::from(truth.milliseconds) * 1000, u32::from(truth.busy_permille / 10))], None),
    }
}

proptest! {
    #[test]
    fn a_ceiling_is_never_below_the_truth(truths in truths(), order in any::<u64>()) {
        let mut from = 0_i64;
        let mut sent = Vec::new();
        let mut true_flop = 0_u128;
        for truth in &truths {
            let until = from + i64::from(truth.milliseconds);
            let one = sample("GPU-1", from, until, reading(truth));
            sent.extend(std::iter::repeat_n(one, truth.copies));
            // FLOP done: never more than busy time × peak; milliseconds × permille are microseconds.
            true_flop += u128::from(truth.milliseconds) * u128::from(truth.busy_permille) * H200_PEAK / 1_000_000;
            from = until;
        }
        // Arrival in an order that has nothing to do with time.
        sent.sort_by_key(|sample| sample.started.timestamp_millis().cast_unsigned().wrapping_mul(order | 1));
        let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
        meter.hold(at(0), at(from));
        for sample in &sent {
            meter.add(sample);
        }
        let ceiling = meter.ceiling();
        prop_assert!(ceiling.flop.unwrap() >= Flops(true_flop));
        let held = Flops((u128::try_from(from).unwrap() * H200_PEAK).div_ceil(1000));
        prop_assert!(ceiling.flop.unwrap() <= held);
        prop_assert_eq!(ceiling.devices[0].layers[0].flop, Some(held));
    }

    #[test]
    fn processor_time_is_never_below_the_truth(truths in truths(), order in any::<u64>()) {
        let (mut from, mut spent_true, mut spent_told) = (0_i64, 0_u128, 0_u64);
        let mut sent = Vec::new();
        for truth in &truths {
            let until = from + i64::from(truth.milliseconds);
            // Two cores: permille of 1000 keeps both busy.
            let spent = u64::from(truth.milliseconds) * u64::from(truth.busy_permille) * 2000;
            spent_true += u128::from(spent);
            let complete = truth.fate > 1;
            // An incomplete interval may have missed all of its processes.
            spent_told += if complete { spent } else { 0 };
            let reading = processor(spent_told, complete);
            sent.extend(std::iter::repeat_n(sample("cpu:host", from, until, reading), truth.copies));
            from = until;
        }
        sent.sort_by_key(|sample| sample.started.timestamp_millis().cast_unsigned().wrapping_mul(order | 1));
        let mut meter = CeilingMeter::new(vec![cpu()]);
        meter.hold(at(0), at(from));
        for sample in &sent {
            meter.add(sample);
        }
        prop_assert!(meter.ceiling().flop.unwrap().0 * 1_000_000_000 >= spent_true * CPU_CORE_PEAK);
    }
}

#[test]
fn a_busy_share_is_charged_with_one_point_more() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.add(&sample("GPU-1", 0, 1000, busy(&[(500_000, 40), (500_000, 100)], None)));
    let ceiling = meter.ceiling();
    assert_eq!(ceiling.layer.as_deref(), Some("L1"));
    // 0.5 s × 41 % + 0.5 s × 100 %.
    assert_eq!(ceiling.flop, Some(Flops((H200_PEAK * 705).div_ceil(1000))));
    assert_eq!(ceiling.devices[0].busy_seconds, Some(0.7));
    assert!(meter.gaps().is_empty());
}

#[test]
fn a_lost_gpu_is_a_gap_that_is_charged_in_full() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.add(&sample("GPU-1", 0, 1000, busy(&[(1_000_000, 0)], None)));
    meter.add(&sample("GPU-1", 1000, 3000, missing("device fell off the bus")));
    meter.hold(at(0), at(4000));
    let gaps = meter.gaps();
    assert_eq!(gaps.iter().map(|gap| gap.duration_seconds).collect::<Vec<_>>(), [2.0, 1.0]);
    assert_eq!(gaps[0].reason, "device fell off the bus");
    assert_eq!(gaps[0].charged, Some(Flops(2 * H200_PEAK)));
    // One second at 0 + 1 per cent, three in full.
    assert_eq!(meter.ceiling().flop, Some(Flops(3 * H200_PEAK + H200_PEAK / 100)));
}

/// The meter was stopped for four seconds: no bound is other than before, and the record says so.
#[test]
fn a_late_reading_is_listed_and_changes_no_bound() {
    let shares = [(1_000_000, 40), (500_000, 40)];
    let stopped = [
        sample("cpu:host", 0, 3500, processor(250_000_000, true)),
        sample("GPU-1", 0, 1000, busy(&[], None)),
        sample("GPU-1", 1000, 5000, busy(&shares, None)),
        sample("GPU-1", 5000, 8000, busy(&[], None)),
        sample("GPU-1", 8000, 9000, missing("lost")),
    ];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200"), cpu()]);
        for index in order {
            meter.add(&stopped[index]);
            // Once more proves nothing, and is listed once.
            meter.add(&stopped[index]);
        }
        let told: Vec<_> =
            meter.gaps().into_iter().map(|gap| (gap.device, gap.duration_seconds, gap.charged)).collect();
        let expected = [
            ("GPU-1".to_owned(), 4.0, Some(Flops(H200_PEAK * 5 / 2))),
            ("GPU-1".to_owned(), 1.0, Some(Flops(H200_PEAK))),
            ("cpu:host".to_owned(), 3.5, Some(Flops(0))),
        ];
        assert_eq!(told, expected);
        assert!(meter.gaps()[0].reason.starts_with("readings came late"));
        let devices = meter.ceiling().devices;
        // One second and a half at 40 + 1 per cent, the rest in full.
        assert_eq!(devices[0].flop, Some(Flops((H200_PEAK * (7500 + 615)).div_ceil(1000))));
        assert_eq!(devices[1].flop, Some(Flops(CPU_CORE_PEAK / 4)));
    }
}

#[test]
fn without_busy_shares_the_held_time_is_charged() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.add(&sample("GPU-1", 0, 1000, Reading::Gpu(GpuReading::default())));
    let device = &meter.ceiling().devices[0];
    assert_eq!((device.layer.as_deref(), device.flop), (Some("L0"), Some(Flops(H200_PEAK))));
    assert_eq!(device.busy_seconds, None);
}

#[test]
fn busy_shares_of_more_time_than_was_held_are_not_believed() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.add(&sample("GPU-1", 0, 1000, busy(&[(60_000_000, 0)], None)));
    assert_eq!(meter.ceiling().layer.as_deref(), Some("L0"));
}

#[test]
fn hostile_numbers_do_not_lower_the_bound() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200"), cpu()]);
    let forever = |device: &str, reading| Sample {
        device: device.to_owned(),
        started: DateTime::<Utc>::MAX_UTC,
        duration_nanoseconds: u64::MAX,
        reading,
    };
    meter.add(&forever("GPU-1", busy(&[(u64::MAX, u32::MAX), (u64::MAX, 0)], Some(u64::MAX))));
    meter.add(&forever("cpu:host", processor(u64::MAX, false)));
    meter.hold(DateTime::<Utc>::MIN_UTC, at(0));
    assert!(meter.ceiling().flop.unwrap() > Flops(H200_PEAK));
    assert!(!meter.gaps().is_empty());
}

#[test]
fn a_clock_above_the_highest_raises_every_bound() {
    let at_clock = |milliseconds, clock| {
        let busy = Some(vec![BusyStretch::from((1_000_000, 100))]);
        let reading = GpuReading { busy, highest_sm_clock_mhz: Some(clock), ..GpuReading::default() };
        sample("GPU-1", milliseconds, milliseconds + 1000, Reading::Gpu(reading))
    };
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.add(&at_clock(0, 1980));
    assert_eq!((meter.ceiling().flop, meter.findings()), (Some(Flops(H200_PEAK)), Vec::new()));
    meter.add(&at_clock(1000, u32::MAX));
    assert_eq!((meter.ceiling().flop, meter.findings()), (Some(Flops(2 * H200_PEAK)), Vec::new()), "no clock");
    meter.add(&at_clock(2000, 2200));
    let (ceiling, truth) = (meter.ceiling(), 2 * H200_PEAK + H200_PEAK / 1980 * 2200);
    let device = ceiling.devices.first().unwrap();
    assert_eq!(device.strict_peak, Some(Flops(H200_PEAK / 1980 * 2200)));
    assert!(
        device
            .layers
            .iter()
            .filter_map(|layer| layer.flop.zip(layer.holds_if.is_none().then_some(())))
            .all(|(flop, ())| flop.0 >= truth)
    );
    assert!(
        device.assumptions.iter().any(|said| said.contains("2200 MHz, above its maximum of 1980 MHz")),
        "{device:#?}"
    );
    let codes: Vec<String> = meter.findings().into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["clock-above-maximum"]);
}

#[test]
fn one_device_without_a_bound_makes_the_total_missing() {
    let reason = "/dev/kfd is open in the job's processes".to_owned();
    let amd =
        Device { id: "/dev/kfd".to_owned(), name: "AMD GPU".to_owned(), facts: DeviceFacts::Unreadable { reason } };
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.hold(at(0), at(1000));
    assert!(meter.ceiling().complete);
    meter.announce(vec![amd]);
    let ceiling = meter.ceiling();
    assert_eq!((ceiling.flop, ceiling.complete, ceiling.layer), (None, false, None));
    assert_eq!(ceiling.devices[0].flop, Some(Flops(H200_PEAK)));
    assert_eq!(ceiling.devices[1].held_seconds.to_string(), "1");
}

#[test]
fn a_device_that_only_samples_name_makes_the_total_missing() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    for index in 0..1000 {
        meter.add(&sample(&format!("GPU-x{index}"), 0, 1000, missing("lost")));
    }
    let ceiling = meter.ceiling();
    assert_eq!(ceiling.flop, None);
    assert!(ceiling.devices.len() < 100);
}

#[test]
fn no_device_is_no_bound() {
    assert_eq!(CeilingMeter::new(Vec::new()).ceiling().flop, None);
}

#[test]
fn a_job_of_gpu_and_processor_is_their_sum() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200"), cpu()]);
    meter.add(&sample("GPU-1", 0, 1000, busy(&[(1_000_000, 100)], Some(500))));
    meter.add(&sample("cpu:host", 0, 1000, processor(250_000_000, true)));
    let ceiling = meter.ceiling();
    assert_eq!(ceiling.layer.as_deref(), Some("mixed"));
    assert_eq!(ceiling.flop, Some(Flops(H200_PEAK + CPU_CORE_PEAK / 4)));
}

#[test]
fn energy_needs_the_counter_of_every_gpu() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200"), cpu()]);
    assert_eq!(meter.energy(), None);
    meter.add(&sample("GPU-1", 0, 1000, busy(&[], Some(500))));
    meter.add(&sample("GPU-1", 1000, 2000, busy(&[], Some(1750))));
    assert_eq!(meter.energy().map(|energy| energy.to_string()), Some("1.250".to_owned()));
    let other = Device { id: "GPU-2".to_owned(), ..gpu("NVIDIA H200") };
    meter.announce(vec![other]);
    assert_eq!(meter.energy(), None);
}

#[test]
fn a_day_of_samples_takes_no_more_memory_than_a_minute() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200"), cpu()]);
    // Everything that is kept is in what `Debug` writes: a list that grew by one entry a second would show.
    let kept = |meter: &CeilingMeter| format!("{meter:?}").len();
    let mut after_a_minute = 0;
    for second in 0..86_400 {
        let reading = Reading::Gpu(GpuReading {
            busy: Some(vec![(1_000_000, 50).into()]),
            pipes: Some(vec![(1_000_000, 6000, 0, 0, 0).into()]),
            cycles: Some(CycleCounters { elapsed: (1 << 50) + second, active: (1 << 49) + second }),
            highest_sm_clock_mhz: Some(1980),
            energy_millijoules: Some(1_000_000_000 + second),
            power_milliwatts: Some(500_000),
            ..GpuReading::default()
        });
        let from = i64::try_from(second).unwrap() * 1000;
        meter.add(&sample("GPU-1", from, from + 1000, reading));
        meter.add(&sample("cpu:host", from, from + 1000, processor(second, true)));
        if second == 59 {
            after_a_minute = kept(&meter);
        }
    }
    assert!(after_a_minute > 1000, "{meter:?}");
    // Sums have more digits.
    assert!(kept(&meter) < after_a_minute + 200, "{after_a_minute} {} {meter:?}", kept(&meter));
    assert!(meter.gaps().is_empty());
    assert_eq!(meter.ceiling().devices[0].flop, Some(Flops(86_400 * H200_PEAK * 51 / 100)));
}

/// A process that missed intervals without a figure and was told afterwards that nothing was missing would tell too little energy.
#[test]
fn time_in_which_the_packages_were_not_measured_is_not_covered_and_is_said() {
    let mut meter = CeilingMeter::new(vec![cpu()]);
    let mut add = |from: i64, until: i64, package_energy_microjoules: Option<u64>| {
        let reading = Reading::Cpu { cpu_time_nanoseconds: 1, complete: true, package_energy_microjoules };
        meter.add(&sample("cpu:host", from, until, reading));
    };
    add(0, 1000, Some(0));
    add(1000, 2000, Some(90_000_000));
    // Two hours' sleep of the meter alone.
    add(2000, 7_202_000, None);
    add(7_202_000, 7_203_000, Some(180_000_000));
    add(7_203_000, 7_204_000, None);
    let energy = meter.ceiling().devices[0].energy.clone().unwrap();
    assert_eq!((energy.joules.to_string().as_str(), energy.coverage_seconds), ("180.000", 2.0));
    let findings = meter.findings();
    assert_eq!(findings[0].code, "package-energy-gap");
    assert!(findings[0].text.contains("not measured for 7200 s"), "{findings:?}");
}
