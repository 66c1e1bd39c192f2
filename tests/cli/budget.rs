//! Head-room as a budget, with real processes: what is set aside, spent, settled and given back, and jobs that run side by side.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::alerts::place_with_line_of;
use crate::job::{hooked, run_hooked, tiny_config};
use crate::place::{Outcome, Place, Running, codes, finish};

const METHOD: &str = "--method lora --lora-r 8 --lora-targets q_proj,v_proj --sequences 2 --seq-len 32";

/// `plan` of so many steps of the small model for `demo`.
fn plan_line(place: &Place, steps: u64, options: &str) -> String {
    place.write_json("config.json", &tiny_config());
    format!("plan --config config.json {METHOD} --tokens {} --modification demo {options}", steps * 64)
}

fn reserve(place: &Place, steps: u64) -> Outcome {
    place.flopsmeter(&plan_line(place, steps, "--base base.toml --reserve --by Ada --json"))
}

fn shown(place: &Place) -> Value {
    place.flopsmeter("modifications show demo --json").json()
}

/// In steps of the small model, of which `ten` are the line.
fn steps(flop: &Value, ten: &Value) -> u128 {
    let number = |value: &Value| value.as_str().unwrap().parse::<u128>().unwrap();
    // The smallest amount over the line is the line and one operation.
    number(flop) * 10 / (number(ten) - 1)
}

#[test]
fn a_plan_is_set_aside_spent_and_settled() {
    let place = place_with_line_of(10);
    let planned = reserve(&place, 4).json();
    let budget = &planned["budget"];
    let line = budget["exceeds"]["flop"].clone();
    let in_steps = |flop: &Value| steps(flop, &line);
    assert_eq!((budget["modification"].as_str(), budget["base"].as_str()), (Some("demo"), Some("acme/base")));
    assert_eq!((in_steps(&budget["spent"]), in_steps(&budget["reserved"])), (0, 4));
    assert_eq!(in_steps(&budget["exceeds"]["flop_left"]), 6);
    assert_eq!(
        (&budget["reservation"]["flop"], &budget["reservation"]["by"]),
        (&budget["plan"]["flop"], &json!("Ada"))
    );
    assert_eq!(planned["headroom"]["exceeds"]["flop"], line, "what was there before stays as it was");
    // Nothing was done, whatever is set aside.
    let assessed = place.flopsmeter("assess demo --json").json();
    assert_eq!((&assessed["training_compute"], in_steps(&assessed["budget"]["reserved"])), (&Value::Null, 4));

    let run = run_hooked(&place, "--quiet --modification demo", &["feed training 1 2 32 3", "goodbye"]);
    assert_eq!((run.code(), run.stderr.as_str()), (Some(0), ""));
    let after = shown(&place);
    assert_eq!((in_steps(&after["budget"]["spent"]), in_steps(&after["budget"]["reserved"])), (3, 0));
    let reservation = &after["reservations"][0];
    assert_eq!(reservation["runs"][0]["run"], after["runs"][0]);
    assert_eq!(in_steps(&reservation["runs"][0]["spent"]), 3);
    let words = place.flopsmeter("modifications show demo");
    assert!(words.data().contains("settled"), "{words:?}");
    assert!(place.flopsmeter("assess demo").data().contains("\nbudget     "));
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn what_is_spent_beyond_it_is_told() {
    let place = place_with_line_of(10);
    reserve(&place, 2).json();
    let run = run_hooked(&place, "--modification demo --summary summary.json", &["feed training 1 2 32 3", "goodbye"]);
    assert_eq!(run.code(), Some(0));
    let summary: Value = serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap();
    assert_eq!(codes(&summary), ["reservation-overrun"]);
    assert!(run.stderr.contains(" FLOP more were spent"), "{run:?}");
    // Another run has none to spend, and naming one that is over is told.
    let again = run_hooked(&place, "--modification demo --reservation 0 --summary summary.json", &["goodbye"]);
    assert!(again.stderr.contains("spends no reservation: reservation "), "{again:?}");
    assert!(again.stderr.contains(" is settled: set aside what the job takes"), "{again:?}");
}

#[test]
fn processes_cannot_set_the_same_room_aside() {
    let place = place_with_line_of(10);
    let line = plan_line(&place, 4, "--base base.toml --reserve");
    let start = |_| -> Child {
        let mut command = place.command(line.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<Child> = (0..6).map(start).collect();
    let ended: Vec<Outcome> = all.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    let held = ended.iter().filter(|outcome| outcome.code() == Some(0)).count();
    assert_eq!(held, 2, "twice four steps fit under a line of ten: {ended:?}");
    for refused in ended.iter().filter(|outcome| outcome.code() != Some(0)) {
        assert_eq!(refused.code(), Some(11), "{refused:?}");
        assert!(refused.stderr.contains("nothing was set aside: with "), "{refused:?}");
        assert!(refused.stderr.contains("would make the verdict `exceeds`, which the gate `exceeds` stops"));
    }
    let after = shown(&place);
    assert_eq!(after["reservations"].as_array().unwrap().len(), 2);
    assert_eq!(steps(&after["budget"]["reserved"], &after["budget"]["exceeds"]["flop"]), 8);
}

#[test]
fn a_gate_hears_what_is_set_aside() {
    let place = place_with_line_of(10);
    reserve(&place, 8).json();
    // By itself it is below; what is there already makes it too much. The base is the modification's.
    let plan = |options: &str| place.flopsmeter(&plan_line(&place, 3, options));
    let told = plan("--json").json();
    assert_eq!(
        (&told["assessment"]["verdict"], &told["budget"]["plan"]["verdict"]),
        (&"below".into(), &"exceeds".into())
    );
    let stopped = plan("--gate exceeds");
    assert_eq!(stopped.code(), Some(11));
    assert_eq!(
        stopped.talk(),
        ["the gate does not let this plan and what is set aside pass: its verdict is exceeds"],
        "{stopped:?}"
    );
    let gated = |gate: &str| {
        finish(place.script(&format!("--base base.toml --modification demo --quiet --gate {gate}"), "exit 7"))
    };
    assert!(gated("near").refusal(10).contains(" FLOP that are set aside are spent)"));
    assert_eq!(gated("exceeds").code(), Some(7));
}

#[test]
fn what_is_given_back_can_be_set_aside_again() {
    let place = place_with_line_of(10);
    let id = reserve(&place, 8).json()["budget"]["reservation"]["reservation"].as_str().unwrap().to_owned();
    assert_eq!(reserve(&place, 3).code(), Some(11));
    let nobody = place.flopsmeter(&format!("modifications release demo {id}"));
    assert!(nobody.refusal(2).contains("--by <NAME>"), "{nobody:?}");
    let unknown = place.flopsmeter("modifications release demo ffff --by Ada");
    assert!(unknown.refusal(1).contains("no reservation of `demo` begins with `ffff`"), "{unknown:?}");
    let given = place.flopsmeter(&format!("modifications release demo {id} --by Ada"));
    assert!(given.data().starts_with(&format!("reservation {id} of demo, ")), "{given:?}");
    let twice = place.flopsmeter(&format!("modifications release demo {id} --by Ada"));
    assert!(twice.refusal(1).contains("holds nothing any more: it is released"), "{twice:?}");
    assert_eq!(reserve(&place, 3).code(), Some(0));
    let past = place.flopsmeter(&plan_line(&place, 1, "--reserve --reserve-until 2020-01-01"));
    assert!(past.refusal(2).contains("`--reserve-until` 2020-01-01 is over"), "{past:?}");
    assert!(place.flopsmeter(&plan_line(&place, 1, "--by Ada")).refusal(2).contains("--reserve"));
}

/// Three and three of ten steps: neither run comes near the line by itself.
#[test]
fn jobs_side_by_side_are_told_of_the_line_that_they_reach_together() {
    let place = place_with_line_of(10);
    let start = || {
        let mut running = Running::start(hooked(&place, "--base base.toml --modification demo --progress 1h"));
        running.wait_for_stdout("ready");
        running
    };
    let (mut first, mut second) = (start(), start());
    first.tell("feed training 1 2 32 3");
    second.tell("feed training 1 2 32 3");
    let loud = || {
        let runs = place.flopsmeter("runs list --json");
        let runs = if runs.code() == Some(0) { runs.json() } else { json!([]) };
        let alerts = |run: &Value| run["alerts"].as_array().unwrap().clone();
        runs.as_array().unwrap().iter().flat_map(alerts).collect::<Vec<Value>>()
    };
    crate::place::until("a run said that they are near together", || !loud().is_empty());
    for mut running in [first, second] {
        running.tell("goodbye");
        running.say("exit 0");
        assert_eq!(running.finish().code(), Some(0));
    }
    let alerts = loud();
    assert_eq!(alerts.len(), 1, "one of them says it for both: {alerts:?}");
    assert_eq!(alerts[0]["crossing"]["share_of_line_percent"], "60.00");
}

#[test]
fn a_run_that_was_alone_hears_of_one_that_comes() {
    let place = place_with_line_of(10);
    let start = |options: &str| {
        let options = format!("--base base.toml --modification demo --progress 1h {options}");
        let mut running = Running::start(hooked(&place, &options));
        running.wait_for_stdout("ready");
        running
    };
    let mut first = start("");
    // By then it has found nobody, and no longer looks; a machine that stalls makes this test weaker, not wrong.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut second = start("--alert-at 100%");
    for running in [&mut first, &mut second] {
        running.tell("feed training 1 2 32 3");
    }
    let said = first.wait_for_stderr("***");
    assert!(said.contains("NEAR"), "{said}");
    for mut running in [first, second] {
        running.tell("goodbye");
        running.say("exit 0");
        assert_eq!(running.finish().code(), Some(0));
    }
}

/// Each by itself would be far below the line when it stops; together they are stopped before it.
#[test]
fn jobs_side_by_side_are_stopped_before_they_cross_together() {
    let place = place_with_line_of(900);
    let start = || {
        let options = "--base base.toml --modification demo --gate exceeds --progress 1h";
        let mut running = Running::start(hooked(&place, options));
        running.wait_for_stdout("ready");
        running.say("train 2000 2000 25");
        running
    };
    let both = [start(), start()];
    let mut codes = Vec::new();
    for mut running in both {
        running.wait_for_stdout("trained ");
        running.tell("goodbye");
        running.say("exit 0");
        codes.push(running.finish().code());
    }
    assert_eq!(codes, [Some(11); 2]);
    let assessed = place.flopsmeter("assess demo --json").json();
    assert_eq!(assessed["verdict"], "near", "neither over it nor long before it: {assessed}");
}

#[test]
fn a_house_rule_gates_a_run_and_is_told_while_it_runs() {
    let place = place_with_line_of(10);
    place.write(
        "house.toml",
        "name = \"acme\"\ndeclared_by = \"Ada\"\ndate = 2026-11-21\nsays = \"review early\"\n[[line]]\nkey = \"third-of-base\"\nmultiplier = \"3/10\"\n",
    );
    let options = "--base base.toml --modification demo --alert-at 100% --progress 1h";
    let with_house = |options: &str| {
        let mut command = hooked(&place, options);
        command.env("FLOPSMETER_HOUSE_RULES", "house.toml");
        command
    };
    let mut running = Running::start(with_house(options));
    running.wait_for_stdout("ready");
    // Exactly the law's line, which is not over it; a step more than the house's.
    running.tell("feed training 1 2 32 10");
    let said = running.wait_for_stderr("***");
    assert!(said.contains("EXCEEDS the line of house rule acme, "), "{said}");
    assert!(said.contains("(stricter than the law: Guidelines "), "{said}");
    running.tell("goodbye");
    running.say("exit 0");
    let outcome = running.finish();
    assert_eq!(outcome.stderr.lines().filter(|line| line.contains("***")).count(), 1, "{outcome:?}");

    let gated = |house: bool| {
        let mut command = place.script("--base base.toml --modification demo --quiet --gate exceeds", "exit 7");
        if house {
            command.env("FLOPSMETER_HOUSE_RULES", "house.toml");
        }
        finish(command)
    };
    assert_eq!(gated(false).code(), Some(7), "the law's verdict is near");
    let refused = gated(true);
    assert!(refused.refusal(11).contains("stops the verdict `exceeds` (the house rule's; "), "{refused:?}");
}
