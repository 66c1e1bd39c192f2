//! A rule set file. One that does not read is looked through row by row, so that the error names the row.

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cumulation::CumulationRow;
use super::problem::RulesProblem;
use super::question::{ContradictionRow, DerivationRow, QuestionRow, ReliefRow};
use super::row::{
    Counted, DateRow, FigureKey, FigureRow, Instrument, LineKey, LineRow, MarginRow, ObligationRow, PhaseRow,
    PolicyRow, StatusRow,
};

/// A rule set file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) from: NaiveDate,
    pub(super) until: Option<NaiveDate>,
    pub(super) instruments: Vec<Instrument>,
    pub(super) figures: Figures,
    pub(super) margin: MarginRow,
    pub(super) lines: Lines,
    pub(super) phases: Vec<PhaseRow>,
    pub(super) counting: Vec<Counted>,
    pub(super) policies: Vec<PolicyRow>,
    pub(super) cumulation: Vec<CumulationRow>,
    pub(super) dates: Vec<DateRow>,
    pub(super) questions: Vec<QuestionRow>,
    pub(super) derivations: Vec<DerivationRow>,
    pub(super) contradictions: Vec<ContradictionRow>,
    pub(super) status: Vec<StatusRow>,
    pub(super) obligations: Vec<ObligationRow>,
    pub(super) reliefs: Vec<ReliefRow>,
}

/// The figures every set has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    gpai_criterion: FigureRow,
    gpai_criterion_parameters: FigureRow,
    systemic_risk_presumption: FigureRow,
    notification_period: FigureRow,
}

/// The lines every set has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    third_of_base: LineRow,
    third_of_systemic_risk_base: LineRow,
    third_of_gpai_criterion: LineRow,
    third_of_systemic_risk_presumption: LineRow,
    result_above_gpai_criterion: LineRow,
}

/// The same as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    family: String,
    title: String,
    from: NaiveDate,
    until: Option<NaiveDate>,
    instrument: Vec<Instrument>,
    figure: Vec<FigureRow>,
    margin: Vec<MarginRow>,
    line: Vec<LineRow>,
    phase: Vec<PhaseRow>,
    counting: Vec<Counted>,
    policy: Vec<PolicyRow>,
    cumulation: Vec<CumulationRow>,
    date: Vec<DateRow>,
    question: Vec<QuestionRow>,
    derivation: Vec<DerivationRow>,
    contradiction: Vec<ContradictionRow>,
    status: Vec<StatusRow>,
    obligation: Vec<ObligationRow>,
    relief: Vec<ReliefRow>,
}

impl Document {
    /// Reads a file; the first problem is returned.
    pub(super) fn read(text: &str) -> Result<Self, RulesProblem> {
        let mut file: File = toml::from_str(text).map_err(|cause| problem(text, &cause))?;
        if !file.id.starts_with(&file.family) {
            return Err(RulesProblem::row("header", format!("`id` is not of the family `{}`", file.family)));
        }
        Ok(Self {
            figures: Figures::of(&file.figure)?,
            margin: only("margin", &mut file.margin)?,
            lines: Lines::of(&file.line)?,
            id: file.id,
            title: file.title,
            from: file.from,
            until: file.until,
            instruments: file.instrument,
            phases: file.phase,
            counting: file.counting,
            policies: file.policy,
            cumulation: file.cumulation,
            dates: file.date,
            questions: file.question,
            derivations: file.derivation,
            contradictions: file.contradiction,
            status: file.status,
            obligations: file.obligation,
            reliefs: file.relief,
        })
    }

    pub(super) const fn figure(&self, key: FigureKey) -> &FigureRow {
        match key {
            FigureKey::GpaiCriterion => &self.figures.gpai_criterion,
            FigureKey::GpaiCriterionParameters => &self.figures.gpai_criterion_parameters,
            FigureKey::SystemicRiskPresumption => &self.figures.systemic_risk_presumption,
            FigureKey::NotificationPeriod => &self.figures.notification_period,
        }
    }

    /// The same row, to make it stricter.
    pub(super) const fn line_mut(&mut self, key: LineKey) -> &mut LineRow {
        match key {
            LineKey::ThirdOfBase => &mut self.lines.third_of_base,
            LineKey::ThirdOfSystemicRiskBase => &mut self.lines.third_of_systemic_risk_base,
            LineKey::ThirdOfGpaiCriterion => &mut self.lines.third_of_gpai_criterion,
            LineKey::ThirdOfSystemicRiskPresumption => &mut self.lines.third_of_systemic_risk_presumption,
            LineKey::ResultAboveGpaiCriterion => &mut self.lines.result_above_gpai_criterion,
        }
    }

    pub(super) const fn line(&self, key: LineKey) -> &LineRow {
        match key {
            LineKey::ThirdOfBase => &self.lines.third_of_base,
            LineKey::ThirdOfSystemicRiskBase => &self.lines.third_of_systemic_risk_base,
            LineKey::ThirdOfGpaiCriterion => &self.lines.third_of_gpai_criterion,
            LineKey::ThirdOfSystemicRiskPresumption => &self.lines.third_of_systemic_risk_presumption,
            LineKey::ResultAboveGpaiCriterion => &self.lines.result_above_gpai_criterion,
        }
    }
}

impl Figures {
    fn of(rows: &[FigureRow]) -> Result<Self, RulesProblem> {
        let take = |key: FigureKey| single("figure", key.name(), rows.iter().filter(|row| row.key == key));
        Ok(Self {
            gpai_criterion: take(FigureKey::GpaiCriterion)?,
            gpai_criterion_parameters: take(FigureKey::GpaiCriterionParameters)?,
            systemic_risk_presumption: take(FigureKey::SystemicRiskPresumption)?,
            notification_period: take(FigureKey::NotificationPeriod)?,
        })
    }
}

impl Lines {
    fn of(rows: &[LineRow]) -> Result<Self, RulesProblem> {
        let take = |key: LineKey| single("line", key.name(), rows.iter().filter(|row| row.key == key));
        Ok(Self {
            third_of_base: take(LineKey::ThirdOfBase)?,
            third_of_systemic_risk_base: take(LineKey::ThirdOfSystemicRiskBase)?,
            third_of_gpai_criterion: take(LineKey::ThirdOfGpaiCriterion)?,
            third_of_systemic_risk_presumption: take(LineKey::ThirdOfSystemicRiskPresumption)?,
            result_above_gpai_criterion: take(LineKey::ResultAboveGpaiCriterion)?,
        })
    }
}

fn single<'a, Row: Clone + 'a>(
    section: &str,
    name: &str,
    mut found: impl Iterator<Item = &'a Row>,
) -> Result<Row, RulesProblem> {
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row.clone()),
        (None, _) => Err(RulesProblem::row(format!("{section}.{name}"), "the row is missing")),
        (Some(_), Some(_)) => Err(RulesProblem::row(format!("{section}.{name}"), "the row stands twice")),
    }
}

fn only<Row>(section: &str, rows: &mut Vec<Row>) -> Result<Row, RulesProblem> {
    match (rows.pop(), rows.is_empty()) {
        (Some(row), true) => Ok(row),
        _ => Err(RulesProblem::row(section, "exactly one row is expected")),
    }
}

/// Takes a section's rows; an absent section is an error of its own, because a law without it is another law.
pub(super) fn rows<Row: DeserializeOwned>(file: &mut toml::Table, section: &str) -> Result<Vec<Row>, RulesProblem> {
    let Some(toml::Value::Array(values)) = file.remove(section) else {
        return Err(RulesProblem::row(
            section,
            format!("the section `[[{section}]]` is missing or is no list of rows"),
        ));
    };
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            let name = row_name(section, index, &value);
            // Taken for its text by a row that is made of a table, refused by one that is read from the file.
            if let Some(key) = unquoted_date(&value) {
                return Err(RulesProblem::row(name, format!("`{key}` is a date without quotes")));
            }
            value.try_into().map_err(|cause: toml::de::Error| RulesProblem::row(name, cause.message()))
        })
        .collect()
}

fn unquoted_date(row: &toml::Value) -> Option<&str> {
    let (key, _) = row.as_table()?.iter().find(|(_, value)| value.is_datetime())?;
    Some(key)
}

/// How an error and a comparison name a row.
pub(super) fn row_name(section: &str, index: usize, row: &toml::Value) -> String {
    let key = ["code", "key", "name"].iter().find_map(|field| row.get(field).and_then(toml::Value::as_str));
    key.map_or_else(|| format!("{section}[{index}]"), |key| format!("{section}.{key}"))
}

/// Why a file does not read, and in which row: the parser knows lines, people know rows.
fn problem(text: &str, cause: &toml::de::Error) -> RulesProblem {
    let syntax = || RulesProblem::Syntax { cause: cause.to_string() };
    let Ok(mut file) = text.parse() else { return syntax() };
    row_by_row(&mut file).err().unwrap_or_else(syntax)
}

fn row_by_row(file: &mut toml::Table) -> Result<(), RulesProblem> {
    rows::<FigureRow>(file, "figure")?;
    rows::<MarginRow>(file, "margin")?;
    rows::<LineRow>(file, "line")?;
    rows::<Instrument>(file, "instrument")?;
    rows::<PhaseRow>(file, "phase")?;
    rows::<Counted>(file, "counting")?;
    rows::<PolicyRow>(file, "policy")?;
    rows::<CumulationRow>(file, "cumulation")?;
    rows::<DateRow>(file, "date")?;
    rows::<QuestionRow>(file, "question")?;
    rows::<DerivationRow>(file, "derivation")?;
    rows::<ContradictionRow>(file, "contradiction")?;
    rows::<StatusRow>(file, "status")?;
    rows::<ObligationRow>(file, "obligation")?;
    rows::<ReliefRow>(file, "relief")?;
    for key in ["id", "family", "title"] {
        header(file, key)?;
    }
    day(&header(file, "from")?, "from")?;
    if file.contains_key("until") {
        day(&header(file, "until")?, "until")?;
    }
    match file.keys().next() {
        Some(unknown) => Err(RulesProblem::row("header", format!("unknown key or section `{unknown}`"))),
        None => Ok(()),
    }
}

fn header(file: &mut toml::Table, key: &str) -> Result<String, RulesProblem> {
    match file.remove(key) {
        Some(toml::Value::String(text)) => Ok(text),
        _ => Err(RulesProblem::row("header", format!("`{key}` is missing or is no text"))),
    }
}

fn day(text: &str, key: &str) -> Result<NaiveDate, RulesProblem> {
    text.parse().map_err(|_| RulesProblem::row("header", format!("`{key}` is no day such as 2026-07-27")))
}
