//! Compute that is set aside for runs to come.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::unit::Flops;

/// See [`super::Body::Reserved`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Id of the reservation, unique in the ledger.
    pub reservation: String,
    /// Model operations that are held: the high end of the plan, so that what was set aside is not less than what is spent.
    pub flop: Flops,
    /// What the plan takes by its best guess.
    pub best: Flops,
    /// Name of the base model whose line was looked at; `None` where none was known.
    pub base: Option<String>,
    /// The job that is expected, in words.
    pub expected: String,
    /// Who set it aside, where they said so.
    pub by: Option<String>,
    /// The last day on which it is held for a run that has not begun; `None` for no end.
    pub until: Option<NaiveDate>,
}

/// See [`super::Body::ReservationTaken`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationTaken {
    /// Id of the reservation.
    pub reservation: String,
    /// Id of the run.
    pub run: String,
    /// The job that the run is a part of, where it was named: its other runs spend the same reservation.
    pub job: Option<String>,
}

/// See [`super::Body::ReservationSettled`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationSettled {
    /// Id of the reservation.
    pub reservation: String,
    /// Id of the run.
    pub run: String,
    /// Training operations of that run.
    pub spent: Flops,
    /// What nobody spends any more; nothing while another run of the same reservation goes on.
    pub released: Flops,
    /// What its runs have spent beyond what was held.
    pub overrun: Flops,
}

/// See [`super::Body::ReservationReleased`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationReleased {
    /// Id of the reservation.
    pub reservation: String,
    /// Who gives it back.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}
