//! Where the numbers come from, what they were computed with, and what the memo does not say.

use flopsmeter_core::assess::{InputDigest, Origin};

use super::composer::Composer;
use super::{energy, verdict};
use crate::document::{Align, Block, Cell, Figure, Inline, Row, RowKind, Section, Text, Tone, Words};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Every figure the result rests on, by origin.
pub(super) fn origins(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let mut figures = figures(composer)?;
    figures.sort_by_key(|(_, figure)| figure.mark());
    let rows = figures
        .into_iter()
        .map(|(name, figure)| {
            let kind = composer.label(&format!("origin_{}", figure.mark().name()))?;
            let detail = detail(composer, figure.origin())?;
            Ok(Row {
                cells: vec![composer.label(name)?.as_str().into(), kind.as_str().into(), figure.into(), detail.into()],
                kind: RowKind::Plain,
            })
        })
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [
        ("col_figure", Align::Left),
        ("col_origin", Align::Left),
        ("col_value", Align::Right),
        ("col_detail", Align::Left),
    ];
    let blocks = vec![
        composer.paragraph("evidence", "origins", &Values::default())?,
        composer.table("table_origins", &columns, rows)?,
    ];
    composer.section("origins", "section_origins", blocks)
}

fn figures(composer: &Composer<'_>) -> Result<Vec<(&'static str, Figure)>, ReportProblem> {
    let input = composer.input;
    let totals = &composer.totals;
    let mut figures = vec![
        ("fact_base_compute", verdict::base_compute(composer)?),
        ("fact_line", verdict::line(composer)?),
        ("fact_spent", verdict::spent(composer)?),
    ];
    if let Some(cumulative) = input.assessment.cumulative_compute {
        figures.push(("fact_cumulative", Figure::flops(cumulative, composer.computed("from_cumulation")?)));
    }
    let executed = composer.flops(totals.executed, composer.computed("from_phases")?, "next_operations")?;
    let ceiling = composer.flops(totals.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?;
    figures.extend([("fact_executed", executed), ("fact_ceiling", ceiling)]);
    let counted = input.runs.iter().any(|run| run.flops.is_some());
    if counted {
        figures.push(("fact_recompute", Figure::flops(totals.recompute, composer.measured("by_hook")?)));
        figures.push(("fact_tokens_fed", Figure::tokens(totals.tokens_fed, composer.measured("by_hook")?)));
        figures.push((
            "fact_tokens_real",
            match totals.tokens_real {
                Some(tokens) => Figure::tokens(tokens, composer.measured("by_mask")?),
                None => composer.missing("next_tokens")?,
            },
        ));
    }
    figures.extend(energy::figures(composer)?);
    Ok(figures)
}

/// An origin in words.
fn detail(composer: &Composer<'_>, origin: &Origin) -> Result<Text, ReportProblem> {
    let (name, values) = match origin {
        Origin::Measured { by } => ("measured", Values::default().words("by", by)),
        Origin::Computed { from } => ("computed", Values::default().words("from", from)),
        Origin::Registry { source, date } => {
            ("registry", Values::default().words("source", source).words("date", date))
        }
        Origin::Declared { by, source } => {
            ("declared", Values::default().words("by", by).optional("source", source.as_deref()))
        }
        Origin::Missing { next_step } => ("missing", Values::default().words("next_step", next_step)),
    };
    composer.say("evidence", &format!("origin-{name}"), &values)
}

/// Digests of the inputs.
pub(super) fn inputs(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let inputs = &composer.input.assessment.inputs;
    let named = [
        ("input_rules", inputs.rules.as_ref()),
        ("input_base", inputs.base_model.as_ref()),
        ("input_gpus", inputs.gpu_table.as_ref()),
        ("input_answers", inputs.answers.as_ref()),
    ];
    let house = inputs.house_rules.as_ref().map(|house| ("input_house", Some(house)));
    let lineage = inputs.lineage.iter().map(|modification| ("input_lineage", Some(modification)));
    let runs = inputs.runs.iter().map(|run| ("input_run", Some(run)));
    let rows = named
        .into_iter()
        .chain(house)
        .chain(lineage)
        .chain(runs)
        .map(|(name, digest)| input_row(composer, name, digest))
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [("col_input", Align::Left), ("col_name", Align::Left), ("col_digest", Align::Left)];
    let blocks = vec![
        composer.paragraph("evidence", "inputs", &Values::default())?,
        composer.table("table_inputs", &columns, rows)?,
    ];
    composer.section("inputs", "section_inputs", blocks)
}

fn input_row(composer: &Composer<'_>, name: &str, input: Option<&InputDigest>) -> Result<Row, ReportProblem> {
    let cells = match input {
        Some(input) => [Cell::from(input.name.as_str()), Text::code(&input.digest).into()],
        None => [composer.label("not_used")?.as_str().into(), composer.label("none")?.as_str().into()],
    };
    let [shown, digest] = cells;
    Ok(Row { cells: vec![composer.label(name)?.as_str().into(), shown, digest], kind: RowKind::Plain })
}

/// The method in short.
pub(super) fn method(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?;
    let blocks = ["operations", "ceiling", "rules", "reproduce"]
        .into_iter()
        .map(|name| composer.paragraph("method", name, &values))
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    composer.section("method", "section_method", blocks)
}

/// The notice, and the lines that only people can fill in.
pub(super) fn closing(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?;
    let prepared = Values::default()
        .words("version", &composer.input.version)
        .figure("generated", Figure::instant(composer.input.generated, composer.computed("from_caller")?));
    let made = composer.say("closing", "prepared", &prepared)?;
    let lines = ["sign_name", "sign_role", "sign_date", "sign_signature"]
        .into_iter()
        .map(|name| composer.label(name))
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    let blocks = vec![
        Block::Notice {
            tone: Tone::Open,
            title: composer.label("notice")?,
            text: composer.say("closing", "notice", &values)?,
        },
        composer.paragraph("closing", "attestation", &values)?,
        Block::Signature { lines },
        Block::Paragraph { text: Text(vec![Inline::Quiet(Words::new(&made.to_plain()))]) },
    ];
    composer.section("closing", "section_closing", blocks)
}
