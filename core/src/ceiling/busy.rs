//! Busy shares: the part of the held time in which a kernel ran.
//!
//! L1 charges that part at the strict peak, L2 at the highest clock that was sampled in it.

use super::exact::{charge, seconds};
use super::{GpuPeak, Layer};
use crate::sample::GpuReading;
use crate::unit::Flops;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;
const NANOSECONDS_PER_MICROSECOND: u128 = 1_000;

/// Sums over the stretches for which the driver told a busy share, in microseconds times per cent.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy {
    told: bool,
    clocked: bool,
    microseconds: u128,
    /// Time proven idle: with whole percentages rounded up and one point added, a stretch at `p` per cent proves `99 - p`.
    idle: u128,
    reported: u128,
    /// The same times MHz, with what a clock below the highest one spares of the busy time added.
    spared: u128,
}

impl Busy {
    pub(super) fn add(&mut self, reading: &GpuReading, highest_mhz: u32) {
        let highest = u128::from(highest_mhz);
        let sampled = reading.highest_sm_clock_mhz.filter(|&clock| clock > 0);
        let clock = sampled.map_or(highest, |clock| u128::from(clock).min(highest));
        for stretch in reading.busy.iter().flatten() {
            let length = u128::from(stretch.microseconds);
            let idle = u128::from(99_u32.saturating_sub(stretch.percent));
            self.told = true;
            self.clocked |= sampled.is_some();
            self.microseconds = self.microseconds.saturating_add(length);
            self.idle = self.idle.saturating_add(length * idle);
            self.reported = self.reported.saturating_add(length * u128::from(stretch.percent.min(100)));
            self.spared = self.spared.saturating_add(length * (100 * highest - (100 - idle) * clock));
        }
    }

    /// Time that was reported as busy, in nanoseconds, if any was told.
    pub(super) fn reported_nanoseconds(&self) -> Option<u128> {
        self.told.then(|| self.reported * NANOSECONDS_PER_MICROSECOND / 100)
    }

    /// Why nothing can be said, if so.
    fn fault(&self, held: u128) -> Option<&'static str> {
        if !self.told {
            return Some("the driver did not tell the busy share of this device");
        }
        let too_much = self.microseconds.saturating_mul(NANOSECONDS_PER_MICROSECOND) > held;
        too_much.then_some("the busy shares cover more time than the device was held: they are not believed")
    }

    /// (held time − time proven idle) × speed. Whatever no reading covers is charged as busy, so that a lost reading can only
    /// raise the bound.
    fn charge(&self, per_second: Flops, held: u128) -> Flops {
        let charged = held.saturating_mul(100) - self.idle * NANOSECONDS_PER_MICROSECOND;
        charge(per_second, charged, 100 * NANOSECONDS_PER_SECOND)
    }

    /// L1, L2 and L1p.
    pub(super) fn layers(&self, peak: &GpuPeak, held: u128) -> Vec<Layer> {
        let (strict, rate) = match (&peak.strict, peak.rate) {
            (Ok(strict), Some(rate)) => (*strict, rate),
            (Err(reason), _) => return vec![Layer::missing("L1", reason)],
            (Ok(_), None) => return Vec::new(),
        };
        if let Some(fault) = self.fault(held) {
            return vec![Layer::missing("L1", fault)];
        }
        let covered = self.microseconds.saturating_mul(NANOSECONDS_PER_MICROSECOND);
        let note = format!(
            "time held × strict peak × busy share, one point added to each whole percentage; {} s without a busy share are charged as busy",
            seconds(held - covered)
        );
        let mut layers = vec![Layer::strict("L1", self.charge(strict, held), note)];
        layers.push(self.clock_layer(strict, rate.clock_mhz, held));
        if let Some(rate) = rate.sixteen_bit_flop_per_clock.map(|flop_per_clock| rate.per_second(flop_per_clock)) {
            let note = "L1 at the rate of bf16 in place of the chip's fastest format".to_owned();
            layers.push(Layer::strict("L1p", self.charge(rate, held), note).if_sixteen_bit());
        }
        layers
    }

    fn clock_layer(&self, strict: Flops, highest_mhz: u32, held: u128) -> Layer {
        if !self.clocked {
            return Layer::missing("L2", "the driver buffers no samples of this device's clock");
        }
        let highest = u128::from(highest_mhz);
        let whole = held.saturating_mul(100).saturating_mul(highest);
        let charged = whole.saturating_sub(self.spared * NANOSECONDS_PER_MICROSECOND);
        let flop = charge(strict, charged, 100 * highest.max(1) * NANOSECONDS_PER_SECOND);
        let note = "L1 at the highest clock that was sampled in each interval".to_owned();
        Layer::strict("L2", flop, note).if_true("the clock never rose above its highest sample between two samples")
    }
}
