//! The budget of a modification: what `modifications show` says of it, and giving back what was set aside.

use anyhow::{Context as _, bail};
use flopsmeter_core::budget::Balance;
use flopsmeter_core::ledger::body::ReservationReleased;
use flopsmeter_core::lineage::Modification;
use flopsmeter_meter::budget;
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use super::existing;
use crate::args::{LedgerArguments, RulesArguments};
use crate::exit::ExitStatus;
use crate::{judgement, output, settings, words};

/// Columns of a label of `modifications show`.
const LABEL: usize = 14;

/// A modification with its budget, as JSON.
#[derive(Serialize)]
pub(super) struct WithBudget<'m> {
    #[serde(flatten)]
    modification: &'m Modification,
    /// `null` where it cannot be told, as where house rules cannot be read.
    budget: Option<Balance>,
}

impl<'m> WithBudget<'m> {
    pub(super) fn of(ledger: &Ledger, modification: &'m Modification) -> Self {
        Self { modification, budget: balance(ledger, modification).ok() }
    }
}

fn balance(ledger: &Ledger, modification: &Modification) -> anyhow::Result<Balance> {
    Ok(judgement::of_modification(ledger, modification, &RulesArguments::in_force())?.balance)
}

/// The budget and each reservation, as lines.
pub(super) fn words(ledger: &Ledger, modification: &Modification) -> String {
    let budget = balance(ledger, modification)
        .map_or_else(|problem| format!("cannot be told: {problem:#}"), |balance| words::budget::balance(&balance));
    let mut text = output::labelled("budget", LABEL, &budget);
    let today = settings::as_of(None);
    for one in &modification.reservations {
        text.push_str(&output::labelled("reservation", LABEL, &words::budget::reservation(one, today)));
    }
    text
}

/// Gives a reservation back.
pub(super) fn release(slug: &str, id: &str, by: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let modification = existing(&ledger, slug)?;
    let one = budget::named(&modification, slug, id)?;
    let (reservation, held) = (one.reserved.reservation.clone(), one.reserved.flop);
    let now = settings::now();
    let released = ReservationReleased { reservation: reservation.clone(), by: by.to_owned(), date: now.date_naive() };
    let outcome = budget::release(&mut ledger, slug, now, &released).context("nothing was given back")?;
    if let Err(state) = outcome {
        bail!("reservation {reservation} holds nothing any more: it is {}", state.name());
    }
    output::data(&format!(
        "reservation {reservation} of {slug}, {} FLOP, is given back by {by}\n",
        held.scientific(3)
    ))?;
    Ok(ExitStatus::Done)
}
