use std::io::{Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use flopsmeter_core::facts::{Passes, Phase, TrainingFacts};
use tempfile::TempDir;

use super::*;
use crate::hook::frame::{FrameReader, encode};

struct Meter {
    _folder: TempDir,
    path: PathBuf,
    listener: UnixListener,
}

impl Meter {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hook.sock");
        let listener = UnixListener::bind(&path).unwrap();
        Self { _folder: folder, path, listener }
    }

    fn connect(&self) -> (HookClient, UnixStream) {
        let client = HookClient::connect(&self.path, process()).unwrap();
        (client, self.listener.accept().unwrap().0)
    }
}

fn process() -> Process {
    Process { pid: std::process::id(), host: "here".to_owned(), rank: 0, local_rank: 0, world_size: 1 }
}

fn facts(padding: usize) -> ModelFacts {
    ModelFacts {
        model: 0,
        class_name: "LlamaForCausalLM".to_owned(),
        name_or_path: None,
        config: serde_json::json!({ "model_type": "llama", "rms_norm_eps": 1e-6, "padding": "x".repeat(padding) }),
        parameters_total: 10,
        parameters_trainable: 2,
        training: TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() },
        libraries: std::collections::BTreeMap::new(),
        inventory: None,
        parallel: None,
    }
}

fn pass(length: u64) -> Passes {
    row(length, 1)
}

fn row(length: u64, count: u64) -> Passes {
    Passes { real_tokens: Some(length * count), ..Passes::text(Phase::Training, true, 4, length, count) }
}

fn read_all(mut stream: UnixStream) -> JoinHandle<Vec<HookMessage>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let mut reader = FrameReader::default();
        reader.push(&bytes);
        let mut messages = Vec::new();
        while let Some(message) = reader.next_message().unwrap() {
            messages.push(message);
        }
        assert!(!reader.is_cut());
        messages
    })
}

#[test]
fn what_was_recorded_arrives_in_order_and_as_differences() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    let reading = read_all(stream);
    client.describe(facts(0));
    client.record(0, pass(8));
    client.record(0, pass(8));
    client.progress(Progress { step: 1, first_step: 0, max_steps: Some(2) });
    client.flush();
    client.record(0, pass(8));
    client.describe(facts(1));
    client.record(0, pass(16));
    client.close(Duration::from_secs(2));
    drop(client);
    let expected = [
        HookMessage::Hello { protocol: PROTOCOL, process: process() },
        HookMessage::Model(Box::new(facts(0))),
        HookMessage::Fed(Fed { model: 0, passes: vec![row(8, 2)] }),
        HookMessage::Progress(Progress { step: 1, first_step: 0, max_steps: Some(2) }),
        HookMessage::Fed(Fed { model: 0, passes: vec![row(8, 1)] }),
        HookMessage::Model(Box::new(facts(1))),
        HookMessage::Fed(Fed { model: 0, passes: vec![row(16, 1)] }),
        HookMessage::Goodbye,
    ];
    assert_eq!(reading.join().unwrap(), expected);
}

#[test]
fn a_meter_that_does_not_read_delays_nothing_and_loses_nothing() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    client.describe(facts(4 << 20));
    for _ in 0..1000 {
        client.record(0, pass(8));
        client.flush();
    }
    assert!(client.is_open());
    let reading = read_all(stream);
    client.close(Duration::from_secs(10));
    assert_eq!(client.take_loss(), None);
    drop(client);
    let fed: u64 = reading
        .join()
        .unwrap()
        .iter()
        .map(|message| match message {
            HookMessage::Fed(fed) => fed.passes.iter().map(|row| row.count).sum(),
            _ => 0,
        })
        .sum();
    assert_eq!(fed, 1000);
}

#[test]
fn waiting_for_a_meter_that_does_not_read_ends() {
    let meter = Meter::new();
    let (mut client, _stream) = meter.connect();
    client.describe(facts(4 << 20));
    client.close(Duration::from_millis(20));
    assert!(!client.is_open());
    assert!(client.take_loss().unwrap().contains("in time"));
}

#[test]
fn descriptions_that_nobody_reads_are_bounded() {
    let meter = Meter::new();
    let (mut client, _stream) = meter.connect();
    for _ in 0..20 {
        client.describe(facts(4 << 20));
    }
    assert!(client.take_loss().unwrap().contains("has not read"));
}

#[test]
fn a_dead_meter_is_told_once_and_ignored_from_then_on() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    drop(stream);
    client.record(0, pass(8));
    client.flush();
    client.record(0, pass(8));
    client.flush();
    assert!(!client.is_open());
    assert!(client.take_loss().is_some());
    assert_eq!(client.take_loss(), None);
    client.close(Duration::from_secs(2));
}

#[test]
fn a_forked_child_sends_nothing() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    let reading = read_all(stream);
    // What a fork leaves in the child: the same memory under another process id.
    client.pid = client.pid.wrapping_add(1);
    client.describe(facts(0));
    client.record(0, pass(8));
    client.flush();
    client.close(Duration::from_secs(2));
    drop(client);
    assert_eq!(reading.join().unwrap(), [HookMessage::Hello { protocol: PROTOCOL, process: process() }]);
}

#[test]
fn an_abandoned_connection_ends_without_goodbye() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    let reading = read_all(stream);
    client.record(0, pass(8));
    client.abandon();
    assert_eq!(reading.join().unwrap(), [HookMessage::Hello { protocol: PROTOCOL, process: process() }]);
    assert_eq!(client.take_loss(), None);
}

#[test]
fn a_finding_is_told_once() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    let reading = read_all(stream);
    for text in ["first", "second"] {
        client.find(HookFinding { code: "unknown-input".to_owned(), text: text.to_owned() });
        client.flush();
    }
    client.close(Duration::from_secs(2));
    drop(client);
    let told = reading.join().unwrap().iter().filter(|message| matches!(message, HookMessage::Finding(_))).count();
    assert_eq!(told, 1);
}

#[test]
fn flushes_keep_their_distance() {
    let meter = Meter::new();
    let (mut client, stream) = meter.connect();
    let reading = read_all(stream);
    client.record(0, pass(8));
    client.flush_if_due();
    client.record(0, pass(8));
    client.flushed = Some(clock::now() + Duration::from_hours(1));
    client.flush_if_due();
    client.record(0, pass(8));
    client.flushed = None;
    client.flush_if_due();
    client.close(Duration::from_secs(2));
    drop(client);
    let counts: Vec<u64> = reading
        .join()
        .unwrap()
        .iter()
        .filter_map(|message| match message {
            HookMessage::Fed(fed) => Some(fed.passes.iter().map(|row| row.count).sum()),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn a_meter_that_is_not_there_is_an_error() {
    assert!(HookClient::connect(Path::new("/nonexistent/hook.sock"), process()).is_err());
}

#[test]
fn the_meters_word_is_taken_when_it_is_asked_for() {
    let meter = Meter::new();
    let (mut client, mut stream) = meter.connect();
    assert!(!client.should_stop(5));
    let word = encode(&MeterMessage::Stop { after_step: 7 }).unwrap();
    let (one, other) = word.split_at(6);
    stream.write_all(one).unwrap();
    assert!(!client.should_stop(7));
    stream.write_all(other).unwrap();
    assert!(!client.should_stop(6));
    assert!(client.should_stop(7));
    drop(stream);
    assert!(client.should_stop(7), "what was said holds");
}

#[test]
fn a_rank_that_hears_too_late_goes_on_until_a_later_step() {
    let meter = Meter::new();
    let of_two = Process { world_size: 2, ..process() };
    let mut client = HookClient::connect(&meter.path, of_two).unwrap();
    let mut stream = meter.listener.accept().unwrap().0;
    stream.write_all(&encode(&MeterMessage::Stop { after_step: 7 }).unwrap()).unwrap();
    assert!(!client.should_stop(8), "the other has stopped, or will be told as well");
    assert!(!client.should_stop(9));
    assert_eq!(client.findings.last().unwrap().code, "gate-heard-late");
    stream.write_all(&encode(&MeterMessage::Stop { after_step: 12 }).unwrap()).unwrap();
    assert!(!client.should_stop(10));
    assert!(client.should_stop(12));
}

#[test]
fn one_alone_is_never_too_late() {
    let meter = Meter::new();
    let (mut client, mut stream) = meter.connect();
    stream.write_all(&encode(&MeterMessage::Stop { after_step: 7 }).unwrap()).unwrap();
    assert!(client.should_stop(10));
}

#[test]
fn a_word_that_is_not_understood_changes_nothing() {
    let meter = Meter::new();
    let (mut client, mut stream) = meter.connect();
    stream.write_all(&encode(&serde_json::json!({ "message": "sing" })).unwrap()).unwrap();
    assert!(!client.should_stop(u64::MAX));
    client.record(0, pass(5));
    client.flush();
    assert!(client.is_open());
}
