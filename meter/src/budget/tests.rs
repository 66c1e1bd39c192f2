//! Budgets of several processes in one ledger.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;

const LINE: u128 = 1000;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn reserved(id: &str, flop: u128) -> Reserved {
    Reserved { reservation: id.to_owned(), flop: Flops(flop), best: Flops(flop), ..Reserved::default() }
}

/// Refuses what does not fit under the line, with what is left.
fn try_reserve(ledger: &mut Ledger, id: &str, flop: u128) -> Setting<u128> {
    let rules = RuleSet::in_force(at().date_naive()).unwrap();
    let left = |account: &Account| LINE - account.reserved(rules, at().date_naive()).0;
    let objection = |account: &Account| (flop > left(account)).then(|| left(account));
    reserve(ledger, "demo", None, at(), &reserved(id, flop), objection).unwrap()
}

fn ledger(folder: &Path) -> Ledger {
    Ledger::open_patiently(&folder.join("ledger.sqlite"), Duration::from_mins(1)).unwrap()
}

#[test]
fn two_cannot_set_the_same_room_aside() {
    let folder = tempfile::tempdir().unwrap();
    drop(ledger(folder.path()));
    let path = folder.path();
    let held: usize = thread::scope(|scope| {
        let one = |number: usize| move || try_reserve(&mut ledger(path), &format!("r{number}"), 300);
        let all: Vec<_> = (0..8).map(|number| scope.spawn(one(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|one| matches!(one, Setting::Held)).count()
    });
    assert_eq!(held, 3, "three times 300 fit under 1000");
}

#[test]
fn a_run_takes_the_oldest_that_is_open_and_settles_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(folder.path());
    for id in ["r1", "r2"] {
        assert!(matches!(try_reserve(&mut ledger, id, 100), Setting::Held));
    }
    let taken = |ledger: &mut Ledger, run: &str, wanted: Option<&str>| {
        take(ledger, "demo", Spender { run, job: None }, wanted, at())
            .unwrap()
            .map(|taken| taken.map(|one| one.reserved.reservation))
    };
    assert_eq!(taken(&mut ledger, "a", None), Ok(Some("r1".to_owned())));
    assert_eq!(taken(&mut ledger, "b", None), Ok(Some("r2".to_owned())));
    assert_eq!(taken(&mut ledger, "c", None), Ok(None));
    assert_eq!(taken(&mut ledger, "c", Some("r1")), Ok(Some("r1".to_owned())), "of the same job, on another node");
    assert!(matches!(taken(&mut ledger, "d", Some("r")), Err(NotTaken::Ambiguous { .. })));
    assert!(matches!(taken(&mut ledger, "d", Some("x")), Err(NotTaken::Unknown { .. })));
    let settle = |ledger: &mut Ledger, id: &str, run: &str, spent| {
        let settled = settle(ledger, "demo", id, run, Flops(spent), at()).unwrap().unwrap();
        (settled.released.0, settled.overrun.0)
    };
    assert_eq!(settle(&mut ledger, "r1", "a", 30), (0, 0), "the other node goes on");
    assert_eq!(settle(&mut ledger, "r1", "c", 20), (50, 0));
    assert_eq!(settle(&mut ledger, "r2", "b", 170), (0, 70));
    let over = taken(&mut ledger, "d", Some("r1")).unwrap_err();
    assert!(over.to_string().contains("reservation r1 is settled"), "{over}");
}

#[test]
fn what_is_given_back_is_free_again_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(folder.path());
    assert!(matches!(try_reserve(&mut ledger, "r1", 900), Setting::Held));
    assert!(matches!(try_reserve(&mut ledger, "r2", 200), Setting::Refused(100)));
    let released = ReservationReleased { reservation: "r1".to_owned(), by: "Ada".to_owned(), date: at().date_naive() };
    assert_eq!(release(&mut ledger, "demo", at(), &released).unwrap(), Ok(()));
    assert_eq!(release(&mut ledger, "demo", at(), &released).unwrap(), Err(ReservationState::Released));
    assert!(matches!(try_reserve(&mut ledger, "r3", 200), Setting::Held));
}

#[test]
fn what_is_refused_makes_no_modification() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(folder.path());
    assert!(matches!(try_reserve(&mut ledger, "r1", 1001), Setting::Refused(LINE)));
    assert_eq!(records::modification(&ledger, "demo").unwrap(), None);
}

#[test]
fn the_runs_of_one_job_spend_what_was_set_aside_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(folder.path());
    for id in ["r1", "r2"] {
        assert!(matches!(try_reserve(&mut ledger, id, 100), Setting::Held));
    }
    let mut taken = |run: &str, job: Option<&str>| {
        let taken = take(&mut ledger, "demo", Spender { run, job }, None, at()).unwrap().unwrap();
        taken.map(|one| one.reserved.reservation)
    };
    assert_eq!(taken("a", Some("j")).as_deref(), Some("r1"));
    assert_eq!(taken("b", Some("j")).as_deref(), Some("r1"), "of the same job, on another node");
    assert_eq!(taken("c", Some("k")).as_deref(), Some("r2"));
    assert_eq!(taken("d", None), None);
}
