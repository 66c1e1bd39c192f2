//! What it takes to assess 10,000 runs: 100 modifications of 100 runs each, on one base model.
//!
//! `assess` judges summaries that are in memory, each modification by itself; the design's target is one second for all of them.
//! `read and assess` reads every entry of every run back from the ledger before, as `flopsmeter status` does when it sees them first:
//! small runs, of some forty entries each. `find and assess` finds what it kept of them then, as it does ever after.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use flopsmeter_core::assess::{Answers, Assessment};
use flopsmeter_core::facts::{Fed, HookMessage, ModelFacts, Passes, Phase, Process};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::{
    Hook, ModificationCreated, RunAssigned, RunClosed, RunOpened, Samples, SegmentClosed, SegmentOpened,
};
use flopsmeter_core::ledger::{Body, Entry, chain, modification_stream, run_stream};
use flopsmeter_core::registry::{Base, DeclaredBase};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{Exit, RunSummary};
use flopsmeter_core::sample::{Reading, Sample};
use flopsmeter_meter::budget::Account;
use flopsmeter_meter::records::kept::Kept;
use flopsmeter_meter::store::Ledger;

const MODIFICATIONS: usize = 100;
const RUNS_OF_EACH: usize = 100;

/// Messages of a hook and samples of a device, in each run.
const ENTRIES_OF_EACH_KIND: u32 = 16;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_790_000_000_000_000).unwrap()
}

fn slug(number: usize) -> String {
    format!("modification-{number:03}")
}

fn judge() -> Judge {
    let text = "name = \"acme/base\"\nflop = \"1e21\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-09-01\"\ngpai = true\n";
    Judge {
        base: Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap()))),
        rules: RuleSet::in_force(at().date_naive()).unwrap(),
        as_of: at().date_naive(),
        answers: Answers::default(),
        ancestry: None,
    }
}

/// LoRA on a small model, as a hook tells of it.
fn model() -> Box<ModelFacts> {
    serde_json::from_value(serde_json::json!({
        "model": 0,
        "class_name": "LlamaForCausalLM",
        "name_or_path": null,
        "config": {
            "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": false
        },
        "parameters_total": 117_056,
        "parameters_trainable": 2_048,
        "training": {
            "trained": [], "copied": [], "gradient_checkpointing": null, "input_require_grads": false,
            "attention_implementation": "eager",
            "adapters": [
                { "module": "model.layers.0.self_attn.q_proj", "rank": 8, "kind": "lora", "trained": true },
                { "module": "model.layers.1.self_attn.q_proj", "rank": 8, "kind": "lora", "trained": true }
            ]
        },
        "libraries": { "torch": "2.9.0" }
    }))
    .unwrap()
}

fn bodies(run: &str) -> Vec<Body> {
    let process = Process { pid: 7, host: "node".to_owned(), rank: 0, local_rank: 0, world_size: 1 };
    let hook = |message| Body::Hook(Hook { connection: 0, message });
    let mut bodies = vec![
        Body::RunOpened(RunOpened { run: run.to_owned(), command: vec!["train".to_owned()], ..RunOpened::default() }),
        Body::SegmentOpened(SegmentOpened::default()),
        hook(HookMessage::Hello { protocol: 1, process }),
        hook(HookMessage::Model(model())),
    ];
    for second in 0..ENTRIES_OF_EACH_KIND {
        bodies.push(hook(HookMessage::Fed(Fed {
            model: 0,
            passes: vec![Passes::text(Phase::Training, true, 4, 512, 10)],
        })));
        let sample = Sample {
            device: "cpu:node".to_owned(),
            started: at() + TimeDelta::seconds(second.into()),
            duration_nanoseconds: 1_000_000_000,
            reading: Reading::Missing { reason: "none".to_owned() },
        };
        bodies.push(Body::Samples(Samples { samples: vec![sample] }));
    }
    bodies.push(hook(HookMessage::Goodbye));
    let closed = SegmentClosed {
        segment: 0,
        ended: at() + TimeDelta::seconds(ENTRIES_OF_EACH_KIND.into()),
        exit: Some(Exit::Code(0)),
        cpu_time_nanoseconds: 1,
        left_running: false,
    };
    bodies.extend([Body::SegmentClosed(closed), Body::RunClosed(RunClosed {})]);
    bodies
}

fn chained(stream: &str, bodies: &[Body]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for body in bodies {
        let head = entries.last().map(Entry::head);
        entries.push(chain::append(head.as_ref(), stream, at(), body.kind(), body.to_text().unwrap()));
    }
    entries
}

fn fill(path: &Path) {
    let mut ledger = Ledger::open(path).unwrap();
    for modification in 0..MODIFICATIONS {
        let slug = slug(modification);
        let mut own = vec![Body::ModificationCreated(ModificationCreated { slug: slug.clone(), base: None })];
        let mut entries = Vec::new();
        for number in 0..RUNS_OF_EACH {
            let run = format!("{modification:03}-{number:03}");
            entries.extend(chained(&run_stream(&run), &bodies(&run)));
            own.push(Body::RunAssigned(RunAssigned { run }));
        }
        entries.extend(chained(&modification_stream(&slug), &own));
        ledger.write(&entries).unwrap();
    }
}

fn assess(judge: &Judge, runs: &[RunSummary]) -> Assessment {
    let assessment = judge.assess(runs, Vec::new());
    assert!(assessment.training_compute.is_some(), "{:?}", assessment.missing);
    assessment
}

fn portfolio(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    fill(&path);
    let judge = judge();
    let ledger = Ledger::open_to_read(&path).unwrap();
    let kept = Kept::open(&folder.path().join("kept.sqlite"), "this");
    let keeping = Ledger::open_to_read(&path).unwrap().keeping(kept);
    let runs = |ledger: &Ledger, modification: usize| Account::read(ledger, &slug(modification)).unwrap().runs;
    let (read, find) = (|modification| runs(&ledger, modification), |modification| runs(&keeping, modification));
    let all: Vec<Vec<RunSummary>> = (0..MODIFICATIONS).map(find).collect();
    let mut group = criterion.benchmark_group("portfolio of 10,000 runs");
    group.sample_size(10);
    group.bench_function("assess", |bencher| {
        bencher.iter(|| all.iter().map(|runs| assess(&judge, black_box(runs))).collect::<Vec<_>>());
    });
    group.bench_function("read and assess", |bencher| {
        bencher.iter(|| (0..MODIFICATIONS).map(|number| assess(&judge, &read(number))).collect::<Vec<_>>());
    });
    group.bench_function("find and assess", |bencher| {
        bencher.iter(|| (0..MODIFICATIONS).map(|number| assess(&judge, &find(number))).collect::<Vec<_>>());
    });
    group.finish();
}

criterion_group!(benches, portfolio);
criterion_main!(benches);
