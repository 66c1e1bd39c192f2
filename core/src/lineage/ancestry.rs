//! Everything behind a modification, with what was spent on the way; and the ways to hold that against an original.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{Modifications, parents_first};
use super::{BaseReference, LineageProblem, Modification};
use crate::assess::{AnswerKey, Basis, Spent};
use crate::registry::{Base, DeclaredBase, ModifiedBy, Registry};
use crate::rules::RuleSet;
use crate::run::Finding;
use crate::unit::Flops;

/// Everything behind a modification.
///
/// What is in it by two ways stands once: originals and stages are kept by what they are, not by how they were reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestry {
    /// Models that no stage here made.
    pub(super) originals: BTreeMap<String, Base<'static>>,
    /// What was trained on the way from them, without the modification itself.
    pub(super) stages: BTreeMap<String, Stage>,
    /// What was loaded, for people.
    pub(super) loaded: String,
    /// Originals of the parent that a merge named.
    pub(super) named: Option<BTreeSet<String>>,
    /// Merges on the way, the modification itself included.
    pub(super) merges: Vec<String>,
    is_merge: bool,
    /// What files leave for their models' parents, by the file.
    pub(super) left: BTreeMap<String, Left>,
}

/// A parent's compute by the file of its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The declared model.
    name: String,
    /// Its parent among the originals, whose figure may be another one.
    pub(super) original: String,
    /// The parent as the file leaves it.
    parent: DeclaredBase,
}

impl Left {
    /// The parent by the file, where that makes it smaller than `known`, and so its line lower: the user's own figure is not set aside
    /// for another one.
    pub(super) fn smaller(&self, known: &Base<'_>) -> Option<Base<'static>> {
        let name = format!("{} (by the file of {})", self.parent.name, self.name);
        let is_smaller = known.flop().is_some_and(|known| self.parent.flop < known);
        is_smaller.then(|| Base::Declared(Box::new(self.parent.clone().called(name))))
    }
}

/// A modification on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What people call it.
    pub name: String,
    /// Whose work it is.
    pub by: ModifiedBy,
    /// What it spent, without what is behind it.
    pub spent: Spent,
    /// The originals behind it.
    pub(super) originals: BTreeSet<String>,
}

/// Names the stage of a modification of this ledger.
fn stage_key(slug: &str) -> String {
    format!("modification:{slug}")
}

/// What the walk knows of a model.
#[derive(Clone, Default)]
struct Known {
    originals: BTreeSet<String>,
    named: Option<BTreeSet<String>>,
}

impl Ancestry {
    /// Follows `of` back to its originals. `spent_of` tells what another modification spent by itself.
    pub fn trace<E: From<LineageProblem>>(
        of: &Modification,
        all: &Modifications,
        registry: &'static Registry,
        mut spent_of: impl FnMut(&Modification) -> Result<Spent, E>,
    ) -> Result<Self, E> {
        let mut ancestry = Self {
            originals: BTreeMap::new(),
            stages: BTreeMap::new(),
            loaded: of.parents().map(BaseReference::label).collect::<Vec<_>>().join(" + "),
            named: None,
            merges: Vec::new(),
            is_merge: of.merge.is_some(),
            left: BTreeMap::new(),
        };
        let mut known: BTreeMap<&str, Known> = BTreeMap::new();
        for modification in parents_first(of, all)? {
            let mut own = Known::default();
            for parent in modification.parents() {
                let behind = match parent.slug() {
                    Some(slug) => known.get(slug).cloned().unwrap_or_default(),
                    None => ancestry.reach(modification, parent, registry)?,
                };
                let is_named = modification.merge.as_ref().and_then(|merge| merge.parent.as_ref());
                if is_named.is_some_and(|named| named.is_same(parent)) {
                    own.named = Some(behind.originals.clone());
                } else if modification.merge.is_none() {
                    own.named = behind.named;
                }
                own.originals.extend(behind.originals);
            }
            if modification.parents().next().is_none() {
                own.originals.insert(ancestry.nobodys(modification));
            }
            if modification.merge.is_some() {
                ancestry.merges.push(modification.slug.clone());
            }
            if modification.slug == of.slug {
                ancestry.named.clone_from(&own.named);
            } else {
                let stage = Stage {
                    name: modification.slug.clone(),
                    by: ModifiedBy::Us,
                    spent: spent_of(modification)?,
                    originals: own.originals.clone(),
                };
                ancestry.stages.insert(stage_key(&modification.slug), stage);
            }
            known.insert(&modification.slug, own);
        }
        Ok(ancestry)
    }

    /// The same for a model that was loaded as it is; `None` where nothing is behind it that would have to be told apart.
    pub fn of_base(base: &Base<'static>, registry: &'static Registry) -> Option<Self> {
        let Base::Declared(declared) = base else { return None };
        let mut ancestry = Self {
            originals: BTreeMap::new(),
            stages: BTreeMap::new(),
            loaded: declared.name.clone(),
            named: None,
            merges: Vec::new(),
            is_merge: false,
            left: BTreeMap::new(),
        };
        let original = ancestry.descend(declared, registry);
        original.map(|_| ancestry)
    }

    /// A model that is no modification of this ledger: an original, or one that somebody declares to be made from an original.
    fn reach(
        &mut self,
        child: &Modification,
        parent: &BaseReference,
        registry: &'static Registry,
    ) -> Result<Known, LineageProblem> {
        let base = parent.resolve(registry);
        let base = base.map_err(|source| LineageProblem::Base { child: child.slug.clone(), source })?;
        let original = match &base {
            Base::Declared(declared) => self.descend(declared, registry),
            _ => None,
        };
        let original = original.unwrap_or_else(|| {
            let key = parent.key();
            self.originals.insert(key.clone(), base);
            key
        });
        Ok(Known { originals: BTreeSet::from([original]), named: None })
    }

    /// Takes in the stage between a declared model and its parent; the parent's key, or `None` where it names none.
    fn descend(&mut self, declared: &DeclaredBase, registry: &'static Registry) -> Option<String> {
        let descent = declared.descent.as_ref()?;
        let parent = declared.parent()?;
        // The registry tells more of a model than what is left of somebody's sum.
        let listed = registry.lookup_name_or_path(&descent.parent).ok();
        let file = declared.digest().to_string();
        let (key, parent, original) = match listed {
            Some(model) if model.flop.is_some() => {
                (format!("registry:{}", model.id), parent.called(model.id.clone()), Base::Registry(model))
            }
            _ => (format!("parent:{}", parent.name.to_lowercase()), parent.clone(), Base::Declared(Box::new(parent))),
        };
        self.take_in(&key, original);
        let left = Left { name: declared.name.clone(), original: key.clone(), parent };
        self.left.insert(file.clone(), left);
        let stage = Stage {
            name: declared.name.clone(),
            by: descent.modified_by,
            // What is declared is all there was.
            spent: Spent {
                ceiling: Some(descent.own_flop),
                ceiling_complete: true,
                ..Spent::counted(descent.own_flop, Basis::Operations)
            },
            originals: BTreeSet::from([key.clone()]),
        };
        self.stages.insert(format!("declared:{file}"), stage);
        Some(key)
    }

    /// Takes in an original. Of two files that leave different figures for one parent, the larger one is behind everything, whichever
    /// came first; the smaller one is held against what was spent besides, see [`Left::smaller`].
    fn take_in(&mut self, key: &str, original: Base<'static>) {
        let known = self.originals.entry(key.to_owned()).or_insert_with(|| original.clone());
        if original.flop() > known.flop() {
            *known = original;
        }
    }

    /// What files have behind their models beyond the figures of the originals.
    pub(super) fn surplus(&self) -> Flops {
        let beyond = |(key, original): (&String, &Base<'_>)| {
            let left = self.left.values().filter(|left| left.original == *key).map(|left| left.parent.flop);
            let known = original.flop().unwrap_or_default();
            left.max().map_or(Flops::ZERO, |most| Flops(most.0.saturating_sub(known.0)))
        };
        self.originals.iter().map(beyond).sum()
    }

    /// The original of a modification whose base nobody named.
    fn nobodys(&mut self, modification: &Modification) -> String {
        let name = format!("the base of {}", modification.slug);
        let key = format!("nobody:{}", modification.slug);
        self.originals.insert(key.clone(), Base::Unresolved { name, suggestions: Vec::new() });
        key
    }

    /// Whether there is anything between the modification and one original.
    pub fn is_trivial(&self) -> bool {
        self.stages.is_empty() && self.originals.len() == 1 && self.merges.is_empty()
    }

    /// The models that no stage here made.
    pub fn originals(&self) -> impl Iterator<Item = &Base<'static>> {
        self.originals.values()
    }

    /// What was trained on the way, without the modification itself.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.values()
    }

    /// Merges on the way, the modification itself included.
    pub fn merges(&self) -> &[String] {
        &self.merges
    }

    /// The same as if everything on the way had been counted: for those who look at a lower bound.
    #[must_use]
    pub fn as_complete(&self) -> Self {
        let mut ancestry = self.clone();
        for stage in ancestry.stages.values_mut() {
            stage.spent.training.get_or_insert(Flops::ZERO);
            stage.spent.cumulative = stage.spent.cumulative.or(stage.spent.training);
            stage.spent.complete = true;
        }
        ancestry
    }

    /// The same once so much more is trained into the modifications of these names.
    #[must_use]
    pub fn and_more(&self, more: &BTreeMap<String, Flops>) -> Self {
        let mut ancestry = self.clone();
        for (slug, more) in more {
            if let Some(stage) = ancestry.stages.get_mut(&stage_key(slug)) {
                stage.spent = stage.spent.clone().and_more(*more);
            }
        }
        ancestry
    }

    /// Whether the modification itself is a merge of others' weights.
    pub fn is_merge(&self) -> bool {
        self.is_merge
    }

    /// What a reader of an assessment has to know of the lineage.
    pub fn findings(&self, rules: &RuleSet) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.merges.is_empty() {
            let citation = rules.question(AnswerKey::ChangedSignificantly).map(|row| rules.citation(&row.cite));
            let place = citation.map_or_else(String::new, |place| format!(" ({}, {})", place.instrument, place.place));
            let text = format!(
                "Weights were merged ({}). Merging trains next to nothing, so the number says little of it: whether generality, capabilities or systemic risk changed significantly is for a person to judge{place}. Have `{}` answered.",
                self.merges.join(", "),
                AnswerKey::ChangedSignificantly.name()
            );
            findings.push(Finding { code: "merge-significance".to_owned(), text });
        }
        findings.extend(self.left.values().filter_map(|left| self.disagreement(left, rules)));
        let unknown: Vec<&str> =
            self.stages.values().filter(|stage| !stage.spent.complete).map(|stage| stage.name.as_str()).collect();
        if !unknown.is_empty() {
            let text = format!(
                "Not everything that was trained on the way is counted ({}): what is behind this modification is a lower bound. See `flopsmeter modifications show` of each.",
                unknown.join(", ")
            );
            findings.push(Finding { code: "lineage-incomplete".to_owned(), text });
        }
        findings
    }

    /// A parent's figure by a file that is further than the margin from the one that is known of it.
    fn disagreement(&self, left: &Left, rules: &RuleSet) -> Option<Finding> {
        let original = self.originals.get(&left.original)?;
        let known = original.flop()?;
        let apart = Flops(left.parent.flop.0.abs_diff(known.0));
        let source = if matches!(original, Base::Registry(_)) { "the registry has" } else { "another file leaves" };
        let text = format!(
            "The file of {} leaves {} FLOP for its parent {}, {source} {}: what was spent is held against the smaller figure too, and the larger one is watched. Settle which holds.",
            left.name,
            left.parent.flop.scientific(3),
            left.parent.name,
            known.scientific(3)
        );
        let code = "parent-compute-disagrees".to_owned();
        rules.margin().value.is_exceeded_by(apart, known).then_some(Finding { code, text })
    }

    /// Whether everything on the way was counted.
    pub fn is_complete(&self) -> bool {
        self.stages.values().all(|stage| stage.spent.complete)
    }
}
