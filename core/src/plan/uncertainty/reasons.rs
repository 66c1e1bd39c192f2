//! Reasons that have nothing to do with the lengths of sequences.

use super::{Images, Reason};
use crate::flops::{Attention, Cost, Count, Part, SpareExperts};
use crate::plan::job::{Job, Passes};
use crate::shape::{Quantity, Stream};
use crate::unit::Flops;

/// Whether the output head works at every position, as that of a language model does and that of a classifier may not.
fn predicts_each_position(cost: &Cost) -> bool {
    let each = Quantity::Positions;
    cost.terms().iter().any(|term| {
        term.part == Part::OutputHead && [each(Stream::Text), each(Stream::Decoder)].contains(&term.quantity)
    })
}

/// Operations of the output head, where it works at every position.
pub(super) fn head(cost: &Cost, count: &Count) -> Flops {
    let heads = count.terms.iter().filter(|term| term.name == Part::OutputHead.name());
    if predicts_each_position(cost) { heads.map(|term| term.forward + term.backward).sum() } else { Flops::ZERO }
}

/// What would be saved were an epoch one pass: adapters whose weights are built once in each.
pub(super) fn beyond_one_pass(job: &Job, passes: &Passes<'_>) -> Flops {
    let once = passes.done_once(job.dataset().lengths.longest()).training();
    let more = u128::from(job.micro_batches().saturating_sub(1)).saturating_mul(job.dataset().epochs.into());
    Flops(once.0.saturating_mul(more))
}

pub(super) fn larger_micro_batch(best: Flops, saved: Flops) -> Option<Reason> {
    (saved > Flops::ZERO).then(|| Reason {
        code: "micro-batch-size",
        text: "adapters build their weights once in each micro-batch, which is taken to have one sequence: give --sequences".to_owned(),
        training_low: Some(Flops(best.0.saturating_sub(saved.0))),
        training_high: None,
    })
}

pub(super) fn skipped_head(best: Flops, head: Flops) -> Option<Reason> {
    (head > Flops::ZERO).then(|| Reason {
        code: "output-head",
        text: "counted at every position; a trainer may leave out those without a label, as trl does on a GPU"
            .to_owned(),
        training_low: Some(Flops(best.0 - head.0)),
        training_high: None,
    })
}

pub(super) fn attention(counted: Attention, best: Flops, visible: Flops, full: Flops) -> Option<Reason> {
    if visible == full {
        return None;
    }
    let text = match counted {
        Attention::Full => {
            "the whole score matrix is counted, as eager and sdpa compute it; other kernels skip what the mask hides"
        }
        Attention::Visible => {
            "the pairs that the mask leaves are counted; eager and sdpa compute the whole score matrix"
        }
    };
    Some(Reason {
        code: "attention-convention",
        text: text.to_owned(),
        training_low: (visible < best).then_some(visible),
        training_high: (full > best).then_some(full),
    })
}

/// Experts are counted as the router chooses them, which a trainer can cut short or fill up: low is with every position dropped,
/// high with twice the rows, the largest capacity factor that Switch Transformers compares (arXiv:2101.03961, table 1), and
/// with no position in more experts than there are.
pub(super) fn routing(best: Flops, routed: Flops, spare: SpareExperts) -> Option<Reason> {
    (routed > Flops::ZERO).then(|| Reason {
        code: "routed-experts",
        text: "each position goes through as many experts as the router chooses, as in transformers; a trainer that gives experts a \
               capacity drops positions (low: all of them) or fills experts up (high: to twice the rows)"
            .to_owned(),
        training_low: Some(Flops(best.0.saturating_sub(routed.0))),
        training_high: Some(best + spare.part_of(routed)).filter(|high| *high > best),
    })
}

/// Text alone is counted where nobody says how many images come with it.
pub(super) fn images(known: Images, with_one: Option<Flops>) -> Option<Reason> {
    let text = match known {
        Images::Told => return None,
        Images::Untold => {
            "--images is not given, so text alone is counted, and nothing of what looks at images; high is with one image in \
                           each sequence, and each further one adds as much"
        }
        Images::UntoldOfAnySize => {
            "--images is not given, so text alone is counted, and nothing of what looks at images; they have any \
                                    size, so that only --images with --image-grid bounds them"
        }
    };
    Some(Reason { code: "images-not-told", text: text.to_owned(), training_low: None, training_high: with_one })
}
