//! The threshold memo: where the compute line puts one modification, for a reader who is a lawyer.

mod arithmetic;
mod ceiling;
mod composer;
mod cumulation;
mod energy;
mod evidence;
mod findings;
mod gauge;
mod law;
mod reconciliation;
mod status;
mod totals;
mod verdict;
mod watch;

use chrono::{DateTime, Utc};
use flopsmeter_core::assess::{Assessment, Origin};
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use crate::document::{Document, Kind, Section, Words};
use crate::problem::ReportProblem;
use crate::wording::Wording;
use composer::Composer;

/// Everything the memo says something of. Nothing is read from anywhere else: same input, same bytes.
#[derive(Clone, Debug, Serialize)]
pub struct ThresholdInput {
    /// The modification's name.
    pub modification: String,
    /// For whom the memo is made.
    pub organisation: Option<String>,
    /// The model that was modified, if it is known.
    pub base: Option<BaseDescription>,
    /// Runs that belong to the modification, in the order to show them.
    pub runs: Vec<RunSummary>,
    /// What the assessment said.
    pub assessment: Assessment,
    /// When the memo is made.
    pub generated: DateTime<Utc>,
    /// Version of flopsmeter.
    pub version: String,
}

/// The base model as it was resolved.
#[derive(Clone, Debug, Serialize)]
pub struct BaseDescription {
    /// Its name.
    pub name: String,
    /// Its training compute, if known.
    pub flop: Option<Flops>,
    /// Where that figure comes from.
    pub origin: Origin,
    /// What a reader should know of it, one sentence each.
    pub notes: Vec<String>,
}

/// The machine-readable side of the memo.
#[derive(Serialize)]
struct Data<'a> {
    assessment: &'a Assessment,
    input: InputData<'a>,
}

#[derive(Serialize)]
struct InputData<'a> {
    modification: &'a str,
    organisation: Option<&'a str>,
    base: Option<&'a BaseDescription>,
    runs: &'a [RunSummary],
    generated: DateTime<Utc>,
    version: &'a str,
}

/// Composes the memo. Pure: the clock is `input.generated`.
///
/// Fails only where the wording lacks a fixed sentence; codes it does not know are said generically.
pub fn compose(input: &ThresholdInput, wording: &Wording) -> Result<Document, ReportProblem> {
    let composer = Composer::new(input, wording);
    let mut sections = vec![verdict::section(&composer)?];
    sections.push(law::line(&composer)?);
    sections.extend(law::readings(&composer)?);
    sections.extend(cumulation::section(&composer)?);
    sections.push(status::section(&composer)?);
    sections.extend(watch::section(&composer)?);
    sections.extend(watch::house(&composer)?);
    sections.extend(watch::excluded(&composer)?);
    sections.extend(findings::missing(&composer)?);
    sections.push(arithmetic::section(&composer)?);
    sections.push(ceiling::section(&composer)?);
    sections.push(findings::section(&composer)?);
    sections.push(evidence::origins(&composer)?);
    sections.push(evidence::inputs(&composer)?);
    sections.push(evidence::method(&composer)?);
    sections.push(evidence::closing(&composer)?);
    number(&mut sections);
    Ok(Document {
        kind: Kind::Threshold,
        language: wording.language().to_owned(),
        title: composer.label("title")?,
        subject: Words::brief(&input.modification, composer::LONGEST_NAME),
        organisation: input.organisation.as_deref().map(|name| Words::brief(name, composer::LONGEST_NAME)),
        generated: input.generated,
        generator: Words::new(&format!("flopsmeter {}", input.version)),
        furniture: composer.furniture()?,
        sections,
        data: data(input)?,
    })
}

/// Numbers the titled sections, so that people can point at them.
fn number(sections: &mut [Section]) {
    let titles = sections.iter_mut().filter_map(|section| section.title.as_mut());
    for (title, number) in titles.zip(1_u32..) {
        *title = Words::new(&format!("{number}. {title}"));
    }
}

fn data(input: &ThresholdInput) -> Result<serde_json::Value, ReportProblem> {
    serde_json::to_value(Data {
        assessment: &input.assessment,
        input: InputData {
            modification: &input.modification,
            organisation: input.organisation.as_deref(),
            base: input.base.as_ref(),
            runs: &input.runs,
            generated: input.generated,
            version: &input.version,
        },
    })
    .map_err(|source| ReportProblem::Json { what: "the memo's input", source })
}
