//! Parts that families are put together from.

mod attention;
mod decoder;
mod experts;
mod feed_forward;
mod latent_attention;

pub(super) use attention::{Attention, HeadNorms, Projections};
pub(super) use decoder::Decoder;
pub(super) use experts::{Experts, Router, Shared};
pub(super) use feed_forward::{FeedForward, Widening};
pub(super) use latent_attention::LatentAttention;
