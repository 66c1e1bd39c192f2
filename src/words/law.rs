//! What the law says, in full: reasons, duties, the watch on systemic risk, house rules, and what another rule set changes.

use flopsmeter_core::assess::{
    Assessment, Citation, CumulationReading, Obligation, Reason, RulesDiff, Status, SystemicRiskWatch, WatchState,
};
use flopsmeter_core::rules::RowChange;

use super::flop;
use crate::output::labelled;

/// Columns of a label.
pub(crate) const LABEL: usize = 11;

/// The assessment as lines of text, with everything that follows from it.
pub(crate) fn in_full(assessment: &Assessment) -> String {
    let mut text = super::assessment(assessment);
    for reason in &assessment.reasons {
        text.push_str(&labelled("reason", LABEL, &reason_in_words(reason)));
    }
    for duty in &assessment.obligations {
        text.push_str(&labelled("duty", LABEL, &duty_in_words(duty)));
    }
    for excluded in &assessment.excluded_runs {
        let left_out = format!(
            "run {}, {}, in no sum: {}, declared by {} on {}",
            excluded.run,
            flop(excluded.training_compute),
            excluded.reason,
            excluded.by,
            excluded.date
        );
        text.push_str(&labelled("left out", LABEL, &left_out));
    }
    text.push_str(&cumulation(assessment));
    text.push_str(&assessment.systemic_risk_watch.as_ref().map_or_else(String::new, watch));
    text
}

/// Each way to add up and to choose the original, with its verdict.
fn cumulation(assessment: &Assessment) -> String {
    let way = |reading: &CumulationReading| {
        let base = reading.base.as_deref().unwrap_or("no base");
        let share = reading
            .share_of_line_percent
            .as_deref()
            .map_or_else(String::new, |share| format!(", {share} % of the line"));
        let ratio = reading.ratio.as_deref().map_or_else(String::new, |ratio| format!(", ratio {ratio}"));
        let counts = match (reading.followed, reading.decides) {
            (true, _) => "followed, as the worst that decides",
            (false, true) => "decides",
            (false, false) => "shown only",
        };
        let of = reading.base_flop.map_or_else(|| "unknown".to_owned(), |of| flop(Some(of)));
        let said = format!(
            "{}: {}; {} against {base} ({of}){ratio}{share}; {counts} ({})",
            reading.code,
            reading.verdict.name(),
            flop(reading.spent),
            place(&reading.citation)
        );
        labelled("reading", LABEL, &said)
    };
    assessment.cumulation.iter().map(way).collect()
}

/// The organisation's own reading, where it has one.
pub(super) fn house(assessment: &Assessment) -> String {
    let Some(house) = &assessment.house else { return String::new() };
    let line = house.line.as_ref().map_or_else(String::new, |line| format!(", line {}", flop(Some(line.flop))));
    let share =
        house.share_of_line_percent.as_deref().map_or_else(String::new, |share| format!(", {share} % of it spent"));
    format!(
        "house      {}: {}{line}{share} (stricter than the law, and not the law)\n",
        house.name,
        house.verdict.name()
    )
}

fn place(citation: &Citation) -> String {
    format!("{}, {}; {}", citation.instrument, citation.place, citation.confidence)
}

fn reason_in_words(reason: &Reason) -> String {
    let lead = match (reason.outcome, reason.certain) {
        (None, _) => "",
        (Some(Status::Provider), true) => "provider: ",
        (Some(Status::NotProvider), true) => "not a provider: ",
        (Some(Status::Open), true) => "open: ",
        (Some(Status::Provider), false) => "a provider, if this holds: ",
        (Some(Status::NotProvider), false) => "not a provider, if this holds: ",
        (Some(Status::Open), false) => "open, if this holds: ",
    };
    format!("{lead}{} ({})", reason.says, place(&reason.citation))
}

fn duty_in_words(duty: &Obligation) -> String {
    let owed = match (duty.conditional, duty.deferred, duty.applies_from) {
        (true, true, Some(day)) => format!("if a provider, from {day}"),
        (true, _, _) => "if a provider".to_owned(),
        (false, true, Some(day)) => format!("from {day}"),
        (false, _, _) => "now".to_owned(),
    };
    let mut text = format!("{} ({owed}): {} ({})", duty.code, duty.says, place(&duty.citation));
    for relief in &duty.reliefs {
        text.push_str(&format!(" {} ({})", relief.says, place(&relief.citation)));
    }
    text
}

fn watch(watch: &SystemicRiskWatch) -> String {
    let at_least = if watch.complete { "" } else { "at least " };
    let share = watch.share_percent.as_deref().unwrap_or("more than can be written");
    let state = match watch.state {
        WatchState::Below | WatchState::Unknown => "not over it as far as is known",
        WatchState::OverBySum => "over it together, and not the base alone",
        WatchState::BaseDenied => "the base alone is over it, and it is declared to have no systemic risk",
        WatchState::BaseHasIt => "the base has systemic risk",
    };
    let merged =
        watch.merged_compute.map_or_else(String::new, |merged| format!(", merged weights {}", flop(Some(merged))));
    let sum = format!(
        "base {}, own {}{merged}: {at_least}{}, {share} % of {} at which it is presumed; {state} ({})",
        watch.base_compute.map_or_else(|| "unknown".to_owned(), |base| flop(Some(base))),
        flop(watch.own_compute),
        flop(Some(watch.total)),
        flop(Some(watch.threshold)),
        place(&watch.citation)
    );
    let mut text = labelled("systemic", LABEL, &sum);
    if let Some(clock) = &watch.clock {
        let said = match (clock.condition_met, clock.notify_by) {
            (Some(met), Some(last)) => {
                let by = clock.condition_met_by.as_deref().unwrap_or("the runs");
                let past = if clock.overdue { ", which is past" } else { "" };
                let first = clock.counted_from.filter(|first| *first != met);
                let since = first
                    .map_or_else(String::new, |first| format!("{first}, the first day of the duty; condition met "));
                format!("notify by {last}{past}: {} days from {since}{met} ({by})", clock.days)
            }
            _ => format!("notify within {} days; nobody says from which day on", clock.days),
        };
        let condition = if clock.conditional { ", if the questions that are open are answered so" } else { "" };
        text.push_str(&labelled("notify", LABEL, &format!("{said}{condition} ({})", place(&clock.citation))));
    }
    text
}

/// What another rule set changes.
pub(crate) fn diff(diff: &RulesDiff) -> String {
    let (from, to) = (&diff.from, &diff.to);
    let mut text = format!("rules      {} -> {}, as of {}\n", from.rules, to.rules, to.as_of);
    text.push_str(if diff.leaves_the_result() {
        "result     the same: verdict, status, line and duties\n"
    } else {
        "result     another\n"
    });
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    for change in &diff.changes {
        text.push_str(&labelled(
            "changed",
            LABEL,
            &format!("{}: {} -> {}", change.what, or_none(&change.from), or_none(&change.to)),
        ));
    }
    for duty in &diff.obligations_added {
        text.push_str(&labelled("new duty", LABEL, &duty_in_words(duty)));
    }
    for duty in &diff.obligations_removed {
        text.push_str(&labelled("no duty", LABEL, &duty_in_words(duty)));
    }
    for row in &diff.rows {
        text.push_str(&labelled("rule", LABEL, &row_in_words(row)));
    }
    text
}

fn row_in_words(change: &RowChange) -> String {
    let row = change.key.as_ref().map_or_else(|| change.row.clone(), |key| format!("{} {key}", change.row));
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{row}: {from} -> {to}"),
        (None, Some(to)) => format!("{row}, new: {to}"),
        (Some(from), None) => format!("{row}, gone: {from}"),
        (None, None) => row,
    }
}
