//! A file of `tests/conformance`, and the entries that a ledger would hold of it.

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{RunOpened, SegmentClosed, SegmentOpened};
use flopsmeter_core::run::Exit;
use flopsmeter_core::tally::Tally;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arithmetic::Step;
use crate::place::repository;

/// One hard count.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    name: String,
    rule: String,
    sources: Vec<String>,
    checked: String,
    model: Model,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    shape: String,
    #[serde(default)]
    config: Map<String, Value>,
    /// `"all"`, or names of parameters.
    trained: Value,
    #[serde(default)]
    adapters: Vec<Value>,
    gradient_checkpointing: Option<String>,
    #[serde(default)]
    input_require_grads: bool,
    parameters_total: u64,
    parameters_trainable: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) plan: Option<String>,
    attention_implementation: Option<String>,
    pub(super) steps: Vec<Step>,
    segments: Vec<Segment>,
    pub(super) expected: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    node: String,
    started: i64,
    ended: i64,
    processes: Vec<Process>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    rank: u32,
    local_rank: u32,
    world_size: u32,
    #[serde(default)]
    parallel: Option<Value>,
    first_step: Option<u64>,
    step: Option<u64>,
    #[serde(default)]
    ends: Ending,
    passes: Vec<Value>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Ending {
    #[default]
    Goodbye,
    Cut,
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

impl Count {
    pub(super) fn read(name: &str) -> Self {
        let path = repository("tests/conformance").join(format!("{name}.toml"));
        let count: Self = toml::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
        assert_eq!(count.name, name);
        count
    }

    pub(super) fn says_enough(&self) -> bool {
        let is_cited = |source: &String| source.contains("Guidelines C(2025) 7719") || source.contains("METHOD.md");
        !self.rule.trim().is_empty() && self.sources.iter().any(is_cited) && !self.checked.is_empty()
    }

    fn shape(&self) -> Value {
        let path = repository("tests/conformance/models").join(format!("{}.json", self.model.shape));
        serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
    }

    /// The `config.json`.
    pub(super) fn config(&self) -> Value {
        let mut config = self.shape()["config"].clone();
        config.as_object_mut().unwrap().extend(self.model.config.clone());
        config
    }

    /// What the run's entries add up to.
    pub(super) fn tally(&self, case: &Case) -> Tally {
        let mut tally = Tally::new();
        for (moment, body) in self.entries(case) {
            tally.add(at(moment), &body);
        }
        tally
    }

    /// The entries in the order of their time.
    fn entries(&self, case: &Case) -> Vec<(i64, Body)> {
        let mut entries = vec![(i64::MIN, Body::RunOpened(RunOpened::default()))];
        for (number, segment) in (0..).zip(&case.segments) {
            let opened = SegmentOpened { segment: number, host: segment.node.clone(), ..SegmentOpened::default() };
            entries.push((segment.started, Body::SegmentOpened(opened)));
            for (connection, process) in segment.processes.iter().enumerate() {
                let said = self.messages(case, segment, process).into_iter();
                entries.extend(said.map(|message| (segment.started, hook(connection, &message))));
            }
            let exit = Some(Exit::Code(0));
            let ended = at(segment.ended);
            let closed = SegmentClosed { segment: number, ended, exit, cpu_time_nanoseconds: 1, left_running: false };
            entries.push((segment.ended, Body::SegmentClosed(closed)));
        }
        entries[0].0 = entries.iter().skip(1).map(|entry| entry.0).min().unwrap();
        entries.sort_by_key(|entry| entry.0);
        entries
    }

    /// What a process's hook says, in its order.
    fn messages(&self, case: &Case, segment: &Segment, process: &Process) -> Vec<Value> {
        let who = json!({
            "pid": process.rank + 100, "host": segment.node, "rank": process.rank, "local_rank": process.local_rank,
            "world_size": process.world_size,
        });
        let mut model = self.model(case);
        if let Some(parallel) = &process.parallel {
            model["parallel"] = parallel.clone();
        }
        let mut said = vec![json!({ "message": "hello", "protocol": 1, "process": who }), model];
        said.push(json!({ "message": "fed", "model": 0, "passes": process.passes }));
        if let Some(step) = process.step {
            let first = process.first_step;
            said.push(json!({ "message": "progress", "step": step, "first_step": first, "max_steps": null }));
        }
        if process.ends == Ending::Goodbye {
            said.push(json!({ "message": "goodbye" }));
        }
        said
    }

    fn model(&self, case: &Case) -> Value {
        let shape = self.shape();
        let all = || shape["parameters"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let trained = if self.model.trained == "all" { json!(all()) } else { self.model.trained.clone() };
        json!({
            "message": "model", "model": 0, "class_name": shape["class_name"], "name_or_path": null,
            "config": self.config(),
            "parameters_total": self.model.parameters_total,
            "parameters_trainable": self.model.parameters_trainable,
            "training": {
                "trained": trained, "adapters": self.model.adapters, "copied": [],
                "gradient_checkpointing": self.model.gradient_checkpointing,
                "input_require_grads": self.model.input_require_grads,
                "attention_implementation": case.attention_implementation,
            },
            "libraries": {},
        })
    }
}

/// As it stands in a ledger: written, and read again.
fn hook(connection: usize, message: &Value) -> Body {
    let body = Body::read("hook", &json!({ "connection": connection, "message": message }).to_string());
    assert!(matches!(body, Body::Hook(_)), "a hook's message of ours reads again: {body:?}");
    body
}
