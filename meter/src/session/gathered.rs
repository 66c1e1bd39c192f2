//! What hooks say was fed, added up from one look to the next: a hook tells several times a second, and the record and its disk are
//! served once.

use std::collections::BTreeMap;

use flopsmeter_core::facts::{Fed, HookMessage, Passes, Progress};

use crate::hook::client::tally::{MAXIMUM_SIZES, Room, Tally as Histogram};

/// Rows and lengths inside them that are held at once; more are given out first.
const MAXIMUM_WEIGHT: usize = MAXIMUM_SIZES / 2;

/// By connection, since each has models and steps of its own.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    hooks: BTreeMap<u32, OfHook>,
    weight: usize,
}

#[derive(Debug, Default)]
struct OfHook {
    fed: Histogram,
    progress: Option<Progress>,
}

impl Gathered {
    /// Adds what was fed and where the trainer stands to what is gathered. Gives back what has no place there: any other message, before
    /// which everything is to be given out, and one that there is no room for before, or at all.
    pub(super) fn take_in(&mut self, connection: u32, message: HookMessage) -> Option<HookMessage> {
        match message {
            HookMessage::Fed(fed) => {
                let weight = fed.passes.iter().map(weight).fold(0, usize::saturating_add);
                if self.weight.saturating_add(weight) > MAXIMUM_WEIGHT {
                    return Some(HookMessage::Fed(fed));
                }
                self.weight += weight;
                let histogram = &mut self.hooks.entry(connection).or_default().fed;
                for passes in fed.passes {
                    let room = histogram.add(fed.model, passes);
                    debug_assert_eq!(room, Room::Enough, "the weight is below what a histogram holds");
                }
                None
            }
            HookMessage::Progress(progress) => {
                self.hooks.entry(connection).or_default().progress = Some(progress);
                None
            }
            other => Some(other),
        }
    }

    /// Everything, in the order in which a hook says it.
    pub(super) fn give_out(&mut self) -> Vec<(u32, HookMessage)> {
        self.weight = 0;
        let mut messages = Vec::new();
        for (connection, OfHook { mut fed, progress }) in core::mem::take(&mut self.hooks) {
            let fed = fed.take().into_iter().map(|(model, passes)| HookMessage::Fed(Fed { model, passes }));
            let said = fed.chain(progress.map(HookMessage::Progress));
            messages.extend(said.map(|message| (connection, message)));
        }
        messages
    }
}

fn weight(passes: &Passes) -> usize {
    1 + passes.packed.len() + passes.image_grid.len()
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::facts::{ModelFacts, PackedSequences, Phase, TrainingFacts};
    use flopsmeter_core::ledger::Body;
    use flopsmeter_core::ledger::body::Hook;
    use flopsmeter_core::tally::Tally;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn passes(length: u64, count: u64) -> Passes {
        Passes { real_tokens: Some(length * count), ..Passes::text(Phase::Training, true, 2, length, count) }
    }

    fn fed(model: u32, passes: Vec<Passes>) -> HookMessage {
        HookMessage::Fed(Fed { model, passes })
    }

    fn progress(step: u64) -> HookMessage {
        HookMessage::Progress(Progress { step, first_step: 0, max_steps: Some(10) })
    }

    #[test]
    fn a_second_of_a_hook_is_one_message_of_what_was_fed_and_one_of_the_last_step() {
        let mut gathered = Gathered::default();
        for step in 1..=5 {
            assert_eq!(gathered.take_in(0, fed(0, vec![passes(8, 1)])), None);
            assert_eq!(gathered.take_in(0, progress(step)), None);
        }
        assert_eq!(gathered.take_in(1, fed(3, vec![passes(16, 2)])), None);
        assert_eq!(gathered.take_in(0, HookMessage::Goodbye), Some(HookMessage::Goodbye));
        let expected = vec![(0, fed(0, vec![passes(8, 5)])), (0, progress(5)), (1, fed(3, vec![passes(16, 2)]))];
        assert_eq!(gathered.give_out(), expected);
        assert_eq!(gathered.give_out(), []);
    }

    #[test]
    fn what_is_gathered_is_bounded_and_what_does_not_fit_is_left_whole() {
        let packed: Vec<PackedSequences> =
            (0..MAXIMUM_WEIGHT as u64).map(|length| PackedSequences { count: 1, length }).collect();
        let huge = fed(0, vec![Passes { packed, ..passes(8, 1) }]);
        let mut gathered = Gathered::default();
        assert_eq!(gathered.take_in(0, huge.clone()), Some(huge), "not even alone");
        let mut taken = 0_usize;
        while gathered.take_in(0, fed(0, vec![passes(8, 1)])).is_none() {
            taken += 1;
        }
        assert_eq!(taken, MAXIMUM_WEIGHT);
        assert_eq!(gathered.give_out(), [(0, fed(0, vec![passes(8, taken as u64)]))]);
        assert_eq!(gathered.take_in(0, fed(0, vec![passes(8, 1)])), None, "there is room again");
    }

    /// Of each connection.
    fn models() -> impl Iterator<Item = (u32, HookMessage)> {
        let facts = |model: u32| ModelFacts {
            model,
            class_name: "LlamaForCausalLM".to_owned(),
            name_or_path: None,
            config: json!({
                "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
            }),
            parameters_total: 0,
            parameters_trainable: 0,
            training: TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() },
            libraries: [].into(),
            inventory: None,
            parallel: None,
        };
        let message = move |model| HookMessage::Model(Box::new(facts(model)));
        (0..3).flat_map(move |connection| (0..2).map(move |model| (connection, message(model))))
    }

    fn summed(messages: impl IntoIterator<Item = (u32, HookMessage)>) -> (String, u64) {
        let mut tally = Tally::new();
        for (connection, message) in models().chain(messages) {
            tally.add(chrono::DateTime::UNIX_EPOCH, &Body::Hook(Hook { connection, message }));
        }
        let summary = tally.summary();
        (
            format!("{:?} {:?} {:?}", summary.phases, summary.tokens, tally.progress()),
            tally.furthest_step().unwrap_or(0),
        )
    }

    proptest! {
        /// Whatever came between two looks, the run's sums are those of the messages one by one.
        #[test]
        fn nothing_is_lost_or_counted_twice(
            said in prop::collection::vec((0_u32..3, 0_u32..2, 1_u64..4, 1_u64..9, prop::option::of(0_u64..50)), 0..40),
        ) {
            let mut messages = Vec::new();
            for (connection, model, length, count, step) in said {
                messages.push((connection, fed(model, vec![passes(8 * length, count)])));
                messages.extend(step.map(|step| (connection, progress(step))));
            }
            let mut gathered = Gathered::default();
            for (connection, message) in messages.clone() {
                prop_assert_eq!(gathered.take_in(connection, message), None);
            }
            prop_assert_eq!(summed(gathered.give_out()), summed(messages));
        }
    }
}
