//! What can be typed: the low form of every command, before anything is looked up.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use flopsmeter_core::assess::AnswerKey;
use flopsmeter_core::unit::Tokens;

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
    Plan(PlanArguments),
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
    /// Check that nothing recorded was changed
    Verify(VerifyArguments),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Meter an existing process and print the socket for its hooks (started by the Python package)
    #[command(hide = true)]
    Session(SessionArguments),
}

/// Where records are kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct LedgerArguments {
    /// The ledger, a SQLite file [default: flopsmeter/ledger.sqlite in the XDG state folder]
    #[arg(long, value_name = "PATH", env = "FLOPSMETER_LEDGER")]
    pub(crate) ledger: Option<PathBuf>,
}

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

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The model's shape: a config.json or the folder it is in
    #[arg(long, value_name = "FILE|DIR", required_unless_present = "base")]
    pub(crate) config: Option<PathBuf>,

    /// The base model, for the line: a Hugging Face id, a local model folder, or a declared base file (TOML)
    #[arg(long, value_name = "ID|FILE")]
    pub(crate) base: Option<String>,

    /// How the model is trained
    #[arg(long, value_enum, default_value_t = MethodChoice::Full)]
    pub(crate) method: MethodChoice,

    /// Rank of the low-rank pairs
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) lora_r: u64,

    /// Modules that get a low-rank pair, by name, or `all-linear`
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "all-linear")]
    pub(crate) lora_targets: Vec<String>,

    /// Modules trained as a full copy beside low-rank pairs
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) modules_to_save: Vec<String>,

    /// Train the last N blocks only (with --method last-layers)
    #[arg(long, value_name = "N")]
    pub(crate) train_last: Option<u64>,

    /// Modules that stay frozen, by name or role (`input-embeddings`, `output-head`)
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) frozen: Vec<String>,

    /// Positions in each sequence
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub(crate) seq_len: u64,

    /// Sequences in a micro-batch
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) sequences: u64,

    /// Tokens in each epoch, for example 2e9; without it, one micro-batch is counted
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<Tokens>,

    /// Epochs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) epochs: u64,

    /// Which query-key pairs count
    #[arg(long, value_enum, default_value_t = AttentionChoice::Full)]
    pub(crate) attention: AttentionChoice,

    /// Recompute activations in the backward pass
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) gradient_checkpointing: Option<CheckpointingChoice>,

    /// The embeddings' output requires gradients whatever is frozen
    #[arg(long)]
    pub(crate) input_require_grads: bool,

    /// Apply the rule set in force on this day [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<NaiveDate>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodChoice {
    /// All parameters
    Full,
    /// Low-rank pairs
    Lora,
    /// Low-rank pairs on a 4-bit base: the operations of LoRA
    Qlora,
    /// The last N blocks
    LastLayers,
    /// The output head
    HeadOnly,
}

impl MethodChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::Qlora => "qlora",
            Self::LastLayers => "last-layers",
            Self::HeadOnly => "head-only",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttentionChoice {
    /// The whole score matrix, as eager and sdpa kernels compute it
    Full,
    /// Only the pairs the mask leaves
    Visible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckpointingChoice {
    /// Stops when the last saved tensor is rebuilt (the default of transformers 5)
    NonReentrant,
    /// Runs each block again as a whole
    Reentrant,
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
}

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
        #[arg(long, value_name = "NAME")]
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

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The ledger file
    pub(crate) ledger: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A name that is safe as a key, a file name and a metric label.
fn slug(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if starts_well && text.len() <= 64 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("a modification's name has 1 to 64 of a-z, 0-9, `-`, `_`, `.`, and starts with a letter or digit".to_owned())
}

fn question(text: &str) -> Result<AnswerKey, String> {
    let known = || AnswerKey::ALL.map(AnswerKey::name).join(", ");
    AnswerKey::named(text).ok_or_else(|| format!("there is no such question; the questions are {}", known()))
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
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

    #[test]
    fn names_are_safe_everywhere() {
        assert!(slug("llama-3.1-legal_v2").is_ok());
        for text in ["", "Demo", "../x", "a b", "-a", ".hidden", "ä", &"a".repeat(65)] {
            assert!(slug(text).is_err(), "{text} was accepted");
        }
    }
}
