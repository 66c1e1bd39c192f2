//! flopsmeter: wrap a fine-tuning job, know how many operations it really did, and where EU law puts it.
#![forbid(unsafe_code)]

mod args;
mod base;
mod command;
mod exit;
mod input;
mod judgement;
mod lineage;
mod metering;
mod narrator;
mod output;
mod rehearsal;
mod settings;
mod words;

use std::process::ExitCode;

use clap::Parser as _;
use flopsmeter_meter::wrap::end::end_like;

use args::{Arguments, Command};
use exit::{ExitStatus, UsageProblem};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let status = execute(arguments.command).unwrap_or_else(|problem| {
        output::failure(&problem);
        if problem.is::<UsageProblem>() { ExitStatus::Usage } else { ExitStatus::Failed }
    });
    ExitCode::from(match status {
        // Everything is recorded: a job that died of a signal is shown to the caller as just that.
        ExitStatus::External(exit) => end_like(exit),
        ours => ours.code(),
    })
}

fn execute(command: Command) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Run(arguments) => command::run::execute(&arguments),
        Command::Session(arguments) => command::session::execute(&arguments),
        Command::NvmlReader(arguments) => command::nvml_reader::execute(&arguments),
        Command::Plan(arguments) => command::plan::execute(&arguments),
        Command::Status(arguments) => command::status::execute(arguments),
        Command::Assess(arguments) => command::assess::execute(arguments),
        Command::Report(command) => command::report::execute(command),
        Command::Runs(command) => command::runs::execute(command),
        Command::Modifications(command) => command::modifications::execute(command),
        Command::Models(command) => command::models::execute(command),
        Command::Gpus(arguments) => command::gpus::execute(&arguments),
        Command::Doctor(arguments) => command::doctor::execute(&arguments),
        Command::Verify(arguments) => command::verify::execute(&arguments),
        Command::Ledger(command) => command::ledger::execute(command),
        Command::Daemon(arguments) => command::daemon::execute(&arguments),
        Command::Completions { shell } => command::completions::execute(shell),
    }
}
