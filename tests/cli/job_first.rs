//! The job comes first: no fault of ours stops or changes it; it is told once and recorded. With `--require-meter` the same
//! faults keep it from starting.

use std::path::PathBuf;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::gpu::{library, with_library};
use crate::place::{Outcome, Place, codes, finish};

/// The job leaves a mark and ends with a code of its own.
const JOB: &str = "touch started; exit 37";

fn summary(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap()
}

/// The job ran, one line was said, and one finding tells of it. Gives the line.
fn ran_with_one_finding(place: &Place, outcome: &Outcome, code: &str) -> String {
    assert_eq!((outcome.code(), place.exists("started")), (Some(37), true), "{outcome:?}");
    let summary = summary(place);
    assert_eq!(codes(&summary), [code], "{outcome:?}");
    let talk = outcome.talk();
    assert_eq!(talk.len(), 1, "{talk:?}");
    assert_eq!(summary["findings"][0]["text"], talk[0]);
    talk[0].to_owned()
}

/// The job was not started, and one line says why. Gives the line.
fn was_refused(place: &Place, outcome: &Outcome) -> String {
    assert!(!place.exists("started"), "the job was started: {outcome:?}");
    let said = outcome.refusal(125);
    assert_eq!(said.lines().count(), 1, "{said}");
    let start = "flopsmeter: the job was not started, because --require-meter was given and ";
    said.strip_prefix(start).unwrap_or_else(|| panic!("{said}")).trim_end().to_owned()
}

/// Runs the job with these options, then with `--require-meter` as well. Gives what was said each time.
fn both(place: &Place, options: &str, code: &str) -> (String, String) {
    let run = |required: &str| place.run_script(&format!("--summary summary.json {options} {required}"), JOB);
    let refusal = was_refused(place, &run("--require-meter"));
    (ran_with_one_finding(place, &run(""), code), refusal)
}

#[test]
fn an_unknown_base_model() {
    let place = Place::new();
    let (said, refused) = both(&place, "--base meta-llama/Llama-3.1-8BB", "base-unknown");
    for said in [&said, &refused] {
        assert!(
            said.contains("`meta-llama/Llama-3.1-8BB`") && said.contains("did you mean meta-llama/Llama-3.1-8B,"),
            "{said}"
        );
    }
    let assessment = &summary(&place)["assessment"];
    assert_eq!(assessment["verdict"], "undetermined");
}

#[test]
fn a_declared_base_that_cannot_be_used() {
    for (text, told) in [
        ("name = \"x\"", "does not say `flop`"),
        ("name = ", "is no valid TOML"),
        ("flops = 1", "unknown key `flops`"),
        ("name = \"x\"\nflop = \"-4\"", "`flop` "),
    ] {
        let place = Place::new();
        place.write("base.toml", text);
        let (said, refused) = both(&place, "--base base.toml", "base-unknown");
        assert!(said.contains(told) && refused.contains(told), "{said}\n{refused}");
    }
    let place = Place::new();
    place.write("base.toml", b"\xff\xfe not text");
    both(&place, "--base base.toml", "base-unknown");
    let (said, _) = both(&Place::new(), "--base ./missing.toml", "base-unknown");
    assert!(said.contains("./missing.toml"), "{said}");
    // A folder without a configuration.
    let place = Place::new();
    let (said, _) = both(&place, "--base tmp", "base-unknown");
    assert!(said.contains("config.json"), "{said}");
}

/// The finding of a ledger that cannot be used, and where the run was recorded instead.
fn recorded_in_the_spool(place: &Place, ledger: &str, code: &str) -> String {
    let (said, _) = both(place, &format!("--ledger {ledger}"), code);
    assert!(said.contains(ledger) && said.contains("; this run is recorded in "), "{said}");
    let spool = place.path("state/flopsmeter/spool");
    let files: Vec<PathBuf> = fs_err::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let lines = fs_err::read_to_string(&files[0]).unwrap();
    assert!(
        lines.lines().next().unwrap().contains("run-opened") && lines.lines().last().unwrap().contains("run-closed")
    );
    said
}

#[test]
fn a_ledger_that_is_something_else() {
    let place = Place::new();
    recorded_in_the_spool(&place, "tmp", "ledger-unwritable");
    let place = Place::new();
    place.write("letter.txt", "Dear Sir or Madam, this is no database at all.".repeat(20));
    recorded_in_the_spool(&place, "letter.txt", "ledger-not-one");
    let place = Place::new();
    Connection::open(place.path("other.sqlite")).unwrap().execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    recorded_in_the_spool(&place, "other.sqlite", "ledger-not-one");
    let count = |place: &Place| -> i64 {
        let other = Connection::open(place.path("other.sqlite")).unwrap();
        other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&place), 1, "somebody else's database is left alone");
}

#[test]
fn a_ledger_of_a_later_version() {
    let place = Place::new();
    assert_eq!(place.run_script("--quiet --ledger l.sqlite", "true").code(), Some(0));
    Connection::open(place.path("l.sqlite")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let said = recorded_in_the_spool(&place, "l.sqlite", "ledger-newer");
    assert!(said.contains("has schema 99") && said.contains("update flopsmeter"), "{said}");
}

#[test]
fn a_ledger_in_a_folder_that_cannot_be_written() {
    // Not even root makes files there.
    recorded_in_the_spool(&Place::new(), "/proc/flopsmeter.sqlite", "ledger-unwritable");
    recorded_in_the_spool(&Place::new(), "/proc/flopsmeter/ledger.sqlite", "ledger-unwritable");
}

#[test]
fn a_ledger_that_another_process_holds() {
    let place = Place::new();
    assert_eq!(place.run_script("--quiet --ledger l.sqlite", "true").code(), Some(0));
    let holder = Connection::open(place.path("l.sqlite")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    recorded_in_the_spool(&place, "l.sqlite", "ledger-locked");
    // When it is free again, the run finds its place, and taking it in twice does no harm.
    drop(holder);
    let run = summary(&place)["run"].as_str().unwrap().to_owned();
    let merged = place.flopsmeter("ledger merge --ledger l.sqlite");
    assert!(merged.data().contains(&run) && merged.stdout.contains(" entries merged"), "{merged:?}");
    assert_eq!(place.flopsmeter("ledger merge --ledger l.sqlite").data(), "there is nothing to merge\n");
    let shown = place.flopsmeter(&format!("runs show {run} --ledger l.sqlite --json")).json();
    assert_eq!((&shown["state"], codes(&shown)), (&"closed".into(), vec!["ledger-locked"]));
    assert!(place.flopsmeter("verify l.sqlite").data().contains(&format!("sound  run/{run}")));
}

#[test]
fn neither_ledger_nor_spool() {
    let place = Place::new();
    place.write("file", "");
    let mut command = place.script("--summary summary.json --ledger file/l.sqlite", JOB);
    command.env("XDG_STATE_HOME", place.path("file")).env("TMPDIR", place.path("file"));
    let outcome = finish(command);
    assert_eq!((outcome.code(), place.exists("started")), (Some(37), true));
    let talk = outcome.talk();
    assert_eq!(talk.len(), 2, "{talk:?}");
    assert!(talk[0].contains("file/l.sqlite") && talk[1].contains("is not recorded from here on"), "{talk:?}");
    assert_eq!(codes(&summary(&place)).len(), 2);
}

#[test]
fn a_folder_for_temporary_files_that_cannot_be_used() {
    // The socket goes elsewhere, and the hook works.
    for folder in ["/nonexistent", &format!("/tmp/{}", "x".repeat(150))] {
        let place = Place::new();
        place.write("facts.json", "null");
        let mut command = crate::job::hooked(&place, "--quiet --require-meter --summary summary.json");
        command.env("TMPDIR", folder);
        let outcome = crate::place::finish_with_input(command, "goodbye\nexit 37\n");
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(37), ""));
        assert_eq!(codes(&summary(&place)), Vec::<&str>::new());
    }
}

fn garbage(place: &Place) -> PathBuf {
    place.write("garbage.so", [0x7f; 4096])
}

#[test]
fn a_driver_library_that_cannot_be_used() {
    let cases: [fn(&Place) -> PathBuf; 3] = [
        garbage,
        |_| PathBuf::from("/nonexistent/libnvidia-ml.so.1"),
        // LIB_RM_VERSION_MISMATCH: the driver was updated and not yet loaded.
        |place| library(place, &json!({ "init": 18 })),
    ];
    for case in cases {
        // GPUs were asked for, so that one that cannot be read is a fault.
        let place = Place::new();
        let driver = case(&place);
        let run = |options: &str| -> Command { with_library(&place, &driver, options, JOB) };
        let refusal = was_refused(&place, &finish(run("--gpus all --require-meter")));
        let outcome = finish(run("--gpus all --summary summary.json"));
        let said = ran_with_one_finding(&place, &outcome, "gpus-unreadable");
        assert!(refusal.contains("the NVIDIA driver cannot be asked"), "{refusal}");
        assert!(said.contains("the hardware ceiling is missing"), "{said}");
        assert_eq!(summary(&place)["ceiling"]["flop"], Value::Null);
    }
}

#[test]
fn gpus_that_cannot_be_listed() {
    let place = Place::new();
    let hang = json!({ "call": "nvmlDeviceGetName", "from_ms": 0, "until_ms": 600_000 });
    let driver = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa", "hangs": [hang] }] }));
    let outcome = finish(with_library(&place, &driver, "--summary summary.json", JOB));
    ran_with_one_finding(&place, &outcome, "gpus-unreadable");
}

#[test]
fn a_modification_of_another_base() {
    let place = Place::new();
    crate::job::write_base(&place, "base", 1 << 60);
    crate::job::write_base(&place, "other", 1 << 61);
    assert_eq!(place.run_script("--quiet --base base.toml --modification demo", "true").code(), Some(0));
    let (_, refused) = both(&place, "--base other.toml --modification demo", "modification-conflict");
    assert!(refused.contains("is bound to base model acme/base"), "{refused}");
}

#[test]
fn a_refusal_records_nothing() {
    let place = Place::new();
    place.run_script("--modification demo --base no/such-model --require-meter", JOB).refusal(125);
    place.run_script("--quiet --modification demo --require-meter", "true").data();
    let modification = place.flopsmeter("modifications show demo --json").json();
    assert_eq!(modification["runs"].as_array().unwrap().len(), 1);
    let missing = place.flopsmeter("run --device cpu --modification other --require-meter -- no-such-command");
    assert_eq!(missing.code(), Some(127));
    let modifications = place.flopsmeter("modifications list --json").json();
    assert_eq!(modifications.as_array().unwrap().len(), 1, "a job that was never there belongs to nothing");
}

#[test]
fn with_everything_in_order_the_gate_is_open() {
    let place = Place::new();
    let outcome = place.run_script("--quiet --require-meter --summary summary.json", JOB);
    assert_eq!((outcome.code(), outcome.stderr.as_str(), place.exists("started")), (Some(37), "", true));
    let pid = summary(&place)["state"].clone();
    assert_eq!(pid, "closed");
    // GPUs that can be read are no obstacle, and neither is a machine without any.
    let place = Place::new();
    let driver = library(&place, &json!({ "devices": [{ "uuid": "GPU-aa" }] }));
    let outcome = finish(with_library(&place, &driver, "--gpus all --require-meter --summary summary.json", JOB));
    assert_eq!(outcome.code(), Some(37), "{outcome:?}");
    assert_ne!(summary(&place)["ceiling"]["flop"], Value::Null);
}
