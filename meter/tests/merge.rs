//! What is merged is there once, wherever it comes from, and nothing is lost of what cannot be.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::body::{HookLost, ModificationCreated, RunAssigned, RunClosed, RunOpened, RunUnassigned};
use flopsmeter_core::ledger::{Body, Entry, chain, modification_stream, run_stream, verify};
use flopsmeter_meter::records;
use flopsmeter_meter::store::merge::{Merged, assign_forks, bring_in, has_grown};
use flopsmeter_meter::store::spool::{self, Writing};
use flopsmeter_meter::store::{Durability, Ledger, Spool, StoreProblem};

/// Of a file that was written just now, where locks work.
const UNSEEN: Writing = Writing::Possible { has_locks: true };

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_750_000_000_000_000).unwrap()
}

/// Further entries of run `a`.
fn chained(before: &[Entry], connections: std::ops::Range<u32>) -> Vec<Entry> {
    let mut all = before.to_vec();
    for connection in connections {
        let body = if all.is_empty() {
            Body::RunOpened(RunOpened { run: "a".to_owned(), ..RunOpened::default() })
        } else {
            Body::HookLost(HookLost { connection, reason: "r".to_owned() })
        };
        let head = all.last().map(Entry::head);
        all.push(chain::append(head.as_ref(), "run/a", at(), body.kind(), body.to_text().unwrap()));
    }
    all.split_off(before.len())
}

struct Somewhere(tempfile::TempDir);

impl Somewhere {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.0.path().join("ledger.sqlite")).unwrap()
    }

    /// Of a meter that was killed.
    fn spool(&self, entries: &[Entry]) -> PathBuf {
        self.written(entries).path().to_owned()
    }

    fn written(&self, entries: &[Entry]) -> Spool {
        let mut spool = Spool::create(&self.0.path().join("spool"), "a", 1 << 20).unwrap();
        for entry in entries {
            spool.append(entry).unwrap();
        }
        spool.write_out(Durability::InTime).unwrap();
        spool
    }
}

fn merge(ledger: &mut Ledger, spool: &Path) -> Merged {
    bring_in(ledger, spool, at()).unwrap()
}

fn assert_sound(ledger: &Ledger) {
    for stream in ledger.streams("").unwrap() {
        let report = verify::stream(&stream, &ledger.entries(&stream).unwrap(), &[]);
        assert!(report.is_sound(), "{stream}: {:?}", report.problems);
    }
}

fn assign(ledger: &mut Ledger, run: &str) {
    for body in [
        Body::ModificationCreated(ModificationCreated { slug: "m".to_owned(), base: None }),
        Body::RunAssigned(RunAssigned { run: run.to_owned() }),
    ] {
        ledger.append(&modification_stream("m"), at(), body.kind(), &body.to_text().unwrap()).unwrap();
    }
}

#[test]
fn a_continuation_is_the_same_run_and_a_fork_another_one() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let stem = chained(&[], 0..3);
    let (one, other) = (chained(&stem, 3..5), chained(&stem, 10..14));
    ledger.write(&stem).unwrap();
    assign(&mut ledger, "a");
    assert_eq!(merge(&mut ledger, &place.spool(&one)), Merged { entries: 2, fork: None, writing: UNSEEN });

    // Its first half, the whole, what both have with it, and the same again.
    let whole = [stem.clone(), other.clone()].concat();
    let mut runs = Vec::new();
    for (spool, new) in [(&other[..2], 6), (&other[..], 2), (&whole[..], 0), (&other[1..1], 0)] {
        let merged = merge(&mut ledger, &place.spool(spool));
        assert_eq!(merged.entries, new);
        runs.extend(merged.fork);
    }
    assert!(runs.len() == 3 && runs.iter().all(|fork| *fork == runs[0]), "{runs:?}");
    let fork = &runs[0];
    assert_eq!((fork.of.as_str(), fork.sequence, fork.modification.as_deref()), ("a", 3, Some("m")));
    assert_eq!(ledger.entries("run/a").unwrap(), [stem, one].concat());
    let kept = ledger.entries(&run_stream(&fork.run)).unwrap();
    let told = |entries: &[Entry]| entries.iter().map(|entry| (entry.at, entry.body.clone())).collect::<Vec<_>>();
    assert_eq!(told(&kept[kept.len() - 4..]), told(&other));
    assert_eq!(records::modification(&ledger, "m").unwrap().unwrap().runs, ["a", &fork.run]);
    assert_sound(&ledger);
}

#[test]
fn what_has_a_hole_before_it_waits_for_what_is_missing() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let all = chained(&[], 0..9);
    ledger.write(&all[..2]).unwrap();
    let (later, earlier) = (place.spool(&all[5..]), place.spool(&all[2..5]));
    let hole = bring_in(&mut ledger, &later, at()).unwrap_err();
    assert!(matches!(hole, StoreProblem::Hole { from: 2, until: 4, .. }), "{hole:?}");
    assert_eq!((merge(&mut ledger, &earlier).entries, merge(&mut ledger, &later).entries), (3, 4));
    assert_eq!(ledger.entries("run/a").unwrap(), all);
}

#[test]
fn what_continues_another_ledgers_run_is_left_where_it_is() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let (here, there) = (chained(&[], 0..3), chained(&[], 1..4));
    let there = [there.clone(), chained(&there, 7..9)].concat();
    ledger.write(&here).unwrap();
    let elsewhere = place.spool(&there[2..]);
    let refused = bring_in(&mut ledger, &elsewhere, at());
    assert!(matches!(refused, Err(StoreProblem::Conflict { .. })), "{refused:?}");
    assert_eq!(ledger.streams("").unwrap(), ["run/a"]);
}

#[test]
fn a_change_is_not_chained_anew() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let stem = chained(&[], 0..2);
    ledger.write(&[stem.clone(), chained(&stem, 5..6)].concat()).unwrap();
    let mut own = chained(&stem, 7..9);
    own[1].body = own[1].body.replace('8', "9");
    let refused = bring_in(&mut ledger, &place.spool(&own), at()).unwrap_err();
    assert!(matches!(refused, StoreProblem::SpoolChanged { sequence: 3, .. }), "{refused:?}");
    assert_eq!(ledger.streams("").unwrap(), ["run/a"]);
}

#[test]
fn a_spool_tells_whose_it_is_and_whether_it_is_being_written() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let all = chained(&[], 0..4);
    let mut writing = place.written(&all[..2]);
    let path = writing.path().to_owned();
    assert_eq!(merge(&mut ledger, &path), Merged { entries: 2, fork: None, writing: Writing::Seen });
    let second = place.spool(&[]);
    assert_eq!((spool::run_of(&path), spool::run_of(&second)), (Some(("a", 0)), Some(("a", 1))));
    for entry in &all[2..] {
        writing.append(entry).unwrap();
    }
    writing.write_out(Durability::InTime).unwrap();
    drop(writing);
    assert_eq!(merge(&mut ledger, &path), Merged { entries: 2, fork: None, writing: UNSEEN });
    assert_eq!(ledger.entries("run/a").unwrap(), all);
}

/// A lock that is not seen proves nothing: another node's meter may have it.
#[test]
fn a_spool_is_over_where_its_run_has_ended_or_nobody_writes_it_for_long() {
    let place = Somewhere::new();
    let entries = chained(&[], 0..2);
    let path = place.spool(&entries);
    let written = DateTime::<Utc>::from(fs_err::metadata(&path).unwrap().modified().unwrap());
    for (minutes, writing) in [(-9, UNSEEN), (4, UNSEEN), (6, Writing::Over)] {
        assert_eq!(spool::writing(&path, written + TimeDelta::minutes(minutes)).unwrap(), writing, "{minutes}");
    }
    let head = entries.last().map(Entry::head);
    let closed =
        chain::append(head.as_ref(), "run/a", at(), "run-closed", Body::RunClosed(RunClosed {}).to_text().unwrap());
    let ended = place.spool(&[entries, vec![closed]].concat());
    assert_eq!(spool::writing(&ended, at()).unwrap(), Writing::Over);
}

#[test]
fn what_is_written_after_the_merge_is_seen_and_its_name_is_nobody_elses() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let all = chained(&[], 0..4);
    let mut writing = place.written(&all[..2]);
    let merged = spool::merged_name(writing.path());
    assert!(!has_grown(&ledger, writing.path()).unwrap(), "another ledger's run");
    assert_eq!(merge(&mut ledger, writing.path()).entries, 2);
    assert!(!has_grown(&ledger, writing.path()).unwrap());
    fs_err::rename(writing.path(), &merged).unwrap();
    assert!(!writing.has_its_name());
    assert_eq!(spool::run_of(&place.spool(&[])), Some(("a", 1)));
    for entry in &all[2..] {
        writing.append(entry).unwrap();
    }
    writing.write_out(Durability::InTime).unwrap();
    assert!(has_grown(&ledger, &merged).unwrap());
    assert_eq!((merge(&mut ledger, &merged).entries, spool::run_of(&merged)), (2, Some(("a", 0))));
    assert_eq!(ledger.entries("run/a").unwrap(), all);
    let left: Vec<_> =
        fs_err::read_dir(merged.parent().unwrap()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_parted_from_a_run_is_counted_with_it_unless_somebody_took_it_out() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let stem = chained(&[], 0..3);
    let (one, other) = (chained(&stem, 3..5), chained(&stem, 10..14));
    ledger.write(&[stem.clone(), one].concat()).unwrap();
    let fork = merge(&mut ledger, &place.spool(&other)).fork.unwrap();
    assert_eq!(fork.modification, None);
    // Of the fork another one.
    let theirs = ledger.entries(&run_stream(&fork.run)).unwrap();
    let before = theirs[theirs.len() - 2].head();
    let text = Body::HookLost(HookLost { connection: 50, reason: "r".to_owned() }).to_text().unwrap();
    let further = chain::append(Some(&before), run_stream(&fork.run), at(), "hook-lost", text);
    let further = merge(&mut ledger, &place.spool(&[further])).fork.unwrap();
    assert_eq!((further.of.as_str(), further.modification.as_deref()), (fork.run.as_str(), None));

    assign(&mut ledger, "a");
    let forks = assign_forks(&mut ledger, "m", "a", at()).unwrap();
    assert_eq!(forks, [fork.run.clone(), further.run.clone()]);
    assert_eq!(records::modification(&ledger, "m").unwrap().unwrap().runs.len(), 3);
    let out = Body::RunUnassigned(RunUnassigned { run: fork.run });
    ledger.append(&modification_stream("m"), at(), out.kind(), &out.to_text().unwrap()).unwrap();
    assert_eq!(assign_forks(&mut ledger, "m", "a", at()).unwrap(), Vec::<String>::new());
    assert_eq!(records::modification(&ledger, "m").unwrap().unwrap().runs.len(), 2);
}

/// As much as is written in several transactions, of which the first ones have nothing new.
#[test]
fn what_is_large_is_merged_in_parts() {
    let place = Somewhere::new();
    let mut ledger = place.ledger();
    let long = |before: &[Entry], count: u32, letter: &str| {
        let mut all = before.to_vec();
        for connection in 0..count {
            let lost = Body::HookLost(HookLost { connection, reason: letter.repeat(100 << 10) });
            let head = all.last().map(Entry::head);
            all.push(chain::append(head.as_ref(), "run/a", at(), lost.kind(), lost.to_text().unwrap()));
        }
        all
    };
    let stem = long(&chained(&[], 0..1), 12, "s");
    let (one, other) = (long(&stem, 6, "o"), long(&stem, 12, "p"));
    let spool = |entries: &[Entry]| {
        let mut spool = Spool::create(&place.0.path().join("spool"), "a", 10 << 20).unwrap();
        for entry in entries {
            spool.append(entry).unwrap();
        }
        spool.write_out(Durability::InTime).unwrap();
        spool.path().to_owned()
    };
    assert_eq!((merge(&mut ledger, &spool(&stem)).entries, merge(&mut ledger, &spool(&one)).entries), (13, 6));
    assert_eq!(ledger.entries("run/a").unwrap(), one);
    let fork = merge(&mut ledger, &spool(&other)).fork.unwrap();
    let kept = ledger.entries(&run_stream(&fork.run)).unwrap();
    assert_eq!((fork.sequence, kept.iter().filter(|entry| entry.body.contains("pppp")).count()), (13, 12));
    assert_sound(&ledger);
}
