//! Arguments of what meters a job.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{LedgerArguments, slug};

/// What a job is, for whom it is metered, and how loudly.
#[derive(Clone, Debug, Args)]
pub(crate) struct MeteringArguments {
    /// The base model: a Hugging Face id, a local model folder, or a declared base file (TOML)
    #[arg(long, value_name = "ID|FILE")]
    pub(crate) base: Option<String>,

    /// The modification this run belongs to; made at first use
    #[arg(long, value_name = "NAME", value_parser = slug)]
    pub(crate) modification: Option<String>,

    /// GPUs of the job: `all`, `none`, indices or UUIDs [default: what CUDA_VISIBLE_DEVICES leaves]
    #[arg(long, value_name = "LIST")]
    pub(crate) gpus: Option<String>,

    /// What to read
    #[arg(long, value_enum, default_value_t = DeviceChoice::Nvml)]
    pub(crate) device: DeviceChoice,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) metering: MeteringArguments,

    /// Do not start the job if it cannot be metered (exit code 125)
    #[arg(long)]
    pub(crate) require_meter: bool,

    /// Time between progress lines on standard error, for example 10s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time_span)]
    pub(crate) progress: Duration,

    /// Say nothing on standard error
    #[arg(long, conflicts_with = "progress")]
    pub(crate) quiet: bool,

    /// Write the run's summary as JSON here when it ends
    #[arg(long, value_name = "FILE")]
    pub(crate) summary: Option<PathBuf>,

    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    #[command(flatten)]
    pub(crate) metering: MeteringArguments,

    /// The process to meter; the session ends with it
    #[arg(long, value_name = "PID")]
    pub(crate) parent: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// NVIDIA GPUs through the driver's library, and the processor
    Nvml,
    /// The processor alone
    Cpu,
}

/// `500ms`, `10s`, `5m`, `1h`, or a bare number of seconds.
fn time_span(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is no time span; write 500ms, 10s, 5m or 1h");
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(problem()),
    };
    let span = number.checked_mul(milliseconds).map(Duration::from_millis).filter(|span| !span.is_zero());
    span.ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_a_unit() {
        assert_eq!(time_span("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time_span("2"), Ok(Duration::from_secs(2)));
        for text in ["", "s", "0s", "-1s", "1.5s", "10 s", "99999999999999999999h"] {
            assert!(time_span(text).is_err(), "{text} was accepted");
        }
    }
}
