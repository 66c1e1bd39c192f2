//! The decision table of `tests/law/lineage.toml`, written from the law's text.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Ancestry, BaseReference, LineageProblem, Merge, Modification, Modifications};
use crate::assess::{AnswerKey, Answers, Assessment, Basis, Spent, Verdict, WatchState};
use crate::judge::Judge;
use crate::ledger::Digest;
use crate::registry::Registry;
use crate::rules::RuleSet;
use crate::unit::Flops;

const TABLE: &str = include_str!("../../../tests/law/lineage.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    rules: Option<String>,
    /// Compute of each original; `unknown` for one of which nothing is known.
    originals: BTreeMap<String, String>,
    /// Modifications on the way; the last one is assessed.
    chain: Vec<Link>,
    #[serde(default)]
    answers: BTreeMap<AnswerKey, bool>,
    house: Option<String>,
    expect: Expect,
}

/// One modification, or a model that another team declares.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    name: String,
    /// What it is made from; several are merged.
    of: Vec<String>,
    /// The parent that is named.
    parent: Option<String>,
    #[serde(default)]
    spent: Flops,
    /// What counts cumulatively besides.
    #[serde(default)]
    cumulative_more: Flops,
    /// `us` or `others`: a declared model, not one of the ledger.
    declared_by: Option<String>,
    #[serde(default)]
    uncounted: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expect {
    verdict: Option<Verdict>,
    followed: Option<String>,
    base: Option<String>,
    ratio: Option<String>,
    /// Ways to read it with their verdicts.
    ways: BTreeMap<String, Verdict>,
    /// Ways that must not be told.
    no_ways: Vec<String>,
    /// Only one way: nothing is told of ways.
    no_cumulation: bool,
    findings: Vec<String>,
    no_findings: Vec<String>,
    questions: Vec<String>,
    watch: Option<WatchState>,
    watch_total: Option<Flops>,
    merged: Option<Flops>,
    house_verdict: Option<Verdict>,
    problem: Option<String>,
}

/// A file that declares a model; `descent` is its part, its parent and whose work it is.
fn declared(name: &str, flop: &str, descent: Option<(&str, Flops, &str)>) -> BaseReference {
    let descent = descent.map_or_else(String::new, |(parent, own, by)| {
        format!("parent = \"{parent}\"\nown_flop = \"{own}\"\nmodified_by = \"{by}\"\n")
    });
    let text = format!(
        "name = \"{name}\"\nflop = \"{flop}\"\nsource = \"log\"\ndeclared_by = \"Ada\"\ndate = \"2026-11-21\"\n{descent}"
    );
    let digest = Digest::of(text.as_bytes()).to_string();
    BaseReference::Declared { name: name.to_owned(), text, digest }
}

/// A model of which nothing is known.
fn unknown(name: &str) -> BaseReference {
    BaseReference::Registry { id: format!("nobody/{name}"), digest: String::new() }
}

struct Ledger {
    modifications: Modifications,
    spent: BTreeMap<String, Spent>,
}

fn ledger(case: &Case) -> Ledger {
    let mut references: BTreeMap<String, BaseReference> = BTreeMap::new();
    for (name, flop) in &case.originals {
        let reference = if flop == "unknown" { unknown(name) } else { declared(name, flop, None) };
        references.insert(name.clone(), reference);
    }
    let mut ledger = Ledger { modifications: BTreeMap::new(), spent: BTreeMap::new() };
    for link in &case.chain {
        if link.declared_by.is_none() {
            references.insert(link.name.clone(), BaseReference::Modification { slug: link.name.clone() });
        }
    }
    for link in &case.chain {
        if let Some(by) = &link.declared_by {
            let [parent] = link.of.as_slice() else { panic!("a declared model has one parent") };
            let of: Flops = case.originals[parent].parse().unwrap();
            let flop = (of + link.spent).to_string();
            references.insert(link.name.clone(), declared(&link.name, &flop, Some((parent, link.spent, by))));
            continue;
        }
        let known =
            |name: &String| references.get(name).cloned().unwrap_or(BaseReference::Modification { slug: name.clone() });
        let mut modification = Modification { slug: link.name.clone(), ..Modification::default() };
        if link.of.len() > 1 {
            let of = link.of.iter().map(known).collect();
            let (parent, by) = (link.parent.as_ref().map(known), "Ada".to_owned());
            modification.merge = Some(Merge { of, parent, by, date: "2026-11-21".parse().unwrap() });
        } else {
            modification.base = link.of.first().map(known);
        }
        let spent = Spent {
            cumulative: Some(link.spent + link.cumulative_more),
            ..Spent::counted(link.spent, Basis::Operations)
        };
        ledger.spent.insert(link.name.clone(), if link.uncounted { Spent::default() } else { spent });
        ledger.modifications.insert(link.name.clone(), modification);
    }
    ledger
}

fn assessed(case: &Case) -> Result<Assessment, LineageProblem> {
    let law = RuleSet::embedded(case.rules.as_deref().unwrap_or("eu-gpai-2026-07-27")).unwrap();
    let rules: &'static RuleSet = match &case.house {
        Some(file) => Box::leak(Box::new(law.with_house(file).unwrap_or_else(|problem| panic!("{problem}")))),
        None => law,
    };
    let Ledger { modifications, spent } = ledger(case);
    let of = &modifications[&case.chain.last().unwrap().name];
    let spent_of = |of: &Modification| Ok::<_, LineageProblem>(spent[&of.slug].clone());
    let ancestry = Ancestry::trace(of, &modifications, Registry::embedded().unwrap(), spent_of)?;
    let as_of = "2026-11-21".parse().unwrap();
    let answer = |value: bool| crate::assess::Answer { value: value.into(), by: "Ada".to_owned(), date: as_of };
    let answers = case.answers.iter().fold(Answers::default(), |all, (key, value)| all.with(*key, answer(*value)));
    let judge = Judge { base: None, rules, as_of, answers, ancestry: Some(ancestry) };
    Ok(judge.assess_spent(spent[&of.slug].clone(), Vec::new()))
}

fn differences(expect: &Expect, got: &Assessment) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, wanted: Option<String>, is: Option<String>| {
        if wanted.is_some() && wanted != is {
            wrong.push(format!("{what}: expected {}, got {is:?}", wanted.unwrap_or_default()));
        }
    };
    let followed = got.cumulation.iter().find(|way| way.followed);
    let watch = got.systemic_risk_watch.as_ref();
    let word = |value: &dyn core::fmt::Debug| format!("{value:?}");
    same("verdict", expect.verdict.map(|verdict| word(&verdict)), Some(word(&got.verdict)));
    same("followed", expect.followed.clone(), followed.map(|way| way.code.clone()));
    same("base", expect.base.clone(), followed.and_then(|way| way.base.clone()));
    same("ratio", expect.ratio.clone(), got.ratio.clone());
    same("watch", expect.watch.map(|state| word(&state)), watch.map(|watch| word(&watch.state)));
    same("total", expect.watch_total.map(|flop| flop.to_string()), watch.map(|watch| watch.total.to_string()));
    let merged = watch.and_then(|watch| watch.merged_compute);
    same("merged", expect.merged.map(|flop| flop.to_string()), merged.map(|flop| flop.to_string()));
    same("house", expect.house_verdict.map(|v| word(&v)), got.house.as_ref().map(|house| word(&house.verdict)));
    let worst = |code: &String| {
        let ways = got.cumulation.iter().filter(|way| way.code == *code);
        ways.map(|way| way.verdict).max_by_key(|verdict| if *verdict == Verdict::Exceeds { 4 } else { *verdict as u8 })
    };
    for (code, verdict) in &expect.ways {
        if worst(code) != Some(*verdict) {
            wrong.push(format!("{code}: expected {verdict:?}, got {:?}", worst(code)));
        }
    }
    let told = |code: &&String| got.cumulation.iter().any(|way| way.code == **code);
    wrong.extend(expect.no_ways.iter().filter(told).map(|code| format!("{code} is told")));
    if expect.no_cumulation && !got.cumulation.is_empty() {
        wrong.push(format!("ways are told: {:?}", got.cumulation));
    }
    let findings: Vec<&String> = got.findings.iter().map(|finding| &finding.code).collect();
    wrong.extend(
        expect
            .findings
            .iter()
            .filter(|code| !findings.contains(code))
            .map(|code| format!("no finding {code}: {findings:?}")),
    );
    wrong
        .extend(expect.no_findings.iter().filter(|code| findings.contains(code)).map(|code| format!("finding {code}")));
    let questions: Vec<&str> = got.questions.iter().map(|question| question.key.name()).collect();
    wrong.extend(
        expect
            .questions
            .iter()
            .filter(|key| !questions.contains(&key.as_str()))
            .map(|key| format!("no question {key}")),
    );
    wrong
}

#[test]
fn the_table_of_lineages_holds() {
    let table: Table = toml::from_str(TABLE).unwrap_or_else(|cause| panic!("{cause}"));
    let mut wrong = Vec::new();
    for case in &table.case {
        let found = match (assessed(case), &case.expect.problem) {
            (Ok(got), None) => differences(&case.expect, &got),
            (Err(problem), Some(says)) if problem.to_string().contains(says) => Vec::new(),
            (got, says) => vec![format!("expected the problem {says:?}, got {:?}", got.map(|got| got.verdict))],
        };
        wrong.extend(found.into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), table.case.len(), wrong.join("\n"));
    assert!(table.case.len() >= 30, "only {} cases", table.case.len());
}

/// Whatever is asked, every way says where it stands and that it is our reading.
#[test]
fn every_way_is_cited_as_our_reading() {
    for case in toml::from_str::<Table>(TABLE).unwrap().case {
        for way in assessed(&case).map(|got| got.cumulation).unwrap_or_default() {
            assert_eq!(way.citation.confidence, "our reading", "{}: {}", case.name, way.code);
            assert!(way.citation.place.contains("paragraph") && !way.says.is_empty(), "{}: {}", case.name, way.code);
        }
    }
}
