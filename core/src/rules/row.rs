//! The rows of a rule set file.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::fraction::Fraction;
use super::question::Expectation;
use crate::assess::{AnswerKey, LineKind, Status, Verdict};
use crate::unit::parse_whole;

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cite {
    /// Key of the instrument.
    pub instrument: String,
    /// Article or paragraph.
    pub place: String,
    /// The same place in the other numbering, where two exist.
    pub also: Option<String>,
    /// What was read.
    pub confidence: Confidence,
}

/// What was read for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Confidence {
    /// The text itself, or a verbatim conversion of it.
    #[serde(rename = "primary text")]
    PrimaryText,
    /// Somebody's quotation or digest.
    #[serde(rename = "secondary source")]
    SecondarySource,
    /// No text says it, or the paragraph's number is derived.
    #[serde(rename = "our reading")]
    OurReading,
}

impl Confidence {
    /// The words used in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrimaryText => "primary text",
            Self::SecondarySource => "secondary source",
            Self::OurReading => "our reading",
        }
    }
}

/// A text that is cited.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Key by which rows name it.
    pub key: String,
    /// Short name used in citations.
    pub name: String,
    /// Full title.
    pub title: String,
    /// Its date.
    pub date: NaiveDate,
    /// What of it was read.
    pub read: Confidence,
    /// Where it is published.
    pub url: String,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureRow {
    /// Which.
    pub key: FigureKey,
    /// Its value in its unit.
    #[serde(deserialize_with = "whole")]
    pub value: u128,
    /// `flop`, `parameters` or `days`.
    pub unit: String,
    /// What it means.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
    /// First day in force, if not the set's.
    pub from: Option<NaiveDate>,
    /// Last day in force, if not the set's.
    pub until: Option<NaiveDate>,
}

/// Figures every set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKey {
    /// Training compute above which a model is indicated to be general-purpose, in FLOP.
    GpaiCriterion,
    /// Parameters of a model that takes about that much.
    GpaiCriterionParameters,
    /// Cumulative compute above which systemic risk is presumed, in FLOP.
    SystemicRiskPresumption,
    /// Days within which systemic risk is to be notified.
    NotificationPeriod,
}

impl FigureKey {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::GpaiCriterion, Self::GpaiCriterionParameters, Self::SystemicRiskPresumption, Self::NotificationPeriod];

    /// The name used in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GpaiCriterion => "gpai-criterion",
            Self::GpaiCriterionParameters => "gpai-criterion-parameters",
            Self::SystemicRiskPresumption => "systemic-risk-presumption",
            Self::NotificationPeriod => "notification-period",
        }
    }
}

/// The margin of estimation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarginRow {
    /// `estimation`.
    pub key: String,
    /// The margin.
    pub value: Fraction,
    /// What it means.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineRow {
    /// Which.
    pub key: LineKey,
    /// What it is a fraction of.
    pub measure: Measure,
    /// Which sum of the modification is held against it.
    pub spent: SpentKind,
    /// The fraction; over it, strictly, is over the line.
    pub multiplier: Fraction,
    /// To which sides the margin of estimation applies.
    pub margins: Margins,
    /// From this multiple of the measure on, inclusive, the estimate is inside the margin.
    pub near: Fraction,
    /// Over this multiple of the measure, the estimate is clear of the margin.
    pub clear: Fraction,
    /// What the line means.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
    /// First day in force, if not the set's.
    pub from: Option<NaiveDate>,
    /// Last day in force, if not the set's.
    pub until: Option<NaiveDate>,
}

/// Lines every set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKey {
    /// A third of the base's training compute.
    ThirdOfBase,
    /// A third of the cumulative compute of a base with systemic risk.
    ThirdOfSystemicRiskBase,
    /// A third of the criterion for general-purpose models.
    ThirdOfGpaiCriterion,
    /// A third of the presumption of systemic risk.
    ThirdOfSystemicRiskPresumption,
    /// Base and modification together against the criterion.
    ResultAboveGpaiCriterion,
}

impl LineKey {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ThirdOfBase,
        Self::ThirdOfSystemicRiskBase,
        Self::ThirdOfGpaiCriterion,
        Self::ThirdOfSystemicRiskPresumption,
        Self::ResultAboveGpaiCriterion,
    ];

    /// The name used in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThirdOfBase => "third-of-base",
            Self::ThirdOfSystemicRiskBase => "third-of-systemic-risk-base",
            Self::ThirdOfGpaiCriterion => "third-of-gpai-criterion",
            Self::ThirdOfSystemicRiskPresumption => "third-of-systemic-risk-presumption",
            Self::ResultAboveGpaiCriterion => "result-above-gpai-criterion",
        }
    }
}

/// What a line is a fraction of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The base's compute.
    Base,
    /// The criterion for general-purpose models.
    GpaiCriterion,
    /// The presumption of systemic risk.
    SystemicRiskPresumption,
    /// What the base leaves of the criterion.
    RoomToGpaiCriterion,
}

/// Which sum of the modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpentKind {
    /// What directly contributes to parameter updates.
    Training,
    /// The cumulative sum.
    Cumulative,
}

/// To which sides of a comparison the margin of estimation applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Margins {
    /// The modification's figure and the measure, which is an estimate too.
    Both,
    /// The modification's figure alone.
    Spent,
}

/// How one kind of work counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseRow {
    /// The kind of work.
    pub name: String,
    /// How it counts.
    pub counts: Counts,
    /// Why.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// How work counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// In both sums: it directly contributes to parameter updates.
    Training,
    /// In the cumulative sum alone.
    Cumulative,
    /// In neither.
    Neither,
    /// In the cumulative sum; whether in the other too is computed both ways.
    Debatable,
}

/// How operations are counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// What.
    pub key: String,
    /// `yes` or `no`.
    pub counts: String,
    /// The rule.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// Handling where the text is silent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRow {
    /// The question.
    pub key: String,
    /// The choice.
    pub value: String,
    /// What it means.
    pub says: String,
    /// The nearest text.
    pub cite: Cite,
}

/// A date of the law.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DateRow {
    /// Which.
    pub key: String,
    /// The day.
    pub date: NaiveDate,
    /// What happens.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// A row of the decision table for who is provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusRow {
    /// Stable short name.
    pub code: String,
    /// When it applies.
    pub when: When,
    /// What follows.
    pub outcome: Status,
    /// Why.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// When a row applies: all that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// One of these verdicts; any, if empty.
    #[serde(default)]
    pub verdict: Vec<Verdict>,
    /// One of these kinds of line; any, if empty.
    #[serde(default)]
    pub line: Vec<LineKind>,
    /// Whether the result has systemic risk, which may be open; either, if not named.
    #[serde(default, rename = "systemic-risk")]
    pub systemic_risk: Option<bool>,
    /// Answers.
    #[serde(default)]
    pub answers: BTreeMap<AnswerKey, Expectation>,
}

/// A duty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ObligationRow {
    /// Stable short name.
    pub code: String,
    /// Whose duty it is.
    pub applies_to: Subject,
    /// Whether it concerns the modification alone.
    pub limited_to_modification: bool,
    /// What else must hold.
    #[serde(default)]
    pub when: When,
    /// What takes it away.
    pub unless: Option<When>,
    /// First day it applies, if not the set's.
    pub from: Option<NaiveDate>,
    /// Last day it applies, if not the set's.
    pub until: Option<NaiveDate>,
    /// What it asks.
    pub says: String,
    /// Where it stands.
    pub cite: Cite,
}

/// Whose duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Every provider of a modified model.
    Provider,
    /// Providers of a modified model with systemic risk.
    SystemicRisk,
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_whole(&text).map_err(|problem| D::Error::custom(format!("`value`: {problem}")))
}
