//! The same work by other measures than its operations: what other ways of counting need.

use crate::run::{DeviceCeiling, PhaseSummary, RunSummary, Term};
use crate::unit::Flops;

/// Other measures of the training that [`super::Spent::training`] counts; `None` where a part of it is not known by that measure.
///
/// ```
/// use flopsmeter_core::assess::Measures;
/// use flopsmeter_core::unit::Flops;
/// let one = Measures { attention_context: Some(Flops(5)), tokens: Some(10), hardware: None };
/// let both = one + Measures { attention_context: Some(Flops(1)), ..Measures::ZERO };
/// assert_eq!((both.attention_context, both.tokens, both.hardware), (Some(Flops(6)), Some(10), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Operations of it that each position spends on the positions before it; 6·P·D leaves them out.
    pub attention_context: Option<Flops>,
    /// Tokens that were fed, each epoch again, padding included.
    pub tokens: Option<u128>,
    /// What the data sheets say that the claimed GPUs could do in the time they were held.
    pub hardware: Option<Flops>,
}

/// The part of the network whose operations grow with the square of the length.
const ATTENTION_CONTEXT: &str = "attention-scores";

impl Measures {
    /// No work at all.
    pub const ZERO: Self = Self { attention_context: Some(Flops::ZERO), tokens: Some(0), hardware: Some(Flops::ZERO) };

    /// What the terms of a count spend on attention's context, forward and backward.
    pub fn attention_context_of(terms: &[Term]) -> Flops {
        let scores = terms.iter().filter(|term| term.name == ATTENTION_CONTEXT);
        scores.fold(Flops::ZERO, |sum, term| sum + term.forward + term.backward)
    }

    /// Those of one run, of whose phases `training` says which are the training itself.
    pub(super) fn of_run(run: &RunSummary, training: Flops, is_training: impl Fn(&PhaseSummary) -> bool) -> Self {
        let phases = || run.phases.iter().filter(|phase| is_training(phase));
        let counted = phases().fold(Flops::ZERO, |sum, phase| sum + phase.forward + phase.backward);
        let context = phases().fold(Flops::ZERO, |sum, phase| sum + Self::attention_context_of(&phase.terms));
        let tokens = phases().fold(0_u128, |sum, phase| sum.saturating_add(u128::from(phase.tokens.fed.0)));
        // A pass without a gradient inside a training step stands in the phase, and not in the sum.
        let is_all = counted == training;
        Self {
            attention_context: is_all.then_some(context),
            tokens: is_all.then_some(tokens),
            hardware: run.ceiling.complete.then(|| hardware(&run.ceiling.devices)).flatten(),
        }
    }
}

impl core::ops::Add for Measures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            attention_context: self.attention_context.zip(other.attention_context).map(|(one, other)| one + other),
            tokens: self.tokens.zip(other.tokens).map(|(one, other)| one.saturating_add(other)),
            hardware: self.hardware.zip(other.hardware).map(|(one, other)| one + other),
        }
    }
}

/// Time held times the data sheet's peak, over the GPUs; `None` without a GPU, or where one of them has no such peak.
fn hardware(devices: &[DeviceCeiling]) -> Option<Flops> {
    let mut gpus = devices.iter().filter(|device| !device.device.starts_with("cpu:")).peekable();
    gpus.peek()?;
    gpus.try_fold(Flops::ZERO, |sum, gpu| {
        let held = gpu.layers.iter().find(|layer| layer.layer == "L0")?.flop?;
        let (nominal, strict) = gpu.nominal_peak.zip(gpu.strict_peak.filter(|strict| *strict > Flops::ZERO))?;
        Some(sum + Flops(held.0.checked_mul(nominal.0)?.div_ceil(strict.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(uuid: &str, held: u128, nominal: Option<u128>) -> DeviceCeiling {
        let mut device: DeviceCeiling = serde_json::from_value(serde_json::json!({
            "device": uuid, "name": "NVIDIA H100", "flop": null, "layer": null, "held_seconds": 1.0, "assumptions": [],
            "layers": [{ "layer": "L0", "flop": held.to_string(), "note": "" }], "strict_peak": "1000",
        }))
        .unwrap();
        device.nominal_peak = nominal.map(Flops);
        device
    }

    #[test]
    fn the_data_sheets_peak_takes_the_strict_ones_place() {
        let devices = [gpu("GPU-a", 4000, Some(900)), gpu("GPU-b", 1, Some(500)), gpu("cpu:here", 7, None)];
        assert_eq!(hardware(&devices), Some(Flops(3601)));
        assert_eq!(hardware(&devices[2..]), None);
        assert_eq!(hardware(&[gpu("GPU-a", 4000, None)]), None);
        assert_eq!(hardware(&[gpu("GPU-a", u128::MAX, Some(900))]), None);
    }
}
