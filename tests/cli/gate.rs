//! `run --gate`, with a scripted trainer.

use serde_json::Value;

use crate::alerts::place_with_line_of;
use crate::job::{hooked, run_hooked};
use crate::place::{Place, Running, codes, finish};

const NINE_STEPS: &str = "feed training 1 2 32 9";

fn summary(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap()
}

#[test]
fn a_job_is_refused_whose_modification_has_reached_the_verdict() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --modification demo --quiet";
    let steps = |count: usize| format!("feed training 1 2 32 {count}");
    assert_eq!(run_hooked(&place, options, &[&steps(6), "goodbye"]).code(), Some(0));
    let gated = |gate: &str| finish(place.script(&format!("{options} --gate {gate}"), "echo started; exit 7"));

    let near = gated("near");
    let said = near.refusal(10);
    assert!(said.contains("the job was not started: the gate `near` stops the verdict `near`"), "{said}");
    let started = gated("exceeds");
    assert_eq!((started.code(), started.stdout.as_str()), (Some(7), "started\n"));

    assert_eq!(run_hooked(&place, options, &[&steps(5), "goodbye"]).code(), Some(0));
    for gate in ["near", "exceeds", "near,undetermined"] {
        gated(gate).refusal(11);
    }
    // What is left out of the assessment is left out here.
    let runs = place.flopsmeter("runs list --json").json();
    for run in runs.as_array().unwrap() {
        place.flopsmeter(&format!("runs exclude {} --reason diverged --by Ada", run["run"].as_str().unwrap())).data();
    }
    assert_eq!(gated("near").code(), Some(7));
    // Another modification of the same base has spent nothing.
    let other = place.script("--base base.toml --modification other --quiet --gate near", "exit 7");
    assert_eq!(finish(other).code(), Some(7));
}

#[test]
fn a_run_that_goes_on_is_refused_by_the_modification_that_it_counts_to() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --modification demo --quiet";
    assert_eq!(run_hooked(&place, options, &[NINE_STEPS, "goodbye"]).code(), Some(0));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let resumed = |gate: &str| place.run_script(&format!("--resume {run} --gate {gate} --quiet"), "exit 7");
    assert!(resumed("near").refusal(10).contains("stops the verdict `near`"));
    assert_eq!(resumed("exceeds").code(), Some(7));
    // Another base on the command line, of a hundred times the compute, is not what the run goes on from.
    let base = fs_err::read_to_string(place.path("base.toml")).unwrap();
    let larger = base.lines().map(|line| if line.starts_with("flop ") { "flop = \"1e24\"" } else { line });
    place.write("larger.toml", larger.collect::<Vec<_>>().join("\n"));
    assert!(resumed("near --base larger.toml").refusal(10).contains("stops the verdict `near`"));
}

#[test]
fn a_run_that_counts_nowhere_is_refused_by_what_it_has_done() {
    let place = place_with_line_of(10);
    assert_eq!(run_hooked(&place, "--base base.toml --quiet", &[NINE_STEPS, "goodbye"]).code(), Some(0));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    for base in ["", "--base base.toml", "--base base.toml --modification demo"] {
        let refused = place.run_script(&format!("--resume {run} --gate near --quiet {base}"), "exit 7");
        assert!(refused.refusal(10).contains("stops the verdict `near`"), "{base}: {refused:?}");
    }
}

#[test]
fn a_missing_fact_stops_only_where_it_is_listed() {
    let place = Place::new();
    let started = place.run_script("--gate exceeds --quiet", "exit 7");
    assert_eq!(started.code(), Some(7));
    assert!(started.stderr.contains("the gate `exceeds` starts the job at the verdict `undetermined`"), "{started:?}");
    let refused = place.run_script("--gate exceeds,undetermined --quiet", "exit 7");
    assert!(refused.refusal(12).contains("stops the verdict `undetermined`"), "{refused:?}");
    let unknown = place.run_script("--base acme/none --gate near,undetermined", "exit 7");
    assert!(unknown.refusal(12).contains("the base model `acme/none` is not known"), "{unknown:?}");
    let words = place.run_script("--gate below", "exit 7");
    assert!(words.refusal(2).contains("a gate is `near` or `exceeds`"), "{words:?}");
    assert!(place.run_script("--gate-grace 1s", "exit 7").refusal(2).contains("--gate"));
}

#[test]
fn a_trainer_is_told_to_stop_and_its_end_is_the_gates() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --gate exceeds --progress 300ms --summary summary.json";
    let mut running = Running::start(hooked(&place, options));
    running.wait_for_stdout("ready");
    running.tell(NINE_STEPS);
    running.tell("step 9 1000");
    running.say("listen");
    let heard = running.wait_for_stdout("stop after ");
    let after: u64 = heard.strip_prefix("stop after ").unwrap().parse().unwrap();
    assert!(after > 9, "{heard}");
    running.tell(&format!("step {after} 1000"));
    running.tell("goodbye");
    running.say("exit 0");
    let outcome = running.finish();
    assert_eq!(outcome.code(), Some(11), "{outcome:?}");
    assert!(outcome.stderr.contains(&format!("has the trainer save and stop after step {after}: ")), "{outcome:?}");
    assert_eq!(codes(&summary(&place)), ["gate-stop"]);
    assert_eq!(summary(&place)["exit"]["code"], 0);
}

#[test]
fn a_trainer_that_does_not_heed_gets_sigterm_after_the_grace_and_nothing_worse() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --gate exceeds --gate-grace 500ms --summary summary.json";
    let mut running = Running::start(hooked(&place, options));
    running.wait_for_stdout("ready");
    running.tell(NINE_STEPS);
    running.tell("step 9 1000");
    // It blocks SIGTERM and goes on for as long as it wants.
    running.say("signals");
    running.wait_for_stdout("SIGTERM");
    running.tell("goodbye");
    running.say("exit 0");
    let outcome = running.finish();
    assert_eq!(outcome.code(), Some(11), "{outcome:?}");
    assert_eq!(codes(&summary(&place)), ["gate-stop", "gate-terminated"]);
}

#[test]
fn a_job_that_fails_by_itself_keeps_its_code() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --gate exceeds --summary summary.json";
    let mut running = Running::start(hooked(&place, options));
    running.wait_for_stdout("ready");
    running.tell(NINE_STEPS);
    running.tell("step 9 1000");
    running.say("listen");
    running.wait_for_stdout("stop after ");
    running.say("exit 3");
    assert_eq!(running.finish().code(), Some(3));
}
