//! Holds a traced step against the count of the same pass.

use crate::facts::Trace;
use crate::flops::LiveCost;
use crate::run::Finding;
use crate::unit::Flops;

/// One part in so many may differ before it is a finding.
const TOLERATED_PART: u128 = 100;

/// A trace that found more operations than were counted: the count is then a lower bound.
pub(super) const MORE_WAS_DONE: &str = "traced-step-differs";
/// A trace that found fewer.
const LESS_WAS_DONE: &str = "traced-step-below-count";

/// What a trace says of a count of the same pass; nothing of a model that is not counted, which is told elsewhere.
pub(super) fn compare(class_name: &str, trace: &Trace, cost: Option<&LiveCost>) -> Option<Finding> {
    let finding = |code: &str, text: String| Some(Finding { code: code.to_owned(), text });
    let (pass, forward, backward, unseen) = match trace {
        Trace::Skipped { reason } => {
            return finding("step-not-traced", format!("no step of {class_name} was traced: {reason}"));
        }
        Trace::Counted { pass, forward, backward, unseen } => (pass, *forward, *backward, unseen),
    };
    let counted = cost?.count(pass);
    let pairs = [(forward, counted.forward), (backward, counted.backward + counted.recompute)];
    let figures = format!(
        "{forward} operations forward and {backward} backward, where {} and {} were counted",
        pairs[0].1, pairs[1].1
    );
    let exceeds = pairs.iter().any(|(traced, counted)| is_beyond(*traced, *counted));
    if exceeds {
        let text = format!(
            "a traced step of {class_name} did {figures}: something of the model is not in the count; look at the parts that are \
             not its family's own"
        );
        return finding(MORE_WAS_DONE, text);
    }
    if !unseen.is_empty() {
        let names = unseen.join(", ");
        let text = format!(
            "a traced step of {class_name} did at least {figures}; {names} may multiply unseen, so the trace bounds the count from \
             below only"
        );
        return finding("traced-step-partial", text);
    }
    let falls_short = pairs.iter().any(|(traced, counted)| is_beyond(*counted, *traced));
    if falls_short {
        let text = format!(
            "a traced step of {class_name} did {figures}: the count is too high, or a kernel's operations were not seen"
        );
        return finding(LESS_WAS_DONE, text);
    }
    let exact = pairs.iter().all(|(traced, counted)| traced == counted);
    let agrees = if exact { "to the last operation" } else { "within one per cent" };
    finding("traced-step-agrees", format!("a traced step of {class_name} agrees with the count {agrees}: {figures}"))
}

/// Whether a figure is more than the tolerated part above another.
const fn is_beyond(figure: Flops, other: Flops) -> bool {
    figure.0.saturating_sub(other.0).saturating_mul(TOLERATED_PART) > other.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Passes, Phase, TrainingFacts};
    use crate::flops::{Count, Network, Packing};
    use crate::shape::Shape;

    fn cost() -> LiveCost {
        let config = serde_json::json!({
            "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
        });
        let trained = vec!["lm_head.weight".to_owned()];
        let facts = TrainingFacts { trained, ..TrainingFacts::default() };
        let network = Network::from_facts(&Shape::from_config(&config).unwrap(), &facts).0;
        LiveCost::new(network.cost(), None, Packing::Whole)
    }

    fn pass() -> Passes {
        Passes::text(Phase::Training, true, 2, 8, 1)
    }

    fn code(change: impl Fn(Count) -> (u128, u128), unseen: &[&str]) -> String {
        let counted = cost().count(&pass());
        let (forward, backward) = change(counted);
        let unseen = unseen.iter().map(ToString::to_string).collect();
        let trace = Trace::Counted { pass: pass(), forward: Flops(forward), backward: Flops(backward), unseen };
        compare("LlamaForCausalLM", &trace, Some(&cost())).unwrap().code
    }

    #[test]
    fn one_per_cent_decides() {
        let changed = |by: fn(u128) -> u128| move |count: Count| (by(count.forward.0), count.backward.0);
        assert_eq!(code(changed(|flop| flop), &[]), "traced-step-agrees");
        assert_eq!(code(changed(|flop| flop + flop / 100), &[]), "traced-step-agrees");
        assert_eq!(code(changed(|flop| flop + flop / 100 + 1), &[]), MORE_WAS_DONE);
        assert_eq!(code(changed(|flop| flop - flop / 50), &[]), LESS_WAS_DONE);
        assert_eq!(code(changed(|flop| flop - flop / 50), &["bitsandbytes::gemv_4bit"]), "traced-step-partial");
        assert_eq!(code(changed(|flop| flop * 2), &["bitsandbytes::gemv_4bit"]), MORE_WAS_DONE);
        assert_eq!(code(|count| (count.forward.0, 2 * count.backward.0), &[]), MORE_WAS_DONE);
    }

    #[test]
    fn a_model_that_is_not_counted_is_told_elsewhere() {
        let trace = Trace::Counted { pass: pass(), forward: Flops(1), backward: Flops(2), unseen: Vec::new() };
        assert_eq!(compare("X", &trace, None), None);
        let skipped = Trace::Skipped { reason: "compiled".to_owned() };
        assert_eq!(compare("X", &skipped, None).unwrap().code, "step-not-traced");
    }
}
