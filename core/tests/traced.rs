//! What a hook says of small live models, held against what PyTorch's counter counted on them (`tests/traced/trace.py`).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that says how much it checked")]

use std::collections::BTreeMap;

use flopsmeter_core::facts::{Adapter, AdapterKind, Checkpointing, TrainingFacts};
use flopsmeter_core::flops::{Batch, Network};
use flopsmeter_core::method::{Method, Targets, TrainingOptions};
use flopsmeter_core::shape::Shape;
use serde::Deserialize;
use serde_json::Value;

const TRACED: &str = include_str!("traced/traced.json");

#[derive(Deserialize)]
struct Fixture {
    configs: BTreeMap<String, Config>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Config {
    config: Value,
    /// Names of the plain model's parameters, to which the marks of a row refer.
    parameters: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    config: String,
    trained: String,
    adapted: String,
    copied: Vec<String>,
    gradient_checkpointing: Option<Checkpointing>,
    input_require_grads: bool,
    sequences: u64,
    length: u64,
    parameters_total: u64,
    parameters_trainable: u64,
    forward: u128,
    backward_and_recompute: u128,
    decode_one: Option<u128>,
    lora: Option<Lora>,
}

#[derive(Deserialize)]
struct Lora {
    rank: u64,
    kind: AdapterKind,
    targets: Vec<String>,
    modules_to_save: Vec<String>,
}

impl Row {
    fn facts(&self, names: &[String]) -> TrainingFacts {
        let marked = |marks: &str| -> Vec<String> {
            names.iter().zip(marks.bytes()).filter(|(_, mark)| *mark == b'1').map(|(name, _)| name.clone()).collect()
        };
        let adapter = |name: String| Adapter {
            module: name.strip_suffix(".weight").unwrap().to_owned(),
            rank: self.lora.as_ref().unwrap().rank,
            kind: self.lora.as_ref().unwrap().kind,
            trained: true,
            dropout: Some(false),
        };
        TrainingFacts {
            trained: marked(&self.trained),
            adapters: marked(&self.adapted).into_iter().map(adapter).collect(),
            copied: self.copied.clone(),
            gradient_checkpointing: self.gradient_checkpointing,
            input_require_grads: self.input_require_grads,
            not_recomputed: Vec::new(),
            attention_implementation: Some("eager".to_owned()),
            ..TrainingFacts::default()
        }
    }

    fn differences(&self, network: &Network) -> Vec<String> {
        let cost = network.cost();
        let pass = cost.pass(true, &Batch::text(self.sequences, self.length));
        let decode = cost.pass(false, &Batch::text(self.sequences, 1).after(self.length)).forward.0;
        let pairs = [
            ("parameters", u128::from(self.parameters_total), u128::from(network.parameters_total())),
            ("trainable", u128::from(self.parameters_trainable), u128::from(network.parameters_trainable())),
            ("forward", self.forward, pass.forward.0),
            ("backward", self.backward_and_recompute, (pass.backward + pass.recompute).0),
            ("decode", self.decode_one.unwrap_or(decode), decode),
        ];
        let differing = pairs.into_iter().filter(|(_, counted, ours)| counted != ours);
        differing.map(|(what, counted, ours)| format!("{what}: counted {counted}, ours {ours}")).collect()
    }

    fn name(&self) -> String {
        let lora = self.lora.as_ref().map(|it| format!("{:?} {:?} save {:?}", it.kind, it.targets, it.modules_to_save));
        format!(
            "{} {:?} input grads {} {lora:?} trained {}",
            self.config, self.gradient_checkpointing, self.input_require_grads, self.trained
        )
    }
}

#[test]
fn live_facts_give_the_count_of_the_live_model() {
    let fixture: Fixture = serde_json::from_str(TRACED).unwrap();
    let mut problems = Vec::new();
    for row in &fixture.rows {
        let config = &fixture.configs[&row.config];
        let shape = Shape::from_config(&config.config).unwrap();
        let (network, findings) = Network::from_facts(&shape, &row.facts(&config.parameters));
        let unplaced = findings.iter().filter(|finding| finding.code.starts_with("unplaced"));
        let mut differences: Vec<String> = unplaced.map(|finding| finding.text.clone()).collect();
        differences.extend(row.differences(&network));
        if !differences.is_empty() {
            problems.push(format!("{}: {}", row.name(), differences.join("; ")));
        }
    }
    println!("{} live models checked", fixture.rows.len());
    assert!(problems.is_empty(), "{} of {} differ:\n{}", problems.len(), fixture.rows.len(), problems.join("\n"));
    assert!(fixture.rows.len() >= 300, "the fixture holds only {} rows", fixture.rows.len());
}

#[test]
fn a_planned_adapter_places_its_pairs_where_peft_did() {
    let fixture: Fixture = serde_json::from_str(TRACED).unwrap();
    let mut checked = 0;
    for row in &fixture.rows {
        let Some(lora) = &row.lora else { continue };
        let shape = Shape::from_config(&fixture.configs[&row.config].config).unwrap();
        let method = Method::Lora {
            kind: lora.kind,
            rank: lora.rank,
            rank_pattern: Vec::new(),
            targets: Targets::Named(lora.targets.clone()),
            layers_to_transform: Vec::new(),
            modules_to_save: lora.modules_to_save.clone(),
        };
        let network = Network::from_method(&shape, &method, &TrainingOptions::default()).unwrap();
        let counts = (network.parameters_total(), network.parameters_trainable());
        assert_eq!(counts, (row.parameters_total, row.parameters_trainable), "{}", row.name());
        checked += 1;
    }
    println!("{checked} adapted models checked");
    assert!(checked >= 150, "the fixture holds only {checked} adapted models");
}
