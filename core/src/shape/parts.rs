//! Parts that families are put together from.

mod attention;
mod branch;
mod decoder;
mod encoder;
mod experts;
mod feed_forward;
mod latent_attention;
mod layer;
mod state_space;
mod tower;

pub(super) use attention::{Attention, HeadNorms, Projections};
pub(super) use branch::Branch;
pub(super) use decoder::{ClassHeads, Decoder};
pub(super) use encoder::{Encoder, MaskedHead};
pub(super) use experts::{Experts, Router, Shared};
pub(super) use feed_forward::{FeedForward, Widening};
pub(super) use latent_attention::LatentAttention;
pub(super) use layer::{Layer, Norm, Norms, Order};
pub(super) use state_space::{Mamba, Mamba2, MambaNorms};
pub(super) use tower::{Patches, Tower, TowerBlock};
