//! What else the lengths may be.

use super::{Knowledge, Reason};
use crate::flops::{Cost, Count};
use crate::plan::batching::Batching;
use crate::plan::job::{Beside, Dataset, Job, Passes, less};
use crate::plan::lengths::Lengths;
use crate::unit::Flops;

/// Other lengths, and what the job costs with them.
pub(super) struct Variant {
    code: &'static str,
    text: String,
    /// Between these the job may lie.
    pub(super) mixes: Vec<Mix>,
}

/// A job whose text comes in other sequences than what they bring besides: other lengths are another number of sequences, and
/// with it more or fewer images and decoder positions.
pub(super) struct Mix {
    text: Job,
    /// The job whose sequences bring the rest. `None`: the text's own do.
    besides: Option<Job>,
    /// The rest is left out.
    text_alone: bool,
}

impl Mix {
    /// A job as it is.
    pub(super) const fn plain(job: Job) -> Self {
        Self { text: job, besides: None, text_alone: false }
    }

    /// Its operations. What sequences bring adds to their text without changing what the text costs.
    pub(super) fn count(&self, cost: &Cost, beside: Beside) -> Count {
        let bare = Passes::new(cost);
        let whole = bare.with(beside);
        match &self.besides {
            _ if self.text_alone => self.text.count(&bare),
            None => self.text.count(&whole),
            Some(job) => [self.text.count(&bare), less(&job.count(&whole), &job.count(&bare))].into_iter().sum(),
        }
    }
}

impl Variant {
    /// What else the lengths of a job may be, as they are known.
    pub(super) fn of(job: &Job, beside: Beside, knowledge: Knowledge) -> Option<Self> {
        match knowledge {
            Knowledge::Each => arrangement(job, beside),
            Knowledge::Longest => Some(Self {
                code: "sequence-lengths",
                text: if beside == Beside::default() {
                    "each sequence is taken as long as --seq-len, without padding; --lengths counts them as they are"
                        .to_owned()
                } else {
                    "each sequence is taken as long as --seq-len; shorter ones are more, with more images or decoder positions, and \
                     how many more is not bounded here: --lengths counts them"
                        .to_owned()
                },
                mixes: shortest(job)
                    .map(|text| Mix { text, besides: Some(job.clone()), text_alone: false })
                    .into_iter()
                    .collect(),
            }),
            Knowledge::Nothing { positions } => Some(Self {
                code: "sequence-lengths",
                text: unknown(positions, beside),
                mixes: between(job, positions),
            }),
        }
    }

    /// As it is told, beside `best`, the job as it is counted.
    pub(super) fn reason(&self, best: Flops, cost: &Cost, beside: Beside) -> Reason {
        // Shorter sequences mostly cost less, but not where each is filled up or brings virtual positions.
        let counts: Vec<Flops> = self.mixes.iter().map(|mix| mix.count(cost, beside).training()).collect();
        Reason {
            code: self.code,
            text: self.text.clone(),
            training_low: counts.iter().copied().filter(|count| *count < best).min(),
            training_high: counts.iter().copied().filter(|count| *count > best).max(),
        }
    }
}

fn unknown(positions: Option<u64>, beside: Beside) -> String {
    let most = match positions {
        Some(positions) => format!("the model's {positions}"),
        None => "any number, for the configuration names no most".to_owned(),
    };
    let rest = if beside == Beside::default() {
        ""
    } else {
        "; shorter sequences than the default are more, with more images or decoder positions, and how many more is not bounded here"
    };
    format!("neither --seq-len nor --lengths is given: from one position to {most}{rest}")
}

/// From sequences of one position to those of the model's.
fn between(job: &Job, positions: Option<u64>) -> Vec<Mix> {
    let long = positions.and_then(|most| longest(job, most));
    // The longest sequences are the fewest, and bring least besides.
    let short = shortest(job).map(|text| Mix { text, text_alone: long.is_none(), besides: long.clone() });
    let long = long.map(|text| Mix { text, besides: Some(job.clone()), text_alone: false });
    short.into_iter().chain(long).collect()
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
fn arrangement(job: &Job, beside: Beside) -> Option<Variant> {
    let data = job.dataset();
    let plain = |jobs: Vec<Job>| jobs.into_iter().map(Mix::plain).collect();
    if beside != Beside::default() && data.batching != Batching::Padded {
        // Rows are not sequences: what a row brings cannot be told from what its sequences would.
        return None;
    }
    match data.batching {
        Batching::Padded if data.sequences > 1 && data.lengths.runs().len() > 1 => Some(Variant {
            code: "padding-order",
            text: "a Trainer shuffles: low is without any padding, high the order that pads most".to_owned(),
            mixes: plain(vec![
                Job::new(Dataset { batching: Batching::PaddingFree, ..data.clone() }),
                Job::new(Dataset { lengths: data.as_cut().spread(data.sequences), seq_len: None, ..*data }),
            ]),
        }),
        Batching::Packed => Some(Variant {
            code: "packed-attention",
            text: "positions attend over their whole row; a trainer that keeps packed sequences apart computes less"
                .to_owned(),
            mixes: plain(apart(job).into_iter().collect()),
        }),
        Batching::PaddingFree if data.sequences > 1 => Some(Variant {
            code: "attention-over-rows",
            text: "sequences attend to themselves alone; eager and sdpa compute the matrix of the whole row".to_owned(),
            mixes: plain(vec![Job::new(Dataset {
                lengths: data.rows()?,
                batching: Batching::Padded,
                sequences: 1,
                seq_len: None,
                ..*data
            })]),
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
