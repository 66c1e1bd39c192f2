//! How far an estimate may be off, and why.

mod lengths;
mod reasons;

use serde::Serialize;

use super::job::{Beside, Job, Passes};
use crate::flops::{Attention, Cost, Count};
use crate::rules::Fraction;
use crate::unit::Flops;

use lengths::{Mix, Variant};

/// Model operations between bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least, under all reasons together.
    pub low: Flops,
    /// What was counted.
    pub best: Flops,
    /// The most, under all reasons together.
    pub high: Flops,
    /// Why it is a range.
    pub reasons: Vec<Reason>,
}

/// Why an estimate may be off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable short name.
    pub code: &'static str,
    /// One sentence for people.
    pub text: String,
    /// The count if this alone turns out lowest; absent where it cannot be lower or has no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_low: Option<Flops>,
    /// The count if this alone turns out highest; absent where it cannot be higher or has no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_high: Option<Flops>,
}

/// What is known of the lengths of a job's sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Each length: from a file, or as one micro-batch was typed.
    Each,
    /// None is longer than the job's.
    Longest,
    /// Nothing: the job's length is a default. The model's positions are the most there can be, where its configuration has them.
    Nothing {
        /// Positions of the model.
        positions: Option<u64>,
    },
}

/// What is known of a job's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The lengths of its sequences.
    pub lengths: Knowledge,
    /// How many sequences a micro-batch has; else one is a default, and the least there can be.
    pub micro_batch: bool,
    /// How many images come with each sequence.
    pub images: Images,
}

/// What is known of the images beside a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// Their number, which may be none.
    Told,
    /// Nothing; each has the size that the configuration settles.
    Untold,
    /// Nothing, not even their size.
    UntoldOfAnySize,
}

impl Reason {
    /// A reason without a number.
    pub const fn unbounded(code: &'static str, text: String) -> Self {
        Self { code, text, training_low: None, training_high: None }
    }
}

impl Range {
    /// The range around `count`, the operations of `job` in these passes.
    pub fn of_job(job: &Job, passes: &Passes<'_>, count: &Count, known: Known) -> Self {
        let (best, cost, beside) = (count.training(), passes.cost, passes.beside);
        let visible = cost.clone().with_attention(Attention::Visible);
        let full = cost.clone().with_attention(Attention::Full);
        let training = |cost: &Cost, beside: Beside| job.count(&Passes::new(cost).with(beside)).training();
        let routed = |mix: &Mix, cost: &Cost| mix.count(&cost.clone().routed(), beside).training();
        let own = Mix::plain(job.clone());
        let one_image = (known.images == Images::Untold).then_some(Beside { images: 1, ..beside });
        let fewer_passes = if known.micro_batch { Flops::ZERO } else { reasons::beyond_one_pass(job, passes) };
        let variant = Variant::of(job, beside, known.lengths);
        let reasons = [
            reasons::attention(cost.attention(), best, training(&visible, beside), training(&full, beside)),
            variant.as_ref().map(|variant| variant.reason(best, cost, beside)),
            reasons::larger_micro_batch(best, fewer_passes),
            reasons::skipped_head(best, reasons::head(cost, count)),
            reasons::routing(best, routed(&own, cost), cost.spare_experts()),
            reasons::images(known.images, one_image.map(|beside| training(cost, beside))),
        ];
        let least = |mix: &Mix| {
            let count = mix.count(&visible, beside);
            let spared = reasons::head(&visible, &count) + routed(mix, &visible) + fewer_passes;
            Flops(count.training().0.saturating_sub(spared.0))
        };
        let most = |mix: &Mix| mix.count(&full, beside).training() + full.spare_experts().part_of(routed(mix, &full));
        let seen =
            one_image.map_or(0, |beside| training(&full, beside).0.saturating_sub(training(&full, passes.beside).0));
        let all = || variant.iter().flat_map(|variant| &variant.mixes).chain([&own]);
        Self {
            low: all().map(least).fold(best, Ord::min),
            best,
            high: all().map(most).fold(best, Ord::max) + Flops(seen),
            reasons: reasons.into_iter().flatten().collect(),
        }
    }

    /// The range of `6 P D`; `error` is the share by which the law lets an estimate be off. Where not all parameters are trained,
    /// a forward pass, a third of it, is all that is certain.
    pub fn of_parameters(best: Flops, all_trained: bool, error: Fraction) -> Self {
        let margin = error.floor_of(best);
        let least = if all_trained { best } else { Flops(best.0 / 3) };
        let text = "6 P D knows no attention and no look-ups; the range is the error that the Guidelines permit, and small models on \
                    long sequences were found up to 68 % off: give --config"
            .to_owned();
        let (low, high) = (Flops(least.0 - error.floor_of(least).0), best + margin);
        let own = Reason {
            code: "six-parameters-tokens",
            text,
            training_low: Some(Flops(best.0 - margin.0)),
            training_high: Some(high),
        };
        let frozen = (!all_trained).then(|| Reason {
            code: "frozen-parts",
            text: "how far gradients flow is not known without the shape; a forward pass is a third of 6 P D"
                .to_owned(),
            training_low: Some(least),
            training_high: None,
        });
        Self { low, best, high, reasons: [Some(own), frozen].into_iter().flatten().collect() }
    }
}
