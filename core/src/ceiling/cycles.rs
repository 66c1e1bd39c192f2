//! L2x: cycles in which a multiprocessor had work, counted by the hardware since boot: readings at both ends, and no sampling
//! error between them.
//!
//! `nvml.h` calls the counters "the GPU's SM cycles elapsed" and "the GPU's SM activity since reboot" and leaves open whether they
//! are a mean over the multiprocessors or a sum over these or over larger units. Nothing ran faster than the clock, so that what
//! elapsed tells how many units it is a sum of at least; the fewer they are, the more each cycle is worth, and the fewest are
//! charged. No counter of this kind has been held against known operations yet: the layer is told under that condition.

use super::exact::{charge, seconds};
use super::timeline::{Counted, Counters, Nanoseconds};
use super::{GpuPeak, Layer};
use crate::gpu_table::StrictRate;
use crate::unit::Flops;

/// How old the counters of a snapshot may be, in nanoseconds: NVML asks for at least as much time between two of them.
const STALE: u128 = 100_000_000;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

const CONDITION: &str = "the cycle counters count what their names say, which was not tried on hardware yet";

/// What the counters rose by in all stretches together, and the time in which they did.
#[derive(Default)]
struct Sum {
    elapsed: u128,
    active: u128,
    /// Nanoseconds that can lie between the first and the last readings at most, and that do so certainly.
    longest: u128,
    between: u128,
    /// Stretches in which they were read.
    stretches: u128,
}

/// The first driver line with cycle counters.
pub const CYCLE_COUNTER_DRIVER: u32 = 595;

/// Whether a driver of this version (`595.45.04`) has cycle counters.
pub fn has_cycle_counters(driver_version: &str) -> bool {
    let line = driver_version.split('.').next().and_then(|line| line.parse::<u32>().ok());
    line.is_some_and(|line| line >= CYCLE_COUNTER_DRIVER)
}

/// Why there are none: `problem` is why the activity counters could not be read.
pub(super) fn why_missing(driver_version: Option<&str>, problem: Option<&str>) -> String {
    match problem {
        Some(problem) => format!("the cycle counters could not be read: {problem}"),
        None if driver_version.is_some_and(has_cycle_counters) => {
            "the driver told no cycle counters of this device".to_owned()
        }
        None => format!("the driver has no cycle counters for this device (they need driver {CYCLE_COUNTER_DRIVER})"),
    }
}

/// The layer, from stretches of readings; `held` is the span that the job held the device, in nanoseconds. Of holes nothing is
/// known, for a GPU that was lost may have started again: they are charged in full. Without a reading it is missing, and why.
pub(super) fn layer<'a>(
    stretches: impl Iterator<Item = &'a Counters>,
    peak: &GpuPeak,
    held: (Nanoseconds, Nanoseconds),
    why_missing: impl Fn() -> String,
) -> Option<Layer> {
    let rate = peak.rate?;
    let sum = match sum(stretches, &rate) {
        Ok(sum) if sum.stretches == 0 => return Some(Layer::missing("L2x", &why_missing())),
        Ok(sum) => sum,
        Err(reason) => return Some(Layer::missing("L2x", reason)),
    };
    let units = match units(&sum, &rate) {
        Ok(units) => units,
        Err(reason) => return Some(Layer::missing("L2x", reason)),
    };
    let cycles = charge(Flops(sum.active), u128::from(rate.multiprocessors), units).0;
    let counted = cycles.saturating_mul(u128::from(rate.flop_per_clock));
    let held = u128::try_from(held.1 - held.0).unwrap_or(0);
    let outside = held.saturating_sub(sum.between).saturating_add(sum.stretches.saturating_mul(STALE));
    let rest = charge(rate.per_second(rate.flop_per_clock), outside, NANOSECONDS_PER_SECOND);
    let note = format!(
        "cycles in which a multiprocessor had work × its operations per clock; {} s outside the first and the last reading of each stretch are charged in full",
        seconds(outside)
    );
    Some(Layer::strict("L2x", Flops(counted.saturating_add(rest.0)), note).if_true(CONDITION))
}

fn sum<'a>(stretches: impl Iterator<Item = &'a Counters>, rate: &StrictRate) -> Result<Sum, &'static str> {
    let mut sum = Sum::default();
    for Counters { cycles_elapsed: elapsed, cycles_active: active, .. } in stretches {
        let (Some(from), Some(until)) = (active.first_read(), active.last_read()) else { continue };
        if elapsed.fell() || active.fell() {
            return Err("the cycle counters fell, as after a reset: they are not believed");
        }
        if elapsed.may_have_restarted(fastest(elapsed, rate)) {
            return Err(
                "the cycle counters hold so little that they can have started again unseen: they are not believed",
            );
        }
        sum.elapsed = sum.elapsed.saturating_add(elapsed.risen());
        sum.active = sum.active.saturating_add(active.risen());
        sum.longest = sum.longest.saturating_add(elapsed.longest());
        sum.between = sum.between.saturating_add(u128::try_from(until - from).unwrap_or(0));
        sum.stretches = sum.stretches.saturating_add(1);
    }
    Ok(sum)
}

/// Cycles of one unit in this time at most.
fn at_most(nanoseconds: u128, rate: &StrictRate) -> u128 {
    nanoseconds.saturating_mul(u128::from(rate.clock_mhz)).div_ceil(1_000)
}

/// What the counter can rise by in a second at most: as a mean over the multiprocessors, unless it was faster than that.
fn fastest(elapsed: &Counted, rate: &StrictRate) -> u128 {
    let one = u128::from(rate.clock_mhz).saturating_mul(1_000_000);
    let is_mean = elapsed.risen() <= at_most(elapsed.longest(), rate);
    if is_mean { one } else { one.saturating_mul(u128::from(rate.multiprocessors)) }
}

/// The fewest units that the counters can be a sum of; one where they are a mean.
fn units(sum: &Sum, rate: &StrictRate) -> Result<u128, &'static str> {
    let of_one = at_most(sum.longest, rate);
    let units = sum.elapsed.div_ceil(of_one.max(1)).max(1);
    if sum.active > sum.elapsed || units > u128::from(rate.multiprocessors) {
        return Err("the cycle counters rose faster than the clock allows: they are not believed");
    }
    Ok(units)
}
