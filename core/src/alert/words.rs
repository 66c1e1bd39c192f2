//! The sentences of alerts: the same on a terminal, in the ledger, in a chat and in a mail.

use chrono::{DateTime, Utc};

use super::{Level, Stand};
use crate::assess::Verdict;
use crate::rules::Fraction;
use crate::run::Outlook;
use crate::unit::Flops;

/// What is said when levels are reached.
pub fn reached(stand: &Stand, levels: &[Level]) -> String {
    let place = place(stand);
    let line = line(stand);
    let share = stand.assessment.share_of_line_percent.as_deref().unwrap_or("?");
    let spent = if stand.is_lower_bound {
        format!("at least {share} % of it is spent; part of the work is not counted, so the verdict may be worse")
    } else {
        format!("{share} % of it is spent")
    };
    match stand.assessment.verdict {
        Verdict::Exceeds => format!("EXCEEDS {line}: {spent}{place}"),
        Verdict::Near => format!("NEAR {line}: {spent}{place}"),
        _ => format!("{} OF {line}: {spent}{place}", highest(levels)),
    }
}

/// What is said when levels are foreseen. `stand` is the one that is foreseen, `spent` what is spent now; `is_certain` where even
/// the least growth seen so far leads there.
pub fn foreseen(stand: &Stand, is_certain: bool, spent: Flops, levels: &[Level], outlook: &Outlook) -> String {
    let line_flop = stand.line().unwrap_or_default();
    let percent = |amount: Flops| Fraction::decimal(amount, 100, line_flop.0, 2).unwrap_or_else(|| "?".to_owned());
    let will = match (stand.assessment.verdict, is_certain) {
        (Verdict::Exceeds, true) => "WILL EXCEED ".to_owned(),
        (Verdict::Exceeds, false) => "IS LIKELY TO EXCEED ".to_owned(),
        (Verdict::Near, true) => "WILL BE NEAR ".to_owned(),
        (Verdict::Near, false) => "IS LIKELY TO BE NEAR ".to_owned(),
        (_, true) => format!("WILL REACH {} OF ", highest(levels)),
        (_, false) => format!("IS LIKELY TO REACH {} OF ", highest(levels)),
    };
    let reserved = match outlook.reserved {
        Flops::ZERO => String::new(),
        held => format!(", {} % of it set aside for other runs", percent(held)),
    };
    let end = outlook.at_end.map_or_else(String::new, |end| {
        let (low, best, high) = (percent(end.low), percent(end.best), percent(end.high));
        format!(" when the schedule ends: {best} % of it ({low} % to {high} %){reserved}")
    });
    let now = if stand.is_lower_bound { "at least " } else { "" };
    let spent = format!("{now}{} % is spent now", percent(spent));
    let when = outlook.reached.and_then(|reached| Some((reached.best?, reached))).map_or_else(
        String::new,
        |(best, reached)| {
            let latest = reached.low.map_or_else(|| "never".to_owned(), minute);
            let earliest = reached.high.map_or_else(|| "?".to_owned(), minute);
            format!(", {} of it about {} (from {earliest} to {latest})", highest(levels), minute(best))
        },
    );
    let joint = if end.is_empty() { ": " } else { "; " };
    format!("{will}{}{end}{joint}{spent}{when}{}", line(stand), place(stand))
}

/// The level that is named.
fn highest(levels: &[Level]) -> String {
    match levels.last() {
        Some(Level::Share(percent)) => format!("{percent} %"),
        Some(Level::Near) => "the near edge".to_owned(),
        None => "a part".to_owned(),
    }
}

fn line(stand: &Stand) -> String {
    let whose =
        stand.house.as_ref().map_or_else(|| "the line".to_owned(), |name| format!("the line of house rule {name},"));
    stand.line().map_or(whose.clone(), |line| match &stand.house {
        None => format!("{whose} of {} FLOP", line.scientific(3)),
        Some(_) => format!("{whose} {} FLOP", line.scientific(3)),
    })
}

/// Where the line stands. A house rule is stricter than the law that it rests on, and is not the law.
fn place(stand: &Stand) -> String {
    let rests = if stand.house.is_some() { "stricter than the law: " } else { "" };
    let line = stand.assessment.line.as_ref();
    line.map_or_else(String::new, |line| format!(" ({rests}{}, {})", line.citation.instrument, line.citation.place))
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
