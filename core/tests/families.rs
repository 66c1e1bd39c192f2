//! Every row of `families/*.json`, held against our count: small models of each family, as PyTorch's counter saw them.
//!
//! `families/trace.py` writes the rows. Equality is to the last operation.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that reads its fixtures and says how much it checked"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use flopsmeter_core::facts::{AdapterKind, Checkpointing, TrainingFacts};
use flopsmeter_core::flops::{Batch, Network};
use flopsmeter_core::method::{Method, Targets, TrainingOptions};
use flopsmeter_core::shape::Shape;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Fixture {
    configs: BTreeMap<String, Config>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Config {
    config: Value,
    /// Name and shape of each parameter, and the name it shares a tensor with.
    parameters: Vec<(String, Vec<u64>, Option<String>)>,
}

#[derive(Deserialize)]
struct Row {
    config: String,
    method: String,
    r: Option<u64>,
    n: Option<u64>,
    targets: Option<Value>,
    #[serde(default)]
    modules_to_save: Vec<String>,
    #[serde(default)]
    frozen: Vec<String>,
    /// One mark for each parameter: trained, or with a low-rank pair.
    trained: Option<String>,
    adapted: Option<String>,
    gradient_checkpointing: Option<Checkpointing>,
    #[serde(default)]
    input_require_grads: bool,
    sequences: u64,
    seq_len: u64,
    #[serde(default)]
    dec_len: u64,
    /// For each sequence.
    #[serde(default)]
    images: u64,
    image_grid: Option<[u64; 3]>,
    /// Tiles that the images of a sequence are cut into; each goes through the tower as an image does.
    tiles: Option<u64>,
    /// Those of `seq_len` that stand for images.
    #[serde(rename = "image_tokens")]
    _image_tokens: Option<u64>,
    parameters_total: u64,
    trainable: u64,
    forward: u128,
    backward: u128,
    recompute: u128,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl Row {
    fn network(&self, shape: &Shape, config: &Config) -> Result<Network, String> {
        if self.method == "random" {
            let (network, findings) = Network::from_facts(shape, &self.facts(config));
            let unplaced = findings.into_iter().find(|finding| finding.code.starts_with("unplaced"));
            return unplaced.map_or(Ok(network), |finding| Err(finding.text));
        }
        let options = TrainingOptions {
            gradient_checkpointing: self.gradient_checkpointing,
            input_require_grads: self.input_require_grads,
            ..TrainingOptions::default()
        };
        Network::from_method(shape, &self.method(), &options).map_err(|problem| problem.to_string())
    }

    fn method(&self) -> Method {
        match self.method.as_str() {
            "full" => Method::Full { frozen: self.frozen.clone() },
            "lora" => self.pairs(AdapterKind::Lora),
            "dora" => self.pairs(AdapterKind::Dora),
            "last-layers" => Method::LastLayers { layers: self.n.unwrap() },
            "head-only" => Method::HeadOnly,
            "prompt" => Method::Prompt { virtual_tokens: self.n.unwrap() },
            "prefix" => Method::Prefix { virtual_tokens: self.n.unwrap() },
            other => panic!("method `{other}` is new in the fixture"),
        }
    }

    fn pairs(&self, kind: AdapterKind) -> Method {
        Method::Lora {
            kind,
            rank: self.r.unwrap(),
            rank_pattern: Vec::new(),
            targets: match self.targets.as_ref().unwrap() {
                Value::String(all) if all == "all-linear" => Targets::AllLinear,
                names => Targets::Named(serde_json::from_value(names.clone()).unwrap()),
            },
            layers_to_transform: Vec::new(),
            modules_to_save: self.modules_to_save.clone(),
        }
    }

    fn facts(&self, config: &Config) -> TrainingFacts {
        TrainingFacts {
            trained: config.marked(self.trained.as_deref().unwrap()),
            gradient_checkpointing: self.gradient_checkpointing,
            // transformers 5 switches both on together, for models that read tokens.
            input_require_grads: self.input_require_grads
                || (self.gradient_checkpointing.is_some() && config.reads_tokens()),
            ..TrainingFacts::default()
        }
    }

    fn differences(&self, shape: &Shape, config: &Config) -> Vec<String> {
        if let Some(key) = self.unknown.keys().next() {
            return vec![format!("key `{key}` is new in the fixture")];
        }
        let network = match self.network(shape, config) {
            Ok(network) => network,
            Err(problem) => return vec![problem],
        };
        let batch = Batch {
            decoder_length: self.dec_len,
            images: self.tiles.unwrap_or(self.images) * self.sequences,
            image_grid: self.image_grid,
            ..Batch::text(self.sequences, self.seq_len)
        };
        let pass = network.cost().pass(true, &batch);
        let pairs = [
            ("parameters", u128::from(self.parameters_total), u128::from(network.parameters_total())),
            ("trainable", u128::from(self.trainable), u128::from(network.parameters_trainable())),
            ("forward", self.forward, pass.forward.0),
            ("backward", self.backward, pass.backward.0),
            ("recompute", self.recompute, pass.recompute.0),
        ];
        let differing = pairs.into_iter().filter(|(_, counted, ours)| counted != ours);
        let mut all: Vec<String> =
            differing.map(|(what, counted, ours)| format!("{what}: counted {counted}, ours {ours}")).collect();
        all.extend(self.adapted.as_ref().and_then(|marks| misplaced(&network, &config.marked(marks))));
        all
    }

    fn name(&self) -> String {
        let Self { config, method, targets, gradient_checkpointing, sequences, seq_len, .. } = self;
        let how = gradient_checkpointing.map_or_else(String::new, |how| format!(" {how:?}"));
        let targets = targets.as_ref().map_or_else(String::new, |targets| format!(" {targets}"));
        let trained = self.trained.as_deref().unwrap_or_default();
        let saved = self.modules_to_save.join(" ");
        format!("{config}: {method}{targets}{how} {sequences}x{seq_len} {saved}{trained}")
    }
}

impl Config {
    /// Neither pictures alone nor sound come first.
    fn reads_tokens(&self) -> bool {
        let has = |key: &str| self.config.get(key).is_some();
        ((has("vocab_size") && !has("image_size")) || has("text_config")) && !has("num_mel_bins")
    }

    fn marked(&self, marks: &str) -> Vec<String> {
        assert_eq!(self.parameters.len(), marks.len());
        let marked = self.parameters.iter().zip(marks.bytes()).filter(|(_, mark)| *mark == b'1');
        marked.map(|((name, ..), _)| name.clone()).collect()
    }
}

/// Low-rank pairs that stand elsewhere than peft put them.
fn misplaced(network: &Network, adapted: &[String]) -> Option<String> {
    let theirs: BTreeSet<&str> =
        adapted.iter().map(|name| name.strip_suffix(".weight").unwrap_or(name.as_str())).collect();
    let with_pairs: Vec<_> = network.products().filter(|product| !product.ranks.is_empty()).collect();
    let ours: BTreeSet<&str> = with_pairs.iter().map(|product| product.module.as_str()).collect();
    let mut differing = theirs.symmetric_difference(&ours);
    differing.next().map(|name| format!("peft and we differ over a pair beside {name}"))
}

fn fixtures() -> Vec<(String, Fixture)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/families");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |path: PathBuf| {
        let group = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let held = flopsmeter_core::shape::read_json(&text).and_then(serde_json::from_value);
        (group, held.unwrap_or_else(|problem| panic!("{}: {problem}", path.display())))
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_row_of_every_family_is_met_to_the_last_operation() {
    let mut equal: BTreeMap<String, usize> = BTreeMap::new();
    let mut differing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, fixture) in fixtures() {
        for row in &fixture.rows {
            let config = &fixture.configs[&row.config];
            let family = config.config["model_type"].as_str().unwrap().to_owned();
            let differences = match Shape::from_config(&config.config) {
                Ok(shape) => row.differences(&shape, config),
                Err(problem) => vec![problem.to_string()],
            };
            if differences.is_empty() {
                *equal.entry(family).or_default() += 1;
            } else {
                let told = format!("{group} {}: {}", row.name(), differences.join("; "));
                differing.entry(family).or_default().push(told);
            }
        }
    }
    let rows: usize = equal.values().sum();
    println!("{rows} rows of {} families are equal", equal.len());
    let problems: Vec<&str> = differing.values().flatten().map(String::as_str).collect();
    assert!(problems.is_empty(), "{} rows differ:\n{}", problems.len(), problems.join("\n"));
}
