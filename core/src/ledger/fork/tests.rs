//! Of a fork nothing is lost and nothing counts twice.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::*;
use crate::facts::{Fed, HookFinding, ModelFacts, Passes, Phase, Process, Progress, Trace, TracedStep, TrainingFacts};
use crate::ledger::body::{Hook, RunClosed, RunOpened, SegmentClosed, SegmentOpened};
use crate::ledger::verify;
use crate::run::{Finding, RunSummary};
use crate::tally::{DEVICES_REPLAYED, Tally};
use crate::unit::Flops;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap()
}

fn hook(message: HookMessage) -> Body {
    Body::Hook(Hook { connection: 0, message })
}

fn fed(count: u64) -> Body {
    hook(HookMessage::Fed(Fed { model: 0, passes: vec![Passes::text(Phase::Training, true, 2, 32, count)] }))
}

fn progress(step: u64) -> Body {
    hook(HookMessage::Progress(Progress { step, first_step: 0, max_steps: Some(100) }))
}

fn beginning() -> Vec<Body> {
    let facts = ModelFacts {
        model: 0,
        class_name: "LlamaForCausalLM".to_owned(),
        name_or_path: None,
        config: json!({
            "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
        }),
        parameters_total: 6736,
        parameters_trainable: 1024,
        training: TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() },
        libraries: [].into(),
        inventory: None,
        parallel: None,
    };
    let process = Process { pid: 7, host: "node".to_owned(), rank: 0, local_rank: 0, world_size: 1 };
    vec![
        Body::RunOpened(RunOpened { run: "a".to_owned(), job: Some("4711".to_owned()), ..RunOpened::default() }),
        Body::SegmentOpened(SegmentOpened::default()),
        hook(HookMessage::Hello { protocol: 1, process }),
        hook(HookMessage::Model(Box::new(facts))),
    ]
}

fn end() -> Vec<Body> {
    let closed = SegmentClosed { segment: 0, ended: at(99), exit: None, cpu_time_nanoseconds: 0, left_running: false };
    vec![hook(HookMessage::Goodbye), Body::SegmentClosed(closed), Body::RunClosed(RunClosed {})]
}

/// A second from one to the next.
fn chained(stem: &[Entry], bodies: &[Body]) -> Vec<Entry> {
    let mut all = stem.to_vec();
    for body in bodies {
        let (head, second) = (all.last().map(Entry::head), i64::try_from(all.len()).unwrap());
        all.push(chain::append(head.as_ref(), "run/a", at(second), body.kind(), body.to_text().unwrap()));
    }
    all.split_off(stem.len())
}

fn fork(stem: &[Entry], own: &[Entry]) -> Option<Fork> {
    let mut read = Stem::default();
    for entry in stem {
        read.read(entry.clone());
    }
    read.grow(own)
}

fn summary(entries: &[Entry]) -> RunSummary {
    let mut tally = Tally::new();
    for entry in entries {
        tally.add(entry.at, &Body::read(&entry.kind, &entry.body));
    }
    tally.summary()
}

fn training(entries: &[Entry]) -> u128 {
    summary(entries).flops.map_or(0, |flops| flops.training.0)
}

#[test]
fn both_together_come_to_what_was_done() {
    let stem = chained(&[], &[beginning(), vec![fed(5), progress(5), fed(6), progress(6)]].concat());
    let own = chained(&stem, &[vec![fed(7), progress(7)], end()].concat());
    let whole = [stem.clone(), own.clone()].concat();
    let fork = fork(&stem, &own).unwrap();
    assert_eq!((fork.of.as_str(), fork.sequence), ("a", 8));
    assert_eq!(training(&fork.entries) + training(&stem), training(&whole));
    assert!(training(&fork.entries) > 0 && training(&stem) > 0);
    let report = verify::stream(&run_stream(&fork.run), &fork.entries, &[]);
    assert!(report.is_sound() && report.state == verify::StreamState::Closed, "{report:?}");
    let read = summary(&fork.entries);
    assert_eq!((read.started, read.job.as_deref(), read.complete), (at(7), Some("4711"), true));
    let [finding] = read.findings.as_slice() else { panic!("{:?}", read.findings) };
    assert_eq!(finding.code, "run-forked");
    assert!(finding.text.starts_with("two meters wrote run a at the same time from its entry 8 on"), "{finding:?}");
}

#[test]
fn the_digests_of_a_fork_come_out_of_its_run() {
    let stem = chained(&[], &beginning());
    let own = chained(&stem, &[fed(1), fed(2)]);
    let fork = fork(&stem, &own).unwrap();
    let place = fork.entries.iter().position(|entry| entry.kind == "run-forked").unwrap();
    let Body::RunForked(said) = Body::read("run-forked", &fork.entries[place].body) else { panic!("unread") };
    let mut head = Some(Head { sequence: said.sequence - 1, digest: said.previous });
    let again: Vec<Entry> = fork.entries[place + 1..]
        .iter()
        .map(|entry| {
            let original =
                chain::append(head.as_ref(), run_stream(&said.run), entry.at, entry.kind.as_str(), entry.body.as_str());
            head = Some(original.head());
            original
        })
        .collect();
    assert_eq!((again[0].digest, again), (said.first, own));
}

#[test]
fn a_fork_gives_the_same_run_however_far_it_was_written() {
    let stem = chained(&[], &beginning());
    let own = chained(&stem, &[fed(1), fed(2), fed(3)]);
    let (part, whole) = (fork(&stem, &own[..2]).unwrap(), fork(&stem, &own).unwrap());
    assert_eq!(part.run, whole.run);
    assert_eq!(part.entries, whole.entries[..part.entries.len()]);
    assert_ne!(fork(&stem, &chained(&stem, &[fed(2)])).unwrap().run, whole.run);
    assert!(uuid_of_version_8(&whole.run) && is_fork(&whole.run), "{}", whole.run);
    assert!(!is_fork("a") && !is_fork("019aa6f3-8888-7888-8888-888888888888"));
}

fn uuid_of_version_8(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.as_bytes()[14] == b'8' && b"89ab".contains(&text.as_bytes()[19])
}

#[test]
fn what_was_over_before_the_fork_is_not_repeated() {
    let ended = chained(&[], &[beginning(), vec![fed(5)], end()].concat());
    let second = SegmentOpened { segment: 1, ..SegmentOpened::default() };
    let own = chained(&ended, &[vec![Body::SegmentOpened(second)], beginning()[2..].to_vec(), vec![fed(1)]].concat());
    let fork = fork(&ended, &own).unwrap();
    let kinds: Vec<&str> = fork.entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["run-opened", "run-forked", "segment-opened", "hook", "hook", "hook"]);
    assert_eq!(training(&fork.entries) * 5, training(&ended));
}

#[test]
fn a_run_of_two_beginnings_keeps_its_own() {
    let own = chained(&[], &[beginning(), vec![fed(5)]].concat());
    let fork = fork(&[], &own).unwrap();
    assert!(verify::stream(&run_stream(&fork.run), &fork.entries, &[]).is_sound());
    assert_eq!((fork.sequence, fork.entries.len()), (0, own.len() + 1));
    assert_eq!(training(&fork.entries), training(&own));
}

#[test]
fn what_continues_something_else_is_no_fork() {
    let stem = chained(&[], &beginning());
    let own = chained(&stem, &[fed(1), fed(2)]);
    assert_eq!(fork(&stem, &own[1..]), None);
    assert_eq!(fork(&stem[..3], &own), None);
    assert_eq!(fork(&stem, &[]), None);
}

#[test]
fn a_change_of_a_fork_is_found() {
    let own = chained(&[], &[beginning(), vec![fed(1), fed(2)]].concat());
    assert_eq!(first_flaw(&own), None);
    let mut edited = own.clone();
    edited[4].body.push(' ');
    assert_eq!(first_flaw(&edited), Some(4));
    let removed = [&own[..2], &own[3..]].concat();
    assert_eq!(first_flaw(&removed), Some(3));
}

#[test]
fn what_a_stem_could_not_prove_its_fork_cannot_either() {
    let found = |code: &str| Finding { code: code.to_owned(), text: "t".to_owned() };
    let traced = Trace::Counted {
        pass: Passes::text(Phase::Training, true, 2, 32, 1),
        forward: Flops(1 << 80),
        backward: Flops(1 << 80),
        unseen: Vec::new(),
    };
    let said = [
        (Body::Finding(found(DEVICES_REPLAYED)), DEVICES_REPLAYED, true),
        (
            hook(HookMessage::Finding(HookFinding { code: "model-unseen".to_owned(), text: "t".to_owned() })),
            "model-unseen",
            false,
        ),
        (hook(HookMessage::Traced(Box::new(TracedStep { model: 0, trace: traced }))), "traced-step-differs", false),
    ];
    for (body, code, complete) in said {
        let stem = chained(&[], &[beginning(), vec![body, fed(5)]].concat());
        let own = chained(&stem, &[vec![fed(7)], end()].concat());
        let whole = summary(&[stem.clone(), own.clone()].concat());
        let read = summary(&fork(&stem, &own).unwrap().entries);
        assert!(read.findings.iter().any(|finding| finding.code == code), "{code}: {:?}", read.findings);
        assert_eq!((read.complete, whole.complete), (complete, complete), "{code}");
        assert_eq!(read.ceiling.complete, whole.ceiling.complete, "{code}");
    }
}

#[test]
fn what_was_found_in_an_earlier_segment_stays_there() {
    let finding = Body::Finding(Finding { code: DEVICES_REPLAYED.to_owned(), text: "t".to_owned() });
    let stem = chained(&[], &[beginning(), vec![finding, fed(5)], end()].concat());
    let second = SegmentOpened { segment: 1, ..SegmentOpened::default() };
    let own = chained(&stem, &[vec![Body::SegmentOpened(second)], beginning()[2..].to_vec(), vec![fed(1)]].concat());
    let kinds = fork(&stem, &own).unwrap().entries;
    assert!(kinds.iter().all(|entry| entry.kind != "finding"), "{kinds:?}");
}
