//! Compute that is set aside for runs of a modification.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::assess::Spent;
use crate::ledger::Body;
use crate::ledger::body::{ReservationReleased, ReservationSettled, Reserved};
use crate::rules::RuleSet;
use crate::run::{RunState, RunSummary};
use crate::unit::Flops;

/// Compute that was set aside, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What was set aside, for what and by whom.
    #[serde(flatten)]
    pub reserved: Reserved,
    /// When.
    pub made: DateTime<Utc>,
    /// The runs that spend it: one, or those of one job on several nodes.
    pub runs: Vec<Taker>,
    /// Who gave it back, if somebody did.
    pub released: Option<ReservationReleased>,
}

/// A run that spends a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taker {
    /// Id of the run.
    pub run: String,
    /// The job that it is a part of, where it was named.
    pub job: Option<String>,
    /// What it had spent at its end; `None` while it goes on, or where its end was not noted.
    pub spent: Option<Flops>,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReservationState {
    /// No run has begun to spend it.
    Open,
    /// A run is spending it.
    Taken,
    /// Its runs have ended, and the rest was released.
    Settled,
    /// Somebody gave it back.
    Released,
    /// Its day came before a run did.
    Expired,
}

impl ReservationState {
    /// The word for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Taken => "taken",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

impl Reservation {
    /// Takes an entry of the modification's stream, if it is about a reservation. An entry about one that is not there says nothing.
    pub fn apply(all: &mut Vec<Self>, at: DateTime<Utc>, body: &Body) {
        match body {
            Body::Reserved(reserved) if named(all, &reserved.reservation).is_none() => {
                all.push(Self { reserved: reserved.clone(), made: at, ..Self::default() });
            }
            Body::ReservationTaken(taken) => {
                if let Some(one) = named(all, &taken.reservation) {
                    one.take(&taken.run, taken.job.as_deref());
                }
            }
            Body::ReservationSettled(ReservationSettled { reservation, run, spent, .. }) => {
                let takers = named(all, reservation).map(|one| one.runs.iter_mut());
                if let Some(taker) = takers.and_then(|mut takers| takers.find(|taker| taker.run == *run)) {
                    taker.spent = Some(*spent);
                }
            }
            Body::ReservationReleased(released) => {
                if let Some(one) = named(all, &released.reservation) {
                    one.released.get_or_insert_with(|| released.clone());
                }
            }
            _ => {}
        }
    }

    /// A run that goes on after its end spends again.
    fn take(&mut self, run: &str, job: Option<&str>) {
        match self.runs.iter_mut().find(|taker| taker.run == run) {
            Some(taker) => taker.spent = None,
            None => self.runs.push(Taker { run: run.to_owned(), job: job.map(str::to_owned), spent: None }),
        }
    }

    /// Whether this run spends it.
    pub fn is_taken_by(&self, run: &str) -> bool {
        self.runs.iter().any(|taker| taker.run == run)
    }

    /// What became of it by this day, as far as its own entries tell.
    pub fn state(&self, day: NaiveDate) -> ReservationState {
        if self.released.is_some() {
            return ReservationState::Released;
        }
        match self.runs.as_slice() {
            [] if self.reserved.until.is_some_and(|last| last < day) => ReservationState::Expired,
            [] => ReservationState::Open,
            runs if runs.iter().all(|taker| taker.spent.is_some()) => ReservationState::Settled,
            _ => ReservationState::Taken,
        }
    }

    /// What its settled runs have spent.
    pub fn spent(&self) -> Flops {
        self.runs.iter().filter_map(|taker| taker.spent).sum()
    }

    /// What is still held of it on this day. `runs` are runs as they stand; one that has ended holds nothing, whether or not its end
    /// could be noted here.
    pub fn held<'r>(&self, rules: &RuleSet, runs: &impl Fn(&str) -> Option<&'r RunSummary>, day: NaiveDate) -> Flops {
        match self.state(day) {
            ReservationState::Open => return self.reserved.flop,
            ReservationState::Taken => {}
            ReservationState::Settled | ReservationState::Released | ReservationState::Expired => return Flops::ZERO,
        }
        let (mut done, mut goes_on) = (self.spent(), false);
        for taker in self.runs.iter().filter(|taker| taker.spent.is_none()) {
            let run = runs(&taker.run);
            goes_on |= run.is_none_or(|run| run.state == RunState::Open);
            done += run.and_then(|run| Spent::of_runs(rules, [run]).training).unwrap_or_default();
        }
        if goes_on { Flops(self.reserved.flop.0.saturating_sub(done.0)) } else { Flops::ZERO }
    }
}

fn named<'a>(all: &'a mut [Reservation], id: &str) -> Option<&'a mut Reservation> {
    all.iter_mut().find(|one| one.reserved.reservation == id)
}

/// What is held of all of these on this day, but of those that `own` spends.
pub fn held<'a, 'r>(
    reservations: impl IntoIterator<Item = &'a Reservation>,
    rules: &RuleSet,
    runs: impl Fn(&str) -> Option<&'r RunSummary>,
    day: NaiveDate,
    own: Option<&str>,
) -> Flops {
    let others = reservations.into_iter().filter(|one| !own.is_some_and(|own| one.is_taken_by(own)));
    others.map(|one| one.held(rules, &runs, day)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::body::ReservationTaken;
    use crate::run::RunFlops;
    use crate::tally::Tally;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    fn reserved(id: &str, flop: u128) -> Body {
        Body::Reserved(Reserved { reservation: id.to_owned(), flop: Flops(flop), ..Reserved::default() })
    }

    fn taken(id: &str, run: &str) -> Body {
        Body::ReservationTaken(ReservationTaken { reservation: id.to_owned(), run: run.to_owned(), job: None })
    }

    fn settled(id: &str, run: &str, spent: u128) -> Body {
        let (reservation, run) = (id.to_owned(), run.to_owned());
        Body::ReservationSettled(ReservationSettled {
            reservation,
            run,
            spent: Flops(spent),
            ..ReservationSettled::default()
        })
    }

    fn all(bodies: &[Body]) -> Vec<Reservation> {
        let mut all = Vec::new();
        for body in bodies {
            Reservation::apply(&mut all, DateTime::UNIX_EPOCH, body);
        }
        all
    }

    fn run(id: &str, training: u128, state: RunState) -> RunSummary {
        let flops = RunFlops { training: Flops(training), forward: Flops(training), ..RunFlops::default() };
        RunSummary { run: id.to_owned(), flops: Some(flops), state, ..Tally::new().summary() }
    }

    fn held_of(bodies: &[Body], runs: &[RunSummary]) -> u128 {
        let rules = RuleSet::in_force(day(21)).unwrap();
        let find = |id: &str| runs.iter().find(|run| run.run == id);
        held(&all(bodies), rules, find, day(21), None).0
    }

    #[test]
    fn a_reservation_is_held_until_it_is_spent() {
        let mut bodies = vec![reserved("a", 100), reserved("b", 7)];
        assert_eq!(held_of(&bodies, &[]), 107);
        bodies.push(taken("a", "r"));
        assert_eq!(held_of(&bodies, &[]), 107, "nothing is known of the run yet");
        assert_eq!(held_of(&bodies, &[run("r", 30, RunState::Open)]), 77);
        assert_eq!(held_of(&bodies, &[run("r", 130, RunState::Open)]), 7, "an overrun takes nothing of another's");
        assert_eq!(held_of(&bodies, &[run("r", 30, RunState::Closed)]), 7, "its end is on record, if not here");
        bodies.push(settled("a", "r", 30));
        assert_eq!(held_of(&bodies, &[]), 7);
        assert_eq!(all(&bodies).first().unwrap().state(day(21)), ReservationState::Settled);
        bodies.push(taken("a", "r"));
        assert_eq!(held_of(&bodies, &[run("r", 40, RunState::Open)]), 67, "it goes on");
    }

    #[test]
    fn the_runs_of_one_job_spend_one_reservation() {
        let bodies = [reserved("a", 100), taken("a", "r"), taken("a", "s"), settled("a", "r", 30)];
        assert_eq!(held_of(&bodies, &[run("s", 20, RunState::Open)]), 50);
        assert_eq!(all(&bodies).first().unwrap().state(day(21)), ReservationState::Taken);
    }

    #[test]
    fn what_is_given_back_or_over_is_not_held() {
        let released = ReservationReleased { reservation: "a".to_owned(), by: "Ada".to_owned(), date: day(20) };
        assert_eq!(held_of(&[reserved("a", 100), Body::ReservationReleased(released)], &[]), 0);
        let until = |last| {
            let (reservation, until) = ("a".to_owned(), Some(last));
            Body::Reserved(Reserved { reservation, until, flop: Flops(100), ..Reserved::default() })
        };
        assert_eq!((held_of(&[until(day(21))], &[]), held_of(&[until(day(20))], &[])), (100, 0));
        assert_eq!(held_of(&[until(day(20)), taken("a", "r")], &[]), 100, "its run began in time");
    }

    #[test]
    fn entries_about_what_is_not_there_say_nothing() {
        assert_eq!(all(&[taken("a", "r"), settled("a", "r", 1)]), []);
        assert_eq!(held_of(&[reserved("a", 5), reserved("a", 9)], &[]), 5, "an id stands for what came first");
        assert_eq!(held_of(&[reserved("a", 5), settled("a", "r", 1)], &[]), 5);
    }

    proptest! {
        /// Whatever of it its run has spent: together they are what was set aside, as long as the run keeps to it.
        #[test]
        fn spending_moves_what_is_held(flop: u64, share in 0..=100_u128) {
            let spent = u128::from(flop) * share / 100;
            let bodies = [reserved("a", flop.into()), taken("a", "r")];
            prop_assert_eq!(held_of(&bodies, &[run("r", spent, RunState::Open)]) + spent, u128::from(flop));
        }
    }
}
