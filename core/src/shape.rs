//! The shape of a network: what its configuration file says about the sizes and the order of its parts.
//!
//! One description serves every family. It is put together from parts (how attention projects, how the feed-forward part
//! is built, where the norms stand, whether the head is tied), so a new family is a new combination or a new part, never a
//! formula of its own. What the parts cost is no business of this module: see [`crate::flops`].

mod config;
mod family;
mod mask;
mod problem;

pub use problem::ShapeProblem;

/// The shape of a text model that reads tokens and predicts the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `model_type` of the configuration.
    pub model_type: String,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Whether the output head multiplies with the embedding's weight.
    pub tied_head: bool,
    /// How every block attends, projections aside from the mask.
    pub attention: AttentionShape,
    /// The feed-forward part of every block.
    pub feed_forward: FeedForward,
    /// Where the norms of every block stand.
    pub norms: NormPlacement,
    /// Dropout after the two branches of a block: it saves a mask, so that a checkpointed block is recomputed to its end.
    pub residual_dropout: bool,
    /// One mask for each block, in their order; its length is the number of blocks.
    pub masks: Vec<Mask>,
}

/// How a block attends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: u64,
    /// Key and value heads; fewer than `heads` in grouped-query attention, which saves projections but no scores.
    pub key_value_heads: u64,
    /// Size of each head.
    pub head_size: u64,
    /// How queries, keys and values are projected.
    pub projections: Projections,
    /// The three input projections have a bias.
    pub input_bias: bool,
    /// The output projection has a bias.
    pub output_bias: bool,
    /// Queries and keys are normed head by head.
    pub head_norms: bool,
}

/// How queries, keys and values are projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// `q_proj`, `k_proj` and `v_proj`.
    Separate,
    /// One `qkv_proj` whose result is cut in three.
    Fused,
}

/// The feed-forward part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// `down(act(gate(x)) * up(x))`.
    Gated {
        /// Width between the projections.
        inner: u64,
        /// One `gate_up_proj` instead of `gate_proj` and `up_proj`.
        fused: bool,
        /// The projections have biases.
        bias: bool,
    },
}

/// Where the norms of a block stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before each branch.
    Before,
    /// Before each branch and after it, ahead of the residual addition.
    BeforeAndAfter,
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// All keys up to its own position.
    Causal,
    /// Its own key and those before it, this many together.
    Sliding(u64),
    /// All keys.
    Bidirectional,
}

impl Shape {
    /// Reads a Hugging Face `config.json` of a dense, Llama-like text model.
    ///
    /// Keys that are absent take the defaults of `transformers` 5.23; the five sizes that every saved configuration
    /// carries (`vocab_size`, `hidden_size`, `intermediate_size`, `num_hidden_layers`, `num_attention_heads`) must be there.
    ///
    /// ```
    /// use flopsmeter_core::shape::Shape;
    /// let config = serde_json::json!({
    ///     "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    ///     "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": true,
    /// });
    /// let shape = Shape::from_config(&config).unwrap();
    /// assert_eq!((shape.layers(), shape.attention.head_size), (30, 64));
    /// ```
    pub fn from_config(config: &serde_json::Value) -> Result<Self, ShapeProblem> {
        family::read(config)
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        self.masks.len()
    }
}
