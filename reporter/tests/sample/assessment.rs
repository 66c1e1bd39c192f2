//! Assessments of the samples, with their lines, steps and obligations.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use flopsmeter_core::assess::{
    Assessment, Band, Basis, Citation, InputDigest, Inputs, Line, LineKind, Missing, Obligation, Origin, Reading,
    Status, Step, Verdict,
};
use flopsmeter_core::unit::Flops;

use super::BASE;

pub(super) fn citation(place: &str, confidence: &str) -> Citation {
    Citation {
        instrument: "Guidelines C(2025) 7719 final".to_owned(),
        place: place.to_owned(),
        url: Some("https://digital-strategy.ec.europa.eu/en/library/guidelines-scope-obligations-providers-general-purpose-ai-models-under-ai-act".to_owned()),
        confidence: confidence.to_owned(),
    }
}

pub(super) fn act(place: &str) -> Citation {
    Citation {
        instrument: "Regulation (EU) 2024/1689".to_owned(),
        place: place.to_owned(),
        url: Some("https://eur-lex.europa.eu/eli/reg/2024/1689/2026-07-27/eng".to_owned()),
        confidence: "primary text".to_owned(),
    }
}

pub(super) fn registry() -> Origin {
    Origin::Registry {
        source: "Meta model card, arXiv:2407.21783, table 4 (developer statement)".to_owned(),
        date: "2026-09-30".to_owned(),
    }
}

pub(super) fn step(code: &str, values: &[(&str, &str)], citation: Option<Citation>) -> Step {
    let values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Step { code: code.to_owned(), values, citation }
}

pub(super) fn digest(name: &str, seed: u8) -> InputDigest {
    let digest = (0..32_u8).map(|byte| format!("{:02x}", byte.wrapping_mul(37).wrapping_add(seed))).collect();
    InputDigest { name: name.to_owned(), digest }
}

pub(super) fn line(kind: LineKind, base_flop: u128) -> Line {
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

pub(super) fn assessment(verdict: Verdict, spent: Option<u128>) -> Assessment {
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
        reasons: Vec::new(),
        questions: Vec::new(),
        systemic_risk_watch: None,
        house: None,
        excluded_runs: Vec::new(),
        obligations: vec![
            obligation("technical-documentation", "Article 53(1)(a) and Annex XI", true),
            obligation("downstream-documentation", "Article 53(1)(b) and Annex XII", true),
            obligation("copyright-policy", "Article 53(1)(c)", true),
            obligation("training-content-summary", "Article 53(1)(d)", true),
            obligation("authorised-representative", "Article 54", true),
        ],
        cumulation: Vec::new(),
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
            house_rules: None,
            base_model: Some(digest("meta-llama/Llama-3.1-8B", 2)),
            gpu_table: Some(digest("gpus.csv", 3)),
            runs: vec![digest("0193f5a2-7c1e-7d30-b8a4-2f6f0f1f3a10", 4)],
            lineage: Vec::new(),
            answers: None,
        },
    }
}

pub(super) fn obligation(code: &str, place: &str, conditional: bool) -> Obligation {
    Obligation {
        code: code.to_owned(),
        citation: act(place),
        conditional,
        says: String::new(),
        limited_to_modification: true,
        applies_from: None,
        deferred: false,
        reliefs: Vec::new(),
    }
}
