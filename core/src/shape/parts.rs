//! Parts that families are put together from.

mod attention;
mod branch;
mod decoder;
mod delta_net;
mod encoder;
mod experts;
mod feed_forward;
mod gated_attention;
mod kimi_delta;
mod latent_attention;
mod layer;
mod lightning_attention;
mod pooling_head;
mod recurrent;
mod short_convolution;
mod state_space;
mod tower;

pub(super) use attention::{Attention, HeadNorms, Projections, scores_and_values};
pub(super) use branch::{Branch, Scale};
pub(super) use decoder::{ClassHeads, Decoder};
pub(super) use delta_net::{DeltaNet, DeltaProjections};
pub(super) use encoder::{Encoder, MaskedHead};
pub(super) use experts::{Experts, Latent, Router, Shared};
pub(super) use feed_forward::{FeedForward, Widening};
pub(super) use gated_attention::GatedAttention;
pub(super) use kimi_delta::KimiDelta;
pub(super) use latent_attention::LatentAttention;
pub(super) use layer::{Layer, Norm, Norms, Order};
pub(super) use lightning_attention::LightningAttention;
pub(super) use pooling_head::PoolingHead;
pub(super) use recurrent::Recurrent;
pub(super) use short_convolution::ShortConvolution;
pub(super) use state_space::{Gating, Mamba, Mamba2, MambaNorms};
pub(super) use tower::{Patches, Tower, TowerBlock};
