//! Inputs of the memo as a modification's life brings them: below, near, exceeds, undetermined, and what goes wrong.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use flopsmeter_core::assess::{
    Assessment, Band, Basis, Citation, InputDigest, Inputs, Line, LineKind, Missing, Obligation, Origin, Reading,
    Status, Step, Verdict,
};
use flopsmeter_core::facts::Phase;
use flopsmeter_core::run::{
    Alert, Ceiling, CeilingLayer, DeviceCeiling, Exit, Finding, Gap, ModelSummary, PhaseSummary, RUN_SCHEMA, RunFlops,
    RunState, RunSummary, RunTokens, Term,
};
use flopsmeter_core::unit::{Flops, Joules, Tokens};
use flopsmeter_reporter::{BaseDescription, ThresholdInput};

const BASE: u128 = 722_700_000_000_000_000_000_000;

pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
    let start = DateTime::parse_from_rfc3339("2026-11-20T08:15:00Z").unwrap().to_utc();
    start + TimeDelta::minutes(minutes)
}

fn citation(place: &str, confidence: &str) -> Citation {
    Citation {
        instrument: "Guidelines C(2025) 7719 final".to_owned(),
        place: place.to_owned(),
        url: Some("https://digital-strategy.ec.europa.eu/en/library/guidelines-scope-obligations-providers-general-purpose-ai-models-under-ai-act".to_owned()),
        confidence: confidence.to_owned(),
    }
}

fn act(place: &str) -> Citation {
    Citation {
        instrument: "Regulation (EU) 2024/1689".to_owned(),
        place: place.to_owned(),
        url: Some("https://eur-lex.europa.eu/eli/reg/2024/1689/2026-07-27/eng".to_owned()),
        confidence: "primary text".to_owned(),
    }
}

fn registry() -> Origin {
    Origin::Registry {
        source: "Meta model card, arXiv:2407.21783, table 4 (developer statement)".to_owned(),
        date: "2026-09-30".to_owned(),
    }
}

fn step(code: &str, values: &[(&str, &str)], citation: Option<Citation>) -> Step {
    let values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Step { code: code.to_owned(), values, citation }
}

fn digest(name: &str, seed: u8) -> InputDigest {
    let digest = (0..32_u8).map(|byte| format!("{:02x}", byte.wrapping_mul(37).wrapping_add(seed))).collect();
    InputDigest { name: name.to_owned(), digest }
}

/// A device of a run; `share` is busy time in hundredths.
fn device(number: u8, held: f64, busy: f64) -> DeviceCeiling {
    let strict = Flops(1_070_530_560_000_000);
    DeviceCeiling {
        device: format!("GPU-5f2c9e1a-77b0-4c1d-9e8e-3d1f6a2b0c0{number}"),
        name: "NVIDIA H100 80GB HBM3".to_owned(),
        flop: Some(Flops(160_000_000_000_000_000_000_000)),
        layer: Some("L1".to_owned()),
        layers: vec![
            CeilingLayer {
                layer: "L0".to_owned(),
                flop: Some(Flops(166_000_000_000_000_000_000_000)),
                note: "time held times strict peak".to_owned(),
                holds_if: None,
            },
            CeilingLayer {
                layer: "L1".to_owned(),
                flop: Some(Flops(160_000_000_000_000_000_000_000)),
                note: "busy share from the driver's ring buffer, plus one point".to_owned(),
                holds_if: None,
            },
        ],
        held_seconds: held,
        busy_seconds: Some(busy),
        strict_peak: Some(strict),
        nominal_peak: Some(Flops(989_400_000_000_000)),
        energy_joules: Some(Joules::from_millijoules(41_300_000_000)),
        assumptions: vec![
            "The peak is that of dense FP8, the fastest format the chip has, because the job's format is not known."
                .to_owned(),
            "One point is added to each reading of the busy share, because the driver rounds.".to_owned(),
        ],
    }
}

fn term(name: &str, forward: u128, backward: u128, recompute: u128) -> Term {
    Term { name: name.to_owned(), forward: Flops(forward), backward: Flops(backward), recompute: Flops(recompute) }
}

/// A run whose training took `units` of 10^18 operations in all, in round parts.
pub(crate) fn run(id: &str, units: u128, minutes: i64) -> RunSummary {
    let unit = units * 1_000_000_000_000_000_000;
    let terms = vec![
        term("attention-projections", unit / 100 * 9, unit / 100 * 10, unit / 100 * 9),
        term("attention-scores", unit / 100 * 4, unit / 100 * 8 + 17, unit / 100 * 4),
        term("mlp", unit / 100 * 28, unit / 100 * 29 + 5, unit / 100 * 28),
        term("adapters", unit / 100, unit / 100 * 2, unit / 100),
        term("output-head", unit / 100 * 4, unit / 100 * 5 - 22, 0),
    ];
    let sum = |part: fn(&Term) -> Flops| terms.iter().map(part).sum::<Flops>();
    let (forward, backward, recompute) =
        (sum(|term| term.forward), sum(|term| term.backward), sum(|term| term.recompute));
    let evaluation = Flops(unit / 1000 * 7);
    let tokens = RunTokens { fed: Tokens(2_147_483_648), real: Some(Tokens(1_998_234_112)) };
    RunSummary {
        schema: RUN_SCHEMA.to_owned(),
        run: id.to_owned(),
        modification: Some("contracts-assistant".to_owned()),
        state: RunState::Closed,
        started: at(0),
        ended: Some(at(minutes)),
        command: vec!["python".to_owned(), "train.py".to_owned(), "--config".to_owned(), "lora.yaml".to_owned()],
        exit: Some(Exit::Code(0)),
        flops: Some(RunFlops {
            forward,
            backward,
            recompute,
            training: forward + backward,
            executed: forward + backward + recompute + evaluation,
        }),
        complete: true,
        tokens,
        phases: vec![
            PhaseSummary {
                phase: Phase::Training,
                passes: 65_536,
                tokens,
                forward,
                backward,
                recompute,
                terms,
                treatment: None,
            },
            PhaseSummary {
                phase: Phase::Evaluation,
                passes: 1_024,
                tokens: RunTokens { fed: Tokens(33_554_432), real: None },
                forward: evaluation,
                backward: Flops(0),
                recompute: Flops(0),
                terms: vec![term("mlp", evaluation.0, 0, 0)],
                treatment: None,
            },
        ],
        models: vec![ModelSummary {
            class_name: "LlamaForCausalLM".to_owned(),
            model_type: Some("llama".to_owned()),
            name_or_path: Some("meta-llama/Llama-3.1-8B".to_owned()),
            parameters_total: 8_072_204_288,
            parameters_trainable: 41_943_040,
            method: "lora".to_owned(),
            gradient_checkpointing: "non-reentrant".to_owned(),
            attention_implementation: Some("sdpa".to_owned()),
        }],
        ceiling: Ceiling {
            flop: Some(Flops(320_000_000_000_000_000_000_000)),
            layer: Some("L1".to_owned()),
            complete: true,
            devices: vec![device(0, 155_232.412, 149_801.007), device(1, 155_232.398, 149_655.12)],
        },
        energy_joules: Some(Joules::from_millijoules(82_600_000_000)),
        gaps: Vec::new(),
        findings: Vec::new(),
        alerts: Vec::new(),
        assessment: None,
    }
}

fn line(kind: LineKind, base_flop: u128) -> Line {
    Line {
        flop: Flops(base_flop / 3),
        base_flop: Flops(base_flop),
        multiplier: "1/3".to_owned(),
        kind,
        rule: "one-third".to_owned(),
        citation: citation("paragraph 60 (63 as printed in C(2025) 5045)", "primary text"),
        origin: registry(),
    }
}

fn steps(spent: Option<u128>, verdict: &str) -> Vec<Step> {
    let text = |flops: u128| flops.to_string();
    let amount = spent.map_or_else(|| "missing".to_owned(), text);
    let tripled = spent.map_or_else(|| "missing".to_owned(), |spent| text(spent * 3));
    let exceeds = spent.is_some_and(|spent| spent * 3 > BASE).to_string();
    let (base, line) = (text(BASE), text(BASE / 3));
    let (near, upper, criterion) = (text(BASE * 7 / 39), text(BASE * 13 / 21), text(10_u128.pow(23)));
    let one_third = || Some(citation("paragraph 60 (63 as printed in C(2025) 5045)", "secondary source"));
    vec![
        step(
            "rule-set",
            &[
                ("rules", "eu-gpai-2026-07-27"),
                (
                    "title",
                    "EU AI Act, general-purpose AI models: Guidelines of 19 November 2025, Act as consolidated on 27 July 2026",
                ),
                ("as_of", "2026-11-21"),
                ("in_force", "true"),
            ],
            None,
        ),
        step(
            "base-figure",
            &[
                ("base", "meta-llama/Llama-3.1-8B"),
                ("flop", &base),
                ("bound", "point"),
                ("lowest_flop", "650000000000000000000000"),
                ("over_gpai_criterion", "yes"),
                ("gpai_criterion", &criterion),
            ],
            Some(citation("paragraph 17", "secondary source")),
        ),
        step(
            "line-chosen",
            &[
                ("rule", "third-of-base"),
                ("kind", "third-of-base"),
                ("multiplier", "1/3"),
                ("base_flop", &base),
                ("line_flop", &line),
                ("measure_flop", &base),
            ],
            one_third(),
        ),
        step(
            "spent",
            &[
                ("training", &amount),
                ("cumulative", &amount),
                ("debatable", "0"),
                ("complete", if spent.is_some() { "true" } else { "false" }),
                ("basis", "operations"),
            ],
            Some(citation("paragraph 115 (118 as printed in C(2025) 5045)", "our reading")),
        ),
        step(
            "comparison",
            &[
                ("spent", &amount),
                ("sum", "training"),
                ("factor", "3"),
                ("left", &tripled),
                ("right", &base),
                ("exceeds", &exceeds),
            ],
            one_third(),
        ),
        step(
            "margin",
            &[("margin", "3/10"), ("near", "7/39"), ("upper", "13/21"), ("near_edge", &near), ("upper_edge", &upper)],
            Some(citation("paragraph 120 (123 as printed in C(2025) 5045)", "secondary source")),
        ),
        step("verdict", &[("verdict", verdict), ("basis", "operations")], one_third()),
        step(
            "status",
            &[
                ("status", if verdict == "exceeds" { "provider" } else { "open" }),
                (
                    "rows",
                    if verdict == "exceeds" { "over-the-line" } else { "not-placed-on-union-market, not-settled" },
                ),
                ("open", if verdict == "exceeds" { "" } else { "placed-on-union-market" }),
            ],
            Some(act("Article 3(3), (9), (10)")),
        ),
    ]
}

fn assessment(verdict: Verdict, spent: Option<u128>) -> Assessment {
    let name = match verdict {
        Verdict::Below => "below",
        Verdict::Near => "near",
        Verdict::Exceeds => "exceeds",
        Verdict::Undetermined => "undetermined",
    };
    let share = spent.map(|spent| {
        let hundredths = spent / (BASE / 3 / 10_000);
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    });
    let ratio = spent.map(|spent| format!("0.{:06}", spent / (BASE / 1_000_000)));
    Assessment {
        verdict,
        status: Status::Open,
        training_compute: spent.map(Flops),
        cumulative_compute: spent.map(Flops),
        line: Some(line(LineKind::ThirdOfBase, BASE)),
        ratio,
        share_of_line_percent: share,
        band: spent.map(|_| if verdict == Verdict::Near { Band::Inside } else { Band::Outside }),
        basis: if spent.is_some() { Basis::Operations } else { Basis::None },
        missing: vec![Missing {
            fact: "placed-on-the-market".to_owned(),
            next_step: "flopsmeter modifications answer contracts-assistant placed-on-the-market yes|no --by NAME"
                .to_owned(),
        }],
        findings: Vec::new(),
        obligations: vec![
            obligation("technical-documentation", "Article 53(1)(a) and Annex XI", true),
            obligation("downstream-documentation", "Article 53(1)(b) and Annex XII", true),
            obligation("copyright-policy", "Article 53(1)(c)", true),
            obligation("training-content-summary", "Article 53(1)(d)", true),
            obligation("authorised-representative", "Article 54", true),
        ],
        readings: vec![
            Reading {
                code: "lowest-base-figure".to_owned(),
                verdict: Verdict::Near,
                line: Some(line(LineKind::ThirdOfBase, BASE / 10 * 9)),
                ratio: Some("0.212000".to_owned()),
                citation: Some(citation("paragraph 120", "our reading")),
            },
            Reading {
                code: "result-test".to_owned(),
                verdict: Verdict::Undetermined,
                line: None,
                ratio: None,
                citation: None,
            },
        ],
        steps: steps(spent, name),
        rules: "eu-gpai-2026-07-27".to_owned(),
        as_of: NaiveDate::from_ymd_opt(2026, 11, 21).unwrap(),
        inputs: Inputs {
            rules: Some(digest("eu-gpai-2026-07-27.toml", 1)),
            base_model: Some(digest("meta-llama/Llama-3.1-8B", 2)),
            gpu_table: Some(digest("gpus.csv", 3)),
            runs: vec![digest("0193f5a2-7c1e-7d30-b8a4-2f6f0f1f3a10", 4)],
            answers: None,
        },
    }
}

fn obligation(code: &str, place: &str, conditional: bool) -> Obligation {
    Obligation { code: code.to_owned(), citation: act(place), conditional }
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
    input(runs, assessment)
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
            busy_seconds: None,
            strict_peak: None,
            nominal_peak: None,
            energy_joules: None,
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
