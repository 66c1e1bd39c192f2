//! The ten hard counts of `tests/conformance`: their arithmetic, what the tally of a ledger's entries makes of them, and what `plan` does.

mod arithmetic;
mod count;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::place::{Place, repository};
use arithmetic::Worked;
use count::{Case, Count};

const COUNTS: [&str; 10] = [
    "lora",
    "qlora",
    "padding-and-packing",
    "gradient-accumulation",
    "resume",
    "evaluation-during-training",
    "several-nodes",
    "several-ranks-per-node",
    "tensor-sequence-context-parallel",
    "moe-routing",
];

/// What is expected, and nothing but that: further keys of ours say more and are not compared.
fn differences(what: &str, expected: &Value, ours: &Value) -> Vec<String> {
    match expected {
        Value::Object(parts) => {
            parts.iter().flat_map(|(key, part)| differences(&format!("{what}.{key}"), part, &ours[key])).collect()
        }
        _ if text(expected) == text(ours) => Vec::new(),
        _ => vec![format!("{what}: worked answer {expected}, ours {ours}")],
    }
}

/// Numbers are compared by their digits, whether they come as a number or as a decimal string.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn holds(name: &str) {
    let count = Count::read(name);
    let problems: Vec<String> = count.cases.iter().flat_map(|case| problems(&count, case)).collect();
    assert!(problems.is_empty(), "{name}:\n{}", problems.join("\n"));
}

fn problems(count: &Count, case: &Case) -> Vec<String> {
    let worked = Worked::of(&case.steps);
    let mut problems = worked.problems(&case.expected);
    let summary = serde_json::to_value(count.tally(case).summary()).unwrap();
    problems.extend(differences("tally", &case.expected, &summary));
    if let Some(options) = &case.plan {
        problems.extend(differences("plan", &planned(&case.expected), &plan(count, options)));
    }
    problems.into_iter().map(|problem| format!("  {}: {problem}", case.name)).collect()
}

/// The parts of a worked answer that `plan` gives, which runs nothing.
fn planned(expected: &Value) -> Value {
    let mut flops = expected["flops"].clone();
    flops.as_object_mut().unwrap().remove("executed");
    serde_json::json!({ "flops": flops, "tokens": expected["tokens"]["fed"] })
}

fn plan(count: &Count, options: &str) -> Value {
    let place = Place::new();
    place.write_json("config.json", &count.config());
    place.flopsmeter(&format!("plan --json --config config.json {options}")).json()
}

#[test]
fn the_suite_holds_the_ten_hard_counts() {
    let folder = repository("tests/conformance");
    let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let counts: BTreeSet<String> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    assert_eq!(counts, COUNTS.map(str::to_owned).into());
    for name in COUNTS {
        let count = Count::read(name);
        assert!(count.says_enough(), "{name} states its rule, its sources and how it was checked");
    }
}

#[test]
fn lora() {
    holds("lora");
}

#[test]
fn qlora() {
    holds("qlora");
}

#[test]
fn padding_and_packing() {
    holds("padding-and-packing");
}

#[test]
fn gradient_accumulation() {
    holds("gradient-accumulation");
}

#[test]
fn resume() {
    holds("resume");
}

#[test]
fn evaluation_during_training() {
    holds("evaluation-during-training");
}

#[test]
fn several_nodes() {
    holds("several-nodes");
}

#[test]
fn several_ranks_per_node() {
    holds("several-ranks-per-node");
}

#[test]
fn tensor_sequence_context_parallel() {
    holds("tensor-sequence-context-parallel");
}

#[test]
fn moe_routing() {
    holds("moe-routing");
}
