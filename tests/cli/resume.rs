//! A run that goes on after its end, a job on several nodes, and a kind of work that is declared.

use serde_json::Value;

use crate::alerts::place_with_line_of;
use crate::job::{Training, flop, hooked, plan, run_hooked};
use crate::place::{Place, Running, codes};

fn step(place: &Place) -> u128 {
    flop(&plan(place, Training::Lora, 1)["flops"]["training"])
}

fn summary(place: &Place) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path("summary.json")).unwrap()).unwrap()
}

#[test]
fn a_run_goes_on_as_a_further_segment() {
    let place = place_with_line_of(10);
    let options = "--base base.toml --modification demo --quiet";
    assert_eq!(run_hooked(&place, options, &["feed training 1 2 32 2", "goodbye", "exit 3"]).code(), Some(3));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let resumed = run_hooked(
        &place,
        &format!("--resume {run} --quiet --summary summary.json"),
        &["feed training 1 2 32 3", "goodbye"],
    );
    assert_eq!((resumed.code(), resumed.stderr.as_str()), (Some(0), ""));
    let whole = place.only_run();
    assert_eq!((&whole["run"], flop(&whole["flops"]["training"])), (&run.as_str().into(), 5 * step(&place)));
    assert_eq!(
        (&whole["state"], &whole["complete"], &whole["exit"]["code"]),
        (&"closed".into(), &true.into(), &0.into())
    );
    assert_eq!(summary(&place)["flops"], whole["flops"]);
    assert_eq!((&summary(&place)["modification"], codes(&whole)), (&"demo".into(), Vec::new()));
    let modification = place.flopsmeter("modifications show demo --json").json();
    assert_eq!(modification["runs"].as_array().unwrap().len(), 1);
    assert_eq!(place.flopsmeter("assess demo --json").json()["share_of_line_percent"], "50.00");
    let verified = place.flopsmeter(&format!("verify {}", place.ledger().display()));
    assert!(verified.data().contains(&format!("sound  run/{run}  ")), "{verified:?}");
}

#[test]
fn a_run_that_is_not_there_is_told_before_the_job_starts() {
    let place = Place::new();
    let absent = place.run_script("--resume ffff", "exit 7");
    assert!(absent.refusal(2).contains("error: --resume: there is no ledger "), "{absent:?}");
    assert_eq!(place.run_script("--quiet", "exit 7").code(), Some(7));
    let unknown = place.run_script("--resume ffff", "exit 7");
    assert!(unknown.refusal(2).contains(" begins with `ffff`: `flopsmeter runs list` shows them"), "{unknown:?}");
}

#[test]
fn a_run_stays_with_its_modification() {
    let place = place_with_line_of(10);
    let script = ["feed training 1 2 32 1", "goodbye"];
    assert_eq!(run_hooked(&place, "--base base.toml --modification demo --quiet", &script).code(), Some(0));
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let options = format!("--resume {run} --modification other --summary summary.json");
    let resumed = run_hooked(&place, &options, &script);
    assert_eq!(resumed.code(), Some(0));
    assert!(resumed.stderr.contains("counts to `demo`, not to `other`: it goes on there"), "{resumed:?}");
    assert_eq!(
        (&summary(&place)["modification"], codes(&summary(&place))),
        (&"demo".into(), vec!["modification-conflict"])
    );
}

#[test]
fn the_runs_of_a_job_on_several_nodes_count_together() {
    let place = place_with_line_of(100);
    let node = |rank: &str, options: &str| {
        let mut command = hooked(&place, &format!("--base base.toml --quiet {options}"));
        command.env("RANK", rank).env("WORLD_SIZE", "2");
        Running::start(command)
    };
    // The nodes of one launch run at the same time.
    for options in ["--modification apart", "--modification demo --job 4711"] {
        let mut nodes = ["0", "1"].map(|rank| node(rank, options));
        for node in &mut nodes {
            node.wait_for_stdout("ready");
        }
        for mut node in nodes {
            node.tell("feed training 1 2 32 1");
            node.tell("goodbye");
            let outcome = node.finish();
            assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        }
    }
    let assessed = |slug: &str| place.flopsmeter(&format!("assess {slug} --json")).json();
    assert_eq!(assessed("apart")["verdict"], "undetermined", "each of them lacks a rank");
    let together = assessed("demo");
    assert_eq!((&together["verdict"], flop(&together["training_compute"])), (&"below".into(), 2 * step(&place)));
    let runs = place.flopsmeter("runs list --json").json();
    let of_job = runs.as_array().unwrap().iter().filter(|run| run["job"] == "4711").count();
    assert_eq!(of_job, 2, "each stays a run of its own");
    let refused = place.run_script("--job=", "exit 7");
    assert!(refused.refusal(2).contains("a job's name has 1 to 128 visible ASCII characters"), "{refused:?}");
}

/// Two nodes of a job, with so many micro-batches each; the second goes on for some seconds after the first has ended. Gives what the
/// second says at its end.
fn two_nodes(place: &Place, options: &str) -> Value {
    let mut nodes = ["0", "1"].map(|rank| {
        let mut command = hooked(place, &format!("--quiet --summary node{rank}.json {options}"));
        command.env("RANK", rank).env("WORLD_SIZE", "2");
        Running::start(command)
    });
    for node in &mut nodes {
        node.wait_for_stdout("ready");
    }
    let [mut first, mut second] = nodes;
    first.tell("feed training 1 2 32 3");
    first.tell("goodbye");
    assert_eq!(first.finish().code(), Some(0));
    second.say("train 3 3 1500");
    second.wait_for_stdout("trained 3");
    second.tell("goodbye");
    assert_eq!(second.finish().code(), Some(0));
    serde_json::from_slice(&fs_err::read(place.path("node1.json")).unwrap()).unwrap()
}

#[test]
fn a_job_on_several_nodes_counts_once_together_wherever_it_is_looked_at() {
    let place = place_with_line_of(100);
    let last = two_nodes(&place, "--base base.toml --modification demo --job 4711");
    let step = step(&place);
    let said = |assessment: &Value| (assessment["verdict"].clone(), flop(&assessment["training_compute"]));
    assert_eq!(said(&last["assessment"]), ("below".into(), 6 * step), "the node that ended last");
    two_nodes(&place, "--base base.toml --modification apart");
    // Budgets, and what a gate looks at before a job.
    let budget = |slug: &str| place.flopsmeter(&format!("modifications show {slug} --json")).json()["budget"].clone();
    let told = |slug: &str| (budget(slug)["is_lower_bound"].clone(), budget(slug)["verdict_with_reserved"].clone());
    assert_eq!(told("demo"), (false.into(), "below".into()));
    assert_eq!(told("apart"), (true.into(), "undetermined".into()), "nobody says that they are one job");
    let later = |slug: &str| {
        let options = format!("--quiet --gate exceeds,undetermined --summary later.json --modification {slug}");
        run_hooked(&place, &options, &["train 2 2 1500", "goodbye"])
    };
    let refused = later("apart");
    assert_eq!(refused.code(), Some(12), "{refused:?}");
    // A job beside it, while it runs and at its end.
    let passed = later("demo");
    assert_eq!(passed.code(), Some(0), "{passed:?}");
    let later: Value = serde_json::from_slice(&fs_err::read(place.path("later.json")).unwrap()).unwrap();
    assert_eq!(said(&later["assessment"]), ("below".into(), 8 * step));
    let ways = later["assessment"]["cumulation"].as_array().unwrap();
    let of_job = ways.iter().find(|way| way["code"] == "per-job").unwrap();
    assert_eq!(flop(&of_job["spent"]), 6 * step, "the larger job is that of two nodes");
    assert_eq!(place.flopsmeter("assess demo --json").json()["cumulation"], later["assessment"]["cumulation"]);
}

#[test]
fn a_kind_of_work_is_one_of_the_rule_sets() {
    let place = place_with_line_of(10);
    let refused = place.run_script("--phase nope", "exit 7");
    assert!(refused.refusal(2).contains("--phase `nope` is no kind of work of eu-gpai-"), "{refused:?}");
    assert!(refused.stderr.contains("; there are: training, evaluation, "), "{refused:?}");
    let options = "--base base.toml --modification demo --quiet --phase sweep";
    assert_eq!(run_hooked(&place, options, &["feed training 1 2 32 12", "goodbye"]).code(), Some(0));
    let run = place.only_run();
    assert_eq!((&run["phase"], flop(&run["flops"]["training"])), (&"sweep".into(), 12 * step(&place)));
    // A word on a command line takes nothing out.
    let assessed = place.flopsmeter("assess demo --json").json();
    assert_eq!((flop(&assessed["training_compute"]), &assessed["verdict"]), (12 * step(&place), &"exceeds".into()));
    assert_eq!(flop(&assessed["cumulative_compute"]), 12 * step(&place));
    let shown = place.flopsmeter(&format!("runs show {}", run["run"].as_str().unwrap()));
    assert!(shown.data().contains("\nphase      sweep, as declared on the command line\n"), "{shown:?}");
}
