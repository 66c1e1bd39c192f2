//! A live model as its hook described it, ready to be counted.

use crate::facts::{AdapterKind, Checkpointing, Inventory, ModelFacts, Parallel, VirtualKind};
use crate::flops::{LiveCost, Network};
use crate::run::{Finding, ModelSummary};
use crate::shape::Shape;

/// A model and, if its family is known, what a pass through it costs.
#[derive(Debug)]
pub(super) struct CountedModel {
    summary: ModelSummary,
    cost: Option<LiveCost>,
    /// Over visible pairs only.
    least_cost: Option<LiveCost>,
    whole: bool,
    fed: bool,
    parallel: Option<Parallel>,
}

/// Finding of an adapter or parameters that no pass is counted for, or of products that the network does not describe.
const HOLES: [&str; 6] = [
    "unplaced-parameters",
    "unplaced-adapters",
    "unplaced-copies",
    "dora-dropout-not-counted",
    "parameters-differ",
    Inventory::INEXACT,
];

impl CountedModel {
    pub(super) fn new(facts: &ModelFacts) -> (Self, Vec<Finding>) {
        let (cost, mut findings) = match Shape::of_model(facts) {
            Ok(shape) => {
                let (network, mut findings) = Network::from_facts(&shape, &facts.training);
                findings.extend(parameter_check(facts, &network));
                findings.extend(facts.inventory.as_ref().and_then(Inventory::inexactness));
                (Some(LiveCost::of(&shape, &network, &facts.training)), findings)
            }
            Err(problem) => {
                let text = format!(
                    "operations of {} could not be counted: {problem}; the verdict rests on the hardware ceiling alone",
                    facts.class_name
                );
                (None, vec![Finding { code: "model-not-countable".to_owned(), text }])
            }
        };
        let cost = if let Some(finding) = pipeline_finding(facts, &findings) {
            findings.push(finding);
            None
        } else {
            cost
        };
        let whole = cost.is_some() && !findings.iter().any(|finding| HOLES.contains(&finding.code.as_str()));
        let least_cost = cost.as_ref().map(LiveCost::over_visible_pairs);
        (Self { summary: summary(facts), cost, least_cost, whole, fed: false, parallel: facts.parallel }, findings)
    }

    /// Whether every product of the live model is known to be counted; if not, the count is a lower bound.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Passes of it were told.
    pub(super) const fn feed(&mut self) {
        self.fed = true;
    }

    pub(super) const fn was_fed(&self) -> bool {
        self.fed
    }

    pub(super) fn into_summary(self) -> ModelSummary {
        self.summary
    }

    pub(super) const fn cost(&self) -> Option<&LiveCost> {
        self.cost.as_ref()
    }

    /// The cost over visible pairs only, which no kernel can skip.
    pub(super) const fn least_cost(&self) -> Option<&LiveCost> {
        self.least_cost.as_ref()
    }

    pub(super) const fn parallel(&self) -> Option<&Parallel> {
        self.parallel.as_ref()
    }

    pub(super) const fn summary(&self) -> &ModelSummary {
        &self.summary
    }
}

/// A stage has some of the layers, but its configuration describes them all: counted by it, each of the stages would be billed
/// for the whole, and a count that is too high is no lower bound. Ranks that hold every parameter are no stages, whatever
/// their mesh is called.
fn pipeline_finding(facts: &ModelFacts, findings: &[Finding]) -> Option<Finding> {
    let stages = facts.parallel.map_or(1, |parallel| parallel.pipeline);
    let holds_a_part = findings.iter().any(|finding| finding.code == "parameters-differ");
    (stages > 1 && holds_a_part).then(|| Finding {
        code: "pipeline-parallel".to_owned(),
        text: format!(
            "the layers of {} are shared out among {stages} ranks, and the configuration does not say which this rank has: \
             its passes are not counted, and the verdict rests on the hardware ceiling alone",
            facts.class_name
        ),
    })
}

/// The counted network and the live model have to agree on what there is and what is trained.
fn parameter_check(facts: &ModelFacts, network: &Network) -> Vec<Finding> {
    let pairs = [
        ("parameters", network.parameters_total(), facts.parameters_total),
        ("trainable parameters", network.parameters_trainable(), facts.parameters_trainable),
    ];
    let differing = pairs.into_iter().filter(|(_, counted, live)| counted != live);
    let explain = |(what, counted, live): (&str, u64, u64)| Finding {
        code: "parameters-differ".to_owned(),
        text: format!(
            "{} has {live} {what} but its configuration describes {counted}: custom modules are not counted; \
             compare the count with a traced step before you rely on it",
            facts.class_name
        ),
    };
    differing.map(explain).collect()
}

fn summary(facts: &ModelFacts) -> ModelSummary {
    let training = &facts.training;
    let is_dora = training.adapters.iter().any(|adapter| adapter.kind == AdapterKind::Dora);
    let method = if is_dora {
        "dora"
    } else if !training.adapters.is_empty() {
        "lora"
    } else if !training.scaled.is_empty() {
        "ia3"
    } else if let Some(tokens) = &training.virtual_tokens {
        match tokens.kind {
            VirtualKind::Prompt => "prompt",
            VirtualKind::Prefix => "prefix",
        }
    } else if facts.parameters_trainable == facts.parameters_total {
        "full"
    } else if facts.parameters_trainable == 0 {
        "frozen"
    } else {
        "partial"
    };
    let gradient_checkpointing = match training.gradient_checkpointing {
        None => "none",
        Some(Checkpointing::NonReentrant) => "non-reentrant",
        Some(Checkpointing::Reentrant) => "reentrant",
    };
    ModelSummary {
        class_name: facts.class_name.clone(),
        model_type: facts.config.get("model_type").and_then(|value| value.as_str()).map(str::to_owned),
        name_or_path: facts.name_or_path.clone(),
        parameters_total: facts.parameters_total,
        parameters_trainable: facts.parameters_trainable,
        method: method.to_owned(),
        gradient_checkpointing: gradient_checkpointing.to_owned(),
        attention_implementation: training.attention_implementation.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::TrainingFacts;

    /// A rank of a mesh with two stages that holds all of a small model less so many parameters.
    fn stage(lacking: u64) -> (CountedModel, Vec<Finding>) {
        let config = json!({
            "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "tie_word_embeddings": false,
        });
        let mut facts = ModelFacts {
            model: 0,
            class_name: "LlamaForCausalLM".to_owned(),
            name_or_path: None,
            config,
            parameters_total: 0,
            parameters_trainable: 0,
            training: TrainingFacts::default(),
            libraries: [].into(),
            inventory: None,
            parallel: Some(Parallel { pipeline: 2, ..Parallel::default() }),
        };
        let shape = Shape::of_model(&facts).unwrap();
        facts.parameters_total = Network::from_facts(&shape, &facts.training).0.parameters_total() - lacking;
        CountedModel::new(&facts)
    }

    #[test]
    fn a_stage_with_some_of_the_layers_is_not_billed_for_all() {
        let (part, findings) = stage(100);
        assert!(part.cost().is_none() && !part.is_whole());
        assert!(findings.iter().any(|finding| finding.code == "pipeline-parallel"), "{findings:?}");
        let (whole, findings) = stage(0);
        assert!(whole.cost().is_some() && whole.is_whole() && findings.is_empty(), "{findings:?}");
    }
}
