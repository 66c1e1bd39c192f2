//! Head-room as a budget: what of a modification's line is spent, what is set aside for runs to come, and what is left.
//!
//! What is set aside is no part of any verdict on what was done; it is held against the line wherever somebody asks what may still be
//! begun.

mod balance;
mod reservation;
mod to_come;

pub use balance::{Balance, Room};
pub use reservation::{Reservation, ReservationState, Taker, held};
pub use to_come::ToCome;
