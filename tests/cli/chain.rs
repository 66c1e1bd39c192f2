//! A modification and those it is made from, trained and planned at the same time by several processes.

use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{BaseBound, ModificationCreated, ModificationRebased};
use flopsmeter_core::lineage::BaseReference;
use flopsmeter_meter::store::Ledger;
use serde_json::{Value, json};

use crate::alerts::place_with_line_of;
use crate::job::{flop, hooked, run_hooked, tiny_config, write_base};
use crate::place::{Outcome, Place, Running, codes, until};

const METHOD: &str = "--method lora --lora-r 8 --lora-targets q_proj,v_proj --sequences 2 --seq-len 32";

/// A job of this modification that is ready to be told what to do.
fn start(place: &Place, options: &str) -> Running {
    let mut running = Running::start(hooked(place, &format!("--progress 1h {options}")));
    running.wait_for_stdout("ready");
    running
}

fn end(mut running: Running) -> Option<i32> {
    running.tell("goodbye");
    running.say("exit 0");
    running.finish().code()
}

/// `parent` on the base and `child` on that, with a line of so many steps.
fn chain(steps: u128) -> Place {
    let place = place_with_line_of(steps);
    place.flopsmeter("modifications create parent --base base.toml").data();
    place.flopsmeter("modifications create child --base modification:parent").data();
    place
}

fn alerts(place: &Place) -> Vec<Value> {
    let runs = place.flopsmeter("runs list --json");
    let runs = if runs.code() == Some(0) { runs.json() } else { json!([]) };
    runs.as_array().unwrap().iter().flat_map(|run| run["alerts"].as_array().unwrap().clone()).collect()
}

fn plan(place: &Place, steps: u64, options: &str) -> Outcome {
    place.write_json("config.json", &tiny_config());
    place.flopsmeter(&format!("plan --json --config config.json {METHOD} --tokens {} {options}", steps * 64))
}

fn budget(place: &Place, slug: &str) -> Value {
    place.flopsmeter(&format!("modifications show {slug} --json")).json()["budget"].clone()
}

/// Three and three of ten steps: neither comes near the line by itself.
#[test]
fn a_child_is_told_of_the_line_that_it_reaches_together_with_its_parent() {
    let place = chain(10);
    // The child is there first: what it reads at its start knows nothing of the parent's run.
    let child = start(&place, "--modification child");
    let mut parent = start(&place, "--modification parent");
    let mut child = child;
    child.tell("feed training 1 2 32 3");
    until("the child's work is on record", || budget(&place, "child")["spent"] != json!("0"));
    parent.tell("feed training 1 2 32 3");
    until("the child says that they are near together", || !alerts(&place).is_empty());
    assert_eq!([end(child), end(parent)], [Some(0); 2]);
    let alerts = alerts(&place);
    assert_eq!(alerts.len(), 1, "the parent is near nothing: {alerts:?}");
    assert_eq!(
        (&alerts[0]["crossing"]["modification"], &alerts[0]["crossing"]["share_of_line_percent"]),
        (&json!("child"), &json!("60.00"))
    );
}

/// A run that is counted to no modification hears of the model that it was loaded from as well.
#[test]
fn a_run_by_itself_is_told_of_the_line_as_well() {
    let place = chain(10);
    let mut alone = start(&place, "--base modification:parent");
    let mut parent = start(&place, "--modification parent");
    alone.tell("feed training 1 2 32 3");
    parent.tell("feed training 1 2 32 3");
    until("one says that they are near together", || !alerts(&place).is_empty());
    assert_eq!([end(alone), end(parent)], [Some(0); 2]);
    assert_eq!(alerts(&place)[0]["crossing"]["modification"], Value::Null);
}

/// The parent needs 400 of 900 steps while the child trains as long as it may.
#[test]
fn a_childs_gate_stops_it_before_it_crosses_together_with_its_parent() {
    let place = chain(900);
    let mut child = start(&place, "--modification child --gate exceeds");
    let mut parent = start(&place, "--modification parent");
    child.say("train 2000 2000 25");
    parent.say("train 400 400 20");
    parent.wait_for_stdout("trained 400");
    child.wait_for_stdout("trained ");
    assert_eq!([end(child), end(parent)], [Some(11), Some(0)]);
    let assessed = place.flopsmeter("assess child --json").json();
    assert_eq!(assessed["verdict"], "near", "neither over it nor long before it: {assessed}");
}

#[test]
fn what_is_set_aside_for_a_parent_leaves_less_for_its_child() {
    let place = chain(10);
    let before = budget(&place, "child");
    let held = plan(&place, 6, "--modification parent --reserve --by Ada").json();
    let held = flop(&held["budget"]["reserved"]);
    let after = budget(&place, "child");
    assert_eq!((flop(&after["reserved"]), flop(&after["reserved_behind"])), (0, held), "{after}");
    assert_eq!(after["exceeds"]["flop"], before["exceeds"]["flop"], "the line stays where it is");
    assert_eq!(flop(&after["exceeds"]["flop_left"]), flop(&before["exceeds"]["flop_left"]) - held, "{after}");
    assert_eq!(after["verdict_with_reserved"], "near");
    let words = place.flopsmeter("modifications show child");
    let told = words.data().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(" for what it is made from; "), "{told}");
    // 6 and 5 of 10.
    let refused = plan(&place, 5, "--modification child --reserve");
    assert_eq!(refused.code(), Some(11), "{refused:?}");
    assert!(refused.stderr.contains("nothing was set aside"), "{refused:?}");
    assert_eq!(plan(&place, 3, "--modification child --reserve").code(), Some(0));
    assert!(budget(&place, "parent")["reserved_behind"].is_null(), "nothing is behind the parent");
    let gated = run_hooked(&place, "--modification child --gate near", &["feed training 1 2 32 1", "goodbye"]);
    assert_eq!(gated.code(), Some(10), "{gated:?}");
    assert!(gated.stderr.contains("that are set aside are spent"), "{gated:?}");
    // What a run of the parent has spent is no longer set aside, and stands behind the child.
    run_hooked(&place, "--quiet --modification parent", &["feed training 1 2 32 6", "goodbye"]);
    let spent = budget(&place, "child");
    assert_eq!((flop(&spent["spent"]), &spent["reserved_behind"]), (held, &Value::Null), "{spent}");
}

/// A job that goes on hears what is set aside behind it meanwhile.
#[test]
fn a_running_child_forecasts_what_is_set_aside_for_its_parent() {
    let place = chain(10);
    let mut child = start(&place, "--modification child");
    child.say("train 4 5 1500");
    child.wait_for_stdout("trained 4");
    assert_eq!(plan(&place, 7, "--modification parent --reserve").code(), Some(0));
    let foreseen = || alerts(&place).iter().any(|alert| alert["crossing"]["what"] == "forecast");
    until("the child foresees that it crosses once its parent is trained", foreseen);
    let outlook = alerts(&place)[0]["crossing"]["outlook"].clone();
    assert!(flop(&outlook["reserved"]) > 0, "{outlook}");
    assert_eq!(end(child), Some(0));
}

/// Entries of a ledger from before circles were refused in the transaction that writes.
fn circle() -> Place {
    let place = chain(10);
    place.flopsmeter("modifications create late --base modification:child").data();
    let bound = Body::BaseBound(BaseBound { base: BaseReference::Modification { slug: "late".to_owned() } });
    let created = ModificationCreated { slug: "early".to_owned(), base: None };
    let mut ledger = Ledger::open(&place.ledger()).unwrap();
    let mut append = |stream: &str, body: &Body| {
        ledger.append(stream, chrono::DateTime::UNIX_EPOCH, body.kind(), &body.to_text().unwrap()).unwrap();
    };
    append("modification/early", &Body::ModificationCreated(created));
    append("modification/early", &bound);
    let rebased = ModificationRebased {
        base: BaseReference::Modification { slug: "early".to_owned() },
        reason: "an old version".to_owned(),
        by: "nobody".to_owned(),
        date: chrono::NaiveDate::MIN,
    };
    append("modification/late", &Body::ModificationRebased(rebased));
    place
}

#[test]
fn a_circle_is_told_of_and_can_be_left() {
    let place = circle();
    let verify = || place.flopsmeter(&format!("verify {}", place.ledger().display()));
    let told = verify();
    assert!(told.data().contains("note   modification/early  the modifications are made from each other"), "{told:?}");
    assert!(told.data().contains("`flopsmeter modifications rebase`"), "{told:?}");
    let report = place.flopsmeter(&format!("verify --json {}", place.ledger().display())).json();
    assert_eq!((&report["sound"], report["contradictions"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(place.flopsmeter("assess late").code(), Some(1));

    let declared = "--by Ada --reason entered,by,mistake";
    let still = place.flopsmeter(&format!("modifications rebase late --base modification:late {declared}"));
    assert!(still.refusal(1).contains("`late` from `late`"), "{still:?}");
    let unnamed = place.flopsmeter("modifications rebase late --base modification:child --by Ada");
    assert!(unnamed.refusal(2).contains("--reason"), "{unnamed:?}");
    let left = place.flopsmeter(&format!("modifications rebase late --base modification:child {declared}"));
    assert_eq!(
        left.data(),
        "modification late is made from modification:child and not from modification:early, as Ada declares\n"
    );
    assert!(!verify().data().contains("note"), "{:?}", verify());
    let shown = place.flopsmeter("modifications show early");
    assert!(shown.data().contains("base model    modification:late\n"), "{shown:?}");
    let shown = place.flopsmeter("modifications show late");
    assert!(shown.data().contains("rebased       on modification:child by Ada on "), "{shown:?}");
    let assessed = place.flopsmeter("assess late --json").json();
    assert!(codes(&assessed).contains(&"base-rebased"), "{assessed}");
    // What was said before stays on record.
    assert_eq!(place.flopsmeter("modifications show late --json").json()["rebased"].as_array().unwrap().len(), 2);
    write_base(&place, "other", 9);
    let twice = place.flopsmeter(&format!("modifications rebase late --base modification:child {declared}"));
    assert!(twice.refusal(1).contains("is made from modification:child already"), "{twice:?}");
    place.flopsmeter("modifications merge both --of late --of other.toml --by Ada").data();
    let merge = place.flopsmeter(&format!("modifications rebase both --base other.toml {declared}"));
    assert!(merge.refusal(1).contains("`both` is a merge"), "{merge:?}");
}

/// Each of the two was made without a base, and is bound to the other by a run of its own.
#[test]
fn runs_that_bind_two_modifications_to_each_other_at_once_make_no_circle() {
    for round in 0..2 {
        let place = place_with_line_of(10);
        run_hooked(&place, "--quiet --modification a", &["goodbye"]);
        run_hooked(&place, "--quiet --modification b", &["goodbye"]);
        let both = [("a", "b"), ("b", "a")].map(|(slug, base)| {
            let options = format!("--progress 1h --modification {slug} --base modification:{base}");
            Running::start(hooked(&place, &options))
        });
        for running in both {
            assert_eq!(end(running), Some(0));
        }
        let verified = place.flopsmeter(&format!("verify {}", place.ledger().display()));
        assert!(!verified.data().contains("note"), "in round {round}: {verified:?}");
    }
}

#[test]
fn a_plan_on_a_modification_is_judged_on_its_chain() {
    let place = chain(10);
    run_hooked(&place, "--quiet --modification parent", &["feed training 1 2 32 6", "goodbye"]);
    let planned = |steps: u64| plan(&place, steps, "--base modification:parent").json();
    let verdict = |steps: u64| planned(steps)["assessment"]["verdict"].clone();
    assert_eq!((verdict(3), verdict(5)), (json!("near"), json!("exceeds")), "9 and 11 of 10");
    let ways = planned(3)["assessment"]["cumulation"].as_array().unwrap().len();
    assert!(ways > 1, "the model loaded and its original are told apart");
    let room = &planned(3)["headroom"]["exceeds"];
    assert_eq!(room["flop"], budget(&place, "child")["exceeds"]["flop_left"], "what the chain leaves");
    assert_eq!(plan(&place, 5, "--base modification:parent --gate exceeds").code(), Some(11));
    // The same as a plan for the modification that is made from it.
    let of_child = plan(&place, 3, "--modification child --base modification:parent").json();
    assert_eq!(of_child["assessment"]["cumulation"], planned(3)["assessment"]["cumulation"]);
    assert_eq!(of_child["budget"]["base"], "modification:parent");
    // One that is new is made from it.
    assert_eq!(plan(&place, 2, "--modification new --base modification:parent --reserve").code(), Some(0));
    assert!(place.flopsmeter("modifications show new").data().contains("base model    modification:parent\n"));
    let other = plan(&place, 2, "--modification new --base base.toml");
    assert!(other.refusal(1).contains("is bound to base model modification:parent"), "{other:?}");
    let itself = plan(&place, 2, "--modification parent --base modification:child");
    assert!(itself.refusal(1).contains("`parent` is bound to base model acme/base"), "{itself:?}");
}

#[test]
fn a_plan_on_a_modification_that_is_not_there_is_refused_by_name() {
    let place = chain(10);
    let gone = plan(&place, 1, "--base modification:gone");
    assert!(gone.refusal(1).contains("there is no modification `gone`; there are: child, parent"), "{gone:?}");
    let nowhere = plan(&place, 1, "--base modification:parent --ledger elsewhere.sqlite");
    assert!(nowhere.refusal(1).contains("there is no ledger elsewhere.sqlite"), "{nowhere:?}");
    // Parameters are the original's.
    place.flopsmeter("modifications create small --base HuggingFaceTB/SmolLM2-135M").data();
    let estimated = place.flopsmeter("plan --json --base modification:small --method full --tokens 1e9").json();
    assert_eq!(estimated["basis"], "parameters");
    assert_eq!(
        estimated["params"],
        place.flopsmeter("plan --json --base HuggingFaceTB/SmolLM2-135M --method full --tokens 1e9").json()["params"]
    );
}
