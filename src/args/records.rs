//! Arguments of what reads and amends the records.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use flopsmeter_core::gate::Gate;

use super::{LedgerArguments, RulesArguments, slug};

#[derive(Debug, Args)]
pub(crate) struct AssessArguments {
    /// The modification
    pub(crate) modification: String,

    #[command(flatten)]
    pub(crate) rules: RulesArguments,

    /// Show what this rule set would change
    #[arg(long, value_name = "ID")]
    pub(crate) diff: Option<String>,

    /// End with code 10 (near), 11 (exceeds) or 12 (undetermined) where the verdict, or a house rule's, comes so far
    #[arg(long, value_name = "near|exceeds[,undetermined]", conflicts_with = "diff")]
    pub(crate) gate: Option<Gate>,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) rules: RulesArguments,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// The threshold memo: the verdict, the arithmetic, the line and how it was chosen
    Threshold(ReportArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// The modification
    pub(crate) modification: String,

    /// Formats
    #[arg(long, value_name = "pdf,html,md,json", value_delimiter = ',', default_value = "pdf")]
    pub(crate) format: Vec<String>,

    /// Folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) rules: RulesArguments,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// One line for each run
    List {
        #[command(flatten)]
        ledger: LedgerArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One run in full
    Show {
        /// Its id or the beginning of it
        run: String,
        #[command(flatten)]
        ledger: LedgerArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Leave a run out of its modification's sums, as one from which people only learned; it stays listed, with who says so and why
    Exclude {
        /// Its id or the beginning of it
        run: String,
        #[command(flatten)]
        declaration: RunDeclaration,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Count a run again that was left out
    Include {
        /// Its id or the beginning of it
        run: String,
        #[command(flatten)]
        declaration: RunDeclaration,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
}

/// Who stands behind a declaration.
#[derive(Debug, Args)]
pub(crate) struct Declarer {
    /// Who declares it: name and role
    #[arg(long, value_name = "NAME", value_parser = person)]
    pub(crate) by: String,

    /// When it was declared [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<NaiveDate>,
}

/// What somebody declares of what is on record.
#[derive(Debug, Args)]
pub(crate) struct RunDeclaration {
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,

    #[command(flatten)]
    pub(crate) declarer: Declarer,
}

/// Answers, on the command line or in a file.
#[derive(Debug, Args)]
pub(crate) struct AnswerArguments {
    /// The modification
    pub(crate) modification: String,

    /// Answers, for example `base-is-gpai=yes placed-on-market-date=2026-03-01`
    #[arg(value_name = "KEY=VALUE", required_unless_present = "file")]
    pub(crate) answers: Vec<String>,

    /// A TOML file with the answers under `[answers]`, and `by` and `date` above or beside each
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Who declares them: name and role
    #[arg(long, value_name = "NAME", value_parser = person, required_unless_present = "file")]
    pub(crate) by: Option<String>,

    /// When they were declared [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<NaiveDate>,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

/// Which questions are shown.
#[derive(Debug, Args)]
pub(crate) struct QuestionsArguments {
    /// The modification
    pub(crate) modification: String,

    /// All of the rule set's, also the answered ones and those whose answers change nothing here
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) rules: RulesArguments,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a modification is shown.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its name
    pub(crate) modification: String,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,

    /// Print JSON, with everything behind it and made from it as nodes and edges
    #[arg(long)]
    pub(crate) json: bool,

    /// Print what is behind it and made from it for Graphviz
    #[arg(long, conflicts_with = "json")]
    pub(crate) dot: bool,
}

/// Who says that a modification is done.
#[derive(Debug, Args)]
pub(crate) struct CloseArguments {
    /// Its name
    pub(crate) modification: String,

    #[command(flatten)]
    pub(crate) declarer: Declarer,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

/// What a modification is made from after all.
#[derive(Debug, Args)]
pub(crate) struct RebaseArguments {
    /// Its name
    pub(crate) modification: String,

    /// The base model, or another modification of this ledger
    #[arg(long, value_name = "ID|FILE|modification:NAME")]
    pub(crate) base: String,

    #[command(flatten)]
    pub(crate) declaration: RunDeclaration,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

/// What was merged.
#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    /// Name of the result
    #[arg(value_parser = slug)]
    pub(crate) modification: String,

    /// A model whose weights were merged, averaged or used to begin with; twice or more
    #[arg(long, value_name = "NAME|ID|FILE|modification:NAME", required = true, num_args = 1)]
    pub(crate) of: Vec<String>,

    /// Which of them is the parent, where one is
    #[arg(long, value_name = "NAME|ID|FILE|modification:NAME")]
    pub(crate) parent: Option<String>,

    #[command(flatten)]
    pub(crate) declarer: Declarer,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModificationsCommand {
    /// One line for each modification
    List {
        #[command(flatten)]
        ledger: LedgerArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One modification and its runs, what it is made from and what was made from it
    Show(ShowArguments),
    /// Make a modification and bind it to its base model
    Create {
        /// Its name
        #[arg(value_parser = slug)]
        modification: String,
        /// The base model, or another modification of this ledger
        #[arg(long, value_name = "ID|FILE|modification:NAME")]
        base: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Make a modification by merging the weights of others, which trains nothing by itself
    Merge(MergeArguments),
    /// Add a run
    Assign {
        /// The modification
        modification: String,
        /// The run's id or the beginning of it
        run: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Declare that a modification is made from another model than was recorded; both stay on record
    Rebase(RebaseArguments),
    /// Declare that a modification is done: no run is counted to it any more; one that goes on from it is made from it
    Close(CloseArguments),
    /// Record somebody's answers to legal questions; a later answer replaces an earlier one, and both stay on record
    Answer(AnswerArguments),
    /// Show the legal questions that are open, each with its text and where it stands
    Questions(QuestionsArguments),
    /// Give back compute that was set aside, before a run spends it or while one does
    Release {
        /// The modification
        modification: String,
        /// The reservation's id or the beginning of it
        reservation: String,
        /// Who gives it back: name and role
        #[arg(long, value_name = "NAME", value_parser = person)]
        by: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Take a run out
    Unassign {
        /// The modification
        modification: String,
        /// The run's id or the beginning of it
        run: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Rows whose id, alias, family or developer contains the text
    Search {
        /// The text
        text: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One row with its figures and where they come from
    Show {
        /// Hugging Face id or alias
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The whole table as it is built in, as CSV
    Table,
    /// Whether every row holds: its arithmetic, its parent, its sources; for those who add rows
    Check {
        /// A table of the same columns [default: the built-in one]
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Take in what was recorded while the ledger could not be written; doing it twice does no harm
    Merge {
        /// Spool files [default: all in the spool folders]
        spools: Vec<PathBuf>,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The ledger file
    pub(crate) ledger: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Nobody can judge later what was left out for no reason.
fn reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    if reason.is_empty() {
        return Err(
            "a declaration needs a reason: write what people learned, and why nothing of it is in the model".to_owned()
        );
    }
    Ok(reason.to_owned())
}

/// An answer that nobody stands for is none.
pub(super) fn person(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("an answer needs somebody who stands for it: write their name and role".to_owned());
    }
    Ok(name.to_owned())
}
