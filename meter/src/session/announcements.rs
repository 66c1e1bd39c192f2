//! What the runs of a modification have said of its line: one of them says it for all, and a run that starts anew does not repeat it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use flopsmeter_core::alert::Key;
use flopsmeter_core::ledger::body::{LevelsLeft, LevelsSaid};
use flopsmeter_core::ledger::{Body, modification_stream};

use crate::store::{Ledger, StoreProblem};

/// Takes it upon `run` to say those of `keys` that no run of the modification has said, and gives these back with the id under which
/// they are said: what `id` makes of how often one of the levels was left behind, so that it is another one each time.
pub(super) fn claim(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    run: &str,
    keys: &[Key],
    id: impl Fn(usize) -> String,
) -> Result<(Vec<Key>, String), StoreProblem> {
    let (mut own, mut said_as) = (Vec::new(), String::new());
    ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let before = said_of(bodies);
        own = keys.iter().filter(|key| !before.contains(*key)).cloned().collect();
        said_as = id(times_left(bodies, keys));
        let body = Body::LevelsSaid(LevelsSaid { run: run.to_owned(), id: said_as.clone(), keys: own.clone() });
        (!own.is_empty()).then(|| Some((body.kind().to_owned(), body.to_text().ok()?))).flatten()
    })?;
    Ok((own, said_as))
}

/// Notes that the modification has gone back well below these levels.
pub(super) fn release(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    left: &LevelsLeft,
) -> Result<(), StoreProblem> {
    let noted = ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let before = said_of(bodies);
        let body = Body::LevelsLeft(left.clone());
        let is_news = left.keys.iter().any(|key| before.contains(key));
        is_news.then(|| Some((body.kind().to_owned(), body.to_text().ok()?))).flatten()
    });
    noted.map(drop)
}

fn said_of(bodies: &[Body]) -> BTreeSet<&Key> {
    let mut said = BTreeSet::new();
    for body in bodies {
        match body {
            Body::LevelsSaid(levels) => said.extend(&levels.keys),
            Body::LevelsLeft(levels) => said.retain(|key| !levels.keys.contains(key)),
            _ => {}
        }
    }
    said
}

fn times_left(bodies: &[Body], keys: &[Key]) -> usize {
    let is_one =
        |body: &&Body| matches!(body, Body::LevelsLeft(left) if left.keys.iter().any(|key| keys.contains(key)));
    bodies.iter().filter(is_one).count()
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::alert::{Level, What};

    use super::*;

    fn key(level: Level) -> Key {
        Key { line: "third-of-base:1300".to_owned(), what: What::Spent, level }
    }

    #[test]
    fn one_run_says_it_for_all_until_it_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().join("ledger.sqlite")).unwrap();
        let claim = |ledger: &mut Ledger, run: &str, levels: &[Level]| {
            let keys: Vec<Key> = levels.iter().copied().map(key).collect();
            claim(ledger, "demo", DateTime::UNIX_EPOCH, run, &keys, |left| format!("after {left}")).unwrap()
        };
        let first = "after 0".to_owned();
        assert_eq!(claim(&mut ledger, "a", &[Level::Near]), (vec![key(Level::Near)], first.clone()));
        let both = [Level::Near, Level::Share(80)];
        assert_eq!(claim(&mut ledger, "b", &both), (vec![key(Level::Share(80))], first.clone()));
        assert_eq!(claim(&mut ledger, "b", &[Level::Near]), (vec![], first));
        let left = LevelsLeft { run: "a".to_owned(), keys: vec![key(Level::Share(80))] };
        release(&mut ledger, "demo", DateTime::UNIX_EPOCH, &left).unwrap();
        release(&mut ledger, "demo", DateTime::UNIX_EPOCH, &left).unwrap();
        assert_eq!(claim(&mut ledger, "c", &both), (vec![key(Level::Share(80))], "after 1".to_owned()));
        // Nothing is written twice.
        assert_eq!(ledger.entries("modification/demo").unwrap().len(), 4);
    }
}
