//! What is asked of a ledger that has not got it.

use super::refused;
use crate::job::write_base;
use crate::place::Place;

#[test]
fn what_the_ledger_does_not_have_is_named_with_the_way_to_what_it_has() {
    let place = Place::new();
    let absent =
        format!("there is no ledger {}: name it with --ledger, or record a run first", place.ledger().display());
    let all = [
        "status",
        "assess demo",
        "report threshold demo",
        "runs list",
        "runs show a",
        "modifications list",
        "modifications show demo",
    ];
    for line in all {
        refused(&place, 1, &[(line, &absent)]);
    }
    assert!(!place.ledger().exists(), "looking makes no ledger");
    write_base(&place, "base", 1 << 70);
    assert_eq!(place.run_script("--quiet --base base.toml --modification demo", "true").code(), Some(0));
    let ledger = place.ledger().display().to_string();
    let no_run = format!("no run in the ledger {ledger} begins with `ffff`: `flopsmeter runs list` shows them");
    let no_modification = "there is no modification `nope`; there are: demo";
    let no_rules =
        "no rule set is called `nope`; use one of eu-gpai-2025-07-18, eu-gpai-2025-11-19, eu-gpai-2026-07-27";
    let too_early = "no rule set is in force on 2020-01-01; the first is eu-gpai-2025-07-18: choose a later day, or name a rule set to apply anyway";
    refused(
        &place,
        1,
        &[
            ("assess nope", no_modification),
            ("report threshold nope", no_modification),
            ("modifications show nope", no_modification),
            ("modifications answer nope base-is-gpai yes --by Ada", no_modification),
            ("runs show ffff", &no_run),
            ("modifications assign demo ffff", &no_run),
            ("assess demo --rules nope", no_rules),
            ("report threshold demo --rules nope", no_rules),
            ("assess demo --as-of 2020-01-01", too_early),
            (
                "plan --base base.toml --config /dev/null --as-of 2020-01-01",
                "/dev/null is no JSON; name a config.json of the Hugging Face form",
            ),
            (
                "modifications create demo --base base.toml",
                "modification `demo` exists already: `flopsmeter modifications show demo`",
            ),
        ],
    );
    refused(
        &place,
        2,
        &[
            ("report threshold demo --format docx", "`docx` is no report format; choose from pdf, html, md, json"),
            (
                "modifications answer demo base-is-gpai maybe --by Ada",
                "`base-is-gpai` is answered with yes or no, not with `maybe`",
            ),
            (
                "modifications answer demo base-is-gpai yes --by=",
                "invalid value '' for '--by <NAME>': an answer needs somebody who stands for it: write their name and role",
            ),
            (
                "assess demo --as-of yesterday",
                "invalid value 'yesterday' for '--as-of <DATE>': input contains invalid characters",
            ),
        ],
    );
    let unknown = place.flopsmeter("modifications answer demo nope=yes --by Ada");
    assert!(
        unknown.refusal(2).contains("there is no question `nope`; the questions are base-is-gpai, "),
        "{unknown:?}"
    );
    let counted_already = place.only_run()["run"].as_str().unwrap().to_owned();
    let twice = place.flopsmeter(&format!("modifications assign demo {counted_already}"));
    assert!(twice.refusal(1).contains("counts to `demo` already"), "{twice:?}");
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    assert_eq!(place.run_script("--quiet --modification demo", "true").code(), Some(0));
    place.write("file", "");
    for out in ["file", "/proc/nope"] {
        let outcome = place.flopsmeter(&format!("report threshold demo --format md --out {out}"));
        let said = outcome.refusal(1);
        assert!(said.starts_with(&format!("error: cannot write the report to {out}/threshold.md: ")), "{said}");
        assert!(said.contains("choose a folder you may write to with --out"), "{said}");
    }
}

#[test]
fn verify_tells_what_is_no_ledger() {
    let place = Place::new();
    place.write("letter.txt", "Dear Sir or Madam, this is no database at all.".repeat(20));
    refused(
        &place,
        1,
        &[
            ("verify nope.sqlite", "there is no ledger nope.sqlite: name it with --ledger, or record a run first"),
            ("verify letter.txt", "letter.txt is no flopsmeter ledger: name another file with --ledger"),
            ("verify tmp", "tmp is no flopsmeter ledger: name another file with --ledger"),
            ("verify /dev/null", "/dev/null is no flopsmeter ledger: name another file with --ledger"),
        ],
    );
}
