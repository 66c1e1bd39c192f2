//! The drawing of the share of the line.

use flopsmeter_core::assess::{Basis, Origin};
use flopsmeter_core::unit::Flops;

use super::composer::Composer;
use super::verdict;
use crate::document::{Block, Figure, Gauge, GaugeBand, GaugeLabels, per};
use crate::problem::ReportProblem;

/// Where the line stands.
const LINE: u128 = 10_000;
/// Step of the assessment that carries the margins, and the names of their edges in it.
const MARGIN: &str = "margin";
const NEAR_EDGE: &str = "near_edge";
const UPPER_EDGE: &str = "upper_edge";

/// The gauge; nothing where no line could be chosen.
pub(super) fn gauge(composer: &Composer<'_>) -> Result<Option<Block>, ReportProblem> {
    let assessment = &composer.input.assessment;
    let Some(line) = &assessment.line else { return Ok(None) };
    let values = verdict::values(composer)?;
    let marker = marker(composer)?;
    Ok(Some(Block::Gauge(Box::new(Gauge {
        description: crate::document::Words::new(&composer.say("summary", "gauge", &values)?.to_plain()),
        spent: marker.figure,
        position: marker.flops.and_then(|flops| position(flops, line.flop)),
        line: verdict::line(composer)?,
        labels: GaugeLabels {
            spent: composer.label(marker.label)?,
            line: composer.label("gauge_line")?,
            band: composer.label("gauge_band")?,
        },
        band: band(composer, line.flop)?,
        tone: verdict::tone(assessment.verdict),
    }))))
}

/// What the marker stands for.
struct Marker {
    flops: Option<Flops>,
    figure: Figure,
    label: &'static str,
}

/// The sum that is held against the line; where the ceiling is the proof, the ceiling.
fn marker(composer: &Composer<'_>) -> Result<Marker, ReportProblem> {
    if composer.input.assessment.basis == Basis::Ceiling
        && let Some(ceiling) = composer.totals.ceiling
    {
        let figure = Figure::flops(ceiling, composer.computed("from_ceilings")?);
        return Ok(Marker { flops: Some(ceiling), figure, label: "gauge_at_most" });
    }
    let figure = verdict::compared_figure(composer)?;
    Ok(Marker { flops: verdict::compared(composer).0, figure, label: "gauge_spent" })
}

fn position(flops: Flops, line: Flops) -> Option<u32> {
    per(LINE, flops, line).map(|position| u32::try_from(position).unwrap_or(u32::MAX))
}

/// The margins as the assessment's own step gives them; the rule set owns the numbers.
fn band(composer: &Composer<'_>, line: Flops) -> Result<Option<GaugeBand>, ReportProblem> {
    let Some(step) = composer.input.assessment.steps.iter().find(|step| step.code == MARGIN) else { return Ok(None) };
    let edge = |name: &str| step.values.get(name).and_then(|text| text.parse::<Flops>().ok());
    let (Some(near), Some(upper)) = (edge(NEAR_EDGE), edge(UPPER_EDGE)) else { return Ok(None) };
    let (Some(from), Some(to)) = (position(near, line), position(upper, line)) else { return Ok(None) };
    let origin: Origin = composer.computed("from_margin")?;
    Ok(Some(GaugeBand { from, near_edge: Figure::flops(near, origin), to }))
}
