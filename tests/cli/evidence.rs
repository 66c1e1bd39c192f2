//! `verify`: what was recorded is as it was, or the entry is named that is not.

use std::path::Path;

use rusqlite::Connection;

use crate::job::{Training, run_hooked, write_facts};
use crate::place::{Outcome, Place};

/// A ledger with one modification and one run of some entries.
fn recorded() -> Place {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    let outcome = run_hooked(&place, "--quiet --modification demo", &["feed training 1 2 32 2", "goodbye"]);
    assert_eq!(outcome.code(), Some(0));
    place
}

/// Edits the file as somebody would who knows SQLite.
fn tamper(ledger: &Path, statement: &str) {
    let connection = Connection::open(ledger).unwrap();
    let triggers = "DROP TRIGGER entry_is_not_updated; DROP TRIGGER entry_is_not_deleted;";
    connection.execute_batch(triggers).unwrap();
    assert!(connection.execute(statement, []).unwrap() > 0, "{statement}");
}

fn verify(place: &Place) -> Outcome {
    place.flopsmeter(&format!("verify {}", place.ledger().display()))
}

/// What `verify` says after the ledger was edited.
fn found_after(statement: &str) -> Vec<String> {
    let place = recorded();
    tamper(&place.ledger(), statement);
    let outcome = verify(&place);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(20), ""), "{outcome:?}");
    assert!(
        outcome
            .stdout
            .ends_with("The evidence is broken: compare with a copy of the ledger that was kept elsewhere.\n")
    );
    let json = place.flopsmeter(&format!("verify --json {}", place.ledger().display()));
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code(), &report["sound"]), (Some(20), &false.into()));
    outcome.stdout.lines().filter(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_ledger_that_nobody_touched_is_sound() {
    let place = recorded();
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let outcome = verify(&place);
    let entries = Connection::open(place.ledger()).unwrap();
    let entries: i64 =
        entries.query_row("SELECT count(*) FROM entry WHERE stream LIKE 'run/%'", [], |row| row.get(0)).unwrap();
    assert!(entries > 8, "{entries}");
    let words = outcome.data().replace(&run, "RUN").replace(&format!("{entries} entries"), "N entries");
    insta::assert_snapshot!(words, @r"
    sound  modification/demo  2 entries, open
    sound  run/RUN  N entries, closed
    No entry was changed, removed or moved inside a chain. That no whole chain is missing, this file alone does not prove.
    ");
    let report = place.flopsmeter(&format!("verify --json {}", place.ledger().display())).json();
    assert_eq!((&report["schema"], &report["sound"]), (&"flopsmeter.verify/1".into(), &true.into()));
}

#[test]
fn an_edited_entry_is_named() {
    let place = recorded();
    let connection = Connection::open(place.ledger()).unwrap();
    let fed: i64 =
        connection.query_row("SELECT sequence FROM entry WHERE body LIKE '%\"fed\"%'", [], |row| row.get(0)).unwrap();
    drop(connection);
    tamper(
        &place.ledger(),
        "UPDATE entry SET body = replace(body, '\"count\":2', '\"count\":1') WHERE body LIKE '%\"fed\"%'",
    );
    let outcome = verify(&place);
    assert_eq!(outcome.code(), Some(20));
    assert!(outcome.stdout.contains(&format!("        entry {fed} was edited\n")), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("BROKEN  run/") && outcome.stdout.contains("sound  modification/demo"));
}

#[test]
fn removed_moved_and_rewritten_entries_are_named() {
    let run = "stream LIKE 'run/%'";
    assert_eq!(found_after(&format!("DELETE FROM entry WHERE {run} AND sequence = 3")), ["entry 3 was removed"]);
    assert_eq!(
        found_after(&format!("DELETE FROM entry WHERE {run} AND sequence IN (2, 3)")),
        ["entries 2 to 3 were removed"]
    );
    let first = found_after(&format!("DELETE FROM entry WHERE {run} AND sequence = 0"));
    assert_eq!(first, ["the first entry does not open the run", "entry 0 was removed"]);
    let time = found_after(&format!("UPDATE entry SET at = at + 1 WHERE {run} AND sequence = 1"));
    assert_eq!(time, ["entry 1 was edited"]);
    // With a digest made to fit, the entry after it still knows the old one.
    let digest = found_after(&format!("UPDATE entry SET digest = zeroblob(32) WHERE {run} AND sequence = 4"));
    assert_eq!(
        digest,
        ["entry 4 was edited", "entry 5 does not continue the entry before it: one of them was replaced"]
    );
    let answer =
        "UPDATE entry SET body = replace(body, 'demo', 'dema') WHERE stream = 'modification/demo' AND sequence = 0";
    assert_eq!(found_after(answer), ["entry 0 was edited"]);
}

#[test]
fn a_run_whose_end_was_cut_off_verifies_as_open() {
    let place = recorded();
    let last = "DELETE FROM entry WHERE stream LIKE 'run/%' AND sequence > 5";
    tamper(&place.ledger(), last);
    let outcome = verify(&place);
    assert!(outcome.data().contains("6 entries, open: entries may be missing at its end"), "{}", outcome.stdout);
}

#[test]
fn values_that_no_version_writes_are_damage() {
    let place = recorded();
    tamper(&place.ledger(), "UPDATE entry SET body = CAST(x'ff' AS TEXT) WHERE stream LIKE 'run/%' AND sequence = 2");
    let outcome = verify(&place);
    assert_ne!(outcome.code(), Some(0), "{outcome:?}");
    // The file cut in half, as a failing disk leaves it.
    let place = recorded();
    let bytes = fs_err::read(place.ledger()).unwrap();
    place.write("half.sqlite", &bytes[..bytes.len() / 2]);
    let outcome = place.flopsmeter("verify half.sqlite");
    assert_ne!(outcome.code(), Some(0), "{outcome:?}");
}

#[test]
fn what_was_read_before_changes_no_word_and_no_evidence() {
    let place = recorded();
    let status = || place.flopsmeter("status --json").data().to_owned();
    let (first, assessed) = (status(), place.flopsmeter("assess demo --json").data().to_owned());
    let kept = place.path("home/.cache/flopsmeter/runs.sqlite");
    assert!(kept.exists());
    let ledger = fs_err::read(place.ledger()).unwrap();
    assert_eq!(status(), first);
    assert_eq!(fs_err::read(place.ledger()).unwrap(), ledger, "what is kept stands beside the ledger");
    fs_err::write(&kept, "no database").unwrap();
    assert_eq!(status(), first);

    // What is filed is read from the chain: somebody who edits what is kept changes lists, not verdicts.
    let record: String =
        Connection::open(&kept).unwrap().query_row("SELECT record FROM kept", [], |row| row.get(0)).unwrap();
    let edited = record.replace("\"training\":\"", "\"training\":\"9");
    assert_ne!(edited, record);
    let digest = flopsmeter_core::ledger::Digest::of(edited.as_bytes());
    let put = Connection::open(&kept).unwrap().execute("UPDATE kept SET record = ?1, digest = ?2", (edited, digest.0));
    assert_eq!(put.unwrap(), 1);
    assert_ne!(status(), first);
    assert_eq!(place.flopsmeter("assess demo --json").data(), assessed);

    // Who edits the ledger is found whatever was kept.
    tamper(&place.ledger(), "UPDATE entry SET body = replace(body, 'demo', 'else') WHERE sequence = 0");
    assert_eq!(verify(&place).code(), Some(20));
}
