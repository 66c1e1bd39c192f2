//! What a model was fed: passes by their form, and what they were for.

use serde::{Deserialize, Serialize};

/// What kind of work a pass was part of; the rule set says how the law treats each, by its [`Phase::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Passes that lead to a parameter update of the model that the job makes.
    Training,
    /// Passes that lead to an update of a value model (critic) beside the model that the job makes.
    ValueModel,
    /// A frozen reference model in preference or reinforcement training; also the trained model with its adapters off.
    ReferenceModel,
    /// Samples that are drawn from the model under training, to train it on them.
    Rollout,
    /// The model under training over samples of its own, without gradient (the old policy's log-probabilities).
    PolicyScoring,
    /// A reward model that judges samples.
    RewardScoring,
    /// A value model over samples, without gradient.
    ValueScoring,
    /// A teacher within the training steps of its student.
    TeacherOnline,
    /// Evaluation or prediction between or after training.
    Evaluation,
    /// Autoregressive generation with a cache, of which the hook cannot tell what it is for.
    Generation,
    /// Passes without gradient whose purpose the hook cannot tell.
    Other,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Training,
        Self::ValueModel,
        Self::ReferenceModel,
        Self::Rollout,
        Self::PolicyScoring,
        Self::RewardScoring,
        Self::ValueScoring,
        Self::TeacherOnline,
        Self::Evaluation,
        Self::Generation,
        Self::Other,
    ];

    /// The name used in JSON, on the command line and in rule sets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::ValueModel => "value-model",
            Self::ReferenceModel => "reference-model",
            Self::Rollout => "rollout",
            Self::PolicyScoring => "policy-scoring",
            Self::RewardScoring => "reward-scoring",
            Self::ValueScoring => "value-scoring",
            Self::TeacherOnline => "teacher-online",
            Self::Evaluation => "evaluation",
            Self::Generation => "generation",
            Self::Other => "other",
        }
    }

    /// The phase of this name.
    ///
    /// ```
    /// use flopsmeter_core::facts::Phase;
    /// assert_eq!(Phase::from_name("rollout"), Some(Phase::Rollout));
    /// assert_eq!(Phase::from_name("roll-out"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

/// What one model was fed since the last message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fed {
    /// Which model of the process.
    pub model: u32,
    /// One row for each kind of pass.
    pub passes: Vec<Passes>,
}

/// A number of forward passes of one form; `length` counts every position the hardware works on, padding included.
///
/// Lengths inside a pass (`packed`, `image_grid`) are histograms over all passes of the row and not part of its form: packed
/// batches never repeat, and what they cost is a sum over their sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a pass, and they do not exclude one another")]
pub struct Passes {
    /// What the passes were for.
    pub phase: Phase,
    /// `torch.is_grad_enabled()`: a backward pass follows.
    pub gradient: bool,
    /// Sequences in each pass (the micro-batch).
    pub sequences: u64,
    /// Positions of each sequence in each pass; of an encoder-decoder, the encoder's.
    pub length: u64,
    /// Positions of a key-value cache that each pass attends to besides its own; 0 without a cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_length: u64,
    /// Positions of each sequence in an encoder-decoder's decoder; 0 for other models.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decoder_length: u64,
    /// The encoder of an encoder-decoder did not run: its output came from an earlier pass.
    #[serde(default, skip_serializing_if = "is_false")]
    pub encoder_skipped: bool,
    /// Images in each pass, over all its sequences together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images: u64,
    /// Sizes of the images of all these passes together, where the model takes them in any size: one row for each size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_grid: Vec<ImageGrids>,
    /// True sequences of all these passes together, where several stand behind one another in one row (packing, padding-free);
    /// empty where rows are not packed or where the hook could not tell without waiting for a device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packed: Vec<PackedSequences>,
    /// The model ran with its adapters switched off, as its own reference: their products are not done.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adapters_disabled: bool,
    /// Positions over all these passes that the output head was applied to, where they are not all: `logits_to_keep`, a head
    /// that leaves out what is not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_positions: Option<u64>,
    /// The backward pass does the output head's forward product again, so that the logits never stand in memory as a whole.
    #[serde(default, skip_serializing_if = "is_false")]
    pub head_recomputed: bool,
    /// How many such passes.
    pub count: u64,
    /// Positions over all these passes that are no padding; `None` where the hook could not tell without waiting for a device.
    pub real_tokens: Option<u64>,
}

impl Passes {
    /// Passes over text alone, without a cache; everything else as the struct's fields say.
    pub const fn text(phase: Phase, gradient: bool, sequences: u64, length: u64, count: u64) -> Self {
        Self {
            phase,
            gradient,
            sequences,
            length,
            cached_length: 0,
            decoder_length: 0,
            encoder_skipped: false,
            images: 0,
            image_grid: Vec::new(),
            packed: Vec::new(),
            adapters_disabled: false,
            head_positions: None,
            head_recomputed: false,
            count,
            real_tokens: None,
        }
    }
}

/// A number of images of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageGrids {
    /// How many.
    pub count: u64,
    /// Patches of each in time, height and width, before the model merges them.
    pub grid: [u64; 3],
}

/// A number of sequences of one length inside packed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackedSequences {
    /// How many.
    pub count: u64,
    /// Positions of each.
    pub length: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
