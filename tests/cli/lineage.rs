//! Modifications of modifications, other teams' models and merges, through the real binary.

use serde_json::{Value, json};

use crate::job::{Training, flop, plan, run_hooked, write_base, write_facts};
use crate::place::{Place, codes};

/// What all runs of these tests feed: ten micro-batches of 2 x 32 positions.
const STEPS: u64 = 10;

/// A place with facts of the small model, and what one run of it spends.
fn place() -> (Place, u128) {
    let place = Place::new();
    write_facts(&place, Training::Full);
    let spent = flop(&plan(&place, Training::Full, STEPS)["flops"]["training"]);
    (place, spent)
}

/// One run with these options.
fn run(place: &Place, options: &str) {
    let lines = [format!("feed training 1 2 32 {STEPS}"), "goodbye".to_owned()];
    let outcome = run_hooked(place, &format!("--quiet {options}"), &[&lines[0], &lines[1]]);
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
}

/// `v1` on a base of whose line a run spends this share, and `v2` on `v1`, with one run each.
fn chain(share_percent: u128) -> (Place, u128) {
    let (place, spent) = place();
    write_base(&place, "base", spent * 300 / share_percent);
    run(&place, "--modification v1 --base base.toml");
    run(&place, "--modification v2 --base modification:v1");
    (place, spent)
}

fn assessed(place: &Place, slug: &str) -> Value {
    place.flopsmeter(&format!("assess {slug} --json")).json()
}

fn way<'v>(assessment: &'v Value, code: &str) -> &'v Value {
    let ways = assessment["cumulation"].as_array().unwrap_or_else(|| panic!("no ways: {assessment}"));
    ways.iter().find(|way| way["code"] == code).unwrap_or_else(|| panic!("no {code}: {ways:?}"))
}

#[test]
fn a_modification_of_a_modification_is_held_against_the_original_together_with_it() {
    let (place, spent) = chain(60);
    assert_eq!(assessed(&place, "v1")["verdict"], "near");
    let second = assessed(&place, "v2");
    assert_eq!((&second["verdict"], flop(&second["training_compute"])), (&"exceeds".into(), 2 * spent));
    assert_eq!(second["line"]["base_flop"], (spent * 5).to_string());
    let own = way(&second, "own-modifications-of-same-original");
    assert_eq!(
        (&own["followed"], &own["base"], &own["verdict"]),
        (&true.into(), &"acme/base".into(), &"exceeds".into())
    );
    assert_eq!(own["citation"]["confidence"], "our reading");
    let loaded = way(&second, "chain-loaded");
    assert_eq!((flop(&loaded["spent"]), flop(&loaded["base_flop"])), (spent, spent * 6));
    assert_eq!((&loaded["base"], &loaded["decides"]), (&"modification:v1".into(), &true.into()));
    assert_eq!(way(&second, "chain-original")["verdict"], "near");
    assert!(codes(&second).contains(&"cumulation-readings-differ"));
    assert_eq!(second["inputs"]["runs"].as_array().unwrap().len(), 2, "what is behind it is an input as well");
    assert_eq!(second["inputs"]["lineage"][0]["name"], "modification/v1");
    assert_eq!(second["systemic_risk_watch"]["total"], (spent * 7).to_string());
    let words = place.flopsmeter("assess v2");
    let told = words.data();
    assert!(told.contains("reading    own-modifications-of-same-original: exceeds; "), "{told}");
    assert!(told.contains("followed, as the worst that decides"), "{told}");
    place.flopsmeter("report threshold v2 --format md,pdf").data();
    let memo = fs_err::read_to_string(place.path("threshold.md")).unwrap();
    assert!(memo.contains("How modifications are added up") && memo.contains("modification:v1"), "{memo}");
    assert!(place.exists("threshold.pdf"));
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn what_stands_behind_and_what_was_made_from_it_is_shown() {
    let (place, spent) = chain(60);
    place.flopsmeter("modifications create v3 --base modification:v2").data();
    let scientific = |flop: u128| format!("{} FLOP", flopsmeter_core::unit::Flops(flop).scientific(3));
    let run = place.flopsmeter("modifications show v2 --json").json()["runs"][0].as_str().unwrap().to_owned();
    let shown = place.flopsmeter("modifications show v2");
    assert_eq!(
        shown.data().split("budget").next().unwrap(),
        format!(
            "modification  v2\nbase model    modification:v1\nrun           {run}\nmade from     modification:v1, {} by this one\nmade into     modification:v3, not counted by that one\n",
            scientific(spent)
        )
    );
    let lineage = place.flopsmeter("modifications show v2 --json").json()["lineage"].clone();
    let nodes = lineage["nodes"].as_array().unwrap();
    let ids: Vec<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["model:acme/base", "modification:v1", "modification:v2", "modification:v3"]);
    assert_eq!(
        lineage["edges"][0],
        json!({ "from": "model:acme/base", "to": "modification:v1", "relation": "trained-from", "flop": spent.to_string() })
    );
    assert_eq!(nodes[0]["flop"], (spent * 5).to_string());
    let dot = place.flopsmeter("modifications show v2 --dot");
    assert!(dot.data().starts_with("digraph lineage {\n"), "{dot:?}");
    assert!(dot.data().contains("  \"modification:v1\" -> \"modification:v2\" [label=\""), "{dot:?}");
}

#[test]
fn a_gate_hears_what_is_behind_the_modification() {
    let (place, _) = chain(60);
    place.flopsmeter("modifications create v3 --base modification:v2").data();
    let lines = ["feed training 1 2 32 10", "goodbye"];
    let refused = run_hooked(&place, "--modification v3 --gate exceeds", &lines);
    assert_eq!(refused.code(), Some(11), "{refused:?}");
    assert!(refused.stderr.contains("the job was not started"), "{refused:?}");
    // A gate that looks at one run alone would let it pass: its own is under the line.
    let alone = run_hooked(&place, "--quiet --modification other --base base.toml --gate exceeds", &lines);
    assert_eq!(alone.code(), Some(0), "{alone:?}");
}

#[test]
fn a_running_job_says_that_the_chain_crosses() {
    let (place, spent) = place();
    write_base(&place, "base", spent * 300 / 60);
    run(&place, "--modification v1 --base base.toml");
    let outcome = run_hooked(
        &place,
        "--modification v2 --base modification:v1",
        &[&format!("feed training 1 2 32 {STEPS}"), "goodbye"],
    );
    assert!(outcome.talk().iter().any(|line| line.contains("EXCEEDS the line")), "{outcome:?}");
    assert!(outcome.stderr.contains("  verdict    over the line at 120.00 % of it"), "{outcome:?}");
}

#[test]
fn another_teams_model_says_what_was_spent_on_it() {
    let (place, spent) = place();
    let declared = |by: &str| {
        format!(
            "name = \"team/legal\"\nflop = \"{}\"\nsource = \"their log\"\ndeclared_by = \"Eve, team B\"\ndate = \"2026-11-01\"\ngpai = true\nparent = \"acme/original\"\nown_flop = \"{}\"\nmodified_by = \"{by}\"\n",
            spent * 8,
            spent * 3
        )
    };
    // Original 5, their part 3, ours 1: 60 % of a third of the original.
    place.write("theirs.toml", declared("others"));
    run(&place, "--modification mine --base theirs.toml");
    let assessment = assessed(&place, "mine");
    assert_eq!(assessment["verdict"], "near", "against the original, though below a third of what was loaded");
    let own = way(&assessment, "own-modifications-of-same-original");
    assert_eq!(
        (&own["base"], flop(&own["base_flop"]), flop(&own["spent"])),
        (&"acme/original".into(), spent * 5, spent)
    );
    assert_eq!(way(&assessment, "chain-loaded")["verdict"], "below");
    let all = way(&assessment, "chain-with-others");
    assert_eq!((&all["verdict"], &all["decides"]), (&"exceeds".into(), &false.into()));
    assert_eq!(assessment["systemic_risk_watch"]["merged_compute"], (spent * 3).to_string());
    let house = "name = \"acme\"\ndeclared_by = \"Ada\"\ndate = 2026-11-21\nsays = \"all of it counts\"\n[[cumulation]]\nkey = \"chain-with-others\"\ncounts = \"decides\"\n";
    place.write("house.toml", house);
    let strict = place.flopsmeter("assess mine --json --house-rules house.toml").json();
    assert_eq!((&strict["verdict"], &strict["house"]["verdict"]), (&"near".into(), &"exceeds".into()));
    place.write("house.toml", house.replace("chain-with-others", "chain-loaded").replace("decides", "shown"));
    let looser = place.flopsmeter("assess mine --house-rules house.toml");
    assert!(
        looser.refusal(1).contains("cumulation.chain-loaded") && looser.refusal(1).contains("looser"),
        "{looser:?}"
    );
    // The same work by ourselves is ours.
    place.write("ours.toml", declared("us"));
    run(&place, "--modification ours --base ours.toml");
    let ours = assessed(&place, "ours");
    assert_eq!((&ours["verdict"], flop(&ours["training_compute"])), (&"exceeds".into(), spent * 4));
}

#[test]
fn a_merge_trains_nothing_and_has_everything_behind_it() {
    let (place, spent) = place();
    write_base(&place, "base", spent * 300 / 40);
    write_base(&place, "other", spent * 2);
    run(&place, "--modification a --base base.toml");
    run(&place, "--modification b --base base.toml");
    let made = place.flopsmeter("modifications merge ab --of a --of modification:b --by Ada,research");
    assert_eq!(
        made.data(),
        "made modification ab by merging modification:a, modification:b, as Ada,research declares\n"
    );
    let assessment = assessed(&place, "ab");
    assert_eq!((&assessment["verdict"], flop(&assessment["training_compute"])), (&"near".into(), 2 * spent));
    assert_eq!(assessment["systemic_risk_watch"]["total"], (spent * 300 / 40 + 2 * spent).to_string());
    assert!(codes(&assessment).contains(&"merge-significance"));
    let open: Vec<&str> =
        assessment["questions"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert!(open.contains(&"changed-significantly"), "{open:?}");
    // With a model of somebody else beside it, the denominators differ.
    place.flopsmeter("modifications merge mix --of a --of other.toml --parent other.toml --by Ada").data();
    let mixed = assessed(&place, "mix");
    assert_eq!(mixed["verdict"], "exceeds", "a is over a third of the parent that was named");
    assert_eq!(
        (&way(&mixed, "merge-named")["followed"], &way(&mixed, "merge-sum")["verdict"]),
        (&true.into(), &"below".into())
    );
    assert_eq!(flop(&mixed["systemic_risk_watch"]["merged_compute"]), spent * 300 / 40);
    let shown = place.flopsmeter("modifications show mix");
    assert!(shown.data().contains("base model    modification:a + acme/other\nmerged        by Ada on "), "{shown:?}");
    assert!(shown.data().contains(", parent acme/other\n"), "{shown:?}");
    // Training the merged weights further counts on top, in the merge or in a modification of it.
    run(&place, "--modification ab");
    assert_eq!(flop(&assessed(&place, "ab")["training_compute"]), 3 * spent);
    run(&place, "--modification next --base modification:ab");
    assert_eq!(flop(&assessed(&place, "next")["training_compute"]), 4 * spent);
    place.flopsmeter("report threshold mix --format md").data();
    assert!(fs_err::read_to_string(place.path("threshold.md")).unwrap().contains("behind merged weights"));
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn an_edited_merge_is_found() {
    let (place, spent) = place();
    write_base(&place, "base", spent * 5);
    write_base(&place, "other", spent * 5);
    place.flopsmeter("modifications merge m --of base.toml --of other.toml --by Ada").data();
    let connection = rusqlite::Connection::open(place.ledger()).unwrap();
    connection.execute_batch("DROP TRIGGER entry_is_not_updated").unwrap();
    let edit = "UPDATE entry SET body = replace(body, 'Ada', 'Eve') WHERE kind = 'modification-merged'";
    assert_eq!(connection.execute(edit, []).unwrap(), 1);
    drop(connection);
    let verified = place.flopsmeter(&format!("verify {}", place.ledger().display()));
    assert_eq!(verified.code(), Some(20), "{verified:?}");
    assert!(verified.stdout.contains("BROKEN  modification/m"), "{verified:?}");
}

#[test]
fn a_lineage_that_cannot_be_followed_is_refused_by_name() {
    let (place, spent) = chain(60);
    let refused = |line: &str, code: i32, says: &[&str]| {
        let outcome = place.flopsmeter(line);
        for part in says {
            assert!(outcome.refusal(code).contains(part), "{line}: {part}: {outcome:?}");
        }
    };
    refused("modifications create x --base modification:gone", 1, &["`x` is made from `gone`", "there are: v1, v2"]);
    refused("modifications create x --base modification:x", 1, &["`x` from `x`"]);
    refused("modifications create x --base modification:Not+a+name", 1, &["names no modification", "a-z"]);
    refused("modifications merge x --of v1 --by Ada", 2, &["two models or more"]);
    refused("modifications merge x --of v1 --of modification:v1 --by Ada", 2, &["is given twice"]);
    refused("modifications merge x --of v1 --of v2 --parent base.toml --by Ada", 2, &["`--parent` names acme/base"]);
    refused("modifications merge x --of v1 --of v9 --by Ada", 1, &["`v9` is no modification of this ledger (v1, v2)"]);
    refused("modifications merge v1 --of v1 --of v2 --by Ada", 1, &["`v1`"]);
    refused("modifications merge x --of v1 --of v2 --by Ada --date 2999-01-01", 2, &["still to come"]);
    refused("modifications merge x --of v1 --of v2", 2, &["--by <NAME>"]);
    refused(
        "plan --base modification:v1 --method full --tokens 1e3",
        1,
        &["the parameters of acme/base are not on record", "--config"],
    );
    write_base(&place, "other", spent);
    place.flopsmeter("modifications merge m --of v1 --of other.toml --by Ada").data();
    let lines = ["feed training 1 2 32 10", "goodbye"];
    // The job runs whatever is wrong with its lineage; the run is recorded unassigned.
    for (options, says) in [
        ("--modification loop --base modification:loop", "`loop` from `loop`"),
        ("--modification x --base modification:gone", "`x` is made from `gone`"),
        ("--modification v1 --base modification:v2", "`v1` is bound to base model acme/base"),
        ("--modification m --base base.toml", "`m` is a merge"),
    ] {
        let outcome = run_hooked(&place, options, &lines);
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        assert!(outcome.stderr.contains(says) && outcome.stderr.contains("unassigned"), "{options}: {outcome:?}");
        let strict = run_hooked(&place, &format!("--require-meter {options}"), &lines);
        assert_eq!(strict.code(), Some(125), "{options}: {strict:?}");
    }
    // A modification that was made without a base cannot be bound into a circle later.
    run(&place, "--modification late");
    place.flopsmeter("modifications create after --base modification:late").data();
    let outcome = run_hooked(&place, "--modification late --base modification:after", &lines);
    assert!(outcome.stderr.contains("`late` from `after` from `late`"), "{outcome:?}");
    assert!(place.flopsmeter("modifications show late").data().contains("base model    none\n"));
}

#[test]
fn a_modification_that_is_closed_takes_no_more_runs_and_can_be_gone_on_from() {
    let (place, spent) = place();
    write_base(&place, "base", spent * 300 / 60);
    run(&place, "--modification v1 --base base.toml");
    let closed = place.flopsmeter("modifications close v1 --by Ada --date 2026-11-01");
    assert_eq!(closed.data(), "closed modification v1, as Ada declares: no run is counted to it any more\n");
    assert!(place.flopsmeter("modifications show v1").data().contains("closed        by Ada on 2026-11-01\n"));
    let again = place.flopsmeter("modifications close v1 --by Eve");
    assert!(again.refusal(1).contains("was closed already, by Ada on 2026-11-01"), "{again:?}");
    let late = run_hooked(&place, "--modification v1", &["feed training 1 2 32 10", "goodbye"]);
    assert_eq!(late.code(), Some(0), "the job runs all the same: {late:?}");
    assert!(
        late.stderr.contains("modification `v1` was closed by Ada on 2026-11-01: the run is recorded unassigned"),
        "{late:?}"
    );
    assert!(late.stderr.contains("--base modification:v1"), "{late:?}");
    assert_eq!(flop(&assessed(&place, "v1")["training_compute"]), spent);
    let runs = place.flopsmeter("runs list --json").json();
    let runs = runs.as_array().unwrap();
    let unassigned = runs.iter().find(|run| run["modification"].is_null()).unwrap()["run"].as_str().unwrap().to_owned();
    let assigned = place.flopsmeter(&format!("modifications assign v1 {unassigned}"));
    assert!(assigned.refusal(1).contains("`v1` was closed by Ada"), "{assigned:?}");
    run(&place, "--modification v2 --base modification:v1");
    assert_eq!(flop(&assessed(&place, "v2")["training_compute"]), 2 * spent);
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn several_jobs_of_one_modification_are_shown_beside_their_sum() {
    let (place, spent) = place();
    write_base(&place, "base", spent * 300 / 60);
    run(&place, "--modification demo --base base.toml");
    assert!(assessed(&place, "demo")["cumulation"].is_null(), "one job: nothing to add up");
    run(&place, "--modification demo");
    let both = assessed(&place, "demo");
    assert_eq!((&both["verdict"], flop(&both["training_compute"])), (&"exceeds".into(), 2 * spent));
    let job = way(&both, "per-job");
    assert_eq!((&job["verdict"], &job["decides"], flop(&job["spent"])), (&"near".into(), &false.into(), spent));
}

#[test]
fn the_room_that_is_left_is_what_the_chain_leaves() {
    let (place, spent) = chain(30);
    place.flopsmeter("modifications create v3 --base modification:v2").data();
    let budget = place.flopsmeter("modifications show v3 --json").json()["budget"].clone();
    let left = spent * 10 / 3 + 1 - 2 * spent;
    assert_eq!((flop(&budget["spent"]), flop(&budget["exceeds"]["flop_left"])), (2 * spent, left), "{budget}");
    // Half as many tokens again as a run of the chain fits; twice as many does not.
    let planned = |steps: u64| {
        let tokens = steps * 2 * 32;
        let line = format!(
            "plan --json --config config.json --method full --sequences 2 --seq-len 32 --tokens {tokens} --modification v3"
        );
        place.flopsmeter(&line).json()["assessment"]["verdict"].clone()
    };
    assert_eq!((planned(STEPS), planned(2 * STEPS)), ("near".into(), "exceeds".into()));
    let standing = place.flopsmeter("status --json").json();
    let third = standing.as_array().unwrap().iter().find(|one| one["modification"] == "v3").unwrap().clone();
    assert_eq!(flop(&third["budget"]["exceeds"]["flop_left"]), left);
}
