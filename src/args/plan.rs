//! Arguments of `flopsmeter plan`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{ArgGroup, Args, ValueEnum};
use flopsmeter_core::gate::Gate;
use flopsmeter_core::plan::Utilisation;
use flopsmeter_core::unit::Tokens;

use super::budget::BudgetArguments;

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true, group(ArgGroup::new("model").args(["config", "base", "modification"]).required(true).multiple(true)))]
pub(crate) struct PlanArguments {
    /// The model's shape: a config.json, the folder it is in, or `-` for standard input
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

    /// Positions in each sequence [default: 2048]; with --lengths, where longer sequences are cut [default: nowhere], and the
    /// length of a row with --batching packed
    #[arg(long, value_name = "N")]
    pub(crate) seq_len: Option<u64>,

    /// Sequences in a micro-batch [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) sequences: Option<u64>,

    /// Positions that the decoder of an encoder-decoder reads, for each sequence
    #[arg(long, value_name = "N")]
    pub(crate) decoder_len: Option<u64>,

    /// Images of each sequence
    #[arg(long, value_name = "N")]
    pub(crate) images: Option<u64>,

    /// Time, height and width of each image in patches, before patches are merged
    #[arg(long, value_name = "T,H,W", requires = "images", value_parser = image_grid)]
    pub(crate) image_grid: Option<[u64; 3]>,

    /// Lengths of a tokenised dataset's sequences: one number on each line, `length<TAB>count`, a JSON array, or JSON objects
    /// with a key `length`; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "tokens")]
    pub(crate) lengths: Option<PathBuf>,

    /// How the sequences of --lengths become micro-batches
    #[arg(long, value_enum, default_value_t = BatchingChoice::Padded, requires = "lengths")]
    pub(crate) batching: BatchingChoice,

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

    /// GPUs to tell time and energy for, for example `8xH100 SXM`; may be given again
    #[arg(long, value_name = "[Nx]NAME")]
    pub(crate) gpu: Vec<String>,

    /// Share of the GPUs' nominal dense bf16 peak that the job reaches [default: 40%]
    #[arg(long, value_name = "SHARE", requires = "gpu")]
    pub(crate) utilisation: Option<Utilisation>,

    /// Show other methods beside this one, with and without checkpointing
    #[arg(long)]
    pub(crate) compare: bool,

    #[command(flatten)]
    pub(crate) budget: BudgetArguments,

    /// End with code 10 (near), 11 (exceeds) or 12 (undetermined) where the verdict, or a house rule's, comes so far
    #[arg(long, value_name = "near|exceeds[,undetermined]")]
    pub(crate) gate: Option<Gate>,

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

/// `1,28,28`.
fn image_grid(text: &str) -> Result<[u64; 3], String> {
    let problem = || format!("`{text}` is no grid of patches; write time, height and width as `1,28,28`");
    let sides: Vec<u64> =
        text.split(',').map(|side| side.trim().parse()).collect::<Result<_, _>>().map_err(|_| problem())?;
    match <[u64; 3]>::try_from(sides) {
        Ok(sides) if !sides.contains(&0) => Ok(sides),
        _ => Err(problem()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatchingChoice {
    /// Each micro-batch is padded to its longest sequence, in the order of the file
    Padded,
    /// One stream, cut into rows of --seq-len positions
    Packed,
    /// Sequences end to end, each attending to itself alone
    PaddingFree,
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
