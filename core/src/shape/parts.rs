//! Parts that families are put together from.

mod attention;
mod decoder;
mod feed_forward;

pub(super) use attention::{Attention, HeadNorms, Projections};
pub(super) use decoder::Decoder;
pub(super) use feed_forward::{FeedForward, Widening};
