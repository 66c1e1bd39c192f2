//! L3: how much of the time each kind of arithmetic unit was active.
//!
//! A unit that is active may still run below its full rate, so activity × full rate is an upper bound of what it did. The
//! counters do not tell number formats apart: the tensor units are charged at the fastest one. Definitions: NVML's header, GPM
//! metrics 5 and 11 to 13 ("excluding tensor" for the latter three).

use super::exact::{charge, seconds};
use super::{GpuPeak, Layer};
use crate::gpu_table::StrictRate;
use crate::sample::{GpuReading, PipeStretch};
use crate::unit::Flops;

/// Basis points in the whole.
const WHOLE: u128 = 10_000;
const MICROSECONDS_PER_SECOND: u128 = 1_000_000;

/// Multiply-adds of FP16 per FP32 lane and clock outside tensor units, at most (A100 whitepaper: 78 against 19.5 TFLOP/s; two on
/// Hopper), times two operations.
const FP16_FLOP_PER_LANE: u32 = 8;
/// One multiply-add. FP64 units are never more numerous than FP32 lanes.
const FLOP_PER_LANE: u32 = 2;

/// Sums over the stretches, in microseconds times basis points.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipes {
    told: bool,
    /// Why some readings tell no activity. Of several reasons the first in the alphabet, whatever the order of arrival.
    problem: Option<String>,
    microseconds: u128,
    tensor: u128,
    vector: u128,
    fp16: u128,
}

impl Pipes {
    pub(super) fn add(&mut self, reading: &GpuReading) {
        if let Some(problem) = &reading.gpm_problem
            && self.problem.as_ref().is_none_or(|known| problem < known)
        {
            self.problem = Some(problem.clone());
        }
        for stretch in reading.pipes.iter().flatten() {
            self.told = true;
            self.add_stretch(stretch);
        }
    }

    fn add_stretch(&mut self, stretch: &PipeStretch) {
        let length = u128::from(stretch.microseconds);
        let share = |basis_points: u32| length * u128::from(basis_points);
        self.microseconds = self.microseconds.saturating_add(length);
        self.tensor = self.tensor.saturating_add(share(stretch.tensor));
        self.vector = self.vector.saturating_add(share(stretch.fp64)).saturating_add(share(stretch.fp32));
        self.fp16 = self.fp16.saturating_add(share(stretch.fp16));
    }

    /// Why the activity counters could not be read, at least at times.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// L3 and L3p.
    pub(super) fn layers(&self, peak: &GpuPeak, held: u128) -> Vec<Layer> {
        let Some(rate) = peak.rate else { return Vec::new() };
        let problem = self.problem().map(|problem| format!(": {problem}")).unwrap_or_default();
        if !self.told {
            let reason = format!("the driver did not tell the activity of this device's units{problem}");
            return vec![Layer::missing("L3", &reason)];
        }
        let covered = self.microseconds.saturating_mul(1_000);
        let Some(uncovered) = held.checked_sub(covered) else {
            return vec![Layer::missing(
                "L3",
                "the activity covers more time than the device was held: it is not believed",
            )];
        };
        let note = format!(
            "activity of tensor and vector units, as NVIDIA defines these counters, × their full rates, number formats not told apart; {} s without activity counters are charged in full{problem}",
            seconds(uncovered)
        );
        let mut layers = vec![Layer::strict("L3", self.charge(&rate, rate.flop_per_clock, uncovered), note)];
        if let Some(flop_per_clock) = rate.sixteen_bit_flop_per_clock {
            let note = "L3 at the rate of bf16 in place of the chip's fastest format".to_owned();
            layers.push(Layer::strict("L3p", self.charge(&rate, flop_per_clock, uncovered), note).if_sixteen_bit());
        }
        layers
    }

    fn charge(&self, rate: &StrictRate, tensor_flop_per_clock: u32, uncovered_nanoseconds: u128) -> Flops {
        let whole = MICROSECONDS_PER_SECOND * WHOLE;
        let lanes = |flop: u32| rate.per_second(rate.cores_per_multiprocessor.saturating_mul(flop));
        let parts = [
            charge(rate.per_second(tensor_flop_per_clock), self.tensor, whole),
            charge(lanes(FLOP_PER_LANE), self.vector, whole),
            charge(lanes(FP16_FLOP_PER_LANE), self.fp16, whole),
            charge(rate.per_second(tensor_flop_per_clock), uncovered_nanoseconds, 1_000_000_000),
        ];
        Flops(parts.iter().fold(0, |sum: u128, part| sum.saturating_add(part.0)))
    }
}
