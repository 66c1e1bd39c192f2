//! Arguments of plans for a modification.

use chrono::NaiveDate;
use clap::Args;

use super::records::person;
use super::{LedgerArguments, slug};

/// Whose budget a plan is held against, and whether it is set aside.
#[derive(Clone, Debug, Args)]
pub(crate) struct BudgetArguments {
    /// Count the job on top of what this modification has spent and has set aside; its base model counts where --base is not given
    #[arg(long, value_name = "NAME", value_parser = slug)]
    pub(crate) modification: Option<String>,

    /// Set aside what the job takes at most, so that no other plan or run of the modification counts on it, unless that would cross
    /// the line or come to the verdict of --gate
    #[arg(long, requires = "modification")]
    pub(crate) reserve: bool,

    /// Who sets it aside: name and role
    #[arg(long, value_name = "NAME", requires = "reserve", value_parser = person)]
    pub(crate) by: Option<String>,

    /// The last day on which it is held for a run that has not begun [default: until it is spent or given back]
    #[arg(long, value_name = "DATE", requires = "reserve")]
    pub(crate) reserve_until: Option<NaiveDate>,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}
