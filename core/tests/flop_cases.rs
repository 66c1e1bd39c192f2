//! Every row of `tests/fixtures/flop_cases.json`, held against our count.
//!
//! The rows are what `torch.utils.flop_counter.FlopCounterMode` counted on the real model classes (transformers 5.23.0,
//! peft 0.21.2, torch 2.15.0). Equality is to the last operation.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that says how much it checked")]

use std::collections::BTreeMap;

use flopsmeter_core::facts::{AdapterKind, Checkpointing};
use flopsmeter_core::flops::{Attention, Batch, Network};
use flopsmeter_core::method::{Method, Targets, TrainingOptions};
use flopsmeter_core::shape::Shape;
use flopsmeter_core::unit::Flops;
use serde::Deserialize;
use serde_json::Value;

const CASES: &str = include_str!("../../tests/fixtures/flop_cases.json");

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    params: u64,
    /// Positions of the decoder beside an encoder.
    dec_len: Option<u64>,
    config: Value,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    method: String,
    r: Option<u64>,
    targets: Option<Value>,
    modules_to_save: Option<String>,
    #[serde(default)]
    frozen: Vec<String>,
    n: Option<u64>,
    #[serde(default)]
    input_require_grads: bool,
    gradient_checkpointing: Option<Checkpointing>,
    sequences: u64,
    seq_len: u64,
    trainable: u64,
    forward: Flops,
    backward: Flops,
    recompute: Flops,
    training_visible_pairs_incl_recompute: Flops,
}

impl Run {
    fn method(&self) -> Method {
        match self.method.as_str() {
            "full" => Method::Full { frozen: self.frozen.clone() },
            "lora" => Method::Lora {
                kind: AdapterKind::Lora,
                rank: self.r.unwrap(),
                rank_pattern: Vec::new(),
                targets: match self.targets.as_ref().unwrap() {
                    Value::String(all) if all == "all-linear" => Targets::AllLinear,
                    names => Targets::Named(serde_json::from_value(names.clone()).unwrap()),
                },
                layers_to_transform: Vec::new(),
                modules_to_save: match self.modules_to_save.as_deref() {
                    None => Vec::new(),
                    Some("input-embeddings and output head") => vec!["input-embeddings".into(), "output-head".into()],
                    Some(other) => panic!("modules_to_save `{other}` is new in the fixture"),
                },
            },
            "last-layers" => Method::LastLayers { layers: self.n.unwrap() },
            "head-only" => Method::HeadOnly,
            other => panic!("method `{other}` is new in the fixture"),
        }
    }

    fn options(&self) -> TrainingOptions {
        TrainingOptions {
            gradient_checkpointing: self.gradient_checkpointing,
            input_require_grads: self.input_require_grads,
            ..TrainingOptions::default()
        }
    }

    /// What differs from our count, empty if nothing does.
    fn differences(&self, shape: &Shape, decoder_length: u64) -> Vec<String> {
        let network = Network::from_method(shape, &self.method(), &self.options()).unwrap();
        // Models that see were traced with one image in each sequence.
        let batch = Batch { decoder_length, images: self.sequences, ..Batch::text(self.sequences, self.seq_len) };
        let full = network.cost().pass(true, &batch);
        let visible = network.cost().with_attention(Attention::Visible).pass(true, &batch).executed();
        let pairs = [
            ("trainable", u128::from(self.trainable), u128::from(network.parameters_trainable())),
            ("forward", self.forward.0, full.forward.0),
            ("backward", self.backward.0, full.backward.0),
            ("recompute", self.recompute.0, full.recompute.0),
            ("visible", self.training_visible_pairs_incl_recompute.0, visible.0),
        ];
        let differing = pairs.into_iter().filter(|(_, counted, ours)| counted != ours);
        differing.map(|(what, counted, ours)| format!("{what}: counted {counted}, ours {ours}")).collect()
    }
}

#[test]
fn every_row_is_met_to_the_last_operation() {
    let fixture: Fixture = serde_json::from_str(CASES).unwrap();
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    let mut problems = Vec::new();
    for case in &fixture.cases {
        let shape = Shape::from_config(&case.config).unwrap_or_else(|problem| panic!("{}: {problem}", case.name));
        let plain = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap();
        if plain.parameters_total() != case.params {
            problems.push(format!("{}: {} parameters, ours {}", case.name, case.params, plain.parameters_total()));
        }
        for run in &case.runs {
            *rows.entry(case.name.clone()).or_default() += 1;
            let differences = run.differences(&shape, case.dec_len.unwrap_or(0));
            if !differences.is_empty() {
                let form = format!("{} {:?} {}x{}", run.method, run.gradient_checkpointing, run.sequences, run.seq_len);
                problems.push(format!("{} {form}: {}", case.name, differences.join("; ")));
            }
        }
    }
    let checked: usize = rows.values().sum();
    println!("{checked} rows of {} models checked: {rows:?}", rows.len());
    assert!(problems.is_empty(), "{} of {checked} rows differ:\n{}", problems.len(), problems.join("\n"));
    assert_eq!((rows.len(), checked), (23, 823), "the fixture holds 823 rows of 23 models");
}
