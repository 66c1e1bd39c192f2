//! What the runs of a modification have said of its line, and to whom: one of them says it for all, and a run that starts anew repeats it
//! only to those who have not heard it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use flopsmeter_core::alert::Key;
use flopsmeter_core::ledger::body::{LevelsLeft, LevelsMissed, LevelsSaid};
use flopsmeter_core::ledger::{Body, modification_stream};

use crate::store::{Ledger, StoreProblem};

/// A run that has something to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) slug: &'a str,
    pub(super) run: &'a str,
    /// Keys of the sinks that it tells.
    pub(super) sinks: &'a BTreeSet<String>,
}

/// What falls to a run to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The levels; none where everybody has heard of all.
    pub(super) keys: Vec<Key>,
    /// The id under which they are said.
    pub(super) id: String,
    /// The sinks that have not heard of one of them.
    pub(super) sinks: BTreeSet<String>,
}

/// Takes it upon a run to say those of `keys` that were not said, or not to all of its sinks. The id is what `id` makes of how often one
/// of the levels was left behind, so that it is another one each time.
pub(super) fn claim(
    ledger: &mut Ledger,
    speaker: Speaker<'_>,
    at: DateTime<Utc>,
    keys: &[Key],
    id: impl Fn(usize) -> String,
) -> Result<Claim, StoreProblem> {
    let mut claim = Claim::default();
    ledger.append_decided(&modification_stream(speaker.slug), at, |bodies| {
        let said = said_of(bodies);
        claim.id = id(times_left(bodies, keys));
        for key in keys {
            let unheard: Vec<&String> = match said.get(key) {
                None => speaker.sinks.iter().collect(),
                Some(Heard::ByAll) => continue,
                Some(Heard::By(sinks)) => speaker.sinks.iter().filter(|sink| !sinks.contains(sink.as_str())).collect(),
            };
            if !said.contains_key(key) || !unheard.is_empty() {
                claim.keys.push(key.clone());
                claim.sinks.extend(unheard.into_iter().cloned());
            }
        }
        let body = Body::LevelsSaid(LevelsSaid {
            run: speaker.run.to_owned(),
            id: claim.id.clone(),
            keys: claim.keys.clone(),
            sinks: Some(claim.sinks.iter().cloned().collect()),
        });
        (!claim.keys.is_empty()).then(|| entry(&body)).flatten()
    })?;
    Ok(claim)
}

/// Notes that sinks did not take an alert: the next run that tells them says it again.
pub(super) fn missed(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    missed: &LevelsMissed,
) -> Result<(), StoreProblem> {
    let noted = ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let was_said = |body: &Body| matches!(body, Body::LevelsSaid(said) if said.id == missed.id);
        bodies.iter().any(was_said).then(|| entry(&Body::LevelsMissed(missed.clone()))).flatten()
    });
    noted.map(drop)
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
        let is_news = left.keys.iter().any(|key| before.contains_key(key));
        is_news.then(|| entry(&Body::LevelsLeft(left.clone()))).flatten()
    });
    noted.map(drop)
}

/// Plain values: they can always be written.
fn entry(body: &Body) -> Option<(String, String)> {
    Some((body.kind().to_owned(), body.to_text().ok()?))
}

/// Who has heard of a level, besides standard error and the ledger.
#[derive(Clone, Debug)]
enum Heard<'a> {
    ByAll,
    By(BTreeSet<&'a str>),
}

fn said_of(bodies: &[Body]) -> BTreeMap<&Key, Heard<'_>> {
    let mut heard: BTreeMap<&Key, Heard<'_>> = BTreeMap::new();
    let mut by_id: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    for body in bodies {
        match body {
            Body::LevelsSaid(said) => {
                by_id.entry(&said.id).or_default().extend(&said.keys);
                for key in &said.keys {
                    let before = heard.entry(key).or_insert_with(|| Heard::By(BTreeSet::new()));
                    match (before, &said.sinks) {
                        (before, None) => *before = Heard::ByAll,
                        (Heard::By(sinks), Some(more)) => sinks.extend(more.iter().map(String::as_str)),
                        (Heard::ByAll, Some(_)) => {}
                    }
                }
            }
            Body::LevelsLeft(left) => heard.retain(|key, _| !left.keys.contains(key)),
            Body::LevelsMissed(missed) => {
                for key in by_id.get(missed.id.as_str()).into_iter().flatten() {
                    if let Some(Heard::By(sinks)) = heard.get_mut(key) {
                        sinks.retain(|sink| !missed.sinks.iter().any(|other| other == sink));
                    }
                }
            }
            _ => {}
        }
    }
    heard
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

    fn ledger(folder: &std::path::Path) -> Ledger {
        Ledger::open(&folder.join("ledger.sqlite")).unwrap()
    }

    /// The levels and sinks that fall to a run that tells these sinks.
    fn claimed(ledger: &mut Ledger, run: &str, levels: &[Level], sinks: &[&str]) -> (Vec<Key>, String, Vec<String>) {
        let keys: Vec<Key> = levels.iter().copied().map(key).collect();
        let sinks: BTreeSet<String> = sinks.iter().map(|sink| (*sink).to_owned()).collect();
        let speaker = Speaker { slug: "demo", run, sinks: &sinks };
        let claim = claim(ledger, speaker, DateTime::UNIX_EPOCH, &keys, |left| format!("after {left}")).unwrap();
        (claim.keys, claim.id, claim.sinks.into_iter().collect())
    }

    #[test]
    fn one_run_says_it_for_all_until_it_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        let mut claim = |run: &str, levels: &[Level]| {
            let (keys, id, _) = claimed(&mut ledger, run, levels, &[]);
            (keys, id)
        };
        let first = "after 0".to_owned();
        assert_eq!(claim("a", &[Level::Near]), (vec![key(Level::Near)], first.clone()));
        let both = [Level::Near, Level::Share(80)];
        assert_eq!(claim("b", &both), (vec![key(Level::Share(80))], first.clone()));
        assert_eq!(claim("b", &[Level::Near]), (vec![], first));
        let left = LevelsLeft { run: "a".to_owned(), keys: vec![key(Level::Share(80))] };
        release(&mut ledger, "demo", DateTime::UNIX_EPOCH, &left).unwrap();
        release(&mut ledger, "demo", DateTime::UNIX_EPOCH, &left).unwrap();
        let (keys, id, _) = claimed(&mut ledger, "c", &both, &[]);
        assert_eq!((keys, id), (vec![key(Level::Share(80))], "after 1".to_owned()));
        // Nothing is written twice.
        assert_eq!(ledger.entries("modification/demo").unwrap().len(), 4);
    }

    #[test]
    fn a_run_without_sinks_silences_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        let near = [Level::Near];
        let mut claim = |run: &str, sinks: &[&str]| {
            let (keys, _, sinks) = claimed(&mut ledger, run, &near, sinks);
            (keys.len(), sinks.join(","))
        };
        assert_eq!(claim("a", &[]), (1, String::new()));
        assert_eq!(claim("b", &["mail", "slack"]), (1, "mail,slack".to_owned()), "they have not heard of it");
        assert_eq!(claim("c", &["mail"]), (0, String::new()));
        assert_eq!(claim("d", &["mail", "teams"]), (1, "teams".to_owned()));
        assert_eq!(claim("e", &[]), (0, String::new()));
    }

    #[test]
    fn a_sink_that_did_not_take_it_is_told_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        let near = [Level::Near];
        let (_, id, _) = claimed(&mut ledger, "a", &near, &["mail", "slack"]);
        let note = |ledger: &mut Ledger, id: &str| {
            let note = LevelsMissed { run: "a".to_owned(), id: id.to_owned(), sinks: vec!["mail".to_owned()] };
            missed(ledger, "demo", DateTime::UNIX_EPOCH, &note).unwrap();
        };
        note(&mut ledger, &id);
        note(&mut ledger, "of no alert");
        assert_eq!(ledger.entries("modification/demo").unwrap().len(), 2);
        let (keys, again, sinks) = claimed(&mut ledger, "b", &near, &["mail", "slack"]);
        assert_eq!((keys.len(), sinks), (1, vec!["mail".to_owned()]));
        assert_eq!(id, again, "who took it at last takes one of the same id");
        assert_eq!(claimed(&mut ledger, "c", &near, &["mail", "slack"]).0, []);
    }

    #[test]
    fn records_of_earlier_versions_were_said_to_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        let text = r#"{"run":"a","id":"1","keys":[{"line":"third-of-base:1300","what":"spent","level":"near"}]}"#;
        ledger.append("modification/demo", DateTime::UNIX_EPOCH, "levels-said", text).unwrap();
        assert_eq!(claimed(&mut ledger, "b", &[Level::Near], &["mail"]).0, []);
    }
}
