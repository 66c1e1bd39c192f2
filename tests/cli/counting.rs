//! `plan --json` against what PyTorch's own counter counted, through the real binary.

use std::fmt::Write as _;

use serde_json::Value;

use crate::job::flop;
use crate::place::{Place, repository};

/// The row as `plan` takes it.
fn options(run: &Value) -> String {
    let text = |key: &str| run[key].as_str();
    let mut line = format!("--seq-len {} --sequences {}", run["seq_len"], run["sequences"]);
    let mut add = |option: &str, value: &str| write!(line, " {option} {value}").unwrap();
    add("--method", text("method").unwrap());
    if let Some(rank) = run["r"].as_u64() {
        add("--lora-r", &rank.to_string());
    }
    match &run["targets"] {
        Value::String(all) => add("--lora-targets", all),
        Value::Array(names) => add("--lora-targets", &list(names)),
        _ => {}
    }
    match text("modules_to_save") {
        None => {}
        Some("input-embeddings and output head") => add("--modules-to-save", "input-embeddings,output-head"),
        Some(other) => panic!("modules_to_save `{other}` is new in the fixture"),
    }
    if let Some(frozen) = run["frozen"].as_array().filter(|frozen| !frozen.is_empty()) {
        add("--frozen", &list(frozen));
    }
    if let Some(layers) = run["n"].as_u64() {
        add("--train-last", &layers.to_string());
    }
    if let Some(kind) = text("gradient_checkpointing") {
        add("--gradient-checkpointing", kind);
    }
    if run["input_require_grads"] == true {
        add("--input-require-grads", "");
    }
    line
}

fn list(names: &[Value]) -> String {
    names.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(",")
}

/// What differs between the counter's row and ours.
fn differences(place: &Place, config: &str, run: &Value) -> Vec<String> {
    let line = format!("plan --json --config {config} {}", options(run));
    let plan = place.flopsmeter(&line).json();
    let part = |key: &str| flop(&plan["flops"][key]);
    let counted = |key: &str| flop(&run[key]);
    let mut pairs = vec![
        ("forward", counted("forward"), part("forward")),
        ("backward", counted("backward"), part("backward")),
        ("recompute", counted("recompute"), part("recompute")),
        ("training", counted("forward") + counted("backward"), part("training")),
        ("trainable", run["trainable"].as_u64().unwrap().into(), plan["params"]["trainable"].as_u64().unwrap().into()),
    ];
    let terms = |key: &str| plan["terms"].as_array().unwrap().iter().map(|term| flop(&term[key])).sum::<u128>();
    pairs.push(("sum of terms", part("training"), terms("forward") + terms("backward")));
    let differing = pairs.into_iter().filter(|(_, counted, ours)| counted != ours);
    differing.map(|(what, counted, ours)| format!("{line}: {what}: counted {counted}, ours {ours}")).collect()
}

#[test]
fn every_row_is_met_by_the_command() {
    let fixture = fs_err::read_to_string(repository("tests/fixtures/flop_cases.json")).unwrap();
    let fixture: Value = serde_json::from_str(&fixture).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    let place = Place::new();
    // A run of the command is short, so two at a time take half as long.
    let (left, right) = cases.split_at(cases.len() / 2);
    let (mut problems, more) = std::thread::scope(|scope| {
        let other = scope.spawn(|| differences_of(&place, right));
        (differences_of(&place, left), other.join().unwrap())
    });
    problems.extend(more);
    assert!(problems.is_empty(), "{} differences:\n{}", problems.len(), problems.join("\n"));
    let rows: usize = cases.iter().map(|case| case["runs"].as_array().unwrap().len()).sum();
    assert_eq!((cases.len(), rows), (23, 823), "the fixture holds 823 rows of 23 models");
}

fn differences_of(place: &Place, cases: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for case in cases {
        let config = format!("{}.json", case["name"].as_str().unwrap());
        place.write_json(&config, &case["config"]);
        // Models that see were traced with one image in each sequence.
        let images = if case["config"]["vision_config"].is_object() { " --images 1" } else { "" };
        let decoder = case["dec_len"].as_u64().map_or(String::new(), |length| format!(" --decoder-len {length}"));
        for run in case["runs"].as_array().unwrap() {
            problems.extend(differences(place, &format!("{config}{images}{decoder}"), run));
        }
    }
    problems
}

#[test]
fn tokens_and_epochs_scale_a_micro_batch() {
    let place = Place::new();
    place.write_json("config.json", &crate::job::tiny_config());
    let training = |options: &str| {
        let plan = place.flopsmeter(&format!("plan --json --config config.json --seq-len 32 {options}")).json();
        (flop(&plan["flops"]["training"]), plan["tokens"].as_str().unwrap().to_owned())
    };
    let (one, _) = training("");
    let (four, _) = training("--sequences 4");
    assert_eq!(one * 4, four, "sequences of a batch do not see each other");
    // 321 tokens are 11 sequences of 32: two batches of four and one of three, twice.
    assert_eq!(training("--sequences 4 --tokens 321 --epochs 2"), (one * 22, "704".to_owned()));
    assert_eq!(training("--tokens 3.2e1"), (one, "32".to_owned()));
    assert_eq!(training("--tokens 1"), (one, "32".to_owned()));
}
