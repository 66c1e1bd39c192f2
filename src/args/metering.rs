//! Arguments of what meters a job.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use flopsmeter_core::alert::Levels;
use flopsmeter_core::gate::Gate;

use super::{LedgerArguments, slug};

/// What a job is, for whom it is metered, and how loudly.
#[derive(Clone, Debug, Args)]
pub(crate) struct MeteringArguments {
    /// The base model: a Hugging Face id, a local model folder, a declared base file (TOML), or another modification of the ledger
    #[arg(long, value_name = "ID|FILE|modification:NAME")]
    pub(crate) base: Option<String>,

    /// The modification this run belongs to; made at first use
    #[arg(long, value_name = "NAME", value_parser = slug)]
    pub(crate) modification: Option<String>,

    /// The reservation that this run spends, or the beginning of its id [default: the oldest of the modification that no run spends]
    #[arg(long, value_name = "ID", requires = "modification")]
    pub(crate) reservation: Option<String>,

    /// What kind of work this run is, by the rule set's name for it, where a hook cannot tell (for example `sweep` or
    /// `synthetic-data-private`)
    #[arg(long, value_name = "NAME")]
    pub(crate) phase: Option<String>,

    /// The job that this run is a part of: a job on several nodes is metered by a run on each, and its runs count together
    #[arg(long, value_name = "ID", value_parser = job_name)]
    pub(crate) job: Option<String>,

    /// GPUs of the job: `all`, `none`, indices or UUIDs [default: what CUDA_VISIBLE_DEVICES leaves]
    #[arg(long, value_name = "LIST")]
    pub(crate) gpus: Option<String>,

    /// What to read: `nvml`, NVIDIA GPUs through the driver's library, and the processor; `cpu`, the processor alone;
    /// `record:FILE`, as `nvml`, and write what the driver says into a trace; `replay:FILE`, play such a trace in the driver's place
    #[arg(long, value_name = "nvml|cpu|record:FILE|replay:FILE", default_value = "nvml", value_parser = device_choice)]
    pub(crate) device: DeviceChoice,

    /// Levels at which an alert is given, on what is spent and on what is foreseen: `near`, and percentages of the line
    /// [default: near,80%,100%]
    ///
    /// The environment variable FLOPSMETER_ALERT_AT names them as well.
    #[arg(long, value_name = "LEVELS")]
    pub(crate) alert_at: Option<Levels>,

    /// Where alerts go besides standard error and the ledger (TOML: webhooks, Slack, Teams, mail, commands)
    ///
    /// The environment variable FLOPSMETER_ALERTS names it as well. Nothing goes over a network without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) alerts: Option<PathBuf>,

    /// Run this by /bin/sh at each alert, with the alert as JSON on its standard input
    ///
    /// The environment variable FLOPSMETER_ALERT_COMMAND gives it as well.
    #[arg(long, value_name = "CMD")]
    pub(crate) alert_command: Option<String>,

    #[command(flatten)]
    pub(crate) ledger: LedgerArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) metering: MeteringArguments,

    /// Go on with this run, given by its id or the beginning of it: what follows is a further segment of it
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<String>,

    /// Do not start the job if it cannot be metered (exit code 125)
    #[arg(long)]
    pub(crate) require_meter: bool,

    /// Do not start, or save and stop, a job whose verdict is (or would be) `near` or `exceeds`, with `,undetermined` behind it where a
    /// missing fact is to stop too (exit codes 10, 11, 12)
    #[arg(long, value_name = "VERDICT")]
    pub(crate) gate: Option<Gate>,

    /// Time that the trainer has to stop by itself at the gate before SIGTERM, for example 60s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time_span, requires = "gate")]
    pub(crate) gate_grace: Duration,

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

#[derive(Debug, Args)]
pub(crate) struct NvmlReaderArguments {
    /// Write what the driver says into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Play this trace in the driver's place
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub(crate) replay: Option<PathBuf>,
}

/// Where readings of devices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// NVIDIA's driver, and the processor.
    Nvml,
    /// The processor alone.
    Cpu,
    /// As `Nvml`, written into a trace.
    Record(PathBuf),
    /// As `Nvml`: where a trace was to be written something is already, and what a job has recorded is not written over.
    Kept(PathBuf),
    /// A trace, and the processor.
    Replay(PathBuf),
}

/// A name that can be shown anywhere: schedulers give numbers and words.
fn job_name(text: &str) -> Result<String, String> {
    let is_plain = |character: char| character.is_ascii_graphic();
    if (1..=128).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a job's name has 1 to 128 visible ASCII characters, for example $SLURM_JOB_ID".to_owned())
}

fn device_choice(text: &str) -> Result<DeviceChoice, String> {
    match (text, text.split_once(':')) {
        ("nvml", _) => Ok(DeviceChoice::Nvml),
        ("cpu", _) => Ok(DeviceChoice::Cpu),
        (_, Some(("record", file))) if !file.is_empty() => Ok(record(file.into())),
        (_, Some(("replay", file))) if !file.is_empty() => Ok(DeviceChoice::Replay(file.into())),
        _ => Err("write nvml, cpu, record:FILE or replay:FILE".to_owned()),
    }
}

/// Looked at once, when the command line is read: a job that is started again with the same words must not lose its first trace.
fn record(file: PathBuf) -> DeviceChoice {
    let is_taken = fs_err::metadata(&file).is_ok_and(|file| file.is_file() && file.len() > 0);
    if is_taken { DeviceChoice::Kept(file) } else { DeviceChoice::Record(file) }
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
    fn devices_are_named_with_their_file() {
        assert_eq!(device_choice("replay:a:b"), Ok(DeviceChoice::Replay("a:b".into())));
        assert_eq!(device_choice("nvml"), Ok(DeviceChoice::Nvml));
        for text in ["", "replay", "replay:", "record:", "gpu", "cpu:x"] {
            assert!(device_choice(text).is_err(), "{text} was accepted");
        }
    }

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
