//! The whole question through the real binary: answers, questions, house rules, another rule set, runs that are left out.

use serde_json::Value;

use crate::job::{Training, flop, plan, run_hooked, write_base, write_facts};
use crate::place::Place;

/// What all runs of these tests feed: ten micro-batches of 2 x 32 positions.
const STEPS: u64 = 10;

/// A modification `demo` with one counted run that spends this share of its line; the run's id.
fn modified(place: &Place, share_percent: u128) -> String {
    write_facts(place, Training::Full);
    let spent = flop(&plan(place, Training::Full, STEPS)["flops"]["training"]);
    // The line is a third of it.
    write_base(place, "base", spent * 300 / share_percent);
    run(place, "--base base.toml");
    place.only_run()["run"].as_str().unwrap().to_owned()
}

/// One more run of `demo`.
fn run(place: &Place, options: &str) {
    let outcome = run_hooked(
        place,
        &format!("--quiet --modification demo {options}"),
        &[&format!("feed training 1 2 32 {STEPS}"), "goodbye"],
    );
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
}

fn assessed(place: &Place, options: &str) -> Value {
    place.flopsmeter(&format!("assess demo --json {options}")).json()
}

fn codes<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect()
}

#[test]
fn answers_of_every_kind_are_recorded_and_decide_the_status() {
    let place = Place::new();
    modified(&place, 150);
    assert_eq!(assessed(&place, "")["status"], "open");
    let said = place.flopsmeter(
        "modifications answer demo acts-for-original-provider=no non-professional-or-research=no made-available-in-union=yes own-name=yes commercial-activity=yes weights-controlled-by=modifier placed-on-market-date=2025-06-30 --by Ada --date 2026-01-05",
    );
    assert_eq!(said.data().lines().count(), 7);
    assert!(said.data().contains("demo: placed-on-market-date is answered 2025-06-30 by Ada"), "{said:?}");
    let assessment = assessed(&place, "--as-of 2026-11-21");
    assert_eq!((&assessment["verdict"], &assessment["status"]), (&"exceeds".into(), &"provider".into()));
    assert!(codes(&assessment["reasons"], "code").contains(&"placed-in-full"));
    for duty in assessment["obligations"].as_array().unwrap() {
        assert_eq!(duty["applies_from"], "2027-08-02", "a model placed before 2 August 2025 has until then: {duty}");
    }
    let shown = place.flopsmeter("modifications show demo");
    assert!(shown.data().contains("answer        weights-controlled-by: modifier, Ada, 2026-01-05\n"), "{shown:?}");
    // One question and its answer as two words, as before.
    place.flopsmeter("modifications answer demo sme yes --by Ada").data();
    let words = place.flopsmeter("assess demo");
    assert!(words.data().contains("reason     provider: "), "{words:?}");
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn answers_come_from_a_file() {
    let place = Place::new();
    modified(&place, 150);
    place.write(
        "answers.toml",
        "by = \"Ada, compliance\"\ndate = 2026-01-05\n[answers]\nacts-for-original-provider = false\nnon-professional-or-research = \"no\"\n\
         placed-on-market-date = 2026-01-04\nown-name = { value = true, by = \"Eve, legal\", date = 2026-01-06 }\n",
    );
    place.flopsmeter("modifications answer demo --file answers.toml").data();
    let answers = &place.flopsmeter("modifications show demo --json").json()["answers"];
    assert_eq!(answers["acts-for-original-provider"]["value"], false);
    assert_eq!(answers["placed-on-market-date"]["value"], "2026-01-04");
    assert_eq!(answers["own-name"]["by"], "Eve, legal");
    assert_eq!(answers["own-name"]["date"], "2026-01-06");
    for (text, says) in [
        ("by = \"Ada\"\n", "`answers` is missing or is no table"),
        ("[answers]\nsme = true\n", "nobody stands for the answer to `sme`"),
        ("by = \"\"\n[answers]\nsme = true\n", "`by` of `header` is no name"),
        ("by = \"Ada\"\ndate = \"soon\"\n[answers]\n", "`date` of `header` is no day"),
        ("by = \"Ada\"\n[answers]\nsmee = true\n", "there is no question `smee`"),
        ("by = \"Ada\"\n[answers]\nsme = 1\n", "`sme` is answered with yes or no, not with `1`"),
        ("by = \"Ada\"\n[answers]\nsme = { by = \"Ada\" }\n", "`answers.sme` has no `value`"),
        ("by = \"Ada\"\n[answers]\nsme = { value = true, who = 1 }\n", "`answers.sme` has an unknown key `who`"),
        ("by = \"Ada\"\nwho = 1\n[answers]\nsme = true\n", "unknown key `who`"),
        ("by = \n", "answers.toml"),
    ] {
        place.write("answers.toml", text);
        let refused = place.flopsmeter("modifications answer demo --file answers.toml");
        assert!(refused.refusal(2).contains(says), "{text}: {refused:?}");
    }
}

#[test]
fn what_cannot_be_true_together_is_refused_by_name() {
    let place = Place::new();
    modified(&place, 150);
    let refused = |line: &str, code: i32, says: &[&str]| {
        let outcome = place.flopsmeter(&format!("modifications answer demo {line} --by Ada"));
        for part in says {
            assert!(outcome.refusal(code).contains(part), "{line}: {outcome:?}");
        }
    };
    refused(
        "internal-use-only=yes made-available-in-union=yes",
        1,
        &["`internal-use-only`", "`made-available-in-union`", "Article 3(9), (10)", "nothing was recorded"],
    );
    place.flopsmeter("modifications answer demo placed-on-union-market=no --by Ada").data();
    refused("placed-on-market-date=2026-01-01", 1, &["`placed-on-market-date`", "`placed-on-union-market`"]);
    refused(
        "made-available-in-union=yes own-name=yes commercial-activity=yes",
        1,
        &["`placed-on-union-market`", "`commercial-activity`"],
    );
    refused("sme=maybe", 2, &["`sme` is answered with yes or no, not with `maybe`"]);
    refused("placed-on-market-date=yes", 2, &["a day such as"]);
    refused("weights-controlled-by=me", 2, &["one of modifier, original-provider, somebody-else"]);
    refused("sme", 2, &["write it as KEY=VALUE"]);
    refused("sme=yes --date 2999-01-01", 2, &["still to come", "`--date`"]);
    // Correcting the one makes room for the other.
    place
        .flopsmeter("modifications answer demo placed-on-union-market=yes placed-on-market-date=2026-01-01 --by Ada")
        .data();
    assert!(!codes(&assessed(&place, "")["findings"], "code").contains(&"answers-contradict"));
}

#[test]
fn open_questions_are_shown_in_the_rule_sets_words() {
    let place = Place::new();
    modified(&place, 150);
    let questions = place.flopsmeter("modifications questions demo --json").json();
    let keys = codes(&questions, "key");
    assert!(keys.contains(&"placed-on-union-market") && keys.contains(&"placed-on-market-date"), "{keys:?}");
    assert!(!keys.contains(&"base-unknowable"), "its answer would change nothing here");
    let own_name = questions.as_array().unwrap().iter().find(|question| question["key"] == "own-name").unwrap();
    assert_eq!(own_name["part_of"], "placed-on-union-market");
    assert_eq!(own_name["citation"]["place"], "Article 3(3)");
    let words = place.flopsmeter("modifications questions demo");
    assert!(words.data().contains("own-name=yes|no  (status, part of placed-on-union-market)\n"), "{words:?}");
    assert!(words.data().contains("placed-on-market-date=DATE  (duties)\n"), "{words:?}");
    place
        .flopsmeter("modifications answer demo own-name=no made-available-in-union=yes internal-use=no --by Ada")
        .data();
    let rest = place.flopsmeter("modifications questions demo");
    assert_eq!(rest.data(), "no answer would change the result as it stands\n");
    let all = place.flopsmeter("modifications questions demo --all");
    assert!(all.data().contains("answered no by Ada on "), "{all:?}");
    assert!(all.data().contains("base-unknowable=yes|no"), "{all:?}");
}

#[test]
fn a_house_rule_stands_beside_the_law_and_is_never_looser() {
    let place = Place::new();
    modified(&place, 95);
    let file = |line: &str| {
        let head = "name = \"acme\"\ndeclared_by = \"Ada\"\ndate = 2026-11-21\nsays = \"review early\"\n";
        place.write("house.toml", format!("{head}[[line]]\n{line}\n"));
    };
    file("key = \"third-of-base\"\nmultiplier = \"3/10\"");
    let law = assessed(&place, "");
    assert!(law["house"].is_null());
    let with = assessed(&place, "--house-rules house.toml");
    assert_eq!((&with["verdict"], &with["house"]["verdict"]), (&"near".into(), &"exceeds".into()));
    assert_eq!(with["line"], law["line"], "the law's line is not the house's");
    assert_eq!(with["inputs"]["house_rules"]["name"], "acme");
    let mut command = place.command(["assess", "demo"]);
    command.env("FLOPSMETER_HOUSE_RULES", "house.toml");
    let by_environment = crate::place::finish(command);
    assert!(by_environment.data().contains("house      acme: exceeds, line "), "{by_environment:?}");
    let gate = |options: &str| place.flopsmeter(&format!("assess demo --gate {options}"));
    assert_eq!((gate("near").code(), gate("exceeds").code()), (Some(10), Some(0)));
    let stopped = gate("exceeds --house-rules house.toml");
    assert_eq!(stopped.code(), Some(11), "{stopped:?}");
    assert_eq!(
        stopped.talk(),
        ["the gate does not let this modification pass: the house rule's verdict is exceeds"],
        "the law's is near"
    );
    for (line, says) in [
        (
            "key = \"third-of-base\"\nmultiplier = \"2/5\"",
            ["line.third-of-base", "`multiplier` is 2/5, which is looser"],
        ),
        ("key = \"third-of-base\"\nnear = \"1/4\"", ["line.third-of-base", "`near` is 1/4, which is looser"]),
        (
            "key = \"third-of-base\"\nmultiplier = \"1/10\"\nnear = \"1/8\"",
            ["line.third-of-base", "`near` is 1/8, which is over"],
        ),
        ("key = \"third-of-base\"", ["line.third-of-base", "neither `multiplier` nor `near`"]),
        ("key = \"third-of-mine\"\nnear = \"1/8\"", ["line.third-of-mine", "third-of-mine"]),
        ("key = \"third-of-base\"\nnear = \"-1/8\"", ["line.third-of-base", "-1/8"]),
        ("key = \"third-of-base\"\nfar = \"1/8\"", ["line.third-of-base", "far"]),
    ] {
        file(line);
        let refused = place.flopsmeter("assess demo --house-rules house.toml");
        assert!(says.iter().all(|part| refused.refusal(1).contains(part)), "{line}: {refused:?}");
    }
}

#[test]
fn a_house_rule_that_cannot_be_read_keeps_no_job_from_running() {
    let place = Place::new();
    let mut command = place.script("--modification demo", "exit 7");
    command.env("FLOPSMETER_HOUSE_RULES", "nowhere.toml");
    assert_eq!(crate::place::finish(command).code(), Some(7));
    assert!(crate::place::codes(&place.only_run()).contains(&"house-rules-unreadable"));
}

#[test]
fn another_rule_set_shows_what_it_changes() {
    let place = Place::new();
    modified(&place, 150);
    let diff = place
        .flopsmeter("assess demo --rules eu-gpai-2025-07-18 --diff eu-gpai-2026-07-27 --as-of 2026-11-21 --json")
        .json();
    assert_eq!(diff["schema"], "flopsmeter.rules-diff/1");
    assert_eq!(
        (&diff["from"]["rules"], &diff["to"]["rules"]),
        (&"eu-gpai-2025-07-18".into(), &"eu-gpai-2026-07-27".into())
    );
    assert_eq!(diff["from"]["verdict"], diff["to"]["verdict"]);
    let changed = codes(&diff["changes"], "what");
    assert!(changed.contains(&"line.citation") && !changed.contains(&"verdict"), "{changed:?}");
    let rows = diff["rows"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["row"] == "line.third-of-base" && row["key"] == "cite.place"), "{rows:?}");
    let words = place.flopsmeter("assess demo --rules eu-gpai-2025-07-18 --diff eu-gpai-2025-11-19 --as-of 2026-11-21");
    assert!(
        words
            .data()
            .starts_with("rules      eu-gpai-2025-07-18 -> eu-gpai-2025-11-19, as of 2026-11-21\nresult     the same"),
        "{words:?}"
    );
    let same = place.flopsmeter("assess demo --rules eu-gpai-2025-07-18 --diff eu-gpai-2025-07-18 --json").json();
    assert_eq!((&same["changes"], &same["rows"]), (&serde_json::json!([]), &serde_json::json!([])));
    let unknown = place.flopsmeter("assess demo --diff eu-gpai-1999");
    assert!(unknown.refusal(1).contains("no rule set is called `eu-gpai-1999`"), "{unknown:?}");
}

#[test]
fn a_run_that_is_left_out_stands_in_no_sum_and_stays_listed() {
    let place = Place::new();
    let first = modified(&place, 60);
    run(&place, "");
    let both = assessed(&place, "");
    assert_eq!(both["verdict"], "exceeds");
    let without_reason = place.flopsmeter(&format!("runs exclude {first} --by Ada --reason="));
    assert!(without_reason.refusal(2).contains("a declaration needs a reason"), "{without_reason:?}");
    let without_name = place.flopsmeter(&format!("runs exclude {first} --reason diverged"));
    assert!(without_name.refusal(2).contains("--by <NAME>"), "{without_name:?}");
    place.flopsmeter(&format!("runs exclude {first} --reason diverged --by Ada")).data();
    let one = assessed(&place, "");
    assert_eq!(one["verdict"], "near");
    assert_eq!(flop(&one["training_compute"]) * 2, flop(&both["training_compute"]));
    assert_eq!(one["excluded_runs"][0]["run"], first.as_str());
    assert_eq!(flop(&one["excluded_runs"][0]["training_compute"]), flop(&one["training_compute"]));
    let finding = one["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "run-excluded").unwrap();
    let text = finding["text"].as_str().unwrap();
    assert!(text.contains("Ada") && text.contains("diverged") && text.contains("paragraph 119"), "{text}");
    let counted = one["readings"].as_array().unwrap().iter().find(|reading| reading["code"] == "excluded-runs-counted");
    assert_eq!(counted.unwrap()["verdict"], "exceeds", "what leaving it out changes is shown");
    let listed = place.flopsmeter("runs list");
    assert!(listed.data().contains("closed, left out"), "{listed:?}");
    let listed = place.flopsmeter("runs list --json").json();
    let of = |run: &Value| if run["run"] == first.as_str() { "Ada".into() } else { Value::Null };
    for run in listed.as_array().unwrap() {
        assert_eq!(run["excluded"]["by"], of(run), "{listed}");
    }
    assert_eq!(one["inputs"]["runs"].as_array().unwrap().len(), 2, "its records are an input all the same");
    let shown = place.flopsmeter("modifications show demo");
    assert!(shown.data().contains(&format!("run           {first}, left out by Ada on ")), "{shown:?}");
    let twice = place.flopsmeter(&format!("runs exclude {first} --reason diverged --by Ada"));
    assert!(twice.refusal(1).contains("is left out already, by Ada"), "{twice:?}");
    place.flopsmeter(&format!("runs include {first} --reason used --by Eve")).data();
    assert_eq!(assessed(&place, "")["training_compute"], both["training_compute"]);
    assert!(place.flopsmeter(&format!("verify {}", place.ledger().display())).status.success());
}

#[test]
fn a_run_of_no_modification_is_left_out_of_nothing() {
    let place = Place::new();
    place.run_script("--quiet", "exit 0");
    let run = place.only_run()["run"].as_str().unwrap().to_owned();
    let refused = place.flopsmeter(&format!("runs exclude {run} --reason diverged --by Ada"));
    assert!(refused.refusal(1).contains("counts to no modification"), "{refused:?}");
}

#[test]
fn the_time_to_notify_counts_from_the_run_that_crossed() {
    let place = Place::new();
    write_facts(&place, Training::Full);
    // One operation less than what leaves the base alone at the presumption of systemic risk.
    write_base(&place, "base", 10_u128.pow(25) - 1);
    run(&place, "--base base.toml");
    let assessment = assessed(&place, "");
    let watch = &assessment["systemic_risk_watch"];
    assert_eq!((&watch["state"], &watch["clock"]["conditional"]), (&"over-by-sum".into(), &true.into()));
    let day = |value: &Value| value.as_str().unwrap().parse::<chrono::NaiveDate>().unwrap();
    let ended = place.only_run()["ended"].as_str().unwrap()[..10].parse::<chrono::NaiveDate>().unwrap();
    assert_eq!(day(&watch["clock"]["condition_met"]), ended);
    assert_eq!((day(&watch["clock"]["notify_by"]) - ended).num_days(), 14);
    let words = place.flopsmeter("assess demo");
    assert!(words.data().contains("notify     notify by "), "{words:?}");
    place.flopsmeter("report threshold demo --format md").data();
    let memo = fs_err::read_to_string(place.path("threshold.md")).unwrap();
    assert!(memo.contains("**Together they are over it**") && memo.contains("14 days after"), "{memo}");
}

#[test]
fn the_examples_are_what_the_command_reads() {
    let place = Place::new();
    modified(&place, 150);
    let example = |name: &str| crate::place::repository(&format!("examples/{name}"));
    place.flopsmeter(&format!("modifications answer demo --file {}", example("answers.toml").display())).data();
    let assessment = assessed(&place, &format!("--house-rules {}", example("house-rules.toml").display()));
    assert_eq!((&assessment["status"], &assessment["house"]["verdict"]), (&"provider".into(), &"exceeds".into()));
}
