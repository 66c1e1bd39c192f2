//! How a model is going to be trained, as somebody plans it before any job runs.

use crate::facts::{AdapterKind, Checkpointing};

/// Which parameters of a model are trained, and what is added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// All parameters but those of the frozen modules.
    Full {
        /// Modules, by role (`input-embeddings`, `output-head`) or by PyTorch name; a name freezes all beneath it, and
        /// may leave out what comes before it (`embed_tokens`, `layers.0`, `mlp`).
        frozen: Vec<String>,
    },
    /// Low-rank pairs beside frozen linear modules. QLoRA is the same: building a weight from its four bits is no product.
    Lora {
        /// LoRA or DoRA.
        kind: AdapterKind,
        /// Rank of every pair that `rank_pattern` does not name.
        rank: u64,
        /// Other ranks by module: a name, or the end of one after a dot, as `peft` matches the keys of its `rank_pattern`; the
        /// first that fits holds.
        rank_pattern: Vec<(String, u64)>,
        /// Which modules get a pair.
        targets: Targets,
        /// Numbers of the only blocks whose modules get one (`layers_to_transform`), from 0; empty for all blocks.
        layers_to_transform: Vec<u64>,
        /// Modules that are copied and trained as a whole, by role or as `peft` matches them: whatever name ends so.
        modules_to_save: Vec<String>,
    },
    /// The last blocks alone, without the final norm and the head.
    LastLayers {
        /// How many.
        layers: u64,
    },
    /// The output head alone; where it is tied to the embeddings, that trains the embeddings, so gradients flow through everything.
    HeadOnly,
    /// Trained embeddings before every sequence (`PromptTuningConfig` of `peft`), which make each longer.
    Prompt {
        /// How many.
        virtual_tokens: u64,
    },
    /// Trained keys and values before those of every block (`PrefixTuningConfig` of `peft`, without its projection).
    Prefix {
        /// How many.
        virtual_tokens: u64,
    },
}

impl Method {
    /// All parameters.
    pub const fn full() -> Self {
        Self::Full { frozen: Vec::new() }
    }

    /// LoRA of one rank on some modules, nothing else trained.
    pub const fn lora(rank: u64, targets: Targets) -> Self {
        Self::Lora {
            kind: AdapterKind::Lora,
            rank,
            rank_pattern: Vec::new(),
            targets,
            layers_to_transform: Vec::new(),
            modules_to_save: Vec::new(),
        }
    }
}

/// Which modules get a low-rank pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every linear module but the output head, `all-linear` in `peft`.
    AllLinear,
    /// Modules with one of these names, or whose name ends so after a dot, as `peft` matches a list.
    Named(Vec<String>),
    /// Modules whose whole name this regular expression matches, as `peft` reads a `target_modules` that is a text.
    Pattern(String),
}

/// The rest of what decides how far gradients flow and what is computed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingOptions {
    /// Activation recomputation, if on. On a text model `transformers` 5 then also calls `enable_input_require_grads()`.
    pub gradient_checkpointing: Option<Checkpointing>,
    /// Every how many-th block is recomputed, beginning with the first (`every_n_layers`); 1 recomputes all.
    pub checkpoint_every: u64,
    /// `enable_input_require_grads()` without checkpointing: gradients flow to the embeddings' output whatever is frozen.
    pub input_require_grads: bool,
}

impl Default for TrainingOptions {
    /// Nothing is recomputed; were it, each block would be.
    fn default() -> Self {
        Self { gradient_checkpointing: None, checkpoint_every: 1, input_require_grads: false }
    }
}

/// A method that does not fit a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodProblem {
    /// A name or role that no module has.
    #[error("{option} `{name}` matches no {wanted} of this model; there are: {known}")]
    NoSuchModule {
        /// Which list it stands in: `target`, `module to save`, `frozen module`.
        option: &'static str,
        /// The name.
        name: String,
        /// What was looked for.
        wanted: &'static str,
        /// Names that would match.
        known: String,
    },
    /// LoRA without targets.
    #[error("LoRA has no target module; name some of: {known}, or `all-linear`")]
    NoTargets {
        /// Names that would match.
        known: String,
    },
    /// Targets that lie outside the blocks that were chosen.
    #[error(
        "no target lies in the chosen blocks {blocks}, so that nothing gets a low-rank pair; name targets within blocks, or choose no blocks"
    )]
    NoTargetInBlocks {
        /// What was chosen.
        blocks: String,
    },
    /// A rank for a module that gets no pair.
    #[error(
        "rank pattern `{name}` names no module that gets a low-rank pair; add it to the targets, or leave its rank out"
    )]
    RankWithoutTarget {
        /// What was given.
        name: String,
    },
    /// Everything is frozen.
    #[error("nothing is left to train without {frozen}; leave one of them out")]
    NothingTrained {
        /// What was frozen.
        frozen: String,
    },
    /// More virtual tokens than any model takes, or none.
    #[error("{asked} virtual tokens are not between 1 and {most}; usual numbers are 10 to 100")]
    VirtualTokens {
        /// What was given.
        asked: u64,
        /// The largest accepted number.
        most: u64,
    },
    /// A rank that no pair has.
    #[error("rank {rank} is not between 1 and {most}; usual ranks are 8 to 256")]
    Rank {
        /// What was given.
        rank: u64,
        /// The largest accepted rank.
        most: u64,
    },
    /// A regular expression that is none.
    #[error("target pattern `{pattern}` is no regular expression: {problem}; correct it, or name the modules")]
    Pattern {
        /// What was given.
        pattern: String,
        /// Where it breaks.
        problem: String,
    },
    /// A block that the model does not have.
    #[error("there is no block {asked}: the model has {there}, numbered from 0")]
    Block {
        /// What was given.
        asked: u64,
        /// Blocks of the model.
        there: usize,
    },
    /// More blocks than there are, or none.
    #[error("cannot train the last {asked} blocks of {there}; choose a number from 1 to {there}")]
    Layers {
        /// What was given.
        asked: u64,
        /// Blocks of the model.
        there: usize,
    },
    /// Half of a projection that is one parameter now.
    #[error(
        "target `{present}` cannot be adapted without `{missing}`: they are one parameter, and `peft` refuses it; name both"
    )]
    FusedTargets {
        /// The target that was named.
        present: String,
        /// The one that was not.
        missing: String,
    },
    /// One module in two lists.
    #[error("`{module}` would get a low-rank pair and be saved as a whole (`{name}`); name the module to save in full")]
    AdaptedAndSaved {
        /// The module.
        module: String,
        /// The entry of `modules_to_save` that matches it by its ending.
        name: String,
    },
    /// A way of training whose products nobody has described yet; it is never counted as a look-alike.
    #[error("{what} cannot be counted yet; meter the job with `flopsmeter run`, or plan it without")]
    NotCounted {
        /// What was asked.
        what: String,
    },
}
