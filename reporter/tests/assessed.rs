//! The memo over what the law engine really says: every code it can emit has its sentence.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use flopsmeter_core::assess::{
    Answer, AnswerKey, Answers, Assessment, Basis, ExcludedRun, Inputs, Question, Spent, Verdict, assess,
};
use flopsmeter_core::registry::{Base, Registry};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::unit::Flops;
use flopsmeter_reporter::document::{Block, Document};
use flopsmeter_reporter::{Format, ThresholdInput, Wording, compose};

use crate::sample;

/// Known, declared to be anything, unknown, and nobody's.
const BASES: [Option<&str>; 4] =
    [Some("meta-llama/Llama-3.1-8B"), Some("HuggingFaceTB/SmolLM2-135M"), Some("nobody/has-this-model"), None];

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 21).unwrap()
}

fn answers(set: &[(AnswerKey, bool)]) -> Answers {
    set.iter().fold(Answers::default(), |answers, (key, value)| {
        answers.with(*key, Answer { value: (*value).into(), by: "A. Person".to_owned(), date: day() })
    })
}

/// Nothing answered, each question answered either way, and a few together.
fn answer_sets() -> Vec<Answers> {
    let mut sets = vec![Answers::default()];
    for key in AnswerKey::ALL {
        sets.extend([answers(&[(key, true)]), answers(&[(key, false)])]);
    }
    sets.push(answers(&[(AnswerKey::BaseUnknowable, true), (AnswerKey::BaseHasSystemicRisk, true)]));
    sets.push(answers(&[
        (AnswerKey::ActsForOriginalProvider, false),
        (AnswerKey::NonProfessionalOrResearch, false),
        (AnswerKey::PlacedOnUnionMarket, true),
        (AnswerKey::EstablishedInUnion, false),
    ]));
    sets
}

fn spent() -> Vec<Spent> {
    let counted = |flops: u128| Spent::counted(Flops(flops), Basis::Operations);
    let mut all: Vec<Spent> =
        [0, 10_u128.pow(18), 10_u128.pow(22), 15 * 10_u128.pow(22), 10_u128.pow(26)].map(counted).to_vec();
    all.push(Spent { debatable: Some(Flops(10_u128.pow(23))), ..counted(10_u128.pow(22)) });
    all.push(Spent { complete: false, ..counted(10_u128.pow(22)) });
    all.push(Spent {
        complete: false,
        ceiling: Some(Flops(10_u128.pow(20))),
        ceiling_complete: true,
        ..counted(10_u128.pow(19))
    });
    let excluded = ExcludedRun {
        run: "r".to_owned(),
        reason: "diverged".to_owned(),
        by: "A. Person".to_owned(),
        date: day(),
        training_compute: Some(Flops(10_u128.pow(23))),
        cumulative_compute: Some(Flops(2 * 10_u128.pow(23))),
    };
    all.push(Spent { excluded: vec![excluded], ..counted(10_u128.pow(22)) });
    all.push(Spent::default());
    all
}

fn assessments() -> Vec<(Option<&'static str>, Assessment)> {
    let registry = Registry::embedded().unwrap();
    let mut all = Vec::new();
    for id in RuleSet::ids() {
        for name in BASES {
            let base = name.map(|name| Base::resolve(registry, name));
            for answers in answer_sets() {
                for spent in spent() {
                    let question = Question {
                        spent,
                        base: base.as_ref(),
                        rules: RuleSet::embedded(id).unwrap(),
                        as_of: day(),
                        answers: &answers,
                        inputs: Inputs::default(),
                    };
                    all.push((name, assess(&question)));
                }
            }
        }
    }
    all
}

fn input(base: Option<&str>, assessment: Assessment) -> ThresholdInput {
    let mut input = sample::below();
    match (&mut input.base, base) {
        (Some(described), Some(name)) => {
            name.clone_into(&mut described.name);
            described.flop = None;
        }
        _ => input.base = None,
    }
    input.runs.clear();
    input.assessment = assessment;
    input
}

/// Paragraphs of the first cells of a section's tables.
fn first_words(document: &Document, section: &str) -> Vec<String> {
    let blocks = document.sections.iter().filter(|one| one.id == section).flat_map(|one| &one.blocks);
    let tables = blocks.filter_map(|block| match block {
        Block::Table(table) => Some(table),
        _ => None,
    });
    let cells = tables.flat_map(|table| &table.rows).filter_map(|row| row.cells.first());
    cells.filter_map(|cell| cell.0.first()).map(flopsmeter_reporter::document::Text::to_plain).collect()
}

/// `some-code` as the memo says it for want of a sentence.
fn unworded(code: &str) -> String {
    let mut characters = code.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect::<String>().replace('-', " ")
}

/// What the wording depends on; the same again would be said in the same words.
fn codes(assessment: &Assessment) -> Vec<String> {
    let steps = assessment.steps.iter().map(|step| step.code.clone());
    let readings = assessment.readings.iter().map(|reading| reading.code.clone());
    let duties = assessment.obligations.iter().map(|duty| duty.code.clone());
    let missing = assessment.missing.iter().map(|missing| missing.fact.clone());
    let kind = assessment.line.as_ref().map(|line| line.kind);
    let state = format!("{:?} {:?} {:?} {kind:?}", assessment.verdict, assessment.basis, assessment.status);
    steps.chain(readings).chain(duties).chain(missing).chain([state]).collect()
}

#[test]
fn every_code_of_the_law_engine_has_its_sentence() {
    let wording = Wording::embedded("en").unwrap();
    let mut verdicts = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (base, assessment) in assessments() {
        verdicts.insert(assessment.verdict);
        if !seen.insert(codes(&assessment)) {
            continue;
        }
        let document = compose(&input(base, assessment.clone()), &wording).unwrap();
        let text = String::from_utf8(Format::Markdown.render(&document).unwrap()).unwrap();
        for step in &assessment.steps {
            let generic = unworded(&step.code);
            assert!(!text.contains(&format!("| {generic}: ")), "step {} is not worded:\n{text}", step.code);
            assert!(!text.contains(&format!("| {generic}. ")), "step {} is not worded", step.code);
        }
        let said: Vec<String> =
            ["readings", "status", "missing"].iter().flat_map(|section| first_words(&document, section)).collect();
        let readings = assessment.readings.iter().map(|reading| &reading.code);
        let duties = assessment.obligations.iter().map(|duty| &duty.code);
        let missing = assessment.missing.iter().map(|missing| &missing.fact);
        for code in readings.chain(duties).chain(missing) {
            assert!(!said.contains(&unworded(code)), "{code} is not worded");
        }
    }
    assert_eq!(
        verdicts.into_iter().collect::<Vec<_>>(),
        [Verdict::Below, Verdict::Near, Verdict::Exceeds, Verdict::Undetermined]
    );
}

#[test]
fn every_row_of_the_decision_tables_has_its_sentence() {
    let wording = Wording::embedded("en").unwrap();
    let values = flopsmeter_reporter::wording::Values::default();
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        for row in rules.status_rows() {
            assert!(
                wording.by_code("threshold/status", &format!("row-{}", row.code), &values).is_some(),
                "{}",
                row.code
            );
        }
        for row in rules.obligations() {
            assert!(wording.by_code("threshold/obligations", &row.code, &values).is_some(), "{}", row.code);
        }
    }
}
