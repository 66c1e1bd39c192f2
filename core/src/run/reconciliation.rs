//! Two independent sides of one number: what was counted from the architecture, and what the hardware can have done.

use serde::{Deserialize, Serialize};

use super::{Ceiling, DeviceCeiling, Finding, RunFlops};
use crate::unit::Flops;

/// A share of the data sheet's peak above which no training runs: the best that is published stays below 70 % (bf16, dense).
const HIGHEST_PLAUSIBLE: u128 = 8_000;
/// One below which the claimed GPUs did something else, or nothing.
const LOWEST_PLAUSIBLE: u128 = 10;
/// GPU seconds at the strict peak say nothing of a utilisation before this.
const LEAST_HELD_SECONDS: f64 = 60.0;

/// How utilisations are formed; said wherever they are shown.
pub const CONVENTION: &str = "model (MFU) or executed (HFU) operations over the time the GPUs were held × their dense bf16 peak of the data sheet (fp16 where the chip has no bf16); \
attention counted over the whole score matrix (PaLM, arXiv:2204.02311, appendix B, counts likewise)";

/// Counted and possible operations of a run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Model operations, the legal basis.
    pub model: Flops,
    /// With recomputation and passes without gradient.
    pub executed: Flops,
    /// The same with attention counted over those pairs only that the mask leaves: kernels may skip the rest, but not these.
    pub executed_visible: Flops,
    /// What the hardware can have done at most.
    pub ceiling: Option<Flops>,
    /// `executed_visible` as a share of the ceiling, in per cent with two decimals.
    pub share_of_ceiling: Option<String>,
    /// Model operations as a share of the nominal peak over the held time, in per cent with two decimals (MFU).
    pub model_utilisation: Option<String>,
    /// The same of executed operations (HFU).
    pub hardware_utilisation: Option<String>,
    /// [`CONVENTION`].
    pub convention: String,
}

impl Reconciliation {
    /// Sets the two sides against each other.
    pub fn of(flops: &RunFlops, executed_visible: Flops, ceiling: &Ceiling) -> Self {
        let nominal = nominal_over_time(ceiling);
        let of_nominal = |flop: Flops| Some(per_cent(basis_points(flop, nominal?)?));
        Self {
            model: flops.training,
            executed: flops.executed,
            executed_visible,
            ceiling: ceiling.flop,
            share_of_ceiling: ceiling.flop.and_then(|ceiling| basis_points(executed_visible, ceiling)).map(per_cent),
            model_utilisation: of_nominal(flops.training),
            hardware_utilisation: of_nominal(flops.executed),
            convention: CONVENTION.to_owned(),
        }
    }

    /// What cannot be: more than the hardware can do, or a utilisation that nobody has. `whole` says whether everything that was
    /// fed was counted.
    pub fn findings(&self, ceiling: &Ceiling, whole: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(at_most) = self.ceiling.filter(|at_most| self.executed_visible > *at_most) {
            let text = format!(
                "{} operations were counted as executed, attention over visible pairs only, and the hardware can have done {at_most} at most: \
                 one of the two is wrong; check which devices the job used (`flopsmeter gpus`) and what the hooks told",
                self.executed_visible
            );
            findings.push(Finding { code: "above-ceiling".to_owned(), text });
        }
        findings.extend(self.implausible(ceiling, whole));
        findings
    }

    /// Too much only by what no kernel can skip: of long texts a flash kernel does half the matrix, and the whole of it says nothing.
    fn implausible(&self, ceiling: &Ceiling, whole: bool) -> Option<Finding> {
        if gpus(ceiling).all(|gpu| gpu.held_seconds < LEAST_HELD_SECONDS) {
            return None;
        }
        let nominal = nominal_over_time(ceiling)?;
        let (least, most) = (basis_points(self.executed_visible, nominal)?, basis_points(self.executed, nominal)?);
        let (share, counted, what) = if least > HIGHEST_PLAUSIBLE {
            let what = "more than any training reaches: another number format than bf16, or GPUs that were not claimed";
            (least, "executed operations, attention over visible pairs only,", what)
        } else if whole && most < LOWEST_PLAUSIBLE {
            let what = "next to nothing: GPUs that were claimed and not used, or work that no hook told of";
            (most, "executed operations", what)
        } else {
            return None;
        };
        let text = format!(
            "{counted} are {} % of what the claimed GPUs' data sheets allow in the time they were held, {what}; \
             `flopsmeter gpus` shows what is claimed",
            per_cent(share)
        );
        Some(Finding { code: "utilisation-implausible".to_owned(), text })
    }
}

fn gpus(ceiling: &Ceiling) -> impl Iterator<Item = &DeviceCeiling> {
    ceiling.devices.iter().filter(|device| !device.device.starts_with("cpu:"))
}

/// Time held × nominal peak of all GPUs; `None` without a GPU, or if one has no nominal peak.
fn nominal_over_time(ceiling: &Ceiling) -> Option<Flops> {
    let mut gpus = gpus(ceiling).peekable();
    gpus.peek()?;
    gpus.map(|gpu| {
        let held_at_strict = gpu.layers.iter().find(|layer| layer.layer == "L0")?.flop?;
        let (nominal, strict) = (gpu.nominal_peak?, gpu.strict_peak.filter(|strict| strict.0 > 0)?);
        let product = held_at_strict.0.checked_mul(nominal.0)?;
        Some(Flops(product / strict.0))
    })
    .sum()
}

fn basis_points(part: Flops, whole: Flops) -> Option<u128> {
    part.0.checked_mul(10_000)?.checked_div(whole.0)
}

fn per_cent(basis_points: u128) -> String {
    format!("{}.{:02}", basis_points / 100, basis_points % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::CeilingLayer;

    const NOMINAL: u128 = 989_400_000_000_000;
    const STRICT: u128 = 2_141_061_120_000_000;

    fn gpu(id: &str, seconds: u32, nominal: Option<u128>) -> DeviceCeiling {
        let flop = Some(Flops(STRICT * u128::from(seconds)));
        DeviceCeiling {
            device: id.to_owned(),
            flop,
            layer: Some("L0".to_owned()),
            layers: vec![CeilingLayer { layer: "L0".to_owned(), flop, note: String::new(), holds_if: None }],
            held_seconds: f64::from(seconds),
            strict_peak: Some(Flops(STRICT)),
            nominal_peak: nominal.map(Flops),
            ..DeviceCeiling::default()
        }
    }

    fn ceiling(devices: Vec<DeviceCeiling>) -> Ceiling {
        let flop = devices.iter().map(|device| device.flop).sum();
        Ceiling { flop, layer: Some("L0".to_owned()), complete: true, devices }
    }

    fn flops(training: u128, executed: u128) -> RunFlops {
        RunFlops { training: Flops(training), executed: Flops(executed), ..RunFlops::default() }
    }

    #[test]
    fn utilisation_is_a_share_of_the_nominal_peak_of_all_gpus() {
        let two = ceiling(vec![gpu("GPU-1", 100, Some(NOMINAL)), gpu("GPU-2", 100, Some(NOMINAL))]);
        let sides = Reconciliation::of(&flops(NOMINAL * 80, NOMINAL * 100), Flops(NOMINAL * 90), &two);
        assert_eq!(sides.model_utilisation.as_deref(), Some("40.00"));
        assert_eq!(sides.hardware_utilisation.as_deref(), Some("50.00"));
        assert_eq!(sides.share_of_ceiling.as_deref(), Some("20.79"));
        assert!(sides.findings(&two, true).is_empty());
    }

    #[test]
    fn more_than_the_hardware_can_do_is_a_finding_and_the_whole_matrix_alone_is_not() {
        let one = ceiling(vec![gpu("GPU-1", 10, Some(NOMINAL))]);
        let codes = |visible: u128| {
            let sides = Reconciliation::of(&flops(1, STRICT * 20), Flops(visible), &one);
            sides.findings(&one, true).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(STRICT * 10), Vec::<String>::new());
        assert_eq!(codes(STRICT * 10 + 1), ["above-ceiling"]);
    }

    #[test]
    fn utilisations_that_nobody_has_are_findings() {
        let one = ceiling(vec![gpu("GPU-1", 100, Some(NOMINAL))]);
        let found = |executed: u128, visible: u128, whole: bool| {
            let sides = Reconciliation::of(&flops(1, executed), Flops(visible), &one);
            sides.findings(&one, whole).len()
        };
        let all_visible = |executed: u128, whole: bool| found(executed, executed, whole);
        assert_eq!((all_visible(NOMINAL * 81, true), all_visible(NOMINAL * 79, true)), (1, 0));
        assert_eq!(found(NOMINAL * 81, NOMINAL * 79, true), 0, "a flash kernel skips what the mask hides");
        assert_eq!((all_visible(NOMINAL / 20, true), all_visible(NOMINAL / 20, false)), (1, 0));
        assert_eq!((found(NOMINAL, NOMINAL / 20, true), all_visible(NOMINAL, true)), (0, 0));
    }

    #[test]
    fn without_a_nominal_peak_of_every_gpu_there_is_no_utilisation() {
        let unknown = ceiling(vec![gpu("GPU-1", 100, Some(NOMINAL)), gpu("GPU-2", 100, None)]);
        let cpu = ceiling(vec![gpu("cpu:host", 100, None)]);
        for ceiling in [unknown, cpu] {
            let sides = Reconciliation::of(&flops(1, 1), Flops(1), &ceiling);
            assert_eq!((sides.model_utilisation, sides.hardware_utilisation), (None, None));
        }
    }
}
