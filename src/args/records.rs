//! Arguments of what reads and amends the records.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use flopsmeter_core::assess::AnswerKey;

use super::{LedgerArguments, RulesArguments, slug};

#[derive(Debug, Args)]
pub(crate) struct AssessArguments {
    /// The modification
    pub(crate) modification: String,

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
    /// One modification and its runs
    Show {
        /// Its name
        modification: String,
        #[command(flatten)]
        ledger: LedgerArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a modification and bind it to its base model
    Create {
        /// Its name
        #[arg(value_parser = slug)]
        modification: String,
        /// The base model
        #[arg(long, value_name = "ID|FILE")]
        base: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Add a run
    Assign {
        /// The modification
        modification: String,
        /// The run's id or the beginning of it
        run: String,
        #[command(flatten)]
        ledger: LedgerArguments,
    },
    /// Record somebody's answer to a legal question; a later answer replaces it, and both stay on record
    Answer {
        /// The modification
        modification: String,
        /// The question, for example `base-is-gpai`
        #[arg(value_parser = question)]
        question: AnswerKey,
        /// `yes` or `no`
        #[arg(value_enum)]
        answer: YesOrNo,
        /// Who declares it: name and role
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesOrNo {
    Yes,
    No,
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

fn question(text: &str) -> Result<AnswerKey, String> {
    let known = || AnswerKey::ALL.map(AnswerKey::name).join(", ");
    AnswerKey::named(text).ok_or_else(|| format!("there is no such question; the questions are {}", known()))
}

/// An answer that nobody stands for is none.
fn person(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("an answer needs somebody who stands for it: write their name and role".to_owned());
    }
    Ok(name.to_owned())
}
