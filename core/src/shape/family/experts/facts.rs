//! What families of decoders with experts can differ in.

use super::super::super::mask::Windows;
use super::super::super::parts::Router;
use super::super::super::program::ExpertTargets;
use super::super::sizes::{Heads, Key};

/// What sets one family apart from the others.
pub(super) struct Family {
    pub(super) heads: Heads,
    pub(super) attends: Attends,
    pub(super) windows: Windows,
    pub(super) norms: Norms,
    pub(super) head_norms: HeadNorm,
    /// Numbers of experts and of chosen ones, and an expert's width.
    pub(super) count: Key,
    pub(super) chosen: Key,
    pub(super) inner: Key,
    pub(super) router: Router,
    pub(super) stack: &'static str,
    pub(super) shared: SharedExpert,
    pub(super) sparse: Sparse,
    /// This key gives the feed-forward parts, shared experts among them, a bias.
    pub(super) feed_forward_bias: Option<&'static str>,
    /// This key gives the head one.
    pub(super) head_bias: Option<&'static str>,
    pub(super) tied_head: bool,
    pub(super) targets: Option<ExpertTargets>,
}

/// How a block attends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Attends {
    /// No biases.
    Plain,
    /// Biases where this key says so, with its default, of the inputs alone or of the output too.
    Biased { key: &'static str, default: bool, output: bool },
    /// The same, with sinks beside the scores.
    WithSinks,
    /// Compressed keys and values.
    Latent(LatentSizes),
}

/// Defaults of compressed attention.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct LatentSizes {
    pub(super) query_rank: u64,
    pub(super) key_value_rank: u64,
    pub(super) plain: u64,
    pub(super) rotary: u64,
    pub(super) value: u64,
    /// Heads of what chooses keys, in families that have it.
    pub(super) index_heads: Option<u64>,
}

/// Norms of a block.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Norms {
    Before,
    /// With a shift as well.
    BeforeShifted,
    /// After each branch.
    After,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum HeadNorm {
    None,
    /// One for each head.
    Each {
        query: &'static str,
        key: &'static str,
    },
    /// One for each head where `use_qk_norm` says so.
    EachIf,
    /// One for all heads together.
    Whole,
}

/// An expert that every position goes through.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SharedExpert {
    None,
    /// `shared_expert`, of `shared_expert_intermediate_size`, with a gate.
    Gated,
    /// `shared_experts`, so many times as wide as one expert; none where the key says 0.
    Several {
        times: Key,
        first: bool,
    },
    /// `shared_mlp` of `shared_intermediate_size` where that is not 0.
    Fused,
    /// A module of this name, as wide as an expert.
    Same {
        name: &'static str,
        first: bool,
    },
}

/// Which blocks have experts.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sparse {
    All,
    /// From `first_k_dense_replace` on, with this default.
    From(u64),
    /// Each `decoder_sparse_step`-th but those in `mlp_only_layers`.
    Step,
    /// Those in `moe_layers`, else each `interleave_moe_layer_step`-th.
    Listed,
    /// Those that `mlp_layer_types` calls sparse, else from `first_k_dense_replace` on, with this default.
    Typed(u64),
    /// Each `moe_layer_interval`-th from `moe_layer_start_index` to `moe_layer_end_index`.
    Range,
}
