//! Runs that are taken up again while somebody else writes them, or has written a part of them that the ledger does not have yet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flopsmeter_core::ledger::body::HookLost;
use flopsmeter_core::ledger::{Body, Entry, chain};
use nix::sys::signal::{Signal, kill};
use rusqlite::Connection;
use serde_json::Value;

use crate::alerts::place_with_line_of;
use crate::job::{Training, flop, hooked, plan, run_hooked};
use crate::place::{Place, Running, codes, until};

const OPTIONS: &str = "--base base.toml --modification demo --quiet";

fn step(place: &Place) -> u128 {
    flop(&plan(place, Training::Lora, 1)["flops"]["training"])
}

/// Training operations of a run so far, in steps.
fn steps_of(place: &Place, run: &Value) -> u128 {
    let shown = place.flopsmeter(&format!("runs show {} --json", run.as_str().unwrap())).json();
    let training = &shown["flops"]["training"];
    if training.is_null() { 0 } else { flop(training) / step(place) }
}

/// Those of all runs that count to modification `demo`.
fn steps_of_demo(place: &Place) -> u128 {
    let modification = place.flopsmeter("modifications show demo --json").json();
    modification["runs"].as_array().unwrap().iter().map(|run| steps_of(place, run)).sum()
}

fn summary(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap()
}

fn assert_sound(place: &Place) {
    assert_eq!(place.flopsmeter(&format!("verify {}", place.ledger().display())).code(), Some(0));
}

/// A job that has trained one step, which is on record.
fn running(place: &Place) -> (Running, String) {
    let mut running = Running::start(hooked(place, OPTIONS));
    running.wait_for_stdout("ready");
    running.tell("feed training 1 2 32 1");
    let is_counted = || {
        place.ledger().exists() && place.flopsmeter("runs list").code() == Some(0) && {
            let runs = place.flopsmeter("runs list --json").json();
            runs.as_array().unwrap().iter().any(|run| steps_of(place, &run["run"]) == 1)
        }
    };
    until("the step is on record", is_counted);
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    (running, run)
}

/// Trains on while the ledger cannot be written, until that is in a spool.
fn train_beside_the_ledger(place: &Place, running: &mut Running, steps: u32) -> PathBuf {
    let holder = Connection::open(place.ledger()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    running.tell(&format!("feed training 1 2 32 {steps}"));
    let spools = || {
        let files = fs_err::read_dir(place.path("state/flopsmeter/spool"));
        files.into_iter().flatten().map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    let fed = format!("\\\"count\\\":{steps}");
    until("the steps are in a spool", || {
        spools().first().is_some_and(|spool| fs_err::read_to_string(spool).unwrap().contains(&fed))
    });
    holder.execute_batch("ROLLBACK").unwrap();
    spools().remove(0)
}

#[test]
fn a_run_that_is_metered_is_left_to_its_meter() {
    let place = place_with_line_of(100);
    let (mut first, run) = running(&place);
    let resume = format!("--resume {run} --summary summary.json");
    let second = run_hooked(&place, &resume, &["feed training 1 2 32 2", "goodbye", "exit 7"]);
    assert_eq!(second.code(), Some(7));
    let own = summary(&place);
    assert_eq!((codes(&own), &own["modification"]), (vec!["resume-impossible"], &"demo".into()));
    assert_eq!(flop(&own["flops"]["training"]), 2 * step(&place));
    let said = format!(
        "run {run} cannot be gone on with: another meter writes it now; what follows is recorded as run {} of `demo`",
        own["run"].as_str().unwrap()
    );
    assert_eq!(second.talk(), [said.as_str()]);
    first.tell("feed training 1 2 32 4");
    first.tell("goodbye");
    assert_eq!(first.finish().stderr, "");
    assert_eq!(steps_of_demo(&place), 7);
    assert!(!place.exists("state/flopsmeter/spool"), "nothing had to go anywhere else");
    assert_sound(&place);
    // It has ended now.
    let again = run_hooked(&place, &format!("{resume} --quiet"), &["feed training 1 2 32 1", "goodbye"]);
    assert_eq!(again.stderr, "");
    assert_eq!((summary(&place)["run"].as_str(), steps_of_demo(&place)), (Some(run.as_str()), 8));
}

#[test]
fn what_is_left_of_a_run_in_a_spool_comes_before_what_follows() {
    let place = place_with_line_of(100);
    let (mut first, run) = running(&place);
    let spool = train_beside_the_ledger(&place, &mut first, 2);
    let resume = format!("--resume {run} --summary summary.json --quiet");
    let refused = run_hooked(&place, &resume, &["feed training 1 2 32 3", "goodbye"]);
    assert_eq!((refused.code(), codes(&summary(&place))), (Some(0), vec!["resume-impossible"]));
    // What is in the spool while its meter writes on is taken as far as it goes, and the file is left alone.
    let merged = place.flopsmeter("ledger merge");
    assert!(merged.data().contains(" entries merged; a meter is still writing it, "), "{merged:?}");
    assert!(spool.exists());
    kill(first.pid(), Signal::SIGKILL).unwrap();
    first.wait();
    let resumed = run_hooked(&place, &resume, &["feed training 1 2 32 4", "goodbye"]);
    assert_eq!((resumed.code(), resumed.stderr.as_str()), (Some(0), ""));
    assert_eq!(flop(&summary(&place)["flops"]["training"]), 7 * step(&place));
    assert_eq!((summary(&place)["run"].as_str(), steps_of_demo(&place)), (Some(run.as_str()), 10));
    // Nobody is seen to write it, which proves little so soon.
    let merged = place.flopsmeter("ledger merge");
    assert!(merged.data().contains(": 0 entries merged; it was written just now "), "{merged:?}");
    grow_old(&spool);
    assert!(place.flopsmeter("ledger merge").data().ends_with(": 0 entries merged\n"));
    assert_eq!(place.flopsmeter("ledger merge").data(), "there is nothing to merge\n");
    assert_sound(&place);
}

/// Nobody has written it for long.
fn grow_old(spool: &Path) {
    let file = fs_err::OpenOptions::new().append(true).open(spool).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - Duration::from_hours(1)).unwrap();
}

/// Its lock was not seen, and its meter woke up again.
#[test]
fn what_is_written_after_a_spool_was_taken_to_be_left_behind_counts() {
    let place = place_with_line_of(100);
    let (mut running, run) = running(&place);
    let spool = train_beside_the_ledger(&place, &mut running, 2);
    assert_eq!(place.flopsmeter("ledger merge").code(), Some(0));
    fs_err::rename(&spool, spool.with_extension("merged")).unwrap();
    running.tell("feed training 1 2 32 4");
    let has_it = || fs_err::read_to_string(spool.with_extension("merged")).unwrap().contains("\\\"count\\\":4");
    until("what follows is in the file", has_it);
    // Of a meter that is killed.
    let merged = place.flopsmeter("ledger merge");
    assert!(merged.data().contains(".merged: "), "{merged:?}");
    assert_eq!(steps_of(&place, &run.clone().into()), 7);
    // Of one that ends.
    running.tell("feed training 1 2 32 8");
    running.tell("goodbye");
    assert_eq!(running.finish().code(), Some(0));
    assert_eq!((steps_of_demo(&place), place.only_run()["complete"].as_bool()), (15, Some(true)));
    assert_eq!(place.flopsmeter("ledger merge").data(), "there is nothing to merge\n");
    assert_sound(&place);
}

/// The job runs unmetered while its run is merged, and ends no sooner than that.
#[test]
fn a_run_that_has_much_to_merge_waits_for_the_user() {
    let place = place_with_line_of(100);
    let (mut first, run) = running(&place);
    let spool = train_beside_the_ledger(&place, &mut first, 2);
    kill(first.pid(), Signal::SIGKILL).unwrap();
    first.wait();
    lengthen(&spool, 9 << 20);
    let resume = format!("--resume {run} --summary summary.json");
    let resumed = run_hooked(&place, &resume, &["feed training 1 2 32 4", "goodbye"]);
    let own = summary(&place);
    assert_eq!(
        (resumed.code(), codes(&own), &own["modification"]),
        (Some(0), vec!["resume-impossible"], &"demo".into())
    );
    let said = format!("run {run} cannot be gone on with: 9 MiB of it are not merged, ");
    assert!(resumed.talk().len() == 1 && resumed.talk()[0].starts_with(&said), "{resumed:?}");
    assert_eq!((flop(&own["flops"]["training"]) / step(&place), steps_of_demo(&place)), (4, 5));
    // What is merged is no reason to wait, though the file is still there.
    assert_eq!(place.flopsmeter("ledger merge").code(), Some(0));
    assert!(spool.exists());
    let resumed = run_hooked(&place, &format!("{resume} --quiet"), &["feed training 1 2 32 8", "goodbye"]);
    assert_eq!((resumed.code(), summary(&place)["run"].as_str()), (Some(0), Some(run.as_str())));
    assert_eq!(steps_of_demo(&place), 15);
    assert_sound(&place);
}

/// Goes on with a spool as its meter would have done, until it has as many bytes.
fn lengthen(spool: &Path, bytes: usize) {
    let mut text = fs_err::read_to_string(spool).unwrap();
    let last: Entry = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let body = Body::HookLost(HookLost { connection: 99, reason: "r".repeat(64 << 10) }).to_text().unwrap();
    let (mut head, stream, at) = (last.head(), last.stream.clone(), last.at);
    while text.len() < bytes {
        let entry = chain::append(Some(&head), stream.as_str(), at, "hook-lost", body.as_str());
        head = entry.head();
        text.push_str(&serde_json::to_string(&entry).unwrap());
        text.push('\n');
    }
    fs_err::write(spool, text).unwrap();
}

#[test]
fn a_run_that_its_ledger_never_had_is_gone_on_with() {
    let place = place_with_line_of(100);
    fs_err::create_dir_all(place.ledger()).unwrap();
    assert_eq!(run_hooked(&place, OPTIONS, &["feed training 1 2 32 1", "goodbye"]).code(), Some(0));
    fs_err::remove_dir(place.ledger()).unwrap();
    let options = "--resume 0 --modification demo --quiet";
    let resumed = run_hooked(&place, options, &["feed training 1 2 32 2", "goodbye"]);
    assert_eq!((resumed.code(), resumed.stderr.as_str()), (Some(0), ""));
    assert_eq!((flop(&place.only_run()["flops"]["training"]), steps_of_demo(&place)), (3 * step(&place), 3));
}

/// A run that two meters wrote: one into a spool on another node, the other one into the ledger. Its id, and the spool.
fn parted(place: &Place) -> (String, PathBuf) {
    let (mut first, run) = running(place);
    let spool = train_beside_the_ledger(place, &mut first, 2);
    let elsewhere = place.path("node-2.jsonl");
    fs_err::rename(spool, &elsewhere).unwrap();
    kill(first.pid(), Signal::SIGKILL).unwrap();
    first.wait();
    let resumed = run_hooked(place, &format!("--resume {run} --quiet"), &["feed training 1 2 32 4", "goodbye"]);
    assert_eq!((resumed.code(), steps_of_demo(place)), (Some(0), 5));
    (run, elsewhere)
}

#[test]
fn a_spool_that_its_run_has_left_behind_is_a_run_of_its_own() {
    let place = place_with_line_of(100);
    let (run, elsewhere) = parted(&place);

    grow_old(&elsewhere);
    let copy = place.path("copy.jsonl");
    fs_err::copy(&elsewhere, &copy).unwrap();
    let merged = place.flopsmeter(&format!("ledger merge {}", elsewhere.display()));
    let said = format!(" entries merged; two meters wrote run {run} at the same time from its entry ");
    assert!(merged.data().contains(&said), "{merged:?}");
    assert!(merged.stdout.ends_with(" now, it counts to `demo`\n"), "{merged:?}");
    assert_eq!(steps_of_demo(&place), 7);
    assert_sound(&place);
    let runs = place.flopsmeter("runs list --json").json();
    let fork = runs.as_array().unwrap().iter().find(|other| other["run"] != run.as_str()).unwrap();
    let shown = place.flopsmeter(&format!("runs show {} --json", fork["run"].as_str().unwrap())).json();
    assert_eq!(flop(&shown["flops"]["training"]), 2 * step(&place));
    let finding = shown["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "run-forked").unwrap();
    assert!(finding["text"].as_str().unwrap().contains(&format!("wrote run {run} at the same time")), "{finding}");

    // A second time, and after somebody has taken it out of the sums.
    let unassigned = place.flopsmeter(&format!("modifications unassign demo {}", fork["run"].as_str().unwrap()));
    assert_eq!(unassigned.code(), Some(0), "{unassigned:?}");
    grow_old(&copy);
    let again = place.flopsmeter(&format!("ledger merge {}", copy.display()));
    assert!(again.data().contains(": 0 entries merged; "), "{again:?}");
    assert!(again.stdout.ends_with("assign it to a modification if its work belongs to one\n"), "{again:?}");
    let count = || place.flopsmeter("runs list --json").json().as_array().unwrap().len();
    assert_eq!((count(), steps_of_demo(&place)), (2, 5));

    // Left on this node, it is brought in before the run goes on, which is the other branch.
    let left = place.path(&format!("state/flopsmeter/spool/{run}.jsonl"));
    fs_err::rename(place.path("copy.merged"), &left).unwrap();
    let options = format!("--resume {run} --summary summary.json --quiet");
    assert_eq!(run_hooked(&place, &options, &["feed training 1 2 32 1", "goodbye"]).code(), Some(0));
    assert_eq!(codes(&summary(&place)), ["run-forked", "segment-open"]);
    assert_eq!((left.exists(), count(), steps_of_demo(&place)), (false, 2, 6));
    assert_sound(&place);
}

/// It is merged while its run counts nowhere.
#[test]
fn a_fork_is_assigned_with_its_run() {
    let place = place_with_line_of(100);
    let (run, elsewhere) = parted(&place);
    assert_eq!(place.flopsmeter(&format!("modifications unassign demo {run}")).code(), Some(0));
    let merged = place.flopsmeter(&format!("ledger merge {}", elsewhere.display()));
    assert!(merged.data().contains(", assign it to a modification if its work belongs to one; "), "{merged:?}");
    assert_eq!(steps_of_demo(&place), 0);
    let runs = place.flopsmeter("runs list --json").json();
    let fork = runs.as_array().unwrap().iter().find(|other| other["run"] != run.as_str()).unwrap()["run"].clone();
    let fork = fork.as_str().unwrap();
    let assigned = place.flopsmeter(&format!("modifications assign demo {run}"));
    let said = format!("run {run} counts to demo\nrun {fork}, which parted from it, counts to demo as well\n");
    assert_eq!((assigned.data(), steps_of_demo(&place)), (said.as_str(), 7));

    // The same of a run that goes on in a modification.
    for counted in [run.as_str(), fork] {
        assert_eq!(place.flopsmeter(&format!("modifications unassign demo {counted}")).code(), Some(0));
    }
    let options = format!("--resume {run} --base base.toml --modification other --summary summary.json --quiet");
    assert_eq!(run_hooked(&place, &options, &["feed training 1 2 32 8", "goodbye"]).code(), Some(0));
    let own = summary(&place);
    assert!(codes(&own).contains(&"fork-assigned"), "{own}");
    let other = place.flopsmeter("modifications show other --json").json();
    let counted: u128 = other["runs"].as_array().unwrap().iter().map(|run| steps_of(&place, run)).sum();
    assert_eq!(counted, 15);
}

#[test]
fn a_spool_that_was_changed_is_refused_and_keeps_none_out() {
    let place = place_with_line_of(100);
    fs_err::create_dir_all(place.ledger()).unwrap();
    for steps in [1, 2] {
        let script = format!("feed training 1 2 32 {steps}");
        assert_eq!(run_hooked(&place, OPTIONS, &[&script, "goodbye"]).code(), Some(0));
    }
    fs_err::remove_dir(place.ledger()).unwrap();
    let folder = place.path("state/flopsmeter/spool");
    let mut spools: Vec<PathBuf> = fs_err::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    spools.sort();
    let text = fs_err::read_to_string(&spools[0]).unwrap();
    fs_err::write(&spools[0], text.replacen("\\\"count\\\":1", "\\\"count\\\":0", 1)).unwrap();
    let merged = place.flopsmeter("ledger merge");
    assert_eq!(merged.code(), Some(1));
    assert!(merged.stderr.contains("was changed since it was written: its entry "), "{merged:?}");
    assert!(merged.stdout.contains(&spools[1].display().to_string()), "{merged:?}");
    assert_eq!((spools[0].exists(), place.only_run()["exit"]["code"].as_u64()), (true, Some(0)));
}

#[test]
fn a_run_of_a_closed_modification_goes_on_there_and_says_so() {
    let place = place_with_line_of(100);
    assert_eq!(run_hooked(&place, OPTIONS, &["feed training 1 2 32 1", "goodbye"]).code(), Some(0));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    assert_eq!(place.flopsmeter("modifications close demo --by Ada --date 2026-11-01").code(), Some(0));
    let resume = format!("--resume {run} --summary summary.json");
    let resumed = run_hooked(&place, &resume, &["feed training 1 2 32 2", "goodbye"]);
    assert_eq!(resumed.code(), Some(0));
    let said =
        format!("modification `demo` was closed by Ada on 2026-11-01, and run {run}, which counts to it, goes on");
    assert!(resumed.talk().len() == 1 && resumed.talk()[0].starts_with(&said), "{resumed:?}");
    assert!(!resumed.stderr.contains("unassigned"), "{resumed:?}");
    let summary = summary(&place);
    assert_eq!((&summary["modification"], codes(&summary)), (&"demo".into(), vec!["modification-closed"]));
    assert_eq!((summary["assessment"]["verdict"].as_str(), steps_of_demo(&place)), (Some("below"), 3));
}

#[test]
fn a_run_keeps_its_base_model() {
    let place = place_with_line_of(100);
    crate::job::write_base(&place, "other", 1 << 70);
    assert_eq!(run_hooked(&place, OPTIONS, &["feed training 1 2 32 1", "goodbye"]).code(), Some(0));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let resume = format!("--resume {run} --base other.toml --summary summary.json");
    let resumed = run_hooked(&place, &resume, &["feed training 1 2 32 2", "goodbye"]);
    let said = format!("run {run} is of base model acme/base, --base names acme/other: it goes on with its own");
    assert!(resumed.talk().len() == 1 && resumed.talk()[0].starts_with(&said), "{resumed:?}");
    let summary = summary(&place);
    assert_eq!((&summary["modification"], codes(&summary)), (&"demo".into(), vec!["base-conflict"]));
    assert_eq!((summary["assessment"]["share_of_line_percent"].as_str(), steps_of_demo(&place)), (Some("3.00"), 3));
}
