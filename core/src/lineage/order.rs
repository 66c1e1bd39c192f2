//! The modifications behind one, each after those it is made from.

use std::collections::{BTreeMap, BTreeSet};

use super::{BaseReference, LineageProblem, Modification};

/// All modifications of a ledger, by name.
pub type Modifications = BTreeMap<String, Modification>;

impl Modification {
    /// The models that it is made from: its base, or the weights that were merged.
    pub fn parents(&self) -> impl Iterator<Item = &BaseReference> {
        let merged = self.merge.iter().flat_map(|merge| &merge.of);
        merged.chain(self.base.iter().filter(|_| self.merge.is_none()))
    }

    /// The modifications of the same ledger among them.
    pub fn parent_slugs(&self) -> impl Iterator<Item = &str> {
        self.parents().filter_map(BaseReference::slug)
    }
}

/// Whether `of` can be followed back to its originals: no circle, and no modification that is not there.
pub fn check(of: &Modification, all: &Modifications) -> Result<(), LineageProblem> {
    parents_first(of, all).map(drop)
}

/// `of` and all modifications behind it, each once and after its parents. Walks without recursion: a chain may be as long as it likes.
pub(super) fn parents_first<'m>(
    of: &'m Modification,
    all: &'m Modifications,
) -> Result<Vec<&'m Modification>, LineageProblem> {
    let mut ordered = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut on_way: BTreeSet<&str> = BTreeSet::from([of.slug.as_str()]);
    // The way from `of` down to where the walk is, each with the parents still to be looked at.
    let mut way: Vec<(&Modification, Vec<&str>)> = vec![(of, of.parent_slugs().collect())];
    while let Some((at, left)) = way.last_mut() {
        let at = *at;
        let Some(parent) = left.pop() else {
            done.insert(&at.slug);
            on_way.remove(at.slug.as_str());
            ordered.push(at);
            way.pop();
            continue;
        };
        if done.contains(parent) {
            continue;
        }
        if on_way.contains(parent) {
            let slugs = way.iter().map(|(on_way, _)| on_way.slug.as_str());
            return Err(circle(slugs.skip_while(|slug| *slug != parent), parent));
        }
        let found = all.get(parent).ok_or_else(|| missing(at, parent, all))?;
        on_way.insert(&found.slug);
        way.push((found, found.parent_slugs().collect()));
    }
    Ok(ordered)
}

fn circle<'m>(way: impl Iterator<Item = &'m str>, again: &'m str) -> LineageProblem {
    let path = way.chain([again]).map(|slug| format!("`{slug}`")).collect::<Vec<_>>().join(" from ");
    LineageProblem::Cycle { path }
}

fn missing(child: &Modification, parent: &str, all: &Modifications) -> LineageProblem {
    let known = all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    LineageProblem::Missing { child: child.slug.clone(), parent: parent.to_owned(), known }
}
