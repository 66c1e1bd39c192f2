//! The ledger and its spool: what is written is there, and nothing that goes wrong loses it or stops the run.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::body::{DevicesSeen, HookLost, RunAssigned, RunClosed, RunOpened};
use flopsmeter_core::ledger::verify::{self, StreamState};
use flopsmeter_core::ledger::{Body, Entry, chain, run_stream};
use flopsmeter_core::run::Finding;
use flopsmeter_meter::store::recorder::{self, Place};
use flopsmeter_meter::store::{Ledger, RunRecorder, StoreProblem, merge, spool};
use rusqlite::Connection;
use tempfile::TempDir;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_750_000_000_000_000).unwrap()
}

fn opened(run: &str) -> Body {
    Body::RunOpened(RunOpened { run: run.to_owned(), ..RunOpened::default() })
}

fn lost(connection: u32) -> Body {
    Body::HookLost(HookLost { connection, reason: "r".to_owned() })
}

fn chained(stream: &str, count: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for number in 0..count {
        let kind = if number == 0 { "run-opened" } else { "hook" };
        let head = entries.last().map(Entry::head);
        entries.push(chain::append(head.as_ref(), stream, at(), kind, format!("{{\"n\":{number}}}")));
    }
    entries
}

struct Somewhere {
    folder: TempDir,
}

impl Somewhere {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("state/flopsmeter/ledger.sqlite")
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn recorder(&self, run: &str) -> RunRecorder {
        RunRecorder::begin(Ledger::open(&self.ledger()), &self.ledger(), run, vec![self.spool()], at())
    }

    fn entries(&self, run: &str) -> Vec<Entry> {
        Ledger::open_to_read(&self.ledger()).unwrap().entries(&run_stream(run)).unwrap()
    }
}

fn assert_sound(run: &str, entries: &[Entry]) {
    let report = verify::stream(&run_stream(run), entries, &[]);
    assert!(report.is_sound(), "{:?}", report.problems);
}

#[test]
fn entries_come_back_as_they_were_written() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    let entries = chained("run/a", 20);
    assert_eq!(ledger.write(&entries).unwrap(), 20);
    drop(ledger);
    assert_eq!(place.entries("a"), entries);
    let ledger = Ledger::open_to_read(&place.ledger()).unwrap();
    assert_eq!(ledger.head("run/a").unwrap(), entries.last().map(Entry::head));
    assert_eq!(ledger.head("run/b").unwrap(), None);
}

#[test]
fn writing_twice_does_no_harm() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    let entries = chained("run/a", 9);
    ledger.write(&entries[..5]).unwrap();
    assert_eq!(ledger.write(&entries).unwrap(), 4);
    assert_eq!(ledger.write(&entries).unwrap(), 0);
    assert_eq!(ledger.entries("run/a").unwrap(), entries);
}

#[test]
fn entries_of_another_writer_are_refused_as_a_whole() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    let entries = chained("run/a", 4);
    ledger.write(&entries[..2]).unwrap();

    let mut other = entries[..2].to_vec();
    other.push(chain::append(Some(&entries[0].head()), "run/a", at(), "hook", "{}"));
    let fresh = chained("run/b", 1);
    for wrong in [[&fresh[..], &entries[3..]].concat(), [&fresh[..], &other[2..]].concat()] {
        assert!(matches!(ledger.write(&wrong), Err(StoreProblem::Conflict { stream, .. }) if stream == "run/a"));
    }
    assert_eq!(ledger.entries("run/a").unwrap(), entries[..2]);
    assert_eq!(ledger.streams("").unwrap(), ["run/a"], "part of a refused write remained");
}

#[test]
fn streams_are_listed_by_prefix() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    assert_eq!(ledger.streams("").unwrap(), [""; 0]);
    for stream in ["run/b", "run/a", "modification/m", "run/ab", "zebra"] {
        ledger.append(stream, at(), "k", "{}").unwrap();
        ledger.append(stream, at(), "k", "{}").unwrap();
    }
    assert_eq!(ledger.streams("run/").unwrap(), ["run/a", "run/ab", "run/b"]);
    assert_eq!(ledger.streams("run/a").unwrap(), ["run/a", "run/ab"]);
    assert_eq!(ledger.streams("nothing").unwrap(), [""; 0]);
}

#[test]
fn runs_are_found_by_the_beginning_of_their_id() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    for run in ["0191-aa", "0191-ab", "0192", "01929"] {
        ledger.append(&run_stream(run), at(), "run-opened", "{}").unwrap();
    }
    assert_eq!(ledger.resolve_run("0191-ab").unwrap(), "0191-ab");
    assert_eq!(ledger.resolve_run("0192").unwrap(), "0192", "a whole id wins over longer ones");
    assert!(matches!(ledger.resolve_run("0193"), Err(StoreProblem::UnknownRun { .. })));
    let problem = ledger.resolve_run("0191").unwrap_err();
    assert_eq!(problem.to_string(), "`0191` is the beginning of 2 runs (0191-aa, 0191-ab): give more of its id");
}

#[test]
fn several_writers_of_one_stream_form_one_chain() {
    let place = Somewhere::new();
    let path = place.ledger();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut ledger = Ledger::open_patiently(&path, Duration::from_mins(1)).unwrap();
                for _ in 0..25 {
                    let body = Body::RunAssigned(RunAssigned { run: writer.to_string() });
                    ledger.append("modification/m", at(), body.kind(), &body.to_text().unwrap()).unwrap();
                }
                ledger.append_first("modification/once", at(), "modification-created", "{}").unwrap().is_some()
            })
        })
        .collect();
    let firsts = writers.into_iter().map(|writer| writer.join().unwrap()).filter(|first| *first).count();
    assert_eq!(firsts, 1);
    let entries = Ledger::open_to_read(&path).unwrap().entries("modification/m").unwrap();
    let report = verify::stream("modification/m", &entries, &[]);
    assert!(report.is_sound() && report.entries == 100, "{report:?}");
}

#[test]
fn a_ledger_that_is_being_made_is_read_and_written_by_others_at_once() {
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger.sqlite");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| Ledger::open(&path).unwrap().append("s", at(), "kind", "{}").unwrap());
                scope.spawn(|| {
                    while !path.exists() {
                        std::thread::yield_now();
                    }
                    Ledger::open_to_read(&path).unwrap()
                });
            }
        });
        assert_eq!(Ledger::open_to_read(&path).unwrap().entries("s").unwrap().len(), 3);
    }
}

#[test]
fn the_file_refuses_changes() {
    let place = Somewhere::new();
    Ledger::open(&place.ledger()).unwrap().write(&chained("run/a", 3)).unwrap();
    let raw = Connection::open(place.ledger()).unwrap();
    for change in ["UPDATE entry SET body = '{}'", "DELETE FROM entry WHERE sequence = 2"] {
        assert!(raw.execute(change, []).unwrap_err().to_string().contains("append-only"));
    }
}

#[test]
fn a_change_made_all_the_same_is_found() {
    let place = Somewhere::new();
    Ledger::open(&place.ledger()).unwrap().write(&chained("run/a", 3)).unwrap();
    let raw = Connection::open(place.ledger()).unwrap();
    raw.execute_batch("DROP TRIGGER entry_is_not_updated; UPDATE entry SET body = '{}' WHERE sequence = 1").unwrap();
    let report = verify::stream("run/a", &place.entries("a"), &[]);
    assert_eq!(report.problems, [verify::Problem::Edited { sequence: 1 }]);
}

fn open_problem(path: &Path) -> StoreProblem {
    Ledger::open_patiently(path, Duration::ZERO).unwrap_err()
}

#[test]
fn what_is_no_ledger_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    fs_err::write(path("text"), "this is no database, however long it may be ".repeat(40)).unwrap();
    assert!(matches!(open_problem(&path("text")), StoreProblem::NotALedger { .. }));

    Connection::open(path("other")).unwrap().execute_batch("CREATE TABLE photo (id)").unwrap();
    assert!(matches!(open_problem(&path("other")), StoreProblem::NotALedger { .. }));

    drop(Ledger::open(&path("newer")).unwrap());
    Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert!(matches!(open_problem(&path("newer")), StoreProblem::Newer { found: 7, known: 1, .. }));

    assert!(matches!(open_problem(&path("text/below/ledger")), StoreProblem::Unwritable { .. }));
    assert!(matches!(open_problem(folder.path()), StoreProblem::Unwritable { .. }));
    assert!(matches!(Ledger::open_to_read(&path("absent")), Err(StoreProblem::Absent { .. })));
}

#[test]
fn a_locked_ledger_is_told() {
    let place = Somewhere::new();
    let mut ledger = Ledger::open_patiently(&place.ledger(), Duration::ZERO).unwrap();
    let holder = Connection::open(place.ledger()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(ledger.append("run/a", at(), "k", "{}"), Err(StoreProblem::Locked { .. })));
    holder.execute_batch("ROLLBACK").unwrap();
    ledger.append("run/a", at(), "k", "{}").unwrap();
}

#[test]
fn every_problem_names_the_file_and_a_next_step() {
    let path = PathBuf::from("/l.sqlite");
    let problems = [
        StoreProblem::Newer { path: path.clone(), found: 2, known: 1 },
        StoreProblem::NotALedger { path: path.clone() },
        StoreProblem::Unwritable { path: path.clone(), cause: "c".to_owned() },
        StoreProblem::DiskFull { path: path.clone() },
        StoreProblem::Locked { path: path.clone() },
        StoreProblem::Damaged { path, cause: "c".to_owned() },
    ];
    for problem in problems {
        let text = problem.to_string();
        assert!(text.contains("/l.sqlite") && text.contains(": ") && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn a_run_is_recorded_and_taken_up_again() {
    let place = Somewhere::new();
    let mut recorder = place.recorder("a");
    recorder.record(at(), &opened("a"));
    assert_eq!(recorder.commit(at()), []);
    assert_eq!(place.entries("a").len(), 1);
    recorder.record(at(), &Body::RunClosed(RunClosed {}));
    let finished = recorder.finish(at());
    assert_eq!((finished.findings, finished.dropped, finished.spool), (vec![], 0, None));

    let mut resumed = place.recorder("a");
    resumed.record(at(), &lost(1));
    resumed.finish(at());
    let entries = place.entries("a");
    assert_eq!(entries.len(), 3);
    assert_sound("a", &entries);
    assert_eq!(verify::stream("run/a", &entries[..2], &[]).state, StreamState::Closed);
}

#[test]
fn what_is_not_committed_is_all_that_a_kill_can_lose() {
    let place = Somewhere::new();
    let mut recorder = place.recorder("a");
    recorder.record(at(), &opened("a"));
    recorder.record(at(), &lost(0));
    recorder.commit(at());
    recorder.record(at(), &lost(1));
    // As `kill -9` would: nothing runs any more, not even what runs on drop.
    std::mem::forget(recorder);
    let entries = place.entries("a");
    assert_eq!(entries.len(), 2);
    assert_sound("a", &entries);
}

#[test]
fn a_ledger_that_cannot_be_opened_gives_a_spool() {
    let place = Somewhere::new();
    fs_err::create_dir_all(place.ledger().parent().unwrap()).unwrap();
    fs_err::write(place.ledger(), "no database, but some text that is there for long enough").unwrap();
    let mut recorder = place.recorder("a/../b");
    recorder.record(at(), &opened("a/../b"));
    let findings = recorder.commit(at());
    assert_eq!(findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["ledger-not-one"]);
    assert_eq!(recorder.commit(at()), [], "told twice");
    let spool = recorder.finish(at()).spool.unwrap();
    assert_eq!(spool.parent().unwrap(), place.spool(), "an id led out of the folder");
    let content = spool::read(&spool).unwrap();
    assert_eq!(content.entries.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>(), ["run-opened", "finding"]);
    assert_sound("a/../b", &content.entries);
}

#[test]
fn a_ledger_that_fails_half_way_loses_nothing_and_gets_it_all_later() {
    let place = Somewhere::new();
    let mut recorder = RunRecorder::begin(
        Ledger::open_patiently(&place.ledger(), Duration::ZERO),
        &place.ledger(),
        "a",
        vec![PathBuf::from("/dev/null/nowhere"), place.spool()],
        at(),
    );
    recorder.record(at(), &opened("a"));
    recorder.commit(at());

    let holder = Connection::open(place.ledger()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    recorder.record(at(), &lost(0));
    let findings = recorder.commit(at());
    assert_eq!(findings[0].code, "ledger-locked");
    let Place::Spool(path) = recorder.place() else { panic!("not in the spool") };
    let path = path.to_owned();
    recorder.record(at(), &lost(1));
    recorder.commit(at());
    assert_eq!(spool::read(&path).unwrap().entries.len(), 3, "what was not committed, the finding, and what followed");

    holder.execute_batch("ROLLBACK").unwrap();
    let finished = recorder.finish(at());
    assert_eq!((finished.spool, finished.dropped), (None, 0));
    assert!(!path.exists());
    let entries = place.entries("a");
    assert_eq!(entries.len(), 4);
    assert_sound("a", &entries);
    assert_eq!(finished.head, entries.last().map(Entry::head));
}

/// Somebody took its spool to be left behind.
#[test]
fn a_spool_that_is_renamed_while_it_is_written_loses_nothing() {
    for ledger_comes_back in [true, false] {
        let place = Somewhere::new();
        let ledger = Ledger::open_patiently(&place.ledger(), Duration::ZERO);
        let mut recorder = RunRecorder::begin(ledger, &place.ledger(), "a", vec![place.spool()], at());
        let holder = Connection::open(place.ledger()).unwrap();
        holder.execute_batch("BEGIN IMMEDIATE").unwrap();
        recorder.record(at(), &opened("a"));
        recorder.commit(at());
        let Place::Spool(path) = recorder.place() else { panic!("not in the spool") };
        let path = path.to_owned();
        fs_err::rename(&path, spool::merged_name(&path)).unwrap();
        recorder.record(at(), &lost(1));
        recorder.commit(at());
        if ledger_comes_back {
            holder.execute_batch("ROLLBACK").unwrap();
            let finished = recorder.finish(at());
            assert_eq!((finished.spool, finished.findings, finished.dropped), (None, vec![], 0));
            assert_eq!(place.entries("a").len(), 3);
        } else {
            let finished = recorder.finish(at());
            let again = finished.spool.unwrap();
            assert_eq!(spool::read(&again).unwrap().entries.last().map(Entry::head), finished.head);
            assert_eq!((finished.findings.len(), finished.findings[0].code.as_str()), (1, "spool-renamed"));
            assert!(finished.findings[0].text.contains(&again.display().to_string()), "{:?}", finished.findings);
            assert!(again != path && spool::run_of(&again) == Some(("a", 1)), "{again:?}");
        }
    }
}

#[test]
fn without_any_place_the_run_goes_on_and_says_so() {
    let place = Somewhere::new();
    let nowhere = PathBuf::from("/dev/null/ledger");
    let mut recorder = RunRecorder::begin(Ledger::open(&nowhere), &nowhere, "a", vec![nowhere.join("spool")], at());
    recorder.record(at(), &opened("a"));
    let codes: Vec<String> = recorder.commit(at()).into_iter().map(|Finding { code, .. }| code).collect();
    assert_eq!(codes, ["ledger-unwritable", "spool-failed"]);
    assert_eq!(recorder.place(), Place::Nowhere);
    assert_eq!(recorder.finish(at()).dropped, 1);
    drop(place);
}

#[test]
fn a_full_spool_says_so_and_still_closes_the_run() {
    let place = Somewhere::new();
    let nowhere = PathBuf::from("/dev/null/ledger");
    let mut recorder = RunRecorder::begin(Ledger::open(&nowhere), &nowhere, "a", vec![place.spool()], at())
        .with_spool_limit(recorder::SPOOL_RESERVE_BYTES + 20_000);
    for number in 0..200 {
        recorder.record(at(), &lost(number));
        recorder.commit(at());
    }
    // A device that the job takes up now is charged for what follows, if it is on record.
    recorder.record(at(), &Body::DevicesSeen(DevicesSeen { devices: Vec::new() }));
    recorder.record(at(), &Body::RunClosed(RunClosed {}));
    let finished = recorder.finish(at());
    assert!((1..200).contains(&finished.dropped), "{}", finished.dropped);
    let entries = spool::read(&finished.spool.unwrap()).unwrap().entries;
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds[kinds.len() - 3..], ["finding", "devices-seen", "run-closed"]);
    assert!(entries.windows(2).all(|pair| pair[1].previous == pair[0].digest), "the chain has a hole");
    let text = Body::read("finding", &entries[entries.len() - 3].body);
    assert!(matches!(text, Body::Finding(finding) if finding.code == "spool-full"));
}

#[test]
fn a_spool_cut_by_a_kill_is_read_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let entries = chained("run/a", 3);
    let lines: Vec<String> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    let text = lines.join("\n");
    fs_err::write(&path, &text[..text.len() - 10]).unwrap();
    let content = spool::read(&path).unwrap();
    assert_eq!((content.entries.as_slice(), content.unreadable_lines), (&entries[..2], 1));

    let mut ledger = Ledger::open(&folder.path().join("l.sqlite")).unwrap();
    assert_eq!(merge::bring_in(&mut ledger, &path, at()).unwrap().entries, 2);
    assert_eq!(merge::bring_in(&mut ledger, &path, at()).unwrap().entries, 0);
}
