//! Runs that begin, go on and end beside this one.

use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use flopsmeter_core::ledger::body::{
    BaseBound, ModificationCreated, Reserved, RunAssigned, RunClosed, RunOpened, SegmentClosed, SegmentOpened,
};
use flopsmeter_core::ledger::{Body, modification_stream, run_stream};
use flopsmeter_core::lineage::BaseReference;
use flopsmeter_core::run::RunState;

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn append(ledger: &mut Ledger, stream: &str, body: &Body) {
    ledger.append(stream, at(), body.kind(), &body.to_text().unwrap()).unwrap();
}

fn begin(ledger: &mut Ledger, run: &str) {
    begin_of(ledger, "demo", run);
}

fn begin_of(ledger: &mut Ledger, slug: &str, run: &str) {
    let opened = RunOpened { run: run.to_owned(), ..RunOpened::default() };
    append(ledger, &run_stream(run), &Body::RunOpened(opened));
    append(ledger, &run_stream(run), &Body::SegmentOpened(SegmentOpened::default()));
    append(ledger, &modification_stream(slug), &Body::RunAssigned(RunAssigned { run: run.to_owned() }));
}

fn create(ledger: &mut Ledger, slug: &str, base: Option<BaseReference>) {
    let created = ModificationCreated { slug: slug.to_owned(), base };
    append(ledger, &modification_stream(slug), &Body::ModificationCreated(created));
}

fn made(slug: &str) -> BaseReference {
    BaseReference::Modification { slug: slug.to_owned() }
}

fn watched(ledger: &Path, slug: &str) -> Watched {
    let (ledger, run) = (ledger.to_owned(), "own".to_owned());
    let modification = Modification { slug: slug.to_owned(), ..Modification::default() };
    let rules = RuleSet::in_force(NaiveDate::from_ymd_opt(2026, 11, 21).unwrap()).unwrap();
    Watched { ledger, run, job: None, modification, rules, registry: Registry::embedded().unwrap() }
}

fn end(ledger: &mut Ledger, run: &str) {
    let closed = SegmentClosed { segment: 0, ended: at(), exit: None, cpu_time_nanoseconds: 0, left_running: false };
    append(ledger, &run_stream(run), &Body::SegmentClosed(closed));
    append(ledger, &run_stream(run), &Body::RunClosed(RunClosed {}));
}

fn states(reader: &mut Reader, in_full: bool) -> Vec<(String, RunState)> {
    let reading = reader.read(in_full, clock::monotonic()).unwrap();
    reading.own.runs.into_iter().map(|run| (run.run, run.state)).collect()
}

#[test]
fn what_is_new_is_read_and_what_has_ended_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    create(&mut ledger, "demo", None);
    let mut reader = Reader::new(watched(&path, "demo"));
    begin(&mut ledger, "own");
    assert_eq!(states(&mut reader, true), []);
    assert!(reader.ledger.is_none(), "nobody goes on, and nothing is kept open");

    begin(&mut ledger, "a");
    assert_eq!(states(&mut reader, false), [("a".to_owned(), RunState::Open)]);
    assert!(reader.ledger.is_some());
    end(&mut ledger, "a");
    assert_eq!(states(&mut reader, false), [("a".to_owned(), RunState::Closed)]);
    assert!(reader.ledger.is_none() && reader.own.known["a"].reader.is_none());

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
    let mut reader = Reader::new(watched(&path, "demo"));
    assert!(reader.read(true, clock::monotonic()).is_err());
    drop(Ledger::open(&path).unwrap());
    assert_eq!(states(&mut reader, true), []);
}

#[test]
fn readings_are_made_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    let siblings = Siblings::watch(watched(&path, "demo")).unwrap();
    let next = || siblings.readings.recv_timeout(PERIOD / 2).unwrap().own.runs.len();
    assert_eq!(next(), 0);
    create(&mut ledger, "demo", None);
    begin(&mut ledger, "a");
    siblings.wake();
    assert_eq!(next(), 1);
}

/// `demo` made from `b`, and that from `a`.
fn chain(ledger: &mut Ledger) {
    create(ledger, "a", None);
    create(ledger, "b", Some(made("a")));
    create(ledger, "demo", Some(made("b")));
}

#[test]
fn what_is_behind_is_followed_and_traced_where_it_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    chain(&mut ledger);
    let mut reader = Reader::new(watched(&path, "demo"));
    let first = reader.read(true, clock::monotonic()).unwrap();
    assert_eq!(first.behind.keys().collect::<Vec<_>>(), ["a", "b"]);
    let complete = |reading: &Reading| reading.ancestry.as_ref().unwrap().is_complete();
    assert!(!reader.is_stale && reader.ledger.is_none());

    begin_of(&mut ledger, "a", "far");
    let reserved = Reserved { reservation: "x".to_owned(), ..Reserved::default() };
    append(&mut ledger, &modification_stream("b"), &Body::Reserved(reserved));
    let second = reader.read(false, clock::monotonic()).unwrap();
    assert_eq!((second.behind["a"].runs.len(), second.behind["b"].reservations.len()), (1, 1));
    assert!(!complete(&second) && reader.ledger.is_some(), "a run goes on two models behind");
    assert_eq!(second.own.runs, [], "none of them is a run of the modification itself");
}

#[test]
fn a_base_that_is_bound_while_a_run_goes_on_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    create(&mut ledger, "a", None);
    create(&mut ledger, "demo", None);
    let mut reader = Reader::new(watched(&path, "demo"));
    let first = reader.read(true, clock::monotonic()).unwrap();
    assert!(first.behind.is_empty() && first.ancestry.is_none());
    append(&mut ledger, &modification_stream("demo"), &Body::BaseBound(BaseBound { base: made("a") }));
    let second = reader.read(false, clock::monotonic()).unwrap();
    assert_eq!(second.ancestry.unwrap().stages().count(), 1);
}

#[test]
fn a_circle_leaves_the_other_runs_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    create(&mut ledger, "demo", Some(made("a")));
    create(&mut ledger, "a", Some(made("demo")));
    begin(&mut ledger, "r");
    let mut reader = Reader::new(watched(&path, "demo"));
    let reading = reader.read(true, clock::monotonic()).unwrap();
    assert_eq!((reading.own.runs.len(), reading.ancestry), (1, None));
}

#[test]
fn who_is_alone_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    create(&mut ledger, "base", None);
    create(&mut ledger, "demo", None);
    begin(&mut ledger, "own");
    let is_alone = |slug: &str| Reader::new(watched(&path, slug)).read(true, clock::monotonic()).unwrap().is_alone();
    assert!(is_alone("demo"));
    let reserved = Body::Reserved(Reserved { reservation: "x".to_owned(), ..Reserved::default() });
    append(&mut ledger, &modification_stream("base"), &reserved);
    assert!(!is_alone("base"), "what is set aside runs out");
    begin(&mut ledger, "a");
    assert!(!is_alone("demo"));
    end(&mut ledger, "a");
    assert!(!is_alone("demo"), "it may go on");
    create(&mut ledger, "child", Some(made("base")));
    assert!(!is_alone("child"));
}
