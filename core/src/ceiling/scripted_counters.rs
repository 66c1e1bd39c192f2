//! The layers of activity and cycles against scripted truths.

use proptest::prelude::*;

use super::CeilingMeter;
use super::scripted::{at, gpu, missing, sample};
use crate::run::DeviceCeiling;
use crate::sample::{BusyStretch, CycleCounters, DeviceFacts, GpuReading, PipeStretch, Reading};
use crate::unit::Flops;

const MULTIPROCESSORS: u128 = 132;
const TENSOR_FLOP_PER_CLOCK: u128 = 8192;
const VECTOR_FLOP_PER_CLOCK: u128 = 256;
const HIGHEST_MHZ: u32 = 1980;
/// What has elapsed before: an hour.
const SINCE_BOOT: u128 = 3600 * 1_980_000_000;

/// One second (or less) of a GPU that runs at some clock and whose units are active for some of it.
#[derive(Clone, Debug)]
struct Truth {
    milliseconds: u16,
    clock_mhz: u32,
    /// Of the time: at least one kernel ran, in permille; the same for units, of which no two are active at once.
    busy: u16,
    tensor: u16,
    vector: u16,
    lost: bool,
    copies: usize,
}

impl Truth {
    fn cycles(&self) -> u128 {
        u128::from(self.milliseconds) * u128::from(self.clock_mhz) * 1000
    }

    fn flop(&self) -> u128 {
        let tensor = u128::from(self.tensor) * TENSOR_FLOP_PER_CLOCK;
        let vector = u128::from(self.vector) * VECTOR_FLOP_PER_CLOCK;
        self.cycles() * MULTIPROCESSORS * (tensor + vector) / 1000
    }

    fn reading(&self, cycles: CycleCounters) -> Reading {
        if self.lost {
            return missing("GPU is lost");
        }
        let microseconds = u64::from(self.milliseconds) * 1000;
        Reading::Gpu(GpuReading {
            busy: Some(vec![BusyStretch { microseconds, percent: u32::from(self.busy / 10) }]),
            highest_sm_clock_mhz: Some(self.clock_mhz),
            pipes: Some(vec![PipeStretch {
                microseconds,
                tensor: u32::from(self.tensor) * 10,
                fp64: 0,
                fp32: u32::from(self.vector) * 10,
                fp16: 0,
            }]),
            cycles: Some(cycles),
            ..GpuReading::default()
        })
    }
}

fn truths() -> impl Strategy<Value = Vec<Truth>> {
    let shares = (0_u16..=1000)
        .prop_flat_map(|busy| (Just(busy), 0..=busy))
        .prop_flat_map(|(busy, active)| (0..=active).prop_map(move |tensor| (busy, tensor, active - tensor)));
    let truth = (1_u16..2000, 210_u32..=HIGHEST_MHZ, shares, 0_u8..8, 0_usize..3).prop_map(
        |(milliseconds, clock_mhz, (busy, tensor, vector), fate, copies)| Truth {
            milliseconds,
            clock_mhz,
            busy,
            tensor,
            vector,
            lost: fate == 0,
            copies,
        },
    );
    prop::collection::vec(truth, 1..30)
}

/// Plays the truths, with counters that are sums over the multiprocessors or means; gives the true operations as well.
fn play(truths: &[Truth], order: u64, sums: bool) -> (DeviceCeiling, u128) {
    let (mut from, mut flop, mut elapsed, mut active) = (0_i64, 0, SINCE_BOOT, 5_u128);
    let mut sent = Vec::new();
    for truth in truths {
        let until = from + i64::from(truth.milliseconds);
        flop += truth.flop();
        elapsed += truth.cycles();
        active += truth.cycles() * u128::from(truth.busy) / 1000;
        let count = |cycles: u128| u64::try_from(if sums { cycles * MULTIPROCESSORS } else { cycles }).unwrap();
        let cycles = CycleCounters { elapsed: count(elapsed), active: count(active) };
        sent.extend(std::iter::repeat_n(sample("GPU-1", from, until, truth.reading(cycles)), truth.copies));
        from = until;
    }
    sent.sort_by_key(|sample| sample.started.timestamp_millis().cast_unsigned().wrapping_mul(order | 1));
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    meter.hold(at(0), at(from));
    for sample in &sent {
        meter.add(sample);
    }
    (meter.ceiling().devices.remove(0), flop)
}

proptest! {
    #[test]
    fn no_layer_is_below_the_truth(truths in truths(), order in any::<u64>(), sums in any::<bool>()) {
        let (device, flop) = play(&truths, order, sums);
        for layer in &device.layers {
            // The clock was constant in each interval and the counters are right, so that these are no estimates here; bf16 was not
            // what ran.
            let given_format = layer.layer.ends_with('p');
            prop_assert!(given_format || layer.flop.is_none_or(|bound| bound >= Flops(flop)), "{layer:?} {flop}");
        }
        prop_assert!(device.flop.unwrap() >= Flops(flop));
    }
}

fn layer(device: &DeviceCeiling, name: &str) -> Option<Flops> {
    device.layers.iter().find(|layer| layer.layer == name).and_then(|layer| layer.flop)
}

fn steady(tensor: u16) -> Vec<Truth> {
    let second = Truth { milliseconds: 1000, clock_mhz: 1755, busy: 1000, tensor, vector: 0, lost: false, copies: 1 };
    vec![second; 10]
}

#[test]
fn activity_tightens_what_busy_shares_cannot() {
    let (device, flop) = play(&steady(400), 0, false);
    assert_eq!(device.layer.as_deref(), Some("L3"));
    // The clock is charged at its highest.
    assert_eq!(device.flop.unwrap().0, flop * 1980 / 1755);
    assert!(layer(&device, "L2").unwrap() < layer(&device, "L1").unwrap());
    // Half the fastest format's rate is charged where bf16 is given.
    assert_eq!(layer(&device, "L3p").unwrap().0 * 2, device.flop.unwrap().0);
}

#[test]
fn a_layer_with_a_condition_is_never_the_figure() {
    let (device, _) = play(&steady(400), 0, false);
    let conditional: Vec<&str> = device.layers.iter().filter(|it| it.holds_if.is_some()).map(|it| &*it.layer).collect();
    assert_eq!(conditional, ["L0p", "L2", "L1p", "L2x", "L3p"]);
    assert!(!conditional.contains(&device.layer.as_deref().unwrap()));
}

#[test]
fn cycles_are_exact_but_for_the_ends_as_a_mean_and_at_the_highest_clock_as_a_sum() {
    let second = MULTIPROCESSORS * TENSOR_FLOP_PER_CLOCK * 1_000_000;
    // From the end of the first reading to the start of the last one nothing but the counted cycles is charged. The last interval
    // is charged in full besides, since it is not known when in it the counter was read, and a tenth of a second for counters that
    // are renewed now and then.
    let (device, flop) = play(&steady(1000), 0, false);
    assert_eq!(layer(&device, "L2x"), Some(Flops(second * (9 * 1755 + 2 * 1980) + second * 198)));
    // What is a sum over 132 at a lower clock can be one over fewer at the highest: it is charged as that.
    let (device, _) = play(&[(); 10].map(|()| steady(1000)).concat(), 0, true);
    let bound = layer(&device, "L2x").unwrap();
    assert!(bound >= Flops(flop * 10) && bound <= Flops(second * 102 * 1980), "{bound:?} {flop}");
}

/// A sum over units of which each holds several multiprocessors, as GPCs do.
#[test]
fn a_sum_over_larger_units_is_not_taken_for_one_over_multiprocessors() {
    let (units, cycles) = (8_u64, 1_755_000_000_u64);
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    for second in 0..10_u64 {
        let counter = (3600 + second) * units * cycles;
        let read = CycleCounters { elapsed: counter, active: counter };
        let from = i64::try_from(second).unwrap() * 1000;
        meter.add(&sample("GPU-1", from, from + 1000, cycles_of(read)));
    }
    let device = meter.ceiling().devices.remove(0);
    let truth = MULTIPROCESSORS * TENSOR_FLOP_PER_CLOCK * u128::from(cycles) * 10;
    assert!(layer(&device, "L2x").unwrap() >= Flops(truth), "{device:#?}");
}

fn cycles_of(cycles: CycleCounters) -> Reading {
    Reading::Gpu(GpuReading { cycles: Some(cycles), ..GpuReading::default() })
}

/// Lost for five seconds, reset meanwhile and busy throughout: when it is back, the counter holds more than before.
#[test]
fn a_counter_that_starts_again_in_a_hole_hides_nothing() {
    const CLOCK: u64 = 1_980_000_000;
    for since_boot in [3, 3600] {
        let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
        let mut add = |from: i64, until: i64, seconds: u64| {
            let counter = seconds * CLOCK;
            meter.add(&sample("GPU-1", from, until, cycles_of(CycleCounters { elapsed: counter, active: counter })));
        };
        add(0, 1000, since_boot);
        add(1000, 2000, since_boot + 1);
        add(7000, 8000, since_boot + 5);
        add(8000, 9000, since_boot + 6);
        meter.add(&sample("GPU-1", 2000, 7000, missing("GPU is lost")));
        let device = meter.ceiling().devices.remove(0);
        let truth = MULTIPROCESSORS * TENSOR_FLOP_PER_CLOCK * u128::from(CLOCK) * 9;
        assert!(layer(&device, "L2x").unwrap() >= Flops(truth), "{device:#?}");
        assert!(device.flop.unwrap() >= Flops(truth));
    }
}

#[test]
fn counters_that_fall_or_race_or_may_have_started_again_are_not_believed() {
    let hour = 3600 * 1_980_000_000;
    for (first, second, said) in [
        ((hour, hour / 2), (hour - 10, hour / 2), "fell"),
        ((hour, hour / 2), (u64::MAX, hour), "faster than the clock"),
        ((hour, hour / 2), (hour + 3000, hour / 2 + 3001), "faster than the clock"),
        ((1000, 500), (3000, 2000), "started again unseen"),
    ] {
        let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
        meter.add(&sample("GPU-1", 0, 1000, cycles_of(CycleCounters { elapsed: first.0, active: first.1 })));
        meter.add(&sample("GPU-1", 1000, 2000, cycles_of(CycleCounters { elapsed: second.0, active: second.1 })));
        let device = meter.ceiling().devices.remove(0);
        let told = device.layers.iter().find(|layer| layer.layer == "L2x").unwrap();
        assert!(told.flop.is_none() && told.note.contains(said), "{said} {told:?}");
    }
}

#[test]
fn missing_counters_are_told_with_their_cause() {
    let problem = Some("nvmlGpmMetricsGet failed (no data)".to_owned());
    for (driver, gpm_problem, said) in [
        ("580.1", None, "they need driver 595"),
        ("595.45.04", None, "the driver told no cycle counters of this device"),
        ("595.45.04", problem, "could not be read: nvmlGpmMetricsGet failed (no data)"),
    ] {
        let mut device = gpu("NVIDIA H200");
        if let DeviceFacts::Gpu(facts) = &mut device.facts {
            facts.driver_version = Some(driver.to_owned());
        }
        let mut meter = CeilingMeter::new(vec![device]);
        let reading = GpuReading { gpm_problem: gpm_problem.clone(), ..GpuReading::default() };
        meter.add(&sample("GPU-1", 0, 1000, Reading::Gpu(reading)));
        let told = meter.ceiling().devices.remove(0);
        let note = |name: &str| &told.layers.iter().find(|layer| layer.layer == name).unwrap().note;
        assert!(note("L2x").contains(said), "{told:?}");
        assert_eq!(note("L3").ends_with(": nvmlGpmMetricsGet failed (no data)"), gpm_problem.is_some(), "{told:?}");
    }
}

#[test]
fn activity_over_more_time_than_was_held_is_not_believed() {
    let mut meter = CeilingMeter::new(vec![gpu("NVIDIA H200")]);
    let pipes = Some(vec![(2_000_000, 0, 0, 0, 0).into()]);
    meter.add(&sample("GPU-1", 0, 1000, Reading::Gpu(GpuReading { pipes, ..GpuReading::default() })));
    assert_eq!(meter.ceiling().layer.as_deref(), Some("L0"));
}
