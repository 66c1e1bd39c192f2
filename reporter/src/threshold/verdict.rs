//! The first page: the verdict in one sentence, the gauge, and the facts it rests on.

use flopsmeter_core::assess::{Band, Basis, Citation, LineKind, Origin, Status, Verdict};
use flopsmeter_core::unit::Flops;

use super::composer::{Composer, LONGEST_NAME};
use super::gauge;
use crate::document::{Block, Fact, Figure, Section, Text, Tone, Words};
use crate::problem::ReportProblem;
use crate::wording::Values;

pub(super) const fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Below => "below",
        Verdict::Near => "near",
        Verdict::Exceeds => "exceeds",
        Verdict::Undetermined => "undetermined",
    }
}

pub(super) const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Below => Tone::Calm,
        Verdict::Near => Tone::Caution,
        Verdict::Exceeds => Tone::Alarm,
        Verdict::Undetermined => Tone::Open,
    }
}

pub(super) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Provider => "provider",
        Status::NotProvider => "not-provider",
        Status::Open => "open",
    }
}

const fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Operations => "operations",
        Basis::Parameters => "parameters",
        Basis::Ceiling => "ceiling",
        Basis::None => "none",
    }
}

const fn kind_name(kind: LineKind) -> &'static str {
    match kind {
        LineKind::ThirdOfBase => "third-of-base",
        LineKind::ThirdOfLowerBound => "third-of-lower-bound",
        LineKind::ThirdOfGpaiThreshold => "third-of-gpai-threshold",
        LineKind::ThirdOfSystemicRiskThreshold => "third-of-systemic-risk-threshold",
        LineKind::ResultAboveGpaiThreshold => "result-above-gpai-threshold",
    }
}

/// The first section; it has no heading, the verdict is its first sentence.
pub(super) fn section(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let verdict = composer.input.assessment.verdict;
    let values = values(composer)?;
    let mut blocks = vec![Block::Lead { tone: tone(verdict), text: composer.say("verdict", name(verdict), &values)? }];
    blocks.extend(gauge::gauge(composer)?);
    blocks.push(Block::Facts { facts: facts(composer, &values)? });
    blocks.push(Block::Notice {
        tone: tone(verdict),
        title: composer.label("what_now")?,
        text: composer.say("summary", &format!("next-{}", name(verdict)), &values)?,
    });
    Ok(Section { id: "verdict", title: None, blocks })
}

/// Spent operations with the origin their basis gives them.
pub(super) fn spent(composer: &Composer<'_>) -> Result<Figure, ReportProblem> {
    let assessment = &composer.input.assessment;
    composer.flops(assessment.training_compute, spent_origin(composer)?, "next_operations")
}

/// The sum that is held against the line, and its name: the assessment's own step says which.
pub(super) fn compared(composer: &Composer<'_>) -> (Option<Flops>, &'static str) {
    let assessment = &composer.input.assessment;
    let comparison = assessment.steps.iter().find(|step| step.code == "comparison");
    match comparison.and_then(|step| step.values.get("sum")).map(String::as_str) {
        Some("cumulative") => (assessment.cumulative_compute, "cumulative"),
        _ => (assessment.training_compute, "training"),
    }
}

/// That sum as a figure.
pub(super) fn compared_figure(composer: &Composer<'_>) -> Result<Figure, ReportProblem> {
    match compared(composer) {
        (flops, "cumulative") => composer.flops(flops, composer.computed("from_cumulation")?, "next_operations"),
        _ => spent(composer),
    }
}

fn spent_origin(composer: &Composer<'_>) -> Result<Origin, ReportProblem> {
    match composer.input.assessment.basis {
        Basis::Parameters => composer.computed("from_parameters"),
        _ if has_lineage(composer) => composer.computed("from_lineage"),
        _ if composer.input.runs.len() == 1 => composer.measured("by_hook"),
        _ => composer.computed("from_runs"),
    }
}

/// Whether more than one modification stands behind the result.
fn has_lineage(composer: &Composer<'_>) -> bool {
    let assessment = &composer.input.assessment;
    let is_of_several = |code: &str| code.starts_with("chain-") || code.starts_with("merge-");
    !assessment.inputs.lineage.is_empty() || assessment.cumulation.iter().any(|reading| is_of_several(&reading.code))
}

/// The line as a figure.
pub(super) fn line(composer: &Composer<'_>) -> Result<Figure, ReportProblem> {
    let line = composer.input.assessment.line.as_ref();
    composer.flops(line.map(|line| line.flop), composer.computed("from_base")?, "next_line")
}

/// Values that the sentences of the first page and of others share.
pub(super) fn values(composer: &Composer<'_>) -> Result<Values, ReportProblem> {
    let input = composer.input;
    let assessment = &input.assessment;
    let line = assessment.line.as_ref();
    let computed = || composer.computed("from_comparison");
    let decimal = |text: Option<&String>, percent: bool| match text {
        Some(text) if percent => Ok(Figure::percent(text, computed()?)),
        Some(text) => Ok(Figure::decimal(text, computed()?)),
        None => composer.missing("next_line"),
    };
    let base_flop = match line {
        Some(line) => Figure::flops(line.base_flop, line.origin.clone()),
        None => composer.missing("next_base")?,
    };
    let base = composer.base_name()?;
    let kind = line.map(|line| kind_name(line.kind));
    let phrase = match kind {
        Some(kind) => {
            composer.say("verdict", &format!("line-{kind}"), &Values::default().words("base", &base))?.to_plain()
        }
        None => String::new(),
    };
    Ok(Values::default()
        .words("modification", Words::brief(&input.modification, LONGEST_NAME).as_str())
        .words("base", &base)
        .flag("base_known", input.base.is_some())
        .words("kind", kind.unwrap_or("none"))
        .words("line_phrase", &phrase)
        .words("basis", basis_name(assessment.basis))
        .words("status", status_name(assessment.status))
        .words("verdict", name(assessment.verdict))
        .words("band", band_name(assessment.band))
        .words("citation", &line.map(|line| citation(&line.citation, &line.citation.place)).unwrap_or_default())
        .words(
            "source",
            &line.map(|line| citation(&line.citation, first_place(&line.citation.place))).unwrap_or_default(),
        )
        .words("rules", &assessment.rules)
        .flag("has_line", line.is_some())
        .flag("has_spent", assessment.training_compute.is_some())
        .flag("has_counted", composer.totals.counted.0 > 0)
        .flag("has_share", assessment.share_of_line_percent.is_some())
        .flag("has_readings", !assessment.readings.is_empty())
        .number("runs", input.runs.len())
        .number("missing", assessment.missing.len())
        .figure("spent", spent(composer)?)
        .figure("compared", compared_figure(composer)?)
        .words("sum", compared(composer).1)
        .flag("complete", composer.input.runs.is_empty() || composer.totals.counting_complete)
        .figure("counted", Figure::flops(composer.totals.counted, composer.computed("from_runs")?))
        .figure(
            "ceiling",
            composer.flops(composer.totals.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?,
        )
        .figure("line", self::line(composer)?)
        .figure("base_flop", base_flop)
        .figure("share", decimal(assessment.share_of_line_percent.as_ref(), true)?)
        .figure("ratio", decimal(assessment.ratio.as_ref(), false)?))
}

const fn band_name(band: Option<Band>) -> &'static str {
    match band {
        Some(Band::Inside) => "inside",
        Some(Band::Outside) => "outside",
        None => "none",
    }
}

fn citation(citation: &Citation, place: &str) -> String {
    format!("{}, {place}", citation.instrument)
}

/// A place without its number in another print, which the first sentence can do without.
fn first_place(place: &str) -> &str {
    let other_print =
        place.find(" as printed in ").and_then(|at| place.get(..at)).and_then(|before| before.rfind(" ("));
    other_print.and_then(|at| place.get(..at)).unwrap_or(place)
}

fn facts(composer: &Composer<'_>, values: &Values) -> Result<Vec<Fact>, ReportProblem> {
    let input = composer.input;
    let mut facts = Vec::new();
    let mut push = |name: &str, value: Text, remark: Option<Text>| -> Result<(), ReportProblem> {
        facts.push(Fact { name: composer.label(name)?, value, remark });
        Ok(())
    };
    push("fact_modification", Text::strong(Words::brief(&input.modification, LONGEST_NAME).as_str()), None)?;
    if let Some(organisation) = &input.organisation {
        push("fact_organisation", Text::plain(organisation), None)?;
    }
    push("fact_base", Text::plain(&composer.base_name()?), None)?;
    push("fact_base_compute", base_compute(composer)?.into(), None)?;
    push("fact_spent", spent(composer)?.into(), Some(composer.say("summary", "spent-basis", values)?))?;
    push("fact_line", line(composer)?.into(), Some(composer.say("summary", "line-kind", values)?))?;
    push("fact_share", composer.say("summary", "share", values)?, Some(composer.say("summary", "band", values)?))?;
    push("fact_status", composer.say("summary", "status", values)?, None)?;
    push(
        "fact_rules",
        Text::plain(&input.assessment.rules),
        Some(composer.say(
            "summary",
            "as-of",
            &Values::default().words("as_of", &input.assessment.as_of.to_string()),
        )?),
    )?;
    Ok(facts.into_iter().map(drop_empty_remark).collect())
}

/// The base's compute: as resolved, else as the line has it.
pub(super) fn base_compute(composer: &Composer<'_>) -> Result<Figure, ReportProblem> {
    let input = composer.input;
    if let Some(base) = &input.base
        && let Some(flop) = base.flop
    {
        return Ok(Figure::flops(flop, base.origin.clone()));
    }
    match &input.base {
        Some(_) => composer.missing("next_base_compute"),
        None => composer.missing("next_base"),
    }
}

fn drop_empty_remark(fact: Fact) -> Fact {
    Fact { remark: fact.remark.filter(|remark| !remark.is_empty()), ..fact }
}

/// A verdict in a word.
pub(super) fn word(composer: &Composer<'_>, verdict: Verdict) -> Result<Words, ReportProblem> {
    composer.label(&format!("verdict_{}", name(verdict)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_print_is_left_to_the_table() {
        assert_eq!(first_place("paragraph 60 (63 as printed in C(2025) 5045)"), "paragraph 60");
        assert_eq!(first_place("Article 3(3), (9), (10)"), "Article 3(3), (9), (10)");
    }
}
