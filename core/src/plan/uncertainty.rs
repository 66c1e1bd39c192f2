//! How far an estimate may be off, and why.

use serde::Serialize;

use super::batching::Batching;
use super::job::{Beside, Dataset, Job, Passes};
use super::lengths::Lengths;
use crate::flops::{Attention, Cost, Count, Part};
use crate::rules::Fraction;
use crate::shape::{Quantity, Stream};
use crate::unit::Flops;

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
}

/// One way to count the job otherwise.
struct Variant {
    code: &'static str,
    text: String,
    /// The jobs between which it may lie.
    jobs: Vec<Job>,
}

impl Range {
    /// The range around `count`, the operations of `job` in these passes.
    pub fn of_job(job: &Job, passes: &Passes<'_>, count: &Count, known: Known) -> Self {
        let (best, cost) = (count.training(), passes.cost);
        let visible = cost.clone().with_attention(Attention::Visible);
        let full = cost.clone().with_attention(Attention::Full);
        let count_of = |job: &Job, cost: &Cost| job.count(&Passes::new(cost).with(passes.beside));
        let training = |job: &Job, cost: &Cost| count_of(job, cost).training();
        let mut reasons = Vec::new();
        reasons.extend(attention(cost.attention(), best, training(job, &visible), training(job, &full)));
        let variant =
            if passes.beside == Beside::default() { lengths(job, known.lengths) } else { fixed(known.lengths) };
        let others: Vec<Job> = variant.iter().flat_map(|variant| variant.jobs.clone()).collect();
        if let Some(Variant { code, text, jobs }) = variant {
            // Shorter sequences mostly cost less, but not where each is filled up or brings virtual positions.
            let counts: Vec<Flops> = jobs.iter().map(|job| training(job, cost)).collect();
            let training_low = counts.iter().copied().filter(|count| *count < best).min();
            let training_high = counts.iter().copied().filter(|count| *count > best).max();
            reasons.push(Reason { code, text, training_low, training_high });
        }
        let fewer_passes = if known.micro_batch { Flops::ZERO } else { beyond_one_pass(job, passes) };
        reasons.extend(larger_micro_batch(best, fewer_passes));
        let skipped = |count: &Count| if predicts_each_position(cost) { head(count) } else { Flops::ZERO };
        let all = || others.iter().chain([job]);
        let least = |job: &Job| {
            let count = count_of(job, &visible);
            Flops((count.training().0 - skipped(&count).0).saturating_sub(fewer_passes.0))
        };
        reasons.extend(skipped_head(best, skipped(count)));
        reasons.extend(routing(count));
        Self {
            low: all().map(least).fold(best, Ord::min),
            best,
            high: all().map(|job| training(job, &full)).fold(best, Ord::max),
            reasons,
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

/// Whether the output head works at every position, as that of a language model does and that of a classifier may not.
fn predicts_each_position(cost: &Cost) -> bool {
    let each = Quantity::Positions;
    cost.terms().iter().any(|term| {
        term.part == Part::OutputHead && [each(Stream::Text), each(Stream::Decoder)].contains(&term.quantity)
    })
}

/// Operations of the output head.
fn head(count: &Count) -> Flops {
    let heads = count.terms.iter().filter(|term| term.name == Part::OutputHead.name());
    heads.map(|term| term.forward + term.backward).sum()
}

/// What would be saved were an epoch one pass: adapters whose weights are built once in each.
fn beyond_one_pass(job: &Job, passes: &Passes<'_>) -> Flops {
    let once = passes.done_once(job.dataset().lengths.longest()).training();
    let more = u128::from(job.micro_batches().saturating_sub(1)).saturating_mul(job.dataset().epochs.into());
    Flops(once.0.saturating_mul(more))
}

fn larger_micro_batch(best: Flops, saved: Flops) -> Option<Reason> {
    (saved > Flops::ZERO).then(|| Reason {
        code: "micro-batch-size",
        text: "adapters build their weights once in each micro-batch, which is taken to have one sequence: give --sequences".to_owned(),
        training_low: Some(Flops(best.0.saturating_sub(saved.0))),
        training_high: None,
    })
}

fn skipped_head(best: Flops, head: Flops) -> Option<Reason> {
    (head > Flops::ZERO).then(|| Reason {
        code: "output-head",
        text: "counted at every position; a trainer may leave out those without a label, as trl does on a GPU"
            .to_owned(),
        training_low: Some(Flops(best.0 - head.0)),
        training_high: None,
    })
}

fn attention(counted: Attention, best: Flops, visible: Flops, full: Flops) -> Option<Reason> {
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

/// What else the lengths may be, as they are known.
fn lengths(job: &Job, knowledge: Knowledge) -> Option<Variant> {
    match knowledge {
        Knowledge::Each => arrangement(job),
        Knowledge::Longest => Some(Variant {
            code: "sequence-lengths",
            text: "each sequence is taken as long as --seq-len, without padding; --lengths counts them as they are"
                .to_owned(),
            jobs: shortest(job).into_iter().collect(),
        }),
        Knowledge::Nothing { positions } => {
            let most = match positions {
                Some(positions) => format!("the model's {positions}"),
                None => "any number, for the configuration names no most".to_owned(),
            };
            Some(Variant {
                code: "sequence-lengths",
                text: format!("neither --seq-len nor --lengths is given: from one position to {most}"),
                jobs: shortest(job).into_iter().chain(positions.and_then(|most| longest(job, most))).collect(),
            })
        }
    }
}

/// Where sequences bring more than their positions, other lengths would bring it more or less often.
fn fixed(knowledge: Knowledge) -> Option<Variant> {
    (knowledge != Knowledge::Each).then(|| Variant {
        code: "sequence-lengths",
        text: "each sequence is taken as long as --seq-len; with other lengths there would be more or fewer images or decoder \
               positions, which are not bounded here: --lengths counts them"
            .to_owned(),
        jobs: Vec::new(),
    })
}

/// Experts are counted as the router chooses them, which a trainer can cut short.
fn routing(count: &Count) -> Option<Reason> {
    let routed = count.terms.iter().any(|term| term.name == Part::Router.name() && term.forward > Flops::ZERO);
    routed.then(|| Reason {
        code: "routed-experts",
        text: "each position goes through as many experts as the router chooses, as in transformers; a trainer that gives experts a \
               capacity drops or pads positions"
            .to_owned(),
        training_low: None,
        training_high: None,
    })
}

/// The same positions in sequences of one, in as many passes.
fn shortest(job: &Job) -> Option<Job> {
    let data = job.dataset();
    let sequences = data.sequences.checked_mul(data.lengths.longest())?;
    let lengths = Lengths::uniform(1, data.lengths.tokens())?;
    Some(Job::new(Dataset { lengths, batching: Batching::Padded, sequences, seq_len: None, ..*data }))
}

/// The same positions in sequences of `length`.
fn longest(job: &Job, length: u64) -> Option<Job> {
    let data = job.dataset();
    let lengths = Lengths::uniform(length, data.lengths.tokens().div_ceil(length.max(1)))?;
    Some(Job::new(Dataset { lengths, batching: Batching::Padded, seq_len: None, ..*data }))
}

/// Where each length is known, how they come together is not.
fn arrangement(job: &Job) -> Option<Variant> {
    let data = job.dataset();
    match data.batching {
        Batching::Padded if data.sequences > 1 && data.lengths.runs().len() > 1 => Some(Variant {
            code: "padding-order",
            text: "a Trainer shuffles: low is without any padding, high the order that pads most".to_owned(),
            jobs: vec![
                Job::new(Dataset { batching: Batching::PaddingFree, ..data.clone() }),
                Job::new(Dataset { lengths: data.as_cut().spread(data.sequences), seq_len: None, ..*data }),
            ],
        }),
        Batching::Packed => Some(Variant {
            code: "packed-attention",
            text: "positions attend over their whole row; a trainer that keeps packed sequences apart computes less"
                .to_owned(),
            jobs: apart(job).into_iter().collect(),
        }),
        Batching::PaddingFree if data.sequences > 1 => Some(Variant {
            code: "attention-over-rows",
            text: "sequences attend to themselves alone; eager and sdpa compute the matrix of the whole row".to_owned(),
            jobs: vec![Job::new(Dataset {
                lengths: data.rows()?,
                batching: Batching::Padded,
                sequences: 1,
                seq_len: None,
                ..*data
            })],
        }),
        Batching::Padded | Batching::PaddingFree => None,
    }
}

/// Packed sequences that attend to themselves alone, in as many passes.
fn apart(job: &Job) -> Option<Job> {
    let data = job.dataset();
    let lengths = data.lengths.halved(data.seq_len)?;
    let sequences = lengths.sequences().div_ceil(job.micro_batches().max(1));
    Some(Job::new(Dataset { lengths, batching: Batching::PaddingFree, sequences, seq_len: None, ..*data }))
}
