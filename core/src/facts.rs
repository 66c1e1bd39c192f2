//! What a hook inside the training job tells: the model, how it is trained, and what was fed to it.
//!
//! These types are recorded in the ledger, so that anybody can count again from them: as they arrived, or with the rows of one second
//! added up. They are histograms, never sums: the cost of attention is quadratic in the length, so sums of tokens do not suffice.

mod fed;
mod inventory;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use fed::{Fed, ImageGrids, PackedSequences, Passes, Phase};
pub use inventory::{
    Inexactness, Inventory, InventoryAmount, InventoryCheckpoint, InventoryModule, InventoryParameter, InventoryStep,
    Role, Scales,
};

use crate::unit::Flops;

/// Version of the messages in this module; a hook says it first and the receiver refuses what it does not know.
pub const PROTOCOL: u16 = 1;

/// One message of a hook, in the order: one `Hello`, then any of the others, at best one `Goodbye`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HookMessage {
    /// Who speaks.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u16,
        /// The sending process.
        process: Process,
    },
    /// A model that is about to be used, or the same model again because what is trained has changed.
    Model(Box<ModelFacts>),
    /// What was fed since the last such message: a difference, not a total.
    Fed(Fed),
    /// Where the trainer stands.
    Progress(Progress),
    /// One pass that was counted product by product while it ran.
    Traced(Box<TracedStep>),
    /// Something the hook could not see or do.
    Finding(HookFinding),
    /// The hook is done; a connection that ends without it was cut.
    Goodbye,
}

/// What a meter tells a hook; a hook that does not listen is none the worse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MeterMessage {
    /// Save and stop once this many steps are done.
    Stop {
        /// The step after which every rank stops.
        after_step: u64,
    },
}

/// The process a hook runs in, as its launcher numbered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id in the hook's own PID namespace.
    pub pid: u32,
    /// Host name.
    pub host: String,
    /// `RANK`, 0 without a launcher.
    pub rank: u32,
    /// `LOCAL_RANK`, 0 without a launcher.
    pub local_rank: u32,
    /// `WORLD_SIZE`, 1 without a launcher.
    pub world_size: u32,
}

/// One model inside one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Number of this model within its process, from 0; re-used when the same model's facts change.
    pub model: u32,
    /// Python class name, for example `LlamaForCausalLM`.
    pub class_name: String,
    /// `config.name_or_path`, where the weights came from, if it says.
    pub name_or_path: Option<String>,
    /// The model's Hugging Face configuration as `config.to_dict()` gives it.
    pub config: serde_json::Value,
    /// Parameters of the live model, adapters included, tied ones once.
    pub parameters_total: u64,
    /// Those of them with `requires_grad`.
    pub parameters_trainable: u64,
    /// What is trained and how.
    pub training: TrainingFacts,
    /// Versions of the libraries that do the work: `torch`, `transformers`, `peft`, `accelerate`.
    pub libraries: BTreeMap<String, String>,
    /// What the live model multiplies, where the hook took an inventory; it is then counted from this, not from `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// How ranks share the work on the same sequences; absent where each rank has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Parallel>,
}

/// How ranks share the work on the same sequences. Ranks that only have sequences of their own (data parallel, FSDP, ZeRO) are
/// not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parallel {
    /// Ranks among which each product is split; all of them are fed the same sequences.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub tensor: u32,
    /// This rank's place among them.
    #[serde(default, skip_serializing_if = "is_first")]
    pub tensor_rank: u32,
    /// Ranks among which each sequence is cut into equal parts; a rank is fed its part.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub context: u32,
    /// This rank's place among them.
    #[serde(default, skip_serializing_if = "is_first")]
    pub context_rank: u32,
    /// Ranks among which the layers are shared out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pipeline: u32,
}

impl Default for Parallel {
    fn default() -> Self {
        Self { tensor: 1, tensor_rank: 0, context: 1, context_rank: 0, pipeline: 1 }
    }
}

impl Parallel {
    /// Whether another rank tells of the same sequences, so that this one's passes are not counted again.
    pub const fn is_repeated(&self) -> bool {
        self.tensor_rank > 0 || self.context_rank > 0
    }
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_one(value: &u32) -> bool {
    *value == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_first(value: &u32) -> bool {
    *value == 0
}

/// What of a live model is trained and how gradients flow.
///
/// Names are those of the plain model, as its checkpoint has them (`model.layers.0.self_attn.q_proj.weight`): prefixes
/// and infixes of wrappers (`base_model.model.`, `.base_layer`, `module.`, `_orig_mod.`, `.modules_to_save.default`) are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingFacts {
    /// Parameters of the plain model with `requires_grad`; a trained copy (`modules_to_save`) stands under the original's name.
    pub trained: Vec<String>,
    /// Adapters that are active, one for each adapted module.
    pub adapters: Vec<Adapter>,
    /// Vectors that a module's inputs or outputs are multiplied with (IA3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaled: Vec<ScaledModule>,
    /// What is trained before each sequence, or beside the keys of each attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_tokens: Option<VirtualTokens>,
    /// Modules that stand twice, a frozen original and a trained copy that is used instead (`modules_to_save`).
    pub copied: Vec<String>,
    /// Activation recomputation, if on.
    pub gradient_checkpointing: Option<Checkpointing>,
    /// Blocks that could be recomputed and are not (`every_n_layers`), for example `model.layers.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_recomputed: Vec<String>,
    /// `enable_input_require_grads()` is in force: the embeddings' output requires gradients whatever is frozen.
    pub input_require_grads: bool,
    /// `config._attn_implementation`: `eager`, `sdpa`, `flash_attention_2` …
    pub attention_implementation: Option<String>,
}

/// A low-rank pair on one linear module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Adapter {
    /// Module name in the plain model, for example `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Rank of the pair.
    pub rank: u64,
    /// Which kind of pair.
    pub kind: AdapterKind,
    /// Whether the pair itself is trained (a second, frozen adapter still costs its products).
    pub trained: bool,
    /// Whether its input goes through a dropout; DoRA then multiplies with the frozen weight once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<bool>,
}

/// A module with a vector that is multiplied with its inputs or outputs, element by element: no operations by our convention,
/// but gradients flow to where it stands (IA3, <https://arxiv.org/abs/2205.05638>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaledModule {
    /// Module name in the plain model.
    pub module: String,
    /// Which of the two.
    pub side: Side,
    /// Whether the vector is trained.
    pub trained: bool,
}

/// Where something stands in relation to a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Before it.
    Input,
    /// Behind it.
    Output,
}

/// Trained vectors that are no part of the plain model (`peft`'s prompt learning). Passes are told as the plain model sees
/// them: a prompt is part of their length, a prefix of their cached length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualTokens {
    /// Where they stand.
    pub kind: VirtualKind,
    /// How many are made for each sequence, of an encoder-decoder for both of its parts together.
    pub count: u64,
    /// Parameters that they are made from.
    pub parameters: u64,
    /// Whether those are trained.
    pub trained: bool,
    /// Linear maps that each of them goes through in every pass, inputs and outputs (p-tuning, a projected prefix). `peft` makes
    /// one prompt for all sequences of a pass, and a prefix for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<[u64; 2]>,
}

/// Where virtual tokens stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VirtualKind {
    /// Among the embeddings, before each sequence (prompt tuning, p-tuning).
    Prompt,
    /// As keys and values of every attention (prefix tuning).
    Prefix,
}

/// Kinds of low-rank adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdapterKind {
    /// LoRA, <https://arxiv.org/abs/2106.09685>.
    Lora,
    /// DoRA, <https://arxiv.org/abs/2402.09353>: LoRA plus a weight norm built at each pass.
    Dora,
}

/// How activations are recomputed (`torch.utils.checkpoint`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Checkpointing {
    /// Stops when the last saved tensor is rebuilt.
    NonReentrant,
    /// Runs each block again as a whole.
    Reentrant,
}

/// Where the trainer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done since the job's first segment.
    pub step: u64,
    /// Steps at which this process began (non-zero after a resume).
    pub first_step: u64,
    /// Steps the schedule ends at, if it has an end.
    pub max_steps: Option<u64>,
}

/// Something a hook could not see or do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFinding {
    /// Stable short name, for example `unknown-input`.
    pub code: String,
    /// One sentence for people.
    pub text: String,
}

/// A training pass that was traced, or why none was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedStep {
    /// Which model of the process.
    pub model: u32,
    /// What came of it.
    pub trace: Trace,
}

/// What came of a traced step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trace {
    /// It was counted.
    Counted {
        /// The pass, which is also told with the others; `count` is 1.
        pass: Passes,
        /// Operations of the forward pass.
        forward: Flops,
        /// Operations of the backward pass, with recomputation.
        backward: Flops,
        /// Operators that may multiply without our knowing how much.
        unseen: Vec<String>,
    },
    /// It was not, and will not be.
    Skipped {
        /// Why.
        reason: String,
    },
}
