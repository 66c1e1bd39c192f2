//! What a reader has to know besides the numbers: what is missing, what was found, what was announced.

use flopsmeter_core::run::Finding;

use super::composer::Composer;
use super::law::in_words;
use super::verdict;
use crate::document::{Align, Block, Figure, Item, Row, RowKind, Section, Text, Words};
use crate::problem::ReportProblem;

/// Facts that are missing, each with the way to supply it.
pub(super) fn missing(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let missing = &composer.input.assessment.missing;
    if missing.is_empty() {
        return Ok(None);
    }
    let values = verdict::values(composer)?;
    let rows = missing
        .iter()
        .map(|missing| {
            let fact = composer
                .by_code("missing", &missing.fact, &values)
                .map_or_else(|| in_words(&missing.fact), |text| capitalised(&text.to_plain()));
            Row { cells: vec![fact.as_str().into(), missing.next_step.as_str().into()], kind: RowKind::Plain }
        })
        .collect();
    let columns = [("col_missing", Align::Left), ("col_next_step", Align::Left)];
    let blocks =
        vec![composer.paragraph("missing", "intro", &values)?, composer.table("table_missing", &columns, rows)?];
    composer.section("missing", "section_missing", blocks).map(Some)
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Findings of the assessment and of the runs, and alerts that were raised.
pub(super) fn section(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?;
    let findings = all(composer);
    let mut blocks = Vec::new();
    if findings.is_empty() {
        blocks.push(composer.paragraph("evidence", "no-findings", &values)?);
    } else {
        blocks.push(composer.paragraph("evidence", "findings", &values)?);
        blocks.push(Block::List { items: findings });
    }
    blocks.extend(alerts(composer)?);
    composer.section("findings", "section_findings", blocks)
}

/// Each distinct finding once; those of a run name it.
fn all(composer: &Composer<'_>) -> Vec<Item> {
    let item = |finding: &Finding, run: Option<&str>| Item {
        label: Some(Words::new(&match run {
            Some(run) => format!("{} ({run})", in_words(&finding.code)),
            None => in_words(&finding.code),
        })),
        text: Text::plain(&finding.text),
    };
    let assessment = &composer.input.assessment.findings;
    let mut items: Vec<Item> = assessment.iter().map(|finding| item(finding, None)).collect();
    for run in &composer.input.runs {
        let own = run.findings.iter().filter(|finding| !assessment.contains(finding));
        items.extend(own.map(|finding| item(finding, Some(&run.run))));
    }
    items
}

fn alerts(composer: &Composer<'_>) -> Result<Option<Block>, ReportProblem> {
    let mut rows = Vec::new();
    for run in &composer.input.runs {
        for alert in &run.alerts {
            rows.push(Row {
                cells: vec![
                    Figure::instant(alert.at, composer.measured("by_meter")?).into(),
                    Text::code(&run.run).into(),
                    in_words(&alert.verdict).as_str().into(),
                    alert.text.as_str().into(),
                ],
                kind: RowKind::Plain,
            });
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let columns =
        [("col_when", Align::Left), ("col_run", Align::Left), ("col_verdict", Align::Left), ("col_said", Align::Left)];
    composer.table("table_alerts", &columns, rows).map(Some)
}
