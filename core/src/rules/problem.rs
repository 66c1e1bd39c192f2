//! What can be wrong with a rule set.

use chrono::NaiveDate;

/// Why a rule set could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesProblem {
    /// No embedded set has this id.
    #[error("no rule set is called `{id}`; use one of {known}")]
    UnknownId {
        /// What was asked for.
        id: String,
        /// What there is.
        known: String,
    },
    /// The day is before the first set.
    #[error(
        "no rule set is in force on {as_of}; the first is {first}: choose a later day, or name a rule set to apply anyway"
    )]
    NoneInForce {
        /// The day asked for.
        as_of: NaiveDate,
        /// The oldest embedded set.
        first: String,
    },
    /// The text is no TOML.
    #[error("the rule set is no valid TOML: {cause}")]
    Syntax {
        /// What the parser says, with the line.
        cause: String,
    },
    /// A row lacks something, has something unknown, or says something inexact.
    #[error("rule set row `{row}`: {cause}; correct the row and load the rule set again")]
    Row {
        /// Section and key of the row, for example `line.third-of-base`.
        row: String,
        /// Which key, and why.
        cause: String,
    },
}

impl RulesProblem {
    /// A problem of one row.
    pub(super) fn row(row: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Row { row: row.into(), cause: cause.into() }
    }
}
