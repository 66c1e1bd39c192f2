//! L2x: cycles in which a multiprocessor had work, counted by the hardware since boot: two readings, and no sampling error.
//!
//! Whether the driver gives the sum over all multiprocessors or their mean is not documented. It is told from the counters
//! themselves: the mean cannot be faster than the clock. What can be either is charged as the mean, which is the higher bound.

use super::exact::{charge, seconds};
use super::timeline::Counted;
use super::{GpuPeak, Layer};
use crate::unit::Flops;

/// How old the counters of a snapshot may be, in nanoseconds: NVML asks for at least as much time between two of them.
const STALE: u128 = 100_000_000;

/// The layer, from what the counters rose by between the first and the last reading; `held` is the span that the job held the
/// device, in nanoseconds.
pub(super) fn layer(elapsed: &Counted, active: &Counted, peak: &GpuPeak, held: (i128, i128)) -> Option<Layer> {
    let rate = peak.rate?;
    let (Some(from), Some(until)) = (active.first_read(), active.last_read()) else {
        return Some(Layer::missing("L2x", "the driver has no cycle counters for this device (they need driver 595)"));
    };
    if elapsed.fell() || active.fell() {
        return Some(Layer::missing("L2x", "the cycle counters fell, as after a reset: they are not believed"));
    }
    let at_most = elapsed.longest().saturating_mul(u128::from(rate.clock_mhz)).div_ceil(1_000);
    let multiprocessors = u128::from(rate.multiprocessors);
    let (elapsed, active) = (elapsed.risen(), active.risen());
    let cycles = if elapsed <= at_most { active.saturating_mul(multiprocessors) } else { active };
    if active > elapsed || elapsed > at_most.saturating_mul(multiprocessors) {
        return Some(Layer::missing(
            "L2x",
            "the cycle counters rose faster than the clock allows: they are not believed",
        ));
    }
    let counted = cycles.saturating_mul(u128::from(rate.flop_per_clock));
    let outside = u128::try_from((from - held.0).max(0) + (held.1 - until).max(0)).unwrap_or(0).saturating_add(STALE);
    let rest = charge(rate.per_second(rate.flop_per_clock), outside, 1_000_000_000);
    let note = format!(
        "cycles in which a multiprocessor had work × its operations per clock; {} s before the first and after the last reading are charged in full",
        seconds(outside)
    );
    Some(Layer::strict("L2x", Flops(counted.saturating_add(rest.0)), note))
}
