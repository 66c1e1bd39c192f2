//! Which runs make which modification, and which base model it started from.

mod ancestry;
mod order;
mod picture;
mod problem;
mod reckon;

#[cfg(test)]
mod law_table;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

pub use ancestry::{Ancestry, Stage};
pub use order::{Modifications, check};
pub use picture::{Edge, Node, NodeKind, Picture, Relation};
pub use problem::LineageProblem;

use crate::assess::Answers;
use crate::budget::Reservation;
use crate::ledger::body::{Body, ModificationClosed, ModificationRebased, RunExcluded};
use crate::registry::{Base, DeclaredBase, DeclaredBaseProblem, Registry};

/// Which base model something was bound to, as it was at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BaseReference {
    /// A row of the base-model registry.
    Registry {
        /// Its Hugging Face id.
        id: String,
        /// SHA-256 of the row.
        digest: String,
    },
    /// A file in which somebody declares a base model.
    Declared {
        /// The name it declares.
        name: String,
        /// The file as it was, so that a later assessment does not depend on the file's still being there.
        text: String,
        /// SHA-256 of the text.
        digest: String,
    },
    /// Another modification of the same ledger.
    Modification {
        /// Its name.
        slug: String,
    },
}

impl BaseReference {
    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Registry { id: name, .. } | Self::Declared { name, .. } | Self::Modification { slug: name } => name,
        }
    }

    /// The modification of the same ledger that it refers to, if it is one.
    pub fn slug(&self) -> Option<&str> {
        match self {
            Self::Modification { slug } => Some(slug),
            Self::Registry { .. } | Self::Declared { .. } => None,
        }
    }

    /// What people call it, told apart from a model of the same name.
    pub fn label(&self) -> String {
        match self {
            Self::Modification { slug } => format!("{MODIFICATION_SCHEME}{slug}"),
            other => other.name().to_owned(),
        }
    }

    /// Names it within one ledger: two references of one key mean the same model.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Registry { id, .. } => format!("registry:{id}"),
            Self::Declared { digest, .. } => format!("declared:{digest}"),
            Self::Modification { slug } => format!("{MODIFICATION_SCHEME}{slug}"),
        }
    }

    /// The reference to a base model; `None` for a bare name of which nothing is known.
    pub fn of(base: &Base<'_>, declared_text: &str) -> Option<Self> {
        match base {
            Base::Registry(model) => Some(Self::Registry { id: model.id.clone(), digest: model.digest().to_string() }),
            Base::Declared(declared) => Some(Self::Declared {
                name: declared.name.clone(),
                text: declared_text.to_owned(),
                digest: declared.digest().to_string(),
            }),
            Base::Composed(_) | Base::Unresolved { .. } => None,
        }
    }

    /// The base model it refers to, by the given registry. Of a modification the registry knows nothing: [`Ancestry`] does.
    pub fn resolve<'registry>(&self, registry: &'registry Registry) -> Result<Base<'registry>, DeclaredBaseProblem> {
        match self {
            Self::Registry { id, .. } => Ok(Base::resolve(registry, id)),
            Self::Declared { name, text, .. } => Ok(Base::Declared(Box::new(DeclaredBase::parse(text, name)?))),
            Self::Modification { .. } => Ok(Base::Unresolved { name: self.label(), suggestions: Vec::new() }),
        }
    }

    /// Whether both mean the same base model: a registry row keeps its id over editions of the registry, a declared
    /// model is what its file says.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry { id, .. }, Self::Registry { id: other, .. }) => id == other,
            (Self::Declared { digest, .. }, Self::Declared { digest: other, .. }) => digest == other,
            (Self::Modification { slug }, Self::Modification { slug: other }) => slug == other,
            _ => false,
        }
    }
}

/// The runs that together turn one base model into one released model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modification {
    /// Its name, unique in the ledger.
    pub slug: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Its base model; `None` if it was made without one.
    pub base: Option<BaseReference>,
    /// Ids of its runs, in the order they were assigned.
    pub runs: Vec<String>,
    /// What people declared about it.
    pub answers: Answers,
    /// Runs of it that somebody left out of its sums.
    #[serde(default)]
    pub excluded: Vec<RunExcluded>,
    /// Compute that was set aside for its runs, in the order of setting aside.
    #[serde(default)]
    pub reservations: Vec<Reservation>,
    /// The weights it was merged from, where it is a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// The declaration that it is done, if there is one; the first holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ModificationClosed>,
    /// Declarations that it is made from another model than was recorded before; the last one holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebased: Vec<ModificationRebased>,
}

/// Weights that were merged or averaged into one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The models.
    pub of: Vec<BaseReference>,
    /// The one that is named as the parent, if somebody named one.
    pub parent: Option<BaseReference>,
    /// Who says so.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// What stands before the name of a modification where a base model is asked for. No Hugging Face id has a colon.
pub const MODIFICATION_SCHEME: &str = "modification:";

impl Modification {
    /// Reads a modification back from the entries of its stream; `None` if none of them makes one.
    pub fn from_bodies<'a>(bodies: impl IntoIterator<Item = (DateTime<Utc>, &'a Body)>) -> Option<Self> {
        let mut modification: Option<Self> = None;
        for (at, body) in bodies {
            match (body, &mut modification) {
                (Body::ModificationCreated(created), empty @ None) => {
                    let (slug, base) = (created.slug.clone(), created.base.clone());
                    *empty = Some(Self { slug, created: at, base, ..Self::default() });
                }
                (Body::ModificationMerged(merged), empty @ None) => {
                    let (slug, merge) = (merged.slug.clone(), Some(merged.merge.clone()));
                    *empty = Some(Self { slug, created: at, merge, ..Self::default() });
                }
                (Body::ModificationClosed(closed), Some(known)) if known.closed.is_none() => {
                    known.closed = Some(closed.clone());
                }
                (Body::BaseBound(bound), Some(known)) if known.base.is_none() && known.merge.is_none() => {
                    known.base = Some(bound.base.clone());
                }
                (Body::ModificationRebased(rebased), Some(known)) if known.merge.is_none() => {
                    known.base = Some(rebased.base.clone());
                    known.rebased.push(rebased.clone());
                }
                (Body::RunAssigned(assigned), Some(known)) if !known.runs.contains(&assigned.run) => {
                    known.runs.push(assigned.run.clone());
                }
                (Body::Answered(answered), Some(known)) => {
                    known.answers.declare(answered.question, answered.answer.clone());
                }
                (Body::RunUnassigned(unassigned), Some(known)) => known.leave(&unassigned.run),
                (Body::RunExcluded(excluded), Some(known)) => known.exclude(excluded.clone()),
                (Body::RunIncluded(included), Some(known)) => known.excluded.retain(|out| out.run != included.run),
                (body, Some(known)) => Reservation::apply(&mut known.reservations, at, body),
                _ => {}
            }
        }
        modification
    }

    /// The declaration that leaves this run out, if there is one.
    pub fn exclusion_of(&self, run: &str) -> Option<&RunExcluded> {
        self.excluded.iter().find(|out| out.run == run)
    }

    /// A run that belongs to another modification is left out of nothing here.
    fn leave(&mut self, run: &str) {
        self.runs.retain(|own| own != run);
        self.excluded.retain(|out| out.run != run);
    }

    /// A later declaration takes the place of an earlier one; of a run that is not counted here there is nothing to leave out.
    fn exclude(&mut self, excluded: RunExcluded) {
        self.excluded.retain(|out| out.run != excluded.run);
        if self.runs.contains(&excluded.run) {
            self.excluded.push(excluded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::body::{ModificationCreated, RunAssigned, RunIncluded, RunUnassigned};

    fn excluded(run: &str, reason: &str) -> Body {
        let (run, reason, by) = (run.to_owned(), reason.to_owned(), "Ada".to_owned());
        Body::RunExcluded(RunExcluded { run, reason, by, date: NaiveDate::MIN })
    }

    fn reasons_after(bodies: Vec<Body>) -> Vec<String> {
        let created = Body::ModificationCreated(ModificationCreated { slug: "m".to_owned(), base: None });
        let assigned = Body::RunAssigned(RunAssigned { run: "a".to_owned() });
        let all: Vec<Body> = [created, assigned].into_iter().chain(bodies).collect();
        let read = Modification::from_bodies(all.iter().map(|body| (DateTime::UNIX_EPOCH, body))).unwrap();
        read.excluded.into_iter().map(|out| out.reason).collect()
    }

    #[test]
    fn the_last_declaration_about_a_run_holds() {
        let included = Body::RunIncluded(RunIncluded {
            run: "a".to_owned(),
            reason: "used".to_owned(),
            by: "Ada".to_owned(),
            date: NaiveDate::MIN,
        });
        assert_eq!(reasons_after(vec![excluded("a", "first"), excluded("a", "second")]), ["second"]);
        assert_eq!(reasons_after(vec![excluded("a", "first"), included.clone()]), [""; 0]);
        assert_eq!(reasons_after(vec![excluded("a", "first"), included, excluded("a", "again")]), ["again"]);
    }

    #[test]
    fn the_last_declaration_of_the_base_holds() {
        let base = |slug: &str| BaseReference::Modification { slug: slug.to_owned() };
        let created = ModificationCreated { slug: "m".to_owned(), base: Some(base("a")) };
        let rebased = |slug: &str| {
            let (reason, by, date) = ("a slip".to_owned(), "Ada".to_owned(), NaiveDate::MIN);
            Body::ModificationRebased(ModificationRebased { base: base(slug), reason, by, date })
        };
        let bound = Body::BaseBound(crate::ledger::body::BaseBound { base: base("d") });
        let all = [Body::ModificationCreated(created), rebased("b"), rebased("c"), bound];
        let read = Modification::from_bodies(all.iter().map(|body| (DateTime::UNIX_EPOCH, body))).unwrap();
        assert_eq!((read.base, read.rebased.len()), (Some(base("c")), 2));
    }

    #[test]
    fn only_runs_that_count_here_are_left_out() {
        let unassigned = Body::RunUnassigned(RunUnassigned { run: "a".to_owned() });
        let assigned = Body::RunAssigned(RunAssigned { run: "a".to_owned() });
        assert_eq!(reasons_after(vec![excluded("b", "another's")]), [""; 0]);
        assert_eq!(reasons_after(vec![excluded("a", "first"), unassigned, assigned]), [""; 0]);
    }
}
