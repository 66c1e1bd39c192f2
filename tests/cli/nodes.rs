//! Jobs that were launched on several nodes: what runs on one that nobody metered is bounded by nothing.

use serde_json::{Value, json};

use crate::job::write_base;
use crate::place::{Place, codes, finish, until};

/// A place with a base model that no ceiling of this machine comes near.
fn place_with_vast_base() -> Place {
    let place = Place::new();
    write_base(&place, "base", 10_u128.pow(36));
    place
}

/// One node of a job whose processes are told so much.
fn node(place: &Place, options: &str, told: &[(&str, &str)], script: &str) -> Value {
    let options = format!("--base base.toml --modification demo --quiet --summary s.json {options}");
    let mut command = place.script(&options, script);
    command.envs(told.iter().copied());
    let outcome = finish(command);
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    serde_json::from_str(&fs_err::read_to_string(place.path("s.json")).unwrap()).unwrap()
}

/// What the first of two does: it ends only after the second one has begun, as the processes of one launch do.
const UNTIL_THE_SECOND: &str = "while [ ! -e second ]; do sleep 0.05; done; sleep 1.2";

fn is_recorded(place: &Place) -> bool {
    place.flopsmeter("runs list --json").stdout.contains("\"run\"")
}

fn assessed(place: &Place) -> Value {
    place.flopsmeter("assess demo --json").json()
}

/// The text of the finding that nodes are missing.
fn missing_nodes(run: &Value) -> &str {
    let mut findings = run["findings"].as_array().unwrap().iter();
    let found = findings.find(|finding| finding["code"] == "nodes-unmetered");
    found.unwrap_or_else(|| panic!("{run:#}"))["text"].as_str().unwrap()
}

#[test]
fn a_job_is_bounded_when_all_of_its_nodes_are_on_record_and_not_before() {
    let place = place_with_vast_base();
    let script = format!("export WORLD_SIZE=16 LOCAL_WORLD_SIZE=8 RANK=0; sh -c '{UNTIL_THE_SECOND}'");
    let mut first = place.script("--base base.toml --modification demo --job 4711 --quiet", &script).spawn().unwrap();
    until("the first node's start", || is_recorded(&place));
    until("the missing half is noticed", || assessed(&place)["verdict"] == "undetermined");
    node(&place, "--job 4711", &[("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8")], "touch second; sleep 0.3");
    assert!(first.wait().unwrap().success());
    let both = assessed(&place);
    assert_eq!((&both["verdict"], &both["basis"]), (&json!("below"), &json!("ceiling")), "{both:#}");
}

#[test]
fn half_of_a_job_proves_nothing_and_says_what_is_missing() {
    let told = [("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8")];
    for options in ["--job 4711", ""] {
        let place = place_with_vast_base();
        let half = node(&place, options, &told, "sleep 1.2");
        assert_eq!(half["ceiling"]["complete"], false, "{half:#}");
        let text = missing_nodes(&half);
        assert!(text.contains("told WORLD_SIZE=16, and 8 of these 16 are on this record"), "{text}");
        assert_eq!(assessed(&place)["verdict"], "undetermined");
    }
}

#[test]
fn processes_that_are_told_of_others_and_not_where_these_are_prove_nothing() {
    for told in [
        &[("WORLD_SIZE", "2"), ("RANK", "0")][..],
        &[("SLURM_NNODES", "4"), ("PMI_SIZE", "4"), ("PMI_RANK", "0")],
        &[("SLURM_PROCID", "0"), ("SLURM_NODEID", "0"), ("SLURM_STEP_NUM_NODES", "2")],
    ] {
        let place = place_with_vast_base();
        let part = node(&place, "", told, "sleep 1.2");
        assert_eq!(part["ceiling"]["complete"], false, "{told:?}: {part:#}");
        assert!(missing_nodes(&part).contains(", and 1 of these "), "{part:#}");
        assert_eq!(assessed(&place)["verdict"], "undetermined", "{told:?}");
    }
}

/// A launcher that starts a meter for each of its processes: one of them has no other's work below it, however many its node has.
#[test]
fn a_meter_for_one_process_of_a_node_bounds_that_one_alone() {
    for told in [
        &[("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "4"), ("RANK", "0")][..],
        &[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")],
        &[("SLURM_PROCID", "0"), ("SLURM_NODEID", "0"), ("SLURM_STEP_NUM_NODES", "1"), ("SLURM_STEP_NUM_TASKS", "4")],
    ] {
        let place = place_with_vast_base();
        let part = node(&place, "--job 4711", told, "sleep 0.3");
        assert!(missing_nodes(&part).contains("=4, and 1 of these 4 "), "{part:#}");
        assert_eq!(assessed(&place)["verdict"], "undetermined", "{told:?}");
    }
}

/// A batch script exports the size, and the step that is as large numbers its tasks.
#[test]
fn tasks_of_a_step_with_a_meter_each_are_bounded_together() {
    let place = place_with_vast_base();
    let told = |number| [("WORLD_SIZE", "2"), ("SLURM_PROCID", number), ("SLURM_STEP_NUM_TASKS", "2")];
    let mut first = place.script("--base base.toml --modification demo --job 4711 --quiet", UNTIL_THE_SECOND);
    let mut first = first.envs(told("0")).spawn().unwrap();
    until("the first task's start", || is_recorded(&place));
    node(&place, "--job 4711", &told("1"), "touch second; sleep 0.3");
    assert!(first.wait().unwrap().success());
    assert_eq!(assessed(&place)["verdict"], "below");
}

#[test]
fn jobs_of_one_node_are_bounded() {
    let ranks = "for r in 0 1 2; do RANK=$r WORLD_SIZE=3 sleep 4 & done; wait";
    let batch = [("SLURM_NNODES", "4"), ("SLURM_PROCID", "0"), ("SLURM_NODEID", "0"), ("ENVIRONMENT", "BATCH")];
    let step = [("SLURM_NNODES", "4"), ("SLURM_PROCID", "0"), ("SLURM_NODEID", "0"), ("SLURM_STEP_NUM_NODES", "1")];
    let torchrun = "WORLD_SIZE=8 LOCAL_WORLD_SIZE=8 RANK=7 sleep 1.2; :";
    for (told, script) in [(&[][..], ranks), (&batch, "sleep 1.2"), (&step, "sleep 1.2"), (&[], torchrun)] {
        let place = place_with_vast_base();
        let run = node(&place, "", told, script);
        assert_eq!(run["ceiling"]["complete"], true, "{told:?}: {run:#}");
        assert!(!codes(&run).contains(&"nodes-unmetered"), "{run:#}");
        assert_eq!(assessed(&place)["verdict"], "below", "{told:?}");
    }
}
