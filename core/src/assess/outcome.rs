//! What an assessment says: the `assessment` object of every JSON output.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{CumulationReading, ExcludedRun, House, Obligation, OpenQuestion, Reason, SystemicRiskWatch};
use crate::run::Finding;
use crate::unit::Flops;

/// The result of an assessment. Same inputs, same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The compute line alone.
    pub verdict: Verdict,
    /// The whole legal question.
    pub status: Status,
    /// The modification's own operations that directly contribute to parameter updates; `None` if not (fully) counted, but a
    /// partial sum where that alone is over the line (finding `operations-incomplete`).
    pub training_compute: Option<Flops>,
    /// The same plus what else the rule set counts as cumulative.
    pub cumulative_compute: Option<Flops>,
    /// The line against which the verdict stands; `None` where none could be chosen.
    pub line: Option<Line>,
    /// Spent over the base's compute (or over the fixed line's numerator), as a decimal string with six digits after the point.
    pub ratio: Option<String>,
    /// Share of the line that is spent, as a decimal string in per cent with two digits after the point.
    pub share_of_line_percent: Option<String>,
    /// Inside or outside the margins of estimation.
    pub band: Option<Band>,
    /// What the verdict rests on.
    pub basis: Basis,
    /// What is missing for a (firmer) verdict, each with the way to supply it.
    pub missing: Vec<Missing>,
    /// What a reader has to know besides.
    pub findings: Vec<Finding>,
    /// Rows of the rule set that the status rests on, with what answered their questions.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// Open questions whose answers could still change the result.
    #[serde(default)]
    pub questions: Vec<OpenQuestion>,
    /// Duties that follow, with their articles.
    pub obligations: Vec<Obligation>,
    /// Everything behind the result against the presumption of systemic risk.
    #[serde(default)]
    pub systemic_risk_watch: Option<SystemicRiskWatch>,
    /// The organisation's own stricter reading, where it has one; `verdict` is the law's alone.
    #[serde(default)]
    pub house: Option<House>,
    /// Runs that a named person declared to be left out of the sums.
    #[serde(default)]
    pub excluded_runs: Vec<ExcludedRun>,
    /// Other readings of the same facts that were computed, where the law allows several.
    pub readings: Vec<Reading>,
    /// What was held against what, where the law does not say how modifications are added up: each way to read it, with its verdict.
    /// Empty where all of them are the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cumulation: Vec<CumulationReading>,
    /// How the result was reached, in order; wording is the reporter's.
    pub steps: Vec<Step>,
    /// Rule set that was applied.
    pub rules: String,
    /// The day as of which the rule set was chosen.
    pub as_of: NaiveDate,
    /// Digests of everything that went in.
    pub inputs: Inputs,
}

/// The compute line alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Below the line and outside the margin of estimation.
    Below,
    /// Not over the line, but inside the margin of estimation (or a source or reading disagrees).
    Near,
    /// Strictly over the line.
    Exceeds,
    /// Cannot be told yet; `missing` says why.
    Undetermined,
}

impl Verdict {
    /// The word used in JSON, gates and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::Near => "near",
            Self::Exceeds => "exceeds",
            Self::Undetermined => "undetermined",
        }
    }
}

/// The whole legal question, of which compute is one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Provider of the modified general-purpose AI model.
    Provider,
    /// Not a provider of it.
    NotProvider,
    /// Answers are missing.
    Open,
}

/// Position relative to the margins of estimation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// Within the permitted error of the line.
    Inside,
    /// Clear of it, above or below.
    Outside,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Counted operations of the architecture.
    Operations,
    /// 6 P D from parameters and tokens alone.
    Parameters,
    /// The hardware ceiling, which proves `below` and nothing else.
    Ceiling,
    /// Nothing.
    None,
}

/// The line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The line in operations of the modification, rounded down; comparisons use the exact fraction. For the result test it is
    /// what the base leaves of the criterion.
    pub flop: Flops,
    /// The base's compute (or the fixed figure) of which this is a third; for the result test the base's compute too.
    pub base_flop: Flops,
    /// `1/3`; for the result test `1/1`.
    pub multiplier: String,
    /// Which kind of line.
    pub kind: LineKind,
    /// Rule within the rule set.
    pub rule: String,
    /// Article or paragraph.
    pub citation: Citation,
    /// Where the base's figure comes from.
    pub origin: Origin,
}

/// Kinds of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// A third of the base model's own compute.
    ThirdOfBase,
    /// A third of a lower bound of it.
    ThirdOfLowerBound,
    /// A third of 10^23, for a base whose compute can be neither known nor estimated.
    ThirdOfGpaiThreshold,
    /// A third of 10^25, the same with systemic risk.
    ThirdOfSystemicRiskThreshold,
    /// The result test: base plus modification against 10^23, for a base that is no general-purpose model.
    ResultAboveGpaiThreshold,
}

/// Where a statement of law stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Instrument, for example `Guidelines C(2025) 7719 final`.
    pub instrument: String,
    /// Article or paragraph in it, for example `paragraph 60 (63 as printed in C(2025) 5045)`.
    pub place: String,
    /// Where to read it.
    pub url: Option<String>,
    /// `primary text`, `secondary source` or `our reading`.
    pub confidence: String,
}

/// Where a number comes from; a number without one is not printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "kebab-case")]
pub enum Origin {
    /// Read off a device or counted in the running job.
    Measured {
        /// With what.
        by: String,
    },
    /// Follows from other numbers.
    Computed {
        /// From which.
        from: String,
    },
    /// From an embedded or site table.
    Registry {
        /// Source of the row.
        source: String,
        /// Date of the row.
        date: String,
    },
    /// Somebody said so.
    Declared {
        /// Who.
        by: String,
        /// From what source, if they named one.
        source: Option<String>,
    },
    /// Not there.
    Missing {
        /// What to do about it.
        next_step: String,
    },
}

/// A missing fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    /// Stable short name: `base`, `base-compute`, `operations`, `base-is-gpai` …
    pub fact: String,
    /// How to supply it.
    pub next_step: String,
}

/// Another reading of the same facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Stable short name, for example `lowest-base-figure`, `result-test`.
    pub code: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its line, if it has one.
    pub line: Option<Line>,
    /// Its ratio.
    pub ratio: Option<String>,
    /// Why it exists.
    pub citation: Option<Citation>,
}

/// One step of the reasoning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Stable short name; a template words it.
    pub code: String,
    /// Values the wording needs.
    pub values: BTreeMap<String, String>,
    /// Article or paragraph.
    pub citation: Option<Citation>,
}

/// Digests of the inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The rule set file.
    pub rules: Option<InputDigest>,
    /// The house rules, where the organisation has any.
    #[serde(default)]
    pub house_rules: Option<InputDigest>,
    /// The base-model row or declared file.
    pub base_model: Option<InputDigest>,
    /// The GPU table.
    pub gpu_table: Option<InputDigest>,
    /// The runs: head of each hash chain.
    pub runs: Vec<InputDigest>,
    /// The modifications: head of each hash chain, where more than one stands behind the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<InputDigest>,
    /// Declared answers.
    pub answers: Option<InputDigest>,
}

/// One input and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDigest {
    /// What it is.
    pub name: String,
    /// SHA-256 in lower-case hexadecimal.
    pub digest: String,
}
