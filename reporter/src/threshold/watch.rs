//! What stands beside the verdict: the watch on systemic risk, the organisation's own stricter line, and runs that were left out.

use flopsmeter_core::assess::{ExcludedRun, NotificationClock, SystemicRiskWatch, WatchState};

use super::composer::Composer;
use super::verdict;
use crate::document::{Align, Figure, Row, RowKind, Section, Text};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Everything behind the result against the presumption of systemic risk, and the time to notify.
pub(super) fn section(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let Some(watch) = &composer.input.assessment.systemic_risk_watch else { return Ok(None) };
    let values = values(composer, watch)?;
    let mut blocks = vec![composer.paragraph("watch", "sum", &values)?];
    if let Some(clock) = &watch.clock {
        let clock_values = clock_values(clock);
        blocks.push(composer.paragraph("watch", "clock", &clock_values)?);
    }
    let columns = [("col_place", Align::Left), ("col_source", Align::Left)];
    let places = std::iter::once(("place_presumption", &watch.citation))
        .chain(watch.clock.iter().map(|clock| ("place_notification", &clock.citation)));
    let rows = places
        .map(|(name, citation)| {
            let cells = vec![composer.label(name)?.as_str().into(), composer.citation(Some(citation))?];
            Ok(Row { cells, kind: RowKind::Plain })
        })
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    blocks.push(composer.table("table_watch", &columns, rows)?);
    composer.section("watch", "section_watch", blocks).map(Some)
}

fn values(composer: &Composer<'_>, watch: &SystemicRiskWatch) -> Result<Values, ReportProblem> {
    let state = match watch.state {
        WatchState::Below => "below",
        WatchState::Unknown => "unknown",
        WatchState::OverBySum => "over-by-sum",
        WatchState::BaseDenied => "base-denied",
        WatchState::BaseHasIt => "base-has-it",
    };
    let from_rules = composer.computed("from_cumulation")?;
    let share = match &watch.share_percent {
        Some(share) => Figure::percent(share, from_rules.clone()),
        None => composer.missing("next_line")?,
    };
    Ok(Values::default()
        .words("state", state)
        .flag("complete", watch.complete)
        .flag("has_merged", watch.merged_compute.is_some())
        .figure("base_compute", verdict::base_compute(composer)?)
        .figure("own", composer.flops(watch.own_compute, from_rules.clone(), "next_operations")?)
        .figure("merged", composer.flops(watch.merged_compute, from_rules.clone(), "next_operations")?)
        .figure("total", Figure::flops(watch.total, from_rules.clone()))
        .figure("threshold", Figure::flops(watch.threshold, from_rules))
        .figure("watch_share", share))
}

fn clock_values(clock: &NotificationClock) -> Values {
    let day = |day: Option<chrono::NaiveDate>| day.map(|day| day.to_string());
    Values::default()
        .flag("conditional", clock.conditional)
        .flag("overdue", clock.overdue)
        .flag("has_day", clock.notify_by.is_some())
        .flag("starts_later", clock.counted_from.is_some_and(|first| Some(first) != clock.condition_met))
        .number("days", usize::try_from(clock.days).unwrap_or(usize::MAX))
        .optional("met", day(clock.condition_met).as_deref())
        .optional("counted_from", day(clock.counted_from).as_deref())
        .optional("met_by", clock.condition_met_by.as_deref())
        .optional("notify_by", day(clock.notify_by).as_deref())
}

/// The organisation's own stricter line, where it has one.
pub(super) fn house(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let Some(house) = &composer.input.assessment.house else { return Ok(None) };
    let line = house.line.as_ref().map(|line| line.flop);
    let values = Values::default()
        .words("name", &house.name)
        .words("declared_by", &house.declared_by)
        .words("says", &house.says)
        .words("house_verdict", verdict::word(composer, house.verdict)?.as_str())
        .words("verdict", verdict::word(composer, composer.input.assessment.verdict)?.as_str())
        .flag("has_line", line.is_some())
        .figure("house_line", composer.flops(line, composer.computed("from_base")?, "next_line")?);
    let blocks = vec![composer.paragraph("watch", "house", &values)?];
    composer.section("house", "section_house", blocks).map(Some)
}

/// Runs that stand in no sum, each with who declared so and why.
pub(super) fn excluded(composer: &Composer<'_>) -> Result<Option<Section>, ReportProblem> {
    let excluded = &composer.input.assessment.excluded_runs;
    if excluded.is_empty() {
        return Ok(None);
    }
    let row = |run: &ExcludedRun| {
        let cells = vec![
            Text::code(&run.run).into(),
            composer.flops(run.training_compute, composer.computed("from_runs")?, "next_operations")?.into(),
            run.reason.as_str().into(),
            format!("{}, {}", run.by, run.date).as_str().into(),
        ];
        Ok(Row { cells, kind: RowKind::Plain })
    };
    let rows = excluded.iter().map(row).collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [
        ("col_run", Align::Left),
        ("col_operations", Align::Right),
        ("col_reason", Align::Left),
        ("col_declared", Align::Left),
    ];
    let blocks = vec![
        composer.paragraph("watch", "excluded", &Values::default())?,
        composer.table("table_excluded", &columns, rows)?,
    ];
    composer.section("excluded", "section_excluded", blocks).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_a_day_has_no_last_day() {
        let citation = flopsmeter_core::assess::Citation {
            instrument: "act".to_owned(),
            place: "Article 52(1)".to_owned(),
            url: None,
            confidence: String::new(),
        };
        let clock = NotificationClock {
            conditional: true,
            condition_met: None,
            condition_met_by: None,
            counted_from: None,
            days: 14,
            notify_by: None,
            overdue: false,
            citation,
        };
        let wording = crate::Wording::embedded("en").unwrap();
        let said = wording.by_code("threshold/watch", "clock", &clock_values(&clock)).unwrap().to_plain();
        assert!(said.contains("14 days") && said.contains("no day"), "{said}");
    }
}
