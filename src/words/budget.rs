//! Budgets in words: what of a modification's line is spent, set aside and left.

use chrono::NaiveDate;
use flopsmeter_core::budget::{Balance, Reservation, ReservationState};
use flopsmeter_core::unit::Flops;

use super::flop;

/// What is spent and set aside, and what is left until each verdict.
pub(crate) fn balance(balance: &Balance) -> String {
    let at_least = if balance.is_lower_bound && balance.spent.is_some() { "at least " } else { "" };
    let mut text = format!("{at_least}{} spent, {} set aside", flop(balance.spent), amount(balance.reserved));
    if balance.reserved_behind > Flops::ZERO {
        text.push_str(&format!(" and {} for what it is made from", amount(balance.reserved_behind)));
    }
    let rooms: Vec<String> = [balance.near, balance.exceeds]
        .into_iter()
        .flatten()
        .map(|room| {
            format!("{} left until {} ({})", amount(room.flop_left), room.verdict.name(), flop(Some(room.flop)))
        })
        .collect();
    text.push_str("; ");
    text.push_str(&if rooms.is_empty() { "no line is known for it".to_owned() } else { rooms.join(", ") });
    if balance.reserved + balance.reserved_behind > Flops::ZERO {
        text.push_str(&format!("; {} once all of that is spent", balance.verdict_with_reserved.name()));
    }
    if let Some(house) = balance.house_verdict_with_reserved {
        text.push_str(&format!(", by the house rule {}", house.name()));
    }
    text
}

/// One reservation, as it stands on a day.
pub(crate) fn reservation(one: &Reservation, day: NaiveDate) -> String {
    let reserved = &one.reserved;
    let by = reserved.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let until = reserved.until.map_or_else(String::new, |until| format!(", until {until}"));
    let state = one.state(day);
    let what = match state {
        ReservationState::Settled => format!(", {} spent", amount(one.spent())),
        ReservationState::Released => one
            .released
            .as_ref()
            .map_or_else(String::new, |released| format!(" by {} on {}", released.by, released.date)),
        _ => String::new(),
    };
    let runs: Vec<&str> = one.runs.iter().map(|taker| taker.run.as_str()).collect();
    let runs = if runs.is_empty() { String::new() } else { format!(" (run {})", runs.join(", ")) };
    format!(
        "{}: {} held, set aside on {}{by}{until} for {}: {}{runs}{what}",
        reserved.reservation,
        amount(reserved.flop),
        one.made.date_naive(),
        reserved.expected,
        state.name()
    )
}

/// `0 FLOP` rather than nothing.
fn amount(flops: Flops) -> String {
    flop(Some(flops))
}
