//! Why a lineage cannot be followed.

use crate::registry::DeclaredBaseProblem;

/// Why a lineage cannot be followed. Each names the modification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineageProblem {
    /// Modifications that are each made from the next, and the last from the first.
    #[error(
        "the modifications are made from each other in a circle: {path}; no model can be behind itself: `flopsmeter modifications rebase` corrects the base of one of them"
    )]
    Cycle {
        /// The circle, each made from the one after it.
        path: String,
    },
    /// A modification is made from one that is not there.
    #[error(
        "modification `{child}` is made from `{parent}`, which this ledger does not have; there are: {known}. Merge the ledger that has it, or make it with `flopsmeter modifications create`"
    )]
    Missing {
        /// What is made from it.
        child: String,
        /// What is not there.
        parent: String,
        /// What is there.
        known: String,
    },
    /// A recorded base file cannot be read.
    #[error("the base of modification `{child}` cannot be read")]
    Base {
        /// Whose base.
        child: String,
        /// Why.
        #[source]
        source: DeclaredBaseProblem,
    },
}
