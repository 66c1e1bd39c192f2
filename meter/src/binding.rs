//! Saying what a modification is made from, while other processes say the same of others: together they must not close a circle.

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::{Body, Entry, modification_stream};
use flopsmeter_core::lineage::{LineageProblem, Modification, Modifications, check};

use crate::store::{Ledger, StoreProblem, Streams};

/// Appends `body`, which says what the modification `slug` is made from, unless it would be behind itself or be made from one that is
/// not there. Nobody else writes between the look at the lineage and the writing. `Ok(None)` where the entry would change nothing, as
/// where somebody else has made the modification or bound its base before.
pub fn bind(
    ledger: &mut Ledger,
    slug: &str,
    at: DateTime<Utc>,
    body: &Body,
) -> Result<Result<Option<Entry>, LineageProblem>, StoreProblem> {
    let stream = modification_stream(slug);
    let mut refused = None;
    let entry = ledger.append_seeing(&stream, at, |streams| {
        let mut bodies = streams.bodies(&stream)?;
        let before = read(at, &bodies);
        bodies.push(body.clone());
        let Some(after) = read(at, &bodies).filter(|after| before.as_ref() != Some(after)) else { return Ok(None) };
        if let Err(problem) = check(&after, &behind(streams, at, &after)?) {
            refused = Some(problem);
            return Ok(None);
        }
        // Plain values: they can always be written.
        Ok(body.to_text().ok().map(|text| (body.kind().to_owned(), text)))
    })?;
    Ok(refused.map_or(Ok(entry), Err))
}

/// Everything that is reached from `of`, as far as it is there.
fn behind(streams: &Streams<'_>, at: DateTime<Utc>, of: &Modification) -> Result<Modifications, StoreProblem> {
    let mut reached = Modifications::new();
    let mut ahead: Vec<String> = of.parent_slugs().map(str::to_owned).collect();
    while let Some(slug) = ahead.pop() {
        if slug == of.slug || reached.contains_key(&slug) {
            continue;
        }
        if let Some(found) = read(at, &streams.bodies(&modification_stream(&slug))?) {
            ahead.extend(found.parent_slugs().map(str::to_owned));
            reached.insert(slug, found);
        }
    }
    Ok(reached)
}

fn read(at: DateTime<Utc>, bodies: &[Body]) -> Option<Modification> {
    Modification::from_bodies(bodies.iter().map(|body| (at, body)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use flopsmeter_core::ledger::body::{BaseBound, ModificationCreated, ModificationRebased};
    use flopsmeter_core::lineage::BaseReference;

    use super::*;
    use crate::records;

    fn made(slug: &str) -> BaseReference {
        BaseReference::Modification { slug: slug.to_owned() }
    }

    fn created(slug: &str, base: Option<BaseReference>) -> Body {
        Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base })
    }

    fn bound(base: &str) -> Body {
        Body::BaseBound(BaseBound { base: made(base) })
    }

    fn ledger(folder: &Path) -> Ledger {
        Ledger::open_patiently(&folder.join("ledger.sqlite"), Duration::from_mins(1)).unwrap()
    }

    fn written(ledger: &mut Ledger, slug: &str, body: &Body) -> bool {
        bind(ledger, slug, DateTime::UNIX_EPOCH, body).unwrap().unwrap().is_some()
    }

    #[test]
    fn two_that_are_bound_to_each_other_at_once_make_no_circle() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let mut first = ledger(folder.path());
            for slug in ["a", "b", "c"] {
                assert!(written(&mut first, slug, &created(slug, None)));
            }
            let (path, pairs) = (folder.path(), [("a", "b"), ("b", "c"), ("c", "a")]);
            let refused: usize = thread::scope(|scope| {
                let bind_one = |(slug, base)| {
                    move || bind(&mut ledger(path), slug, DateTime::UNIX_EPOCH, &bound(base)).unwrap().is_err()
                };
                let all: Vec<_> = pairs.into_iter().map(|pair| scope.spawn(bind_one(pair))).collect();
                all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
            });
            assert_eq!(refused, 1, "whichever comes last");
            let base = |slug| records::modification(&first, slug).unwrap().unwrap().base;
            assert_eq!(["a", "b", "c"].into_iter().filter_map(base).count(), 2);
        }
    }

    #[test]
    fn what_changes_nothing_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        assert!(written(&mut ledger, "a", &created("a", None)));
        assert!(!written(&mut ledger, "a", &created("a", None)), "it is there");
        assert!(written(&mut ledger, "b", &created("b", Some(made("a")))));
        assert!(!written(&mut ledger, "b", &bound("a")), "it has its base");
        let missing = bind(&mut ledger, "c", DateTime::UNIX_EPOCH, &created("c", Some(made("gone"))));
        assert!(matches!(missing.unwrap(), Err(LineageProblem::Missing { .. })));
        assert_eq!(records::modification(&ledger, "c").unwrap(), None);
    }

    #[test]
    fn a_circle_that_is_there_can_be_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        for (slug, base) in [("a", "b"), ("b", "a"), ("child", "a")] {
            let body = created(slug, Some(made(base)));
            ledger
                .append(&modification_stream(slug), DateTime::UNIX_EPOCH, body.kind(), &body.to_text().unwrap())
                .unwrap();
        }
        assert!(written(&mut ledger, "root", &created("root", None)));
        let rebased = |base: &str| {
            let (reason, by, date) = ("a slip".to_owned(), "Ada".to_owned(), chrono::NaiveDate::MIN);
            Body::ModificationRebased(ModificationRebased { base: made(base), reason, by, date })
        };
        let refused = bind(&mut ledger, "a", DateTime::UNIX_EPOCH, &rebased("child")).unwrap();
        assert!(matches!(refused, Err(LineageProblem::Cycle { .. })), "{refused:?}");
        assert!(written(&mut ledger, "a", &rebased("root")));
        let all: Modifications =
            records::modifications(&ledger).unwrap().into_iter().map(|one| (one.slug.clone(), one)).collect();
        assert!(all.values().all(|one| check(one, &all).is_ok()));
    }
}
