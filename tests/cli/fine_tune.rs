//! A fine-tune from its first step to its assessment, as a scripted hook tells it.

use serde_json::{Value, json};

use crate::job::{Training, flop, hooked, plan, run_hooked, write_base, write_facts};
use crate::place::{Place, Running, codes, until};

const STEP: &str = "feed training 1 2 32 1";

/// Model operations of one step of the small model.
fn step_flop(place: &Place) -> u128 {
    flop(&plan(place, Training::Lora, 1)["flops"]["training"])
}

fn summary(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap()
}

#[test]
fn each_line_is_announced_once_when_it_is_crossed() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    // near from 7/39 of the base on, which is 2.7 steps; over the line from more than 5 steps on.
    write_base(&place, "base", 15 * step_flop(&place));
    let options = "--base base.toml --modification demo --progress 300ms --summary summary.json";
    let mut running = Running::start(hooked(&place, options));
    running.wait_for_stdout("ready");
    running.tell(STEP);
    running.tell(STEP);
    running.tell("step 2 8");
    running.wait_for_stderr("step 2 of 8: ");
    running.tell(STEP);
    let near = running.wait_for_stderr("***");
    running.tell(STEP);
    let four_fifths = running.wait_for_stderr("***");
    running.tell(STEP);
    running.tell("step 5 8");
    let foreseen = running.wait_for_stderr("***");
    running.wait_for_stderr("step 5 of 8: ");
    running.tell(STEP);
    let exceeds = running.wait_for_stderr("***");
    running.tell(STEP);
    running.tell("step 7 8");
    running.wait_for_stderr("step 7 of 8: ");
    running.tell("goodbye");
    running.say("exit 3");
    let outcome = running.finish();
    assert_eq!(outcome.code(), Some(3));

    assert!(near.starts_with("flopsmeter: *** NEAR the line of "), "{near}");
    assert!(near.contains(": 60.00 % of it is spent (Guidelines "), "{near}");
    assert!(four_fifths.starts_with("flopsmeter: *** NEAR the line of "), "{four_fifths}");
    assert!(four_fifths.contains(": 80.00 % of it is spent (Guidelines "), "{four_fifths}");
    assert!(foreseen.starts_with("flopsmeter: *** WILL EXCEED the line of "), "{foreseen}");
    // How wide the forecast is depends on when the meter looked.
    assert!(foreseen.contains(" when the schedule ends: 160.00 % of it ("), "{foreseen}");
    assert!(foreseen.contains(" %); 100.00 % is spent now, 100 % of it about "), "{foreseen}");
    assert!(exceeds.starts_with("flopsmeter: *** EXCEEDS the line of "), "{exceeds}");
    assert!(exceeds.contains(": 120.00 % of it is spent (Guidelines "), "{exceeds}");
    let loud = outcome.stderr.lines().filter(|line| line.starts_with("flopsmeter: ***"));
    assert_eq!(loud.collect::<Vec<_>>(), [near.as_str(), &four_fifths, &foreseen, &exceeds]);
    let line_at = |step: &str| outcome.stderr.lines().find(|line| line.contains(step)).unwrap().to_owned();
    let below = line_at("step 2 of 8: ");
    assert!(
        below.contains("below the line at 40.00 % of it; projected ") && below.ends_with("OVER the line"),
        "{below}"
    );
    assert!(line_at("step 5 of 8: ").contains("near the line at 100.00 % of it: inside the permitted margin"));
    assert!(!outcome.stderr.contains('\r'));

    let summary = summary(&place);
    let alerts: Vec<&str> =
        summary["alerts"].as_array().unwrap().iter().map(|alert| alert["verdict"].as_str().unwrap()).collect();
    assert_eq!(alerts, ["near", "near", "exceeds", "exceeds"]);
    let crossings: Vec<(&Value, &Value)> = summary["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| (&alert["crossing"]["what"], &alert["crossing"]["levels"]))
        .collect();
    let said = [("spent", "near"), ("spent", "80%"), ("forecast", "100%"), ("spent", "100%")];
    assert_eq!(
        crossings,
        said.map(|(what, level)| (json!(what), json!([level]))).each_ref().map(|(what, levels)| (what, levels))
    );
    assert_eq!((&summary["complete"], codes(&summary)), (&true.into(), Vec::new()));
}

#[test]
fn what_ran_is_what_was_planned() {
    for training in [Training::Full, Training::Lora, Training::LoraCheckpointed] {
        let place = Place::new();
        write_facts(&place, training);
        let script = ["feed training 1 2 32 7", "feed evaluation 0 2 32 3", "goodbye"];
        let outcome = run_hooked(&place, "--quiet --summary summary.json", &script);
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (Some(0), ""));
        let (summary, planned) = (summary(&place), plan(&place, training, 7));
        for part in ["forward", "backward", "recompute", "training"] {
            assert_eq!(summary["flops"][part], planned["flops"][part], "{part} with {}", training.options());
        }
        // Evaluation is executed and not counted: three forward passes like the seven.
        let all = |part: &str| flop(&planned["flops"][part]);
        assert_eq!(flop(&summary["flops"]["executed"]), all("training") + all("recompute") + all("forward") / 7 * 3);
        assert_eq!((&summary["tokens"]["fed"], &summary["tokens"]["real"]), (&448.into(), &448.into()));
        assert_eq!((&summary["complete"], codes(&summary)), (&true.into(), Vec::new()));
        let trained = &summary["models"][0]["parameters_trainable"];
        assert_eq!(trained, &planned["params"]["trainable"]);
    }
}

#[test]
fn two_runs_of_a_modification_add_up() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    let step = step_flop(&place);
    write_base(&place, "base", 15 * step);
    let options = "--base base.toml --modification demo";
    let first = run_hooked(&place, &format!("{options} --quiet"), &["feed training 1 2 32 2", "goodbye"]);
    assert_eq!(first.code(), Some(0));
    assert_eq!(place.flopsmeter("assess demo --json").json()["verdict"], "below");

    // Two more steps bring the modification, not this run, near the line.
    let mut second = Running::start(hooked(&place, &format!("{options} --summary summary.json")));
    second.wait_for_stdout("ready");
    second.tell("feed training 1 2 32 2");
    let alert = second.wait_for_stderr("***");
    assert!(alert.contains("NEAR") && alert.contains(": 80.00 % of it is spent"), "{alert}");
    second.tell("goodbye");
    second.say("exit 0");
    assert_eq!(second.finish().code(), Some(0));

    let assessment = place.flopsmeter("assess demo --json").json();
    assert_eq!((flop(&assessment["training_compute"]), &assessment["verdict"]), (4 * step, &"near".into()));
    assert_eq!((&assessment["ratio"], &assessment["share_of_line_percent"]), (&"0.266667".into(), &"80.00".into()));
    assert_eq!(assessment["inputs"]["runs"].as_array().unwrap().len(), 2);
    assert_eq!(summary(&place)["assessment"]["training_compute"], assessment["training_compute"]);

    let report = place.flopsmeter("report threshold demo --format json,md,html --out out");
    assert_eq!(report.data(), "out/threshold.json\nout/threshold.md\nout/threshold.html\n");
    let memo = fs_err::read_to_string(place.path("out/threshold.md")).unwrap();
    assert!(memo.contains("acme/base") && memo.contains("near"), "{memo}");
    let document: Value =
        serde_json::from_str(&fs_err::read_to_string(place.path("out/threshold.json")).unwrap()).unwrap();
    let whole = document.to_string();
    for run in assessment["inputs"]["runs"].as_array().unwrap() {
        assert!(whole.contains(run["digest"].as_str().unwrap()), "the document names each run's digest");
    }

    // Taken out again, one run is what remains.
    let run = place.flopsmeter("modifications show demo --json").json()["runs"][0].as_str().unwrap().to_owned();
    let taken_out = place.flopsmeter(&format!("modifications unassign demo {run}"));
    assert_eq!(taken_out.data(), format!("run {run} no longer counts to demo\n"));
    let assessment = place.flopsmeter("assess demo --json").json();
    assert_eq!((flop(&assessment["training_compute"]), &assessment["verdict"]), (2 * step, &"below".into()));
}

#[test]
fn another_base_under_the_same_name_is_recorded_apart() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    write_base(&place, "base", 15 * step_flop(&place));
    write_base(&place, "other", 10 * step_flop(&place));
    let script = ["feed training 1 2 32 1", "goodbye", "exit 7"];
    assert_eq!(run_hooked(&place, "--quiet --base base.toml --modification demo", &script).code(), Some(7));
    let outcome = run_hooked(&place, "--base other.toml --modification demo --summary summary.json", &script);
    assert_eq!(outcome.code(), Some(7));
    let said = "modification `demo` is bound to base model acme/base, this run names acme/other: the run is recorded unassigned; \
                give the other base its own --modification";
    assert_eq!(outcome.talk(), [said]);
    let summary = summary(&place);
    assert_eq!((&summary["modification"], codes(&summary)), (&().into(), vec!["modification-conflict"]));
    // It is judged against its own base.
    assert_eq!(summary["assessment"]["share_of_line_percent"], "30.00");
    let modification = place.flopsmeter("modifications show demo --json").json();
    assert_eq!(modification["runs"].as_array().unwrap().len(), 1);
    let assign = format!("modifications assign demo {}", summary["run"].as_str().unwrap());
    let refused = place.flopsmeter(&assign);
    assert!(refused.refusal(1).contains("a modification has one base model"), "{refused:?}");
}

#[test]
fn a_hook_that_dies_or_lies_leaves_the_count_incomplete() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    write_base(&place, "base", 15 * step_flop(&place));
    let options = "--base base.toml --modification demo --summary summary.json";
    let outcome = run_hooked(&place, options, &[STEP, "exit 9"]);
    assert_eq!(outcome.code(), Some(9));
    let cut = summary(&place);
    assert_eq!((&cut["complete"], codes(&cut)), (&false.into(), vec!["hook-cut"]));
    assert_eq!(flop(&cut["flops"]["training"]), step_flop(&place));
    assert_eq!(outcome.talk().len(), 1, "{:?}", outcome.talk());
    // Bytes that are no message: the connection is given up, the job is not.
    let outcome = run_hooked(&place, options, &[STEP, "raw 0000000361626320", STEP, "goodbye", "exit 9"]);
    assert_eq!(outcome.code(), Some(9));
    let malformed = summary(&place);
    assert_eq!((&malformed["complete"], codes(&malformed)), (&false.into(), vec!["hook-malformed"]));
}

#[test]
fn a_run_whose_meter_was_killed_does_not_silence_the_alert() {
    let place = Place::new();
    write_facts(&place, Training::Lora);
    let step = step_flop(&place);
    write_base(&place, "base", 15 * step);
    let options = "--base base.toml --modification demo";
    let mut killed = Running::start(hooked(&place, &format!("{options} --quiet")));
    killed.wait_for_stdout("ready");
    killed.tell("feed training 1 2 32 2");
    until("two steps on record", || {
        let runs = place.flopsmeter("runs list --json");
        runs.code() == Some(0) && runs.json()[0]["flops"]["training"] == (2 * step).to_string()
    });
    nix::sys::signal::kill(killed.pid(), nix::sys::signal::Signal::SIGKILL).unwrap();
    killed.wait();
    // What is on record of it is a lower bound: with one step more the line is near, at least.
    let mut second = Running::start(hooked(&place, options));
    second.wait_for_stdout("ready");
    second.tell(STEP);
    let alert = second.wait_for_stderr("***");
    assert!(alert.contains("NEAR"), "{alert}");
    second.tell("goodbye");
    second.say("exit 0");
    assert_eq!(second.finish().code(), Some(0));
    // That it stays below the line can no longer be said by anybody.
    assert_eq!(place.flopsmeter("assess demo --json").json()["verdict"], "undetermined");
}
