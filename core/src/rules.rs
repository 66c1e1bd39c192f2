//! Rule sets: the law as dated data. Every line, margin, figure, date and counting rule stands in `core/data/rules/`, with
//! the place it comes from; this module reads them and refuses what is not cited or not exact.

mod check;
mod check_answers;
mod compare;
mod cumulation;
mod document;
mod fraction;
mod house;
mod problem;
mod question;
mod row;

use std::borrow::Cow;
use std::sync::OnceLock;

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};

use crate::assess::{AnswerKey, Citation};
use crate::ledger::Digest;
use crate::unit::Flops;
use document::Document;

pub use compare::RowChange;
pub use cumulation::{CumulationCounts, CumulationKey, CumulationRow};
pub use fraction::{Fraction, FractionProblem};
pub use house::HouseRules;
pub use problem::RulesProblem;
pub use question::{
    AnswerProblem, Bearing, ContradictionRow, DerivationRow, Expectation, QuestionKind, QuestionRow, ReliefRow,
};
pub use row::{
    Cite, Confidence, Counted, Counts, DateRow, FigureKey, FigureRow, Instrument, LineKey, LineRow, MarginRow, Margins,
    Measure, ObligationRow, PhaseRow, PolicyRow, SpentKind, StatusRow, Subject, When,
};

/// One embedded file and its parsed form, made at first use.
struct Embedded {
    id: &'static str,
    text: &'static str,
    parsed: OnceLock<Result<RuleSet, RulesProblem>>,
}

/// Embedded rule sets, oldest first.
static EMBEDDED: [Embedded; 3] = [
    Embedded {
        id: "eu-gpai-2025-07-18",
        text: include_str!("../data/rules/eu-gpai-2025-07-18.toml"),
        parsed: OnceLock::new(),
    },
    Embedded {
        id: "eu-gpai-2025-11-19",
        text: include_str!("../data/rules/eu-gpai-2025-11-19.toml"),
        parsed: OnceLock::new(),
    },
    Embedded {
        id: "eu-gpai-2026-07-27",
        text: include_str!("../data/rules/eu-gpai-2026-07-27.toml"),
        parsed: OnceLock::new(),
    },
];

/// A dated rule set.
///
/// ```
/// use flopsmeter_core::rules::{FigureKey, RuleSet};
/// let day = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let rules = RuleSet::in_force(day).unwrap();
/// assert_eq!(rules.id(), "eu-gpai-2026-07-27");
/// assert_eq!(rules.figure(FigureKey::GpaiCriterion).value.to_string(), format!("1{}", "0".repeat(23)));
/// ```
#[derive(Clone, Debug)]
pub struct RuleSet {
    document: Document,
    /// The file, to compare sets; its digest is made at first use.
    text: Cow<'static, str>,
    digest: OnceLock<Digest>,
    house: Option<Box<HouseRules>>,
    /// Name of the house rules whose lines stand here in place of the law's.
    of_house: Option<String>,
}

impl RuleSet {
    /// Ids of the embedded rule sets, oldest first.
    pub fn ids() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|set| set.id)
    }

    /// The embedded rule set of this id.
    pub fn embedded(id: &str) -> Result<&'static Self, RulesProblem> {
        let set = EMBEDDED.iter().find(|set| set.id == id).ok_or_else(|| RulesProblem::UnknownId {
            id: id.to_owned(),
            known: Self::ids().collect::<Vec<_>>().join(", "),
        })?;
        set.parsed.get_or_init(|| Self::read(Cow::Borrowed(set.text))).as_ref().map_err(Clone::clone)
    }

    /// The embedded rule set in force on this day (`eu-gpai`).
    pub fn in_force(as_of: NaiveDate) -> Result<&'static Self, RulesProblem> {
        for id in EMBEDDED.iter().rev().map(|set| set.id) {
            let rules = Self::embedded(id)?;
            if rules.is_in_force(as_of) {
                return Ok(rules);
            }
        }
        let first = EMBEDDED.iter().map(|set| set.id).next().unwrap_or_default();
        Err(RulesProblem::NoneInForce { as_of, first: first.to_owned() })
    }

    /// The text of an embedded file, to print it.
    pub fn text(id: &str) -> Option<&'static str> {
        EMBEDDED.iter().find(|set| set.id == id).map(|set| set.text)
    }

    /// Reads and checks a rule set.
    pub fn parse(text: &str) -> Result<Self, RulesProblem> {
        Self::read(Cow::Owned(text.to_owned()))
    }

    fn read(text: Cow<'static, str>) -> Result<Self, RulesProblem> {
        let document = Document::read(&text)?;
        check::check(&document)?;
        Ok(Self { document, text, digest: OnceLock::new(), house: None, of_house: None })
    }

    /// Its id, for example `eu-gpai-2026-07-27`.
    pub fn id(&self) -> &str {
        &self.document.id
    }

    /// What it is, in one line.
    pub fn title(&self) -> &str {
        &self.document.title
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest(Sha256::digest(self.text.as_bytes()).into()))
    }

    /// First day in force.
    pub const fn from(&self) -> NaiveDate {
        self.document.from
    }

    /// Last day in force, if it has been superseded.
    pub const fn until(&self) -> Option<NaiveDate> {
        self.document.until
    }

    /// Whether it is in force on this day.
    pub fn is_in_force(&self, day: NaiveDate) -> bool {
        self.from() <= day && self.until().is_none_or(|last| day <= last)
    }

    /// The instruments it cites.
    pub fn instruments(&self) -> &[Instrument] {
        &self.document.instruments
    }

    /// A figure.
    pub fn figure(&self, key: FigureKey) -> &FigureRow {
        self.document.figure(key)
    }

    /// A figure of the unit FLOP.
    pub fn flop_figure(&self, key: FigureKey) -> Flops {
        Flops(self.figure(key).value)
    }

    /// A line.
    pub fn line(&self, key: LineKey) -> &LineRow {
        self.document.line(key)
    }

    /// The margin of estimation.
    pub const fn margin(&self) -> &MarginRow {
        &self.document.margin
    }

    /// How work of this kind counts; a kind that the set does not name is debatable, which is computed both ways.
    ///
    /// ```
    /// use flopsmeter_core::facts::Phase;
    /// use flopsmeter_core::rules::{Counts, RuleSet};
    /// let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
    /// assert_eq!(rules.counts(Phase::Training.name()), Counts::Training);
    /// assert_eq!(rules.counts(Phase::Evaluation.name()), Counts::Neither);
    /// ```
    pub fn counts(&self, phase: &str) -> Counts {
        self.phase(phase).map_or(Counts::Debatable, |row| row.counts)
    }

    /// The row for this kind of work.
    pub fn phase(&self, phase: &str) -> Option<&PhaseRow> {
        self.document.phases.iter().find(|row| row.name == phase)
    }

    /// All kinds of work.
    pub fn phases(&self) -> &[PhaseRow] {
        &self.document.phases
    }

    /// How operations are counted.
    pub fn counting(&self) -> &[Counted] {
        &self.document.counting
    }

    /// Handling where the text is silent.
    pub fn policies(&self) -> &[PolicyRow] {
        &self.document.policies
    }

    /// The policy of this key.
    pub fn policy(&self, key: &str) -> Option<&PolicyRow> {
        self.document.policies.iter().find(|row| row.key == key)
    }

    /// How modifications are added up and against what, each way once.
    pub fn cumulation(&self) -> &[CumulationRow] {
        &self.document.cumulation
    }

    /// One way to read that; every set has each.
    pub fn cumulation_row(&self, key: CumulationKey) -> Option<&CumulationRow> {
        self.document.cumulation.iter().find(|row| row.key == key)
    }

    /// Whether the verdict of this way to read is one of those of which the worst is followed.
    pub fn decides(&self, key: CumulationKey) -> bool {
        self.cumulation_row(key).is_none_or(|row| row.counts == CumulationCounts::Decides)
    }

    /// Dates.
    pub fn dates(&self) -> &[DateRow] {
        &self.document.dates
    }

    /// The date of this key.
    pub fn date(&self, key: &str) -> Option<NaiveDate> {
        self.document.dates.iter().find(|row| row.key == key).map(|row| row.date)
    }

    /// The questions that people have to answer, in order.
    pub fn questions(&self) -> &[QuestionRow] {
        &self.document.questions
    }

    /// The row of a question; every set has one for each.
    pub fn question(&self, key: AnswerKey) -> Option<&QuestionRow> {
        self.document.questions.iter().find(|row| row.key == key)
    }

    /// What follows from other answers, each resting on rows before it at most.
    pub fn derivations(&self) -> &[DerivationRow] {
        &self.document.derivations
    }

    /// Answers that cannot all be true.
    pub fn contradictions(&self) -> &[ContradictionRow] {
        &self.document.contradictions
    }

    /// What makes duties lighter or later.
    pub fn reliefs(&self) -> &[ReliefRow] {
        &self.document.reliefs
    }

    /// The decision table for who is provider, in order.
    pub fn status_rows(&self) -> &[StatusRow] {
        &self.document.status
    }

    /// Duties.
    pub fn obligations(&self) -> &[ObligationRow] {
        &self.document.obligations
    }

    /// A row's citation in full.
    pub fn citation(&self, cite: &Cite) -> Citation {
        let instrument = self.document.instruments.iter().find(|instrument| instrument.key == cite.instrument);
        let place = match &cite.also {
            Some(also) => format!("{} ({also})", cite.place),
            None => cite.place.clone(),
        };
        Citation {
            instrument: instrument.map_or_else(|| cite.instrument.clone(), |found| found.name.clone()),
            place,
            url: instrument.map(|found| found.url.clone()),
            confidence: cite.confidence.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
