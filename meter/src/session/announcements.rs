//! What the runs of a modification have said of its line, and to whom: one of them says it for all, and a run that starts anew repeats it
//! only to those who have not heard it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::alert::Key;
use flopsmeter_core::ledger::body::{LevelsLeft, LevelsSaid};
use flopsmeter_core::ledger::{Body, modification_stream};

use crate::store::{Ledger, StoreProblem, writer};

/// How long a run that has taken it upon itself to tell somebody is relied on, where it cannot be seen that its meter has ended. One
/// sink's attempts take 70 seconds, and some alerts may be waiting before.
const RELIED_ON: TimeDelta = TimeDelta::minutes(5);

/// A run that has something to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) slug: &'a str,
    pub(super) run: &'a str,
    /// When its meter began: what the run took upon itself before, an earlier one did.
    pub(super) since: DateTime<Utc>,
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
    /// Levels of which another run is telling a sink of this one: it may not come to it.
    pub(super) under_way: BTreeSet<Key>,
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
    let path = ledger.path().to_owned();
    let is_metered = |run: &str| writer::is_written(&path, run) != Some(false);
    ledger.append_decided(&modification_stream(speaker.slug), at, |bodies| {
        let said = said_of(bodies);
        claim.id = id(times_left(bodies, keys));
        for key in keys {
            let sinks = match said.get(key) {
                None => &BTreeMap::new(),
                Some(Heard::ByAll) => continue,
                Some(Heard::By(sinks)) => sinks,
            };
            let mut unheard = Vec::new();
            for sink in speaker.sinks {
                match sinks.get(sink.as_str()) {
                    Some(Hearing::Done) => {}
                    Some(Hearing::By(teller)) if teller.is_relied_on(speaker, at, &is_metered) => {
                        claim.under_way.insert(key.clone());
                    }
                    Some(Hearing::By(_)) | None => unheard.push(sink),
                }
            }
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
            until: Some(at + RELIED_ON),
        });
        (!claim.keys.is_empty()).then(|| entry(&body)).flatten()
    })?;
    Ok(claim)
}

/// Notes which sinks took the alert of this id, or which did not: the next run that tells those says it again.
pub(super) fn note(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    (id, note): (&str, &Body),
) -> Result<(), StoreProblem> {
    let noted = ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let was_said = |body: &Body| matches!(body, Body::LevelsSaid(said) if said.id == id);
        bodies.iter().any(was_said).then(|| entry(note)).flatten()
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
    By(BTreeMap<&'a str, Hearing<'a>>),
}

#[derive(Clone, Copy, Debug)]
enum Hearing<'a> {
    Done,
    By(Teller<'a>),
}

/// A run that has taken it upon itself to tell somebody.
#[derive(Clone, Copy, Debug)]
struct Teller<'a> {
    run: &'a str,
    until: DateTime<Utc>,
}

impl Teller<'_> {
    /// A meter that has ended tells nobody any more, and one that goes on comes to an end of its attempts.
    fn is_relied_on(self, speaker: Speaker<'_>, at: DateTime<Utc>, is_metered: &impl Fn(&str) -> bool) -> bool {
        let is_own = self.run == speaker.run;
        let is_earlier_self = is_own && self.until < speaker.since + RELIED_ON;
        at < self.until && !is_earlier_self && (is_own || is_metered(self.run))
    }
}

fn said_of(bodies: &[Body]) -> BTreeMap<&Key, Heard<'_>> {
    let mut heard: BTreeMap<&Key, Heard<'_>> = BTreeMap::new();
    let mut by_id: BTreeMap<&str, BTreeSet<&Key>> = BTreeMap::new();
    for body in bodies {
        match body {
            Body::LevelsSaid(said) => {
                by_id.entry(&said.id).or_default().extend(&said.keys);
                for key in &said.keys {
                    let before = heard.entry(key).or_insert_with(|| Heard::By(BTreeMap::new()));
                    let hearing =
                        said.until.map_or(Hearing::Done, |until| Hearing::By(Teller { run: &said.run, until }));
                    match (before, &said.sinks) {
                        (before, None) => *before = Heard::ByAll,
                        (Heard::By(sinks), Some(more)) => {
                            sinks.extend(more.iter().map(|sink| (sink.as_str(), hearing)));
                        }
                        (Heard::ByAll, Some(_)) => {}
                    }
                }
            }
            Body::LevelsHeard(by) => {
                for key in by_id.get(by.id.as_str()).into_iter().flatten() {
                    if let Some(Heard::By(sinks)) = heard.get_mut(key) {
                        sinks.extend(by.sinks.iter().map(|sink| (sink.as_str(), Hearing::Done)));
                    }
                }
            }
            Body::LevelsLeft(left) => {
                heard.retain(|key, _| !left.keys.contains(key));
                // Who hears late of what was said before has not heard what is said of them next.
                for keys in by_id.values_mut() {
                    keys.retain(|key| !left.keys.contains(key));
                }
            }
            Body::LevelsMissed(missed) => {
                for key in by_id.get(missed.id.as_str()).into_iter().flatten() {
                    if let Some(Heard::By(sinks)) = heard.get_mut(key) {
                        sinks.retain(|sink, _| !missed.sinks.iter().any(|other| other == sink));
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
    use flopsmeter_core::ledger::body::{LevelsHeard, LevelsMissed};

    use super::*;
    use crate::store::Writer;

    fn key(level: Level) -> Key {
        Key { line: "third-of-base:1300".to_owned(), what: What::Spent, level }
    }

    /// With these runs being metered.
    fn ledger(folder: &std::path::Path, runs: &[&str]) -> (Ledger, Vec<Writer>) {
        let ledger = Ledger::open(&folder.join("ledger.sqlite")).unwrap();
        let writers = runs.iter().map(|run| Writer::take(ledger.path(), run).unwrap()).collect();
        (ledger, writers)
    }

    /// The levels and sinks that fall to a run that tells these sinks.
    fn claimed(ledger: &mut Ledger, run: &str, levels: &[Level], sinks: &[&str]) -> (Vec<Key>, String, Vec<String>) {
        let keys: Vec<Key> = levels.iter().copied().map(key).collect();
        let sinks: BTreeSet<String> = sinks.iter().map(|sink| (*sink).to_owned()).collect();
        let claim = claim_at(ledger, run, 0, &keys, &sinks);
        (claim.keys, claim.id, claim.sinks.into_iter().collect())
    }

    fn claim_at(ledger: &mut Ledger, run: &str, second: i64, keys: &[Key], sinks: &BTreeSet<String>) -> Claim {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let speaker = Speaker { slug: "demo", run, since: DateTime::UNIX_EPOCH, sinks };
        claim(ledger, speaker, at, keys, |left| format!("after {left}")).unwrap()
    }

    #[test]
    fn one_run_says_it_for_all_until_it_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _metered) = ledger(folder.path(), &["a", "b", "c", "d"]);
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
        let (mut ledger, _metered) = ledger(folder.path(), &["a", "b", "c", "d"]);
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

    fn heard(ledger: &mut Ledger, by: &LevelsHeard) {
        note(ledger, "demo", DateTime::UNIX_EPOCH, (&by.id, &Body::LevelsHeard(by.clone()))).unwrap();
    }

    #[test]
    fn a_sink_that_did_not_take_it_is_told_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _metered) = ledger(folder.path(), &["a", "b", "c", "d"]);
        let near = [Level::Near];
        let (_, id, _) = claimed(&mut ledger, "a", &near, &["mail", "slack"]);
        let note = |ledger: &mut Ledger, id: &str| {
            let missed = LevelsMissed { run: "a".to_owned(), id: id.to_owned(), sinks: vec!["mail".to_owned()] };
            note(ledger, "demo", DateTime::UNIX_EPOCH, (id, &Body::LevelsMissed(missed))).unwrap();
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
        let (mut ledger, _metered) = ledger(folder.path(), &["a", "b", "c", "d"]);
        let text = r#"{"run":"a","id":"1","keys":[{"line":"third-of-base:1300","what":"spent","level":"near"}]}"#;
        ledger.append("modification/demo", DateTime::UNIX_EPOCH, "levels-said", text).unwrap();
        assert_eq!(claimed(&mut ledger, "b", &[Level::Near], &["mail"]).0, []);
    }

    #[test]
    fn records_that_do_not_say_who_took_it_were_heard_by_those_who_were_told() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _metered) = ledger(folder.path(), &[]);
        let text = r#"{"run":"a","id":"1","keys":[{"line":"third-of-base:1300","what":"spent","level":"near"}],"sinks":["mail"]}"#;
        ledger.append("modification/demo", DateTime::UNIX_EPOCH, "levels-said", text).unwrap();
        assert_eq!(claimed(&mut ledger, "b", &[Level::Near], &["mail"]).0, []);
        assert_eq!(claimed(&mut ledger, "b", &[Level::Near], &["mail", "slack"]).2, ["slack"]);
    }

    #[test]
    fn who_hears_late_of_a_level_has_not_heard_of_its_return() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, mut metered) = ledger(folder.path(), &["a", "b", "c"]);
        let near = [Level::Near];
        let (_, first, _) = claimed(&mut ledger, "a", &near, &["mail"]);
        let left = LevelsLeft { run: "a".to_owned(), keys: vec![key(Level::Near)] };
        release(&mut ledger, "demo", DateTime::UNIX_EPOCH, &left).unwrap();
        assert_eq!(claimed(&mut ledger, "b", &near, &["mail"]).2, ["mail"]);
        let note = LevelsHeard { run: "a".to_owned(), id: first, sinks: vec!["mail".to_owned()] };
        heard(&mut ledger, &note);
        // The second one is killed before it has told anybody.
        metered.remove(1);
        assert_eq!(claimed(&mut ledger, "c", &near, &["mail"]).2, ["mail"]);
    }

    #[test]
    fn what_a_run_did_not_come_to_tell_another_one_tells() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, mut metered) = ledger(folder.path(), &["a", "b", "c"]);
        let sinks = BTreeSet::from(["mail".to_owned(), "slack".to_owned()]);
        let near = [key(Level::Near)];
        let claim = |ledger: &mut Ledger, run: &str, second| {
            let Claim { keys, sinks, under_way, .. } = claim_at(ledger, run, second, &near, &sinks);
            (keys.len(), sinks.into_iter().collect::<Vec<_>>().join(","), under_way.len())
        };
        assert_eq!(claim(&mut ledger, "a", 0), (1, "mail,slack".to_owned(), 0));
        assert_eq!(claim(&mut ledger, "a", 1), (0, String::new(), 1), "it is telling them");
        assert_eq!(claim(&mut ledger, "b", 1), (0, String::new(), 1), "it leaves that to the first one");
        let note = LevelsHeard { run: "a".to_owned(), id: "after 0".to_owned(), sinks: vec!["slack".to_owned()] };
        heard(&mut ledger, &note);
        // Killed.
        metered.remove(0);
        assert_eq!(claim(&mut ledger, "b", 2), (1, "mail".to_owned(), 0), "who has heard is not told again");
        assert_eq!(claim(&mut ledger, "c", 3), (0, String::new(), 1));
        let late = 2 + RELIED_ON.num_seconds();
        assert_eq!(claim(&mut ledger, "c", late), (1, "mail".to_owned(), 0), "nobody tries for so long");
        let note = LevelsHeard { sinks: vec!["mail".to_owned()], ..note };
        heard(&mut ledger, &note);
        assert_eq!(claim(&mut ledger, "d", 2 * late), (0, String::new(), 0));
    }

    #[test]
    fn a_run_that_goes_on_tells_what_its_killed_meter_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let (mut ledger, _metered) = ledger(folder.path(), &["a"]);
        let sinks = BTreeSet::from(["mail".to_owned()]);
        let near = [key(Level::Near)];
        assert_eq!(claim_at(&mut ledger, "a", -10, &near, &sinks).sinks, sinks);
        let again = claim_at(&mut ledger, "a", 5, &near, &sinks);
        assert_eq!((again.keys.len(), again.sinks), (1, sinks));
    }
}
