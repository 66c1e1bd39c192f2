//! What can be typed: the low form of every command, before anything is looked up.

mod budget;
mod daemon;
mod machine;
mod metering;
mod plan;
mod records;

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand};

pub(crate) use daemon::DaemonArguments;
pub(crate) use machine::{DoctorArguments, GpusArguments};
pub(crate) use metering::{DeviceChoice, MeteringArguments, NvmlReaderArguments, RunArguments, SessionArguments};
pub(crate) use plan::{AttentionChoice, BatchingChoice, CheckpointingChoice, MethodChoice, PlanArguments};
pub(crate) use records::{
    AnswerArguments, AssessArguments, CloseArguments, Declarer, LedgerCommand, MergeArguments, ModelsCommand,
    ModificationsCommand, QuestionsArguments, RebaseArguments, ReportArguments, ReportCommand, RunDeclaration,
    RunsCommand, ShowArguments, StatusArguments, VerifyArguments,
};

/// Meters the operations (FLOP) of fine-tuning jobs and says where EU law puts the result.
#[derive(Debug, Parser)]
#[command(name = "flopsmeter", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a training job and meter it
    Run(RunArguments),
    /// Say before a job what it will cost and where that puts it
    Plan(Box<PlanArguments>),
    /// Say how all modifications stand: spent, set aside, left
    Status(StatusArguments),
    /// Say where the law puts a modification
    Assess(AssessArguments),
    /// Write the documents
    #[command(subcommand)]
    Report(ReportCommand),
    /// The recorded runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// The modifications: the runs that together make one released model
    #[command(subcommand)]
    Modifications(ModificationsCommand),
    /// The base-model registry
    #[command(subcommand)]
    Models(ModelsCommand),
    /// This machine's GPUs: which are the job's, what bounds them, what can be measured
    Gpus(GpusArguments),
    /// Whether everything that metering needs is in its place
    Doctor(DoctorArguments),
    /// Check that nothing recorded was changed
    Verify(VerifyArguments),
    /// Amend the ledger as a whole
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Read this machine's GPUs once a second for all its jobs, and serve /metrics
    Daemon(DaemonArguments),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Meter an existing process and print the socket for its hooks (started by the Python package)
    #[command(hide = true)]
    Session(SessionArguments),

    /// Asks NVIDIA's driver, for the meter that started it
    #[command(hide = true)]
    NvmlReader(NvmlReaderArguments),
}

/// Where records are kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct LedgerArguments {
    /// The ledger, a SQLite file [default: flopsmeter/ledger.sqlite in the XDG state folder]
    ///
    /// The environment variable FLOPSMETER_LEDGER names it as well; an empty value counts as none.
    #[arg(long, value_name = "PATH", value_parser = ledger_file)]
    pub(crate) ledger: Option<PathBuf>,
}

/// Which rules are applied.
#[derive(Clone, Debug, Args)]
pub(crate) struct RulesArguments {
    /// Rule set; `eu-gpai` is the one in force on the day
    #[arg(long, value_name = "ID", default_value = "eu-gpai")]
    pub(crate) rules: String,

    /// The day [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<NaiveDate>,

    /// The organisation's own stricter lines (TOML), shown beside the law's verdict
    ///
    /// The environment variable FLOPSMETER_HOUSE_RULES names the file as well; an empty value counts as none.
    #[arg(long, value_name = "FILE")]
    pub(crate) house_rules: Option<PathBuf>,
}

impl RulesArguments {
    /// Those of today, with the house rules that the environment names.
    pub(crate) fn in_force() -> Self {
        Self { rules: "eu-gpai".to_owned(), as_of: None, house_rules: None }
    }
}

/// A file: another kind of ledger must not become a folder of that name.
fn ledger_file(text: &str) -> Result<PathBuf, String> {
    if text.contains("://") {
        return Err("a ledger is a SQLite file in this version; give its path".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A name that is safe as a key, a file name and a metric label.
pub(crate) fn slug(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if starts_well && text.len() <= 64 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("a modification's name has 1 to 64 of a-z, 0-9, `-`, `_`, `.`, and starts with a letter or digit".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn names_are_safe_everywhere() {
        assert!(slug("llama-3.1-legal_v2").is_ok());
        for text in ["", "Demo", "../x", "a b", "-a", ".hidden", "ä", &"a".repeat(65)] {
            assert!(slug(text).is_err(), "{text} was accepted");
        }
    }
}
