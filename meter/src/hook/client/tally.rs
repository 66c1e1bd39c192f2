//! The histogram of what was fed since the last message.

use std::collections::{BTreeMap, HashMap};

use flopsmeter_core::facts::{Passes, Phase};

/// Most rows held at once; a training job has as many as it has distinct batch forms, some hundreds.
pub(super) const MAXIMUM_ROWS: usize = 50_000;

/// One forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Which model of the process.
    pub model: u32,
    /// What it was for.
    pub phase: Phase,
    /// `torch.is_grad_enabled()`.
    pub gradient: bool,
    /// Sequences.
    pub sequences: u64,
    /// Positions of each sequence, padding included.
    pub length: u64,
    /// Positions of a key-value cache attended to besides.
    pub cached_length: u64,
    /// Positions that are no padding, if known on the host.
    pub real_tokens: Option<u64>,
}

/// Whether the real tokens are known is part of the form, so that one unknown pass does not hide the others' tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Form {
    model: u32,
    phase: Phase,
    gradient: bool,
    sequences: u64,
    length: u64,
    cached_length: u64,
    real_known: bool,
}

impl From<Pass> for Form {
    fn from(pass: Pass) -> Self {
        Self {
            model: pass.model,
            phase: pass.phase,
            gradient: pass.gradient,
            sequences: pass.sequences,
            length: pass.length,
            cached_length: pass.cached_length,
            real_known: pass.real_tokens.is_some(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    real_tokens: u64,
}

/// Counts passes by form.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: HashMap<Form, Sum>,
}

impl Tally {
    /// Adds one pass; `false` if there is no room for another form.
    pub(super) fn add(&mut self, pass: Pass) -> bool {
        let form = Form::from(pass);
        if self.rows.len() >= MAXIMUM_ROWS && !self.rows.contains_key(&form) {
            return false;
        }
        let sum = self.rows.entry(form).or_default();
        sum.count = sum.count.saturating_add(1);
        sum.real_tokens = sum.real_tokens.saturating_add(pass.real_tokens.unwrap_or(0));
        true
    }

    /// All rows by model, in the order of their forms; the tally is empty afterwards.
    pub(super) fn take(&mut self) -> BTreeMap<u32, Vec<Passes>> {
        let mut rows: Vec<(Form, Sum)> = self.rows.drain().collect();
        rows.sort_unstable_by_key(|(form, _)| *form);
        let mut by_model: BTreeMap<u32, Vec<Passes>> = BTreeMap::new();
        for (form, sum) in rows {
            by_model.entry(form.model).or_default().push(Passes {
                cached_length: form.cached_length,
                real_tokens: form.real_known.then_some(sum.real_tokens),
                ..Passes::text(form.phase, form.gradient, form.sequences, form.length, sum.count)
            });
        }
        by_model
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(length: u64, real_tokens: Option<u64>) -> Pass {
        Pass { model: 0, phase: Phase::Training, gradient: true, sequences: 2, length, cached_length: 0, real_tokens }
    }

    #[test]
    fn one_unknown_pass_does_not_hide_the_others_tokens() {
        let mut tally = Tally::default();
        for real_tokens in [Some(5), None, Some(7)] {
            assert!(tally.add(pass(8, real_tokens)));
        }
        let rows = tally.take().remove(&0).unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.count, row.real_tokens)).collect();
        assert_eq!(told, [(1, None), (2, Some(12))]);
        assert!(tally.take().is_empty());
    }

    #[test]
    fn a_full_tally_still_counts_the_forms_it_has() {
        let mut tally = Tally::default();
        for length in 0..MAXIMUM_ROWS {
            assert!(tally.add(pass(u64::try_from(length).unwrap(), None)));
        }
        assert!(!tally.add(pass(u64::MAX, None)));
        assert!(tally.add(pass(0, None)));
    }

    proptest! {
        #[test]
        fn no_pass_is_lost_or_counted_twice(lengths in proptest::collection::vec((0_u64..4, proptest::option::of(0_u64..9)), 0..200), cut in 0_usize..200) {
            let mut tally = Tally::default();
            let mut seen = Vec::new();
            for (index, (length, real)) in lengths.iter().enumerate() {
                if index == cut {
                    seen.extend(tally.take().into_values().flatten());
                }
                tally.add(pass(*length, *real));
            }
            seen.extend(tally.take().into_values().flatten());
            let count: u64 = seen.iter().map(|row| row.count).sum();
            let real: u64 = seen.iter().filter_map(|row| row.real_tokens).sum();
            prop_assert_eq!(count, u64::try_from(lengths.len()).unwrap());
            prop_assert_eq!(real, lengths.iter().filter_map(|(_, real)| *real).sum::<u64>());
        }
    }
}
