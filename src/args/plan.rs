//! Arguments of `flopsmeter plan`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{ArgGroup, Args, ValueEnum};
use flopsmeter_core::unit::Tokens;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("model").args(["config", "base"]).required(true).multiple(true)))]
pub(crate) struct PlanArguments {
    /// The model's shape: a config.json or the folder it is in
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) config: Option<PathBuf>,

    /// The base model, for the line: a Hugging Face id, a local model folder, or a declared base file (TOML)
    #[arg(long, value_name = "ID|FILE")]
    pub(crate) base: Option<String>,

    /// How the model is trained
    #[arg(long, value_enum, default_value_t = MethodChoice::Full)]
    pub(crate) method: MethodChoice,

    /// Rank of the low-rank pairs [default: 16]
    #[arg(long, value_name = "N")]
    pub(crate) lora_r: Option<u64>,

    /// Modules that get a low-rank pair: by name, `all-linear`, or `re:` and a regular expression for whole names
    /// [default: all-linear]
    #[arg(long, value_name = "A,B|re:REGEX")]
    pub(crate) lora_targets: Vec<String>,

    /// Other ranks of some modules, for example `down_proj=8,lm_head=4`
    #[arg(long, value_name = "NAME=N,…", value_delimiter = ',', value_parser = named_rank)]
    pub(crate) lora_rank_pattern: Vec<(String, u64)>,

    /// Numbers of the only blocks whose modules get a low-rank pair, from 0
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) lora_layers: Vec<u64>,

    /// Trained positions before each sequence (with --method prompt or prefix) [default: 20]
    #[arg(long, value_name = "N")]
    pub(crate) virtual_tokens: Option<u64>,

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

    /// Recompute one block in N only, beginning with the first (`every_n_layers` of transformers)
    #[arg(long, value_name = "N", requires = "gradient_checkpointing", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: Option<u64>,

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
    /// Low-rank pairs with a trained magnitude
    Dora,
    /// The last N blocks
    LastLayers,
    /// The output head
    HeadOnly,
    /// Trained positions before each sequence
    Prompt,
    /// Trained keys and values before those of each block
    Prefix,
}

/// `down_proj=8`.
fn named_rank(text: &str) -> Result<(String, u64), String> {
    let problem = || format!("`{text}` is no module and rank; write it as `down_proj=8`");
    let (name, rank) = text.split_once('=').ok_or_else(problem)?;
    let rank = rank.trim().parse().map_err(|_| problem())?;
    let name = name.trim();
    if name.is_empty() { Err(problem()) } else { Ok((name.to_owned(), rank)) }
}

impl MethodChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::Qlora => "qlora",
            Self::Dora => "dora",
            Self::LastLayers => "last-layers",
            Self::HeadOnly => "head-only",
            Self::Prompt => "prompt",
            Self::Prefix => "prefix",
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
