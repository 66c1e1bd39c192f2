//! The drawing of the share of the line.

use flopsmeter_core::assess::Origin;
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
    let position = verdict::compared(composer).0.and_then(|spent| position(spent, line.flop));
    Ok(Some(Block::Gauge(Box::new(Gauge {
        description: crate::document::Words::new(&composer.say("summary", "gauge", &values)?.to_plain()),
        spent: verdict::compared_figure(composer)?,
        position,
        line: verdict::line(composer)?,
        labels: GaugeLabels {
            spent: composer.label("gauge_spent")?,
            line: composer.label("gauge_line")?,
            band: composer.label("gauge_band")?,
        },
        band: band(composer, line.flop)?,
        tone: verdict::tone(assessment.verdict),
    }))))
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
