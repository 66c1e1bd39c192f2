//! `flopsmeter completions`: from the same definitions that parse the arguments.

use clap::CommandFactory as _;

use crate::args::Arguments;
use crate::exit::ExitStatus;
use crate::output;

pub(crate) fn execute(shell: clap_complete::Shell) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "flopsmeter", &mut script);
    output::data(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Done)
}
