//! What the readers of all decoders do alike.

use super::super::ShapeProblem;
use super::super::config::Config;
use super::super::head::{self, Head};
use super::super::parts::{ClassHeads, Decoder, Layer};
use super::super::program::Program;
use super::super::quantity::Mask;
use super::keys::Sizes;

/// The whole of a decoder whose blocks differ in what they see alone.
pub(super) fn finish(
    config: Config<'_>,
    decoder: Decoder,
    heads: ClassHeads,
    layer: &Layer,
    masks: &[Mask],
) -> Result<Program, ShapeProblem> {
    let decoder = decoder.ending_in(head::read(config)?, heads).ok_or_else(|| head::unknown(config))?;
    let Layer { attention, .. } = layer;
    let prefix_width = Some(attention.key_value_heads.saturating_mul(attention.head_size));
    Ok(Program { prefix_width, ..decoder.program(masks, |mask| layer.masked(*mask)) })
}

/// A classification head costs far less than a language model's, so counting the one for the other would be wrong by much.
pub(super) fn check_head(config: Config<'_>) -> Result<(), ShapeProblem> {
    if head::read(config)? == Head::Language { Ok(()) } else { Err(head::unknown(config)) }
}

/// Every block sees all that came before.
pub(super) fn causal(sizes: Sizes) -> Vec<Mask> {
    (0..sizes.layers).map(|_| Mask::Causal).collect()
}

/// A decoder that reads an encoder's output is another network.
pub(super) fn refuse_cross_attention(config: Config<'_>) -> Result<(), ShapeProblem> {
    if !config.flag("add_cross_attention")?.unwrap_or(false) {
        return Ok(());
    }
    Err(ShapeProblem::Contradiction {
        key: "add_cross_attention".to_owned(),
        found: "true".to_owned(),
        conflict: "this family is counted as a decoder on its own".to_owned(),
    })
}
