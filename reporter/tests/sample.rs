//! Inputs of the memo as a modification's life brings them: below, near, exceeds, undetermined, and what goes wrong.

mod assessment;
mod runs;

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::assess::{
    Answer, AnswerKey, AnswerValue, Answers, Assessment, Basis, ExcludedRun, Inputs, Missing, Origin, Question, Spent,
    Status, Verdict, assess,
};
use flopsmeter_core::registry::{Base, Registry};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{Alert, Ceiling, DeviceCeiling, Finding, Gap, RunState, RunSummary, RunTokens};
use flopsmeter_core::unit::{Flops, Tokens};
use flopsmeter_reporter::{BaseDescription, ThresholdInput};

use assessment::{assessment, digest, registry, step};
pub(crate) use runs::run;

const BASE: u128 = 722_700_000_000_000_000_000_000;

pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
    let start = DateTime::parse_from_rfc3339("2026-11-20T08:15:00Z").unwrap().to_utc();
    start + TimeDelta::minutes(minutes)
}

fn input(runs: Vec<RunSummary>, assessment: Assessment) -> ThresholdInput {
    ThresholdInput {
        modification: "contracts-assistant".to_owned(),
        organisation: Some("Beispiel GmbH, Köln".to_owned()),
        base: Some(BaseDescription {
            name: "meta-llama/Llama-3.1-8B".to_owned(),
            flop: Some(Flops(BASE)),
            origin: registry(),
            notes: vec![
                "The developer states 7.2e23; 6·P·D from its own parameter and token counts gives 7.23e23.".to_owned(),
            ],
        }),
        runs,
        assessment,
        generated: at(1_800),
        version: "0.1.0".to_owned(),
    }
}

fn spent(runs: &[RunSummary]) -> u128 {
    runs.iter().filter_map(|run| run.flops).map(|flops| flops.training.0).sum()
}

const FIRST: &str = "0193f5a2-7c1e-7d30-b8a4-2f6f0f1f3a10";
const SECOND: &str = "0193f5a9-11aa-7b02-9c1d-5e7710aa42cc";

/// One LoRA run, about a third of the line.
pub(crate) fn below() -> ThresholdInput {
    let runs = vec![run(FIRST, 82_000, 2_587)];
    let assessment = assessment(Verdict::Below, Some(spent(&runs)));
    input(runs, assessment)
}

/// Two runs within the margins; a GPU was lost in the second.
pub(crate) fn near() -> ThresholdInput {
    let mut second = run(SECOND, 90_000, 2_800);
    second.started = at(3_000);
    second.ended = Some(at(5_800));
    let lost = second.ceiling.devices[1].device.clone();
    second.gaps = vec![Gap {
        device: lost.clone(),
        started: at(3_900),
        duration_seconds: 1_260.5,
        reason: "NVML said the GPU is lost (Xid 79); no reading until the driver was reloaded".to_owned(),
        charged: Some(Flops(1_349_403_771_000_000_000)),
    }];
    second.findings = vec![Finding {
        code: "gpu-lost".to_owned(),
        text: format!(
            "{lost} fell off the bus at 2026-11-23 01:15 UTC; its time is charged at the peak until it was read again."
        ),
    }];
    second.alerts = vec![Alert {
        at: at(4_120),
        verdict: "near".to_owned(),
        text: "contracts-assistant has spent 54% of its line and is within the margin of error".to_owned(),
        crossing: None,
    }];
    let runs = vec![run(FIRST, 82_000, 2_587), second];
    let mut assessment = assessment(Verdict::Near, Some(spent(&runs)));
    assessment.inputs.runs.push(digest(SECOND, 9));
    input(runs, assessment)
}

/// Over the line, provider.
pub(crate) fn exceeds() -> ThresholdInput {
    let runs = vec![run(FIRST, 310_000, 9_000)];
    let mut assessment = assessment(Verdict::Exceeds, Some(spent(&runs)));
    assessment.status = Status::Provider;
    assessment.missing.clear();
    for obligation in &mut assessment.obligations {
        obligation.conditional = obligation.code == "authorised-representative";
    }
    follow(&mut assessment);
    input(runs, assessment)
}

/// What the law engine makes of such a case beside the verdict: reasons, questions, duties, the watch, a house rule, a run left out.
fn follow(assessment: &mut Assessment) {
    const HOUSE: &str = "name = \"beispiel-30-percent\"\ndeclared_by = \"M. Muster, compliance\"\ndate = 2026-01-12\n\
        says = \"review at 30 % of the base model's compute\"\n[[line]]\nkey = \"third-of-base\"\nmultiplier = \"3/10\"\n";
    let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap().with_house(HOUSE).unwrap();
    let base = Base::resolve(Registry::embedded().unwrap(), "meta-llama/Llama-3.1-8B");
    let mut answers = Answers::default();
    for (key, value) in [
        (AnswerKey::ActsForOriginalProvider, false.into()),
        (AnswerKey::NonProfessionalOrResearch, false.into()),
        (AnswerKey::InternalUseOnly, true.into()),
        (AnswerKey::InternalUseEssentialToThirdParties, true.into()),
        (AnswerKey::PlacedOnMarketDate, AnswerValue::Day(chrono::NaiveDate::from_ymd_opt(2025, 6, 30).unwrap())),
        (AnswerKey::Sme, true.into()),
    ] {
        answers.declare(key, Answer { value, by: "M. Muster, compliance".to_owned(), date: assessment.as_of });
    }
    let excluded = ExcludedRun {
        run: SECOND.to_owned(),
        reason: "diverged after 40 steps; the learning rate was found with it".to_owned(),
        by: "A. Ingenieur, training".to_owned(),
        date: assessment.as_of,
        training_compute: Some(Flops(1_204_330_000_000_000_000_000)),
        cumulative_compute: Some(Flops(1_204_330_000_000_000_000_000)),
    };
    let training = assessment.training_compute.unwrap();
    let spent = Spent { excluded: vec![excluded], ..Spent::counted(training, Basis::Operations) };
    let inputs = Inputs::default();
    let question =
        Question { spent, base: Some(&base), rules: &rules, as_of: assessment.as_of, answers: &answers, inputs };
    let real = assess(&question);
    assert_eq!(real.status, assessment.status);
    assessment.reasons = real.reasons;
    assessment.questions = real.questions;
    assessment.obligations = real.obligations;
    assessment.systemic_risk_watch = real.systemic_risk_watch;
    assessment.house = real.house;
    assessment.excluded_runs = real.excluded_runs;
    assessment.findings = real.findings;
    assessment.inputs.house_rules = real.inputs.house_rules;
}

/// Nothing known: no base, no hook, no device, no end.
pub(crate) fn undetermined() -> ThresholdInput {
    let mut only = run(FIRST, 1, 10);
    only.flops = None;
    only.complete = false;
    only.phases.clear();
    only.models.clear();
    only.tokens = RunTokens { fed: Tokens(0), real: None };
    only.state = RunState::Open;
    only.ended = None;
    only.exit = None;
    only.energy_joules = None;
    only.ceiling = Ceiling {
        flop: None,
        layer: None,
        complete: false,
        devices: vec![DeviceCeiling {
            device: "GPU-unknown".to_owned(),
            name: "NVIDIA Graphics Device".to_owned(),
            flop: None,
            layer: None,
            layers: Vec::new(),
            held_seconds: 612.25,
            hold: None,
            busy_seconds: None,
            strict_peak: None,
            nominal_peak: None,
            energy_joules: None,
            energy: None,
            assumptions: Vec::new(),
        }],
    };
    only.findings = vec![Finding {
        code: "no-hook".to_owned(),
        text: "No hook spoke while the job ran, so its operations were not counted; install the wheel in the job's environment.".to_owned(),
    }];
    let mut assessment = assessment(Verdict::Undetermined, None);
    assessment.line = None;
    assessment.cumulative_compute = None;
    assessment.obligations.clear();
    assessment.readings.clear();
    assessment.steps.truncate(1);
    assessment.steps.push(step("base-not-named", &[], None));
    assessment.steps.push(step("some-new-step", &[("what", "a value"), ("flop", "12345678901234")], None));
    assessment.inputs.base_model = None;
    assessment.missing = vec![
        Missing {
            fact: "base".to_owned(),
            next_step: "flopsmeter modifications declare contracts-assistant --base ID".to_owned(),
        },
        Missing {
            fact: "operations".to_owned(),
            next_step: "run the job again with the hook, or import its logs".to_owned(),
        },
    ];
    let mut input = input(vec![only], assessment);
    input.base = None;
    input.organisation = None;
    input
}

/// No run at all.
pub(crate) fn no_runs() -> ThresholdInput {
    let mut input = undetermined();
    input.runs.clear();
    input.assessment.inputs.runs.clear();
    input
}

/// Not all counted, but the hardware could not have crossed the line.
pub(crate) fn proven_by_ceiling() -> ThresholdInput {
    let mut input = below();
    for run in &mut input.runs {
        run.complete = false;
        run.ceiling.flop = Some(Flops(90_000_000_000_000_000_000_000));
    }
    let assessment = &mut input.assessment;
    assessment.training_compute = None;
    assessment.cumulative_compute = None;
    assessment.share_of_line_percent = None;
    assessment.ratio = None;
    assessment.band = None;
    assessment.basis = Basis::Ceiling;
    assessment.steps.push(step("ceiling-proof", &[("ceiling", "90000000000000000000000")], None));
    input
}

/// Every string is hostile.
pub(crate) fn hostile() -> ThresholdInput {
    let evil = "<script>alert(1)</script> | **x** `y` \u{202e}drow\u{202c} 🦀 שלום \u{0}\u{7}\n# h \\ {{ 7*7 }} {% if %} &amp; \u{e000}0\u{e001}";
    let long = "x".repeat(10_000);
    let mut input = near();
    input.modification = format!("{evil}{long}");
    input.organisation = Some(evil.to_owned());
    if let Some(base) = &mut input.base {
        base.name = evil.to_owned();
        base.notes = vec![evil.to_owned(), long.clone()];
        base.origin = Origin::Declared { by: evil.to_owned(), source: Some(long.clone()) };
    }
    for run in &mut input.runs {
        run.run = evil.to_owned();
        run.phases[0].terms[0].name = long.clone();
        run.models[0].class_name = long.clone();
        run.ceiling.devices[0].name = evil.to_owned();
        run.ceiling.devices[0].device = long.clone();
        run.ceiling.devices[0].held_seconds = f64::NAN;
        run.findings.push(Finding { code: evil.to_owned(), text: long.clone() });
    }
    input.assessment.rules = evil.to_owned();
    input.assessment.ratio = Some(evil.to_owned());
    input.assessment.share_of_line_percent = Some(evil.to_owned());
    input.assessment.steps.push(step(evil, &[(evil, evil), ("flop", &"9".repeat(60))], None));
    if let Some(line) = &mut input.assessment.line {
        line.citation.place = evil.to_owned();
        line.citation.url = Some("javascript:alert(1)".to_owned());
        line.flop = Flops(0);
    }
    input.assessment.inputs.runs[0].digest = long;
    input
}
