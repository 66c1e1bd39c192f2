//! Gemma 4: patches of images of any size, pooled by neighbourhoods, one linear map, the text model.
//!
//! Sources: `configuration_gemma4.py` for defaults, `modeling_gemma4.py` for names and order, of `transformers` 5.23.
//! Patches that fill an image up to the size of the batch are multiplied as others are: they belong to its grid.

use std::borrow::Cow;

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most, shortened_text};
use super::super::parts::{Attention, FeedForward, HeadNorms, Tower, Widening};
use super::super::program::{Block, Piece, Program, Slot};
use super::super::quantity::{Mask, Quantity, Stream};
use super::keys::check_groups;
use super::vision_language::{self, part, tied};
use crate::flops::Part;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["gemma4"];

/// Every patch.
const PATCHES: Stream = Stream::Grid(1);

/// Blocks of the tower.
struct Blocks {
    hidden: u64,
    attention: Attention,
    feed_forward: FeedForward,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    if config.is_there("audio_config") {
        // Nobody has described the tower for sound.
        return Err(ShapeProblem::Wrapper { found: shortened_text("gemma4") });
    }
    let none = Map::new();
    let text_config = part(config, "text_config", &none)?;
    let mut text = vision_language::text(text_config, "gemma4_text", "model.language_model")?;
    text.tie(tied(config, true)?);
    let Some(vision) = config.inner("vision_config")? else {
        return Ok(text.program);
    };
    let tower = Tower::beside_text("model.vision_tower");
    let hidden = vision.size("hidden_size", most::WIDTH)?.unwrap_or(768);
    let blocks = blocks(vision, hidden)?;
    let layers = vision.size("num_hidden_layers", most::LAYERS)?.unwrap_or(16);
    let kinds = vec![(); usize::try_from(layers).unwrap_or_default()];
    let mut pieces = vec![Piece::once(stem(vision, &tower, hidden)?)];
    pieces.push(Piece::stack(tower.name("encoder.layers"), &kinds, &mut |()| blocks.block(tower.over(PATCHES))));
    let kernel = vision.size("pooling_kernel_size", most::HEADS)?.unwrap_or(3);
    let (projector, projected) = project(&tower, kernel.saturating_mul(kernel), (hidden, text.hidden));
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}

/// One linear map of a patch's pixels, and trained positions of rows and columns.
fn stem(config: Config<'_>, tower: &Tower, hidden: u64) -> Result<Block, ShapeProblem> {
    let patch = config.size("patch_size", most::HEADS)?.unwrap_or(16);
    let positions = config.size("position_embedding_size", most::VOCABULARY)?.unwrap_or(10_240);
    let mut block = tower.over(PATCHES);
    let pixels = block.slot();
    let widths = (patch.saturating_mul(patch).saturating_mul(3), hidden);
    let cut = block.linear(tower.name("patch_embedder.input_proj"), widths, false, Part::Tower, pixels);
    let elements = positions.saturating_mul(2).saturating_mul(hidden);
    let all = tower.parameter(&mut block, "patch_embedder.position_embedding_table", elements, cut);
    block.rename(all, Slot::RESIDUAL);
    Ok(block.finish())
}

fn blocks(config: Config<'_>, hidden: u64) -> Result<Blocks, ShapeProblem> {
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(12);
    let key_value_heads = config.size("num_key_value_heads", most::HEADS)?.unwrap_or(12);
    check_groups("num_key_value_heads", heads, key_value_heads)?;
    let head_size = config.size("head_dim", most::HEAD_SIZE)?.unwrap_or(64);
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(3072);
    let names =
        ["self_attn.q_proj.linear", "self_attn.k_proj.linear", "self_attn.v_proj.linear", "self_attn.o_proj.linear"];
    let name = |projection: &str| Cow::Owned(format!("mlp.{projection}.linear"));
    Ok(Blocks {
        hidden,
        attention: Attention {
            key_value_heads,
            norms: HeadNorms::Head { query: "self_attn.q_norm", key: "self_attn.k_norm" },
            ..Attention::both_ways((heads, head_size), names).biased(false)
        },
        feed_forward: FeedForward {
            widening: Widening::Gated { gate: name("gate_proj"), up: name("up_proj") },
            down: name("down_proj"),
            ..FeedForward::gated(inner)
        },
    })
}

impl Blocks {
    fn block(&self, mut block: Builder) -> Block {
        let input = block.norm("input_layernorm", self.hidden, Slot::RESIDUAL);
        let attended = self.attention.build(&mut block, self.hidden, input);
        let attended = block.norm("post_attention_layernorm", self.hidden, attended);
        block.add_to_residual(attended);
        let input = block.norm("pre_feedforward_layernorm", self.hidden, Slot::RESIDUAL);
        let widened = self.feed_forward.build(&mut block, self.hidden, input);
        let widened = block.norm("post_feedforward_layernorm", self.hidden, widened);
        block.add_to_residual(widened);
        block.finish()
    }
}

/// The mean of neighbours as a product with a matrix of shares, and one linear map to the text's width.
fn project(tower: &Tower, pooled: u64, (hidden, text): (u64, u64)) -> (Builder, Slot) {
    let merged = Stream::Grid(pooled);
    let mut between = tower.over(merged);
    let mut last = Slot::RESIDUAL;
    if pooled > 1 {
        let shares = between.slot();
        let pairs = Quantity::Pairs { query: merged, key: PATCHES, mask: Mask::Bidirectional };
        last = between.product(shares, last, u128::from(hidden).saturating_mul(2), pairs, Part::Tower);
    }
    let projected =
        between.linear("model.embed_vision.embedding_projection", (hidden, text), false, Part::Projector, last);
    (between, projected)
}
