//! The decision tables of `tests/law`, written from the law's text, and what must hold of every assessment.

mod case;
mod properties;

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::*;
use crate::registry::{Base, DeclaredBase, Registry};
use crate::rules::RuleSet;
use crate::unit::Flops;
use case::{Case, CaseBase, CaseSpent, Expect, Table};

const TABLES: [(&str, &str); 7] = [
    ("edges", include_str!("../../../tests/law/edges.toml")),
    ("bases", include_str!("../../../tests/law/bases.toml")),
    ("counting", include_str!("../../../tests/law/counting.toml")),
    ("status", include_str!("../../../tests/law/status.toml")),
    ("product", include_str!("../../../tests/law/product.toml")),
    ("answers", include_str!("../../../tests/law/answers.toml")),
    ("bases of counting", include_str!("../../../tests/law/counting_bases.toml")),
];

fn day() -> NaiveDate {
    "2026-11-21".parse().unwrap()
}

fn declared(base: &CaseBase, flop: &str) -> Base<'static> {
    let quoted = |key: &str, text: &str| (key.to_owned(), toml::Value::from(text));
    let mut file: toml::Table =
        [("name", "acme/base"), ("flop", flop), ("source", "log"), ("declared_by", "me"), ("date", "2026-11-21")]
            .map(|(key, text)| quoted(key, text))
            .into_iter()
            .collect();
    file.extend(base.gpai.map(|value| ("gpai".to_owned(), value.into())));
    file.extend(base.systemic_risk.map(|value| ("systemic_risk".to_owned(), value.into())));
    file.extend(base.parameters.as_ref().map(|count| quoted("total_parameters", count)));
    file.extend(base.bound.as_ref().map(|bound| quoted("flop_bound", bound)));
    Base::Declared(Box::new(DeclaredBase::parse(&file.to_string(), "base.toml").unwrap()))
}

fn base(case: &CaseBase) -> Base<'static> {
    let registry = Registry::embedded().unwrap();
    match (&case.registry, &case.unresolved, &case.flop) {
        (Some(id), None, None) => Base::Registry(registry.lookup(id).unwrap()),
        (None, Some(name), None) => Base::resolve(registry, name),
        (None, None, Some(flop)) => declared(case, flop),
        _ => panic!("a base is one of registry, unresolved, flop"),
    }
}

fn spent(case: &CaseSpent, rules: &RuleSet) -> Spent {
    if case.no_runs {
        return Spent::of_runs(rules, []);
    }
    let other = |(code, flop): (&String, &Flops)| OtherCount { code: code.clone(), training: *flop };
    Spent {
        training: case.training,
        cumulative: case.cumulative.or(case.training).filter(|_| !case.no_cumulative),
        complete: case.complete,
        debatable: case.debatable,
        ceiling: case.ceiling,
        ceiling_complete: case.ceiling_complete,
        basis: if case.training.is_some() { Basis::Operations } else { Basis::None },
        other_counts: case.other.iter().map(other).collect(),
        measures: Measures {
            attention_context: case.attention_context,
            tokens: case.tokens.map(|tokens| tokens.0),
            hardware: case.hardware,
        },
        merged: case.merged,
        merged_is_lower_bound: false,
        by_day: case
            .by_day
            .iter()
            .map(|(day, flop)| DayWork { day: *day, training: *flop, cumulative: *flop })
            .collect(),
        excluded: excluded(case).into_iter().collect(),
    }
}

fn excluded(case: &CaseSpent) -> Option<ExcludedRun> {
    Some(ExcludedRun {
        run: "out".to_owned(),
        reason: "diverged".to_owned(),
        by: "Ada".to_owned(),
        date: day(),
        training_compute: Some(case.excluded_training?),
        cumulative_compute: case.excluded_cumulative,
    })
}

fn answers(case: &BTreeMap<AnswerKey, AnswerValue>) -> Answers {
    let answer = |value: &AnswerValue| Answer { value: value.clone(), by: "Ada".to_owned(), date: day() };
    case.iter().fold(Answers::default(), |answers, (key, value)| answers.with(*key, answer(value)))
}

fn run(case: &Case) -> Assessment {
    ask(case, assess)
}

fn ask<T>(case: &Case, of: impl Fn(&Question<'_>) -> T) -> T {
    let base = case.base.as_ref().map(base);
    let law = RuleSet::embedded(case.rules.as_deref().unwrap_or("eu-gpai-2026-07-27")).unwrap();
    let with_house = case.house.as_ref().map(|file| law.with_house(file).unwrap_or_else(|problem| panic!("{problem}")));
    let rules = with_house.as_ref().unwrap_or(law);
    of(&Question {
        spent: spent(&case.spent, rules),
        base: base.as_ref(),
        rules,
        as_of: case.as_of.unwrap_or_else(day),
        answers: &answers(&case.answers),
        inputs: Inputs::default(),
    })
}

fn reading_differences(expect: &Expect, got: &Assessment) -> Vec<String> {
    let reads = |code: &String, verdict: &Verdict| {
        got.readings.iter().any(|reading| reading.code == *code && reading.verdict == *verdict)
    };
    let wrong = expect.reading_verdicts.iter().filter(|(code, verdict)| !reads(code, verdict));
    wrong.map(|(code, verdict)| format!("{code} does not say {verdict:?}: {:?}", got.readings)).collect()
}

/// What of a case's expectations does not hold.
fn differences(expect: &Expect, got: &Assessment) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, wanted: Option<String>, is: Option<String>| {
        if wanted.is_some() && wanted != is {
            wrong.push(format!("{what}: expected {}, got {is:?}", wanted.unwrap_or_default()));
        }
    };
    let line = got.line.as_ref();
    let watch = got.systemic_risk_watch.as_ref();
    let clock = watch.and_then(|watch| watch.clock.as_ref());
    let house = got.house.as_ref();
    let word = |value: &dyn std::fmt::Debug| format!("{value:?}");
    same("verdict", expect.verdict.map(|v| word(&v)), Some(word(&got.verdict)));
    same("status", expect.status.map(|v| word(&v)), Some(word(&got.status)));
    same("band", expect.band.map(|v| word(&v)), got.band.map(|v| word(&v)));
    same("basis", expect.basis.map(|v| word(&v)), Some(word(&got.basis)));
    same("kind", expect.kind.map(|v| word(&v)), line.map(|line| word(&line.kind)));
    same("rule", expect.rule.clone(), line.map(|line| line.rule.clone()));
    same("place", expect.place.clone(), line.map(|line| line.citation.place.clone()));
    let status_step = got.steps.iter().find(|step| step.code == "status");
    same(
        "status place",
        expect.status_place.clone(),
        status_step.and_then(|step| step.citation.as_ref()).map(|citation| citation.place.clone()),
    );
    same("line", expect.line_flop.map(|v| v.to_string()), line.map(|line| line.flop.to_string()));
    same("base", expect.base_flop.map(|v| v.to_string()), line.map(|line| line.base_flop.to_string()));
    same("ratio", expect.ratio.clone(), got.ratio.clone());
    same("share", expect.share.clone(), got.share_of_line_percent.clone());
    same("watch", expect.watch.map(|v| word(&v)), watch.map(|watch| word(&watch.state)));
    same("watch total", expect.watch_total.map(|v| v.to_string()), watch.map(|watch| watch.total.to_string()));
    same("notify by", expect.notify_by.map(|v| v.to_string()), clock.and_then(|c| c.notify_by).map(|v| v.to_string()));
    same("overdue", expect.overdue.map(|v| v.to_string()), clock.map(|clock| clock.overdue.to_string()));
    same("house", expect.house_verdict.map(|v| word(&v)), house.map(|house| word(&house.verdict)));
    let house_line = house.and_then(|house| house.line.as_ref());
    same("house line", expect.house_line.map(|v| v.to_string()), house_line.map(|line| line.flop.to_string()));
    let codes = |list: Vec<&String>| list.into_iter().cloned().collect::<Vec<_>>();
    let missing = codes(got.missing.iter().map(|missing| &missing.fact).collect());
    let findings = codes(got.findings.iter().map(|finding| &finding.code).collect());
    let readings = codes(got.readings.iter().map(|reading| &reading.code).collect());
    let duties = |conditional| {
        codes(got.obligations.iter().filter(|duty| duty.conditional == conditional).map(|duty| &duty.code).collect())
    };
    let questions: Vec<String> = got.questions.iter().map(|question| question.key.name().to_owned()).collect();
    for (what, wanted, is) in [
        ("missing", &expect.missing, missing),
        ("findings", &expect.findings, findings.clone()),
        ("readings", &expect.readings, readings.clone()),
        ("owed", &expect.owed, duties(false)),
        ("conditional", &expect.conditional, duties(true)),
        ("reasons", &expect.reasons, got.reasons.iter().map(|reason| reason.code.clone()).collect()),
        ("questions", &expect.questions, questions.clone()),
    ] {
        if let Some(absent) = wanted.iter().find(|code| !is.contains(code)) {
            wrong.push(format!("{what}: `{absent}` is not among {is:?}"));
        }
    }
    wrong.extend(expect.no_readings.iter().filter(|code| readings.contains(code)).map(|code| format!("reads {code}")));
    let all_duties = [duties(false), duties(true)].concat();
    wrong.extend(expect.no_findings.iter().filter(|code| findings.contains(code)).map(|code| format!("found {code}")));
    wrong.extend(
        expect.no_obligations.iter().filter(|code| all_duties.contains(code)).map(|code| format!("owes {code}")),
    );
    wrong.extend(expect.no_questions.iter().filter(|key| questions.contains(key)).map(|key| format!("asks {key}")));
    let duty = |code: &String| got.obligations.iter().find(|duty| duty.code == *code);
    let is_deferred =
        |code: &String, to: &NaiveDate| duty(code).is_some_and(|duty| duty.deferred && duty.applies_from == Some(*to));
    wrong.extend(
        expect
            .deferred
            .iter()
            .filter(|(code, to)| !is_deferred(code, to))
            .map(|(code, _)| format!("{code} is not deferred")),
    );
    let has = |code: &String, relief: &String| {
        duty(code).is_some_and(|duty| duty.reliefs.iter().any(|one| one.code == *relief))
    };
    wrong.extend(
        expect
            .reliefs
            .iter()
            .filter(|(code, relief)| !has(code, relief))
            .map(|(code, relief)| format!("{code} lacks {relief}")),
    );
    wrong.extend(reading_differences(expect, got));
    let any = |relief: &&String| got.obligations.iter().flat_map(|duty| &duty.reliefs).any(|one| one.code == **relief);
    wrong.extend(expect.no_reliefs.iter().filter(any).map(|relief| format!("relief {relief} is given")));
    if expect.no_clock && clock.is_some() {
        wrong.push(format!("a clock runs: {clock:?}"));
    }
    if expect.no_line && got.line.is_some() {
        wrong.push(format!("a line was chosen: {line:?}"));
    }
    wrong
}

#[test]
fn the_decision_tables_hold() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (file, text) in TABLES {
        let table: Table = toml::from_str(text).unwrap_or_else(|cause| panic!("{file}: {cause}"));
        for case in &table.case {
            count += 1;
            let found = differences(&case.expect, &run(case));
            wrong.extend(found.into_iter().map(|difference| format!("{file}: {}: {difference}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 100, "only {count} cases");
}

#[test]
fn every_missing_fact_says_what_to_do() {
    for (_, text) in TABLES {
        for case in toml::from_str::<Table>(text).unwrap().case {
            let assessment = run(&case);
            for missing in &assessment.missing {
                assert!(
                    missing.next_step.contains("--") || missing.next_step.contains("flopsmeter"),
                    "{}: {}",
                    missing.fact,
                    missing.next_step
                );
                // No flag that the command line does not have; a question is answered by the command that records it.
                assert!(!missing.next_step.contains("--phase"), "{}: {}", missing.fact, missing.next_step);
                if AnswerKey::named(&missing.fact).is_some() {
                    let command =
                        format!("flopsmeter modifications answer MODIFICATION {}=yes|no --by NAME", missing.fact);
                    assert!(missing.next_step.contains(&command), "{}: {}", missing.fact, missing.next_step);
                }
            }
            if assessment.verdict == Verdict::Undetermined {
                assert!(!assessment.missing.is_empty(), "{}: undetermined, and nothing is missing", case.name);
            }
        }
    }
}

#[test]
fn inputs_are_named_by_digest() {
    let base = Base::resolve(Registry::embedded().unwrap(), "meta-llama/Llama-3.1-8B");
    let rules = RuleSet::in_force(day()).unwrap();
    let question = Question {
        spent: Spent::counted(Flops(1), Basis::Operations),
        base: Some(&base),
        rules,
        as_of: day(),
        answers: &Answers::default(),
        inputs: Inputs::default(),
    };
    let inputs = assess(&question).inputs;
    assert_eq!(inputs.rules.map(|input| input.digest), Some(rules.digest().to_string()));
    assert_eq!(inputs.base_model.map(|input| (input.name, input.digest.len())), Some((base.name().to_owned(), 64)));
}

#[test]
fn newer_rules_change_the_citation_and_not_the_verdict() {
    let base = Base::resolve(Registry::embedded().unwrap(), "meta-llama/Llama-3.1-8B");
    let mut places = Vec::new();
    for id in RuleSet::ids() {
        let assessment = assess(&Question {
            spent: Spent::counted("2.5e23".parse().unwrap(), Basis::Operations),
            base: Some(&base),
            rules: RuleSet::embedded(id).unwrap(),
            as_of: day(),
            answers: &Answers::default(),
            inputs: Inputs::default(),
        });
        assert_eq!((assessment.verdict, assessment.rules.as_str()), (Verdict::Exceeds, id));
        places.extend(assessment.line.map(|line| line.citation.place));
    }
    assert_eq!(places.len(), 3);
    assert_ne!(places[0], places[1]);
}
