//! Runs that begin, go on and end beside this one.

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{
    ModificationCreated, RunAssigned, RunClosed, RunOpened, SegmentClosed, SegmentOpened,
};

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn append(ledger: &mut Ledger, stream: &str, body: &Body) {
    ledger.append(stream, at(), body.kind(), &body.to_text().unwrap()).unwrap();
}

fn begin(ledger: &mut Ledger, run: &str) {
    let opened = RunOpened { run: run.to_owned(), ..RunOpened::default() };
    append(ledger, &run_stream(run), &Body::RunOpened(opened));
    append(ledger, &run_stream(run), &Body::SegmentOpened(SegmentOpened::default()));
    append(ledger, &modification_stream("demo"), &Body::RunAssigned(RunAssigned { run: run.to_owned() }));
}

fn end(ledger: &mut Ledger, run: &str) {
    let closed = SegmentClosed { segment: 0, ended: at(), exit: None, cpu_time_nanoseconds: 0, left_running: false };
    append(ledger, &run_stream(run), &Body::SegmentClosed(closed));
    append(ledger, &run_stream(run), &Body::RunClosed(RunClosed {}));
}

fn states(reader: &mut Reader, in_full: bool) -> Vec<(String, RunState)> {
    let (runs, _) = reader.read(in_full).unwrap();
    runs.into_iter().map(|run| (run.run, run.state)).collect()
}

#[test]
fn what_is_new_is_read_and_what_has_ended_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    let created = ModificationCreated { slug: "demo".to_owned(), base: None };
    append(&mut ledger, &modification_stream("demo"), &Body::ModificationCreated(created));
    let mut reader = Reader::new(path, "demo".to_owned(), "own".to_owned());
    begin(&mut ledger, "own");
    assert_eq!(states(&mut reader, true), []);
    assert!(reader.ledger.is_none(), "nobody goes on, and nothing is kept open");

    begin(&mut ledger, "a");
    assert_eq!(states(&mut reader, false), [("a".to_owned(), RunState::Open)]);
    assert!(reader.ledger.is_some());
    end(&mut ledger, "a");
    assert_eq!(states(&mut reader, false), [("a".to_owned(), RunState::Closed)]);
    assert!(reader.ledger.is_none() && reader.known["a"].reader.is_none());

    // It goes on after its end, which is seen when everything is looked at.
    append(
        &mut ledger,
        &run_stream("a"),
        &Body::SegmentOpened(SegmentOpened { segment: 1, ..SegmentOpened::default() }),
    );
    assert_eq!(states(&mut reader, false), [("a".to_owned(), RunState::Closed)]);
    assert_eq!(states(&mut reader, true), [("a".to_owned(), RunState::Open)]);
}

#[test]
fn a_ledger_that_cannot_be_read_for_a_while_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut reader = Reader::new(path.clone(), "demo".to_owned(), "own".to_owned());
    assert!(reader.read(true).is_err());
    drop(Ledger::open(&path).unwrap());
    assert_eq!(states(&mut reader, true), []);
}

#[test]
fn readings_are_made_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    let siblings = Siblings::watch(&path, "demo", "own").unwrap();
    let next = || siblings.readings.recv_timeout(PERIOD / 2).unwrap().runs.len();
    assert_eq!(next(), 0);
    let created = ModificationCreated { slug: "demo".to_owned(), base: None };
    append(&mut ledger, &modification_stream("demo"), &Body::ModificationCreated(created));
    begin(&mut ledger, "a");
    siblings.wake();
    assert_eq!(next(), 1);
}
