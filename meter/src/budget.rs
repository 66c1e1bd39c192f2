//! Setting compute aside in a ledger, spending it and giving it back, while other processes do the same.

use chrono::{DateTime, NaiveDate, Utc};
use flopsmeter_core::budget::{Reservation, ReservationState, held};
use flopsmeter_core::ledger::body::{
    ModificationCreated, ReservationReleased, ReservationSettled, ReservationTaken, Reserved,
};
use flopsmeter_core::ledger::{Body, modification_stream};
use flopsmeter_core::lineage::{BaseReference, LineageProblem, Modification};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::unit::Flops;

use crate::binding::bind;
use crate::records::{self, Assignments};
use crate::store::{Ledger, StoreProblem};

/// Times that a modification is read again because a run began or ended meanwhile; each time, somebody else has got on.
const MOST_READINGS: usize = 64;

/// A modification with everything its budget is reckoned from.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The modification.
    pub modification: Modification,
    /// Its runs, but those that are left out by a declaration, each by itself.
    pub runs: Vec<RunSummary>,
    /// The same, those of one job together.
    pub jobs: Vec<RunSummary>,
}

impl Account {
    /// Reads a modification with its runs; nothing is spent of one that is not there yet.
    pub fn read(ledger: &Ledger, slug: &str) -> Result<Self, StoreProblem> {
        let modification = records::modification(ledger, slug)?.unwrap_or_default();
        let counted = modification.runs.iter().filter(|run| modification.exclusion_of(run).is_none());
        let read = |run: &String| Ok(records::run(ledger, run, &Assignments::default())?.summary);
        let runs: Vec<RunSummary> = counted.map(read).collect::<Result<_, StoreProblem>>()?;
        let jobs = records::joined(ledger, &runs)?;
        Ok(Self { modification, runs, jobs })
    }

    /// The same with a run that does not count yet.
    pub fn and(self, ledger: &Ledger, run: RunSummary) -> Result<Self, StoreProblem> {
        let runs = [self.runs, vec![run]].concat();
        let jobs = records::joined(ledger, &runs)?;
        Ok(Self { runs, jobs, ..self })
    }

    /// What is set aside and not spent yet.
    pub fn reserved(&self, rules: &RuleSet, day: NaiveDate) -> Flops {
        let find = |id: &str| self.runs.iter().find(|run| run.run == id);
        held(&self.modification.reservations, rules, find, day, None)
    }

    /// Whether its runs, as they were read, tell what `now` has spent: none began, was left out or settled since.
    fn covers(&self, now: &Modification) -> bool {
        let settled = |modification: &Modification| {
            let takers = modification.reservations.iter().flat_map(|one| &one.runs);
            takers.filter(|taker| taker.spent.is_some()).map(|taker| taker.run.clone()).collect::<Vec<_>>()
        };
        self.modification.runs == now.runs
            && self.modification.excluded == now.excluded
            && settled(&self.modification) == settled(now)
    }
}

/// What came of setting aside.
#[derive(Clone, Debug)]
pub enum Setting<R> {
    /// It is held.
    Held,
    /// It was refused, and nothing was written.
    Refused(R),
    /// The modification would be made from what it cannot be made from; nothing was written.
    Unfollowable(LineageProblem),
}

/// Sets compute aside for the modification `slug`, which is made where it is new, unless `objection` has one to it. Nobody else can
/// set anything aside between its look and the writing.
pub fn reserve<R>(
    ledger: &mut Ledger,
    slug: &str,
    base: Option<&BaseReference>,
    at: DateTime<Utc>,
    reserved: &Reserved,
    objection: impl Fn(&Account) -> Option<R>,
) -> Result<Setting<R>, StoreProblem> {
    let stream = modification_stream(slug);
    let created = Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base: base.cloned() });
    for _ in 0..MOST_READINGS {
        // Runs are long to read: not while the ledger is held against jobs that record.
        let mut account = Account::read(ledger, slug)?;
        if account.modification.slug.is_empty() {
            if let Some(objection) = objection(&account) {
                return Ok(Setting::Refused(objection));
            }
            // Somebody else may have been first, which is as well.
            if let Err(problem) = bind(ledger, slug, at, &created)? {
                return Ok(Setting::Unfollowable(problem));
            }
            account = Account::read(ledger, slug)?;
        }
        let mut outcome = None;
        ledger.append_decided(&stream, at, |bodies| {
            let now = Modification::from_bodies(bodies.iter().map(|body| (at, body)))?;
            if !account.covers(&now) {
                return None;
            }
            account.modification = now;
            if let Some(objection) = objection(&account) {
                outcome = Some(Setting::Refused(objection));
                return None;
            }
            outcome = Some(Setting::Held);
            entry(&Body::Reserved(reserved.clone()))
        })?;
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
    }
    Err(StoreProblem::Locked { path: ledger.path().to_owned() })
}

/// Why a run spends no reservation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No reservation of the modification is called so.
    #[error("no reservation of `{slug}` begins with `{id}`: `flopsmeter modifications show {slug}` lists them")]
    Unknown {
        /// The modification.
        slug: String,
        /// What was asked for.
        id: String,
    },
    /// Several are.
    #[error("`{id}` is the beginning of several reservations of `{slug}`: give more of its id")]
    Ambiguous {
        /// The modification.
        slug: String,
        /// What was asked for.
        id: String,
    },
    /// It is over.
    #[error("reservation {id} is {}: set aside what the job takes by `flopsmeter plan --reserve --modification {slug}`", state.name())]
    Over {
        /// The modification.
        slug: String,
        /// Its id.
        id: String,
        /// What became of it.
        state: ReservationState,
    },
}

/// A run that is to spend a reservation.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    /// Id of the run.
    pub run: &'a str,
    /// The job that it is a part of, where it was named.
    pub job: Option<&'a str>,
}

/// Has a run spend the reservation `wanted`, that of its job, or the oldest that no run spends. `Ok(None)` where none is open and none was named.
pub fn take(
    ledger: &mut Ledger,
    slug: &str,
    spender: Spender<'_>,
    wanted: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Result<Option<Reservation>, NotTaken>, StoreProblem> {
    let mut taken = Ok(None);
    ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let modification = Modification::from_bodies(bodies.iter().map(|body| (at, body)))?;
        taken = choose(&modification, slug, spender, wanted, at.date_naive());
        let reservation = taken.as_ref().ok()?.as_ref()?.reserved.reservation.clone();
        let (run, job) = (spender.run.to_owned(), spender.job.map(str::to_owned));
        entry(&Body::ReservationTaken(ReservationTaken { reservation, run, job }))
    })?;
    Ok(taken)
}

fn choose(
    modification: &Modification,
    slug: &str,
    Spender { run, job }: Spender<'_>,
    wanted: Option<&str>,
    day: NaiveDate,
) -> Result<Option<Reservation>, NotTaken> {
    let all = &modification.reservations;
    let Some(wanted) = wanted else {
        // A run that goes on spends what it spent before.
        let own = all.iter().find(|one| one.is_taken_by(run) && one.released.is_none());
        let of_job = || {
            let is_same =
                |one: &&Reservation| job.is_some() && one.runs.iter().any(|taker| taker.job.as_deref() == job);
            all.iter().filter(|one| one.released.is_none()).find(is_same)
        };
        let open = || all.iter().find(|one| one.state(day) == ReservationState::Open);
        return Ok(own.or_else(of_job).or_else(open).cloned());
    };
    let one = named(modification, slug, wanted)?;
    match one.state(day) {
        ReservationState::Open | ReservationState::Taken => Ok(Some(one.clone())),
        ReservationState::Settled if one.is_taken_by(run) => Ok(Some(one.clone())),
        state => Err(NotTaken::Over { slug: slug.to_owned(), id: one.reserved.reservation.clone(), state }),
    }
}

/// The one reservation whose id is `id` or begins with it.
pub fn named<'m>(modification: &'m Modification, slug: &str, id: &str) -> Result<&'m Reservation, NotTaken> {
    let mut found = modification.reservations.iter().filter(|one| one.reserved.reservation.starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) if !id.is_empty() => Ok(one),
        (Some(_), Some(_)) => Err(NotTaken::Ambiguous { slug: slug.to_owned(), id: id.to_owned() }),
        _ => Err(NotTaken::Unknown { slug: slug.to_owned(), id: id.to_owned() }),
    }
}

/// Notes that `run` has ended with so many training operations. The last run of a reservation releases what is left of it.
pub fn settle(
    ledger: &mut Ledger,
    slug: &str,
    reservation: &str,
    run: &str,
    spent: Flops,
    at: DateTime<Utc>,
) -> Result<Option<ReservationSettled>, StoreProblem> {
    let mut settled = None;
    ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let modification = Modification::from_bodies(bodies.iter().map(|body| (at, body)))?;
        let one = modification.reservations.iter().find(|one| one.reserved.reservation == reservation)?;
        let others = || one.runs.iter().filter(|taker| taker.run != run);
        let all: Flops = others().filter_map(|taker| taker.spent).sum::<Flops>() + spent;
        let is_last = others().all(|taker| taker.spent.is_some()) && one.released.is_none();
        let less = |from: Flops, taken: Flops| Flops(from.0.saturating_sub(taken.0));
        let body = ReservationSettled {
            reservation: reservation.to_owned(),
            run: run.to_owned(),
            spent,
            released: if is_last { less(one.reserved.flop, all) } else { Flops::ZERO },
            overrun: less(all, one.reserved.flop),
        };
        settled = Some(body.clone());
        entry(&Body::ReservationSettled(body))
    })?;
    Ok(settled)
}

/// Gives a reservation back by hand. The inner error is the state of one that holds nothing any more.
pub fn release(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    released: &ReservationReleased,
) -> Result<Result<(), ReservationState>, StoreProblem> {
    let mut outcome = Ok(());
    ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let modification = Modification::from_bodies(bodies.iter().map(|body| (at, body)))?;
        let one = modification.reservations.iter().find(|one| one.reserved.reservation == released.reservation)?;
        match one.state(at.date_naive()) {
            ReservationState::Open | ReservationState::Taken => entry(&Body::ReservationReleased(released.clone())),
            state => {
                outcome = Err(state);
                None
            }
        }
    })?;
    Ok(outcome)
}

/// Plain values: they can always be written.
fn entry(body: &Body) -> Option<(String, String)> {
    Some((body.kind().to_owned(), body.to_text().ok()?))
}

#[cfg(test)]
mod tests;
