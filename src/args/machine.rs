//! Arguments of what looks at this machine.

use std::path::PathBuf;

use clap::Args;

use super::LedgerArguments;

#[derive(Debug, Args)]
pub(crate) struct GpusArguments {
    /// GPUs of the job, as `run --gpus` takes them, to see what it would claim
    #[arg(long, value_name = "LIST")]
    pub(crate) gpus: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The Python that runs the jobs
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub(crate) python: PathBuf,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
