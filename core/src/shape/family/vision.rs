//! ViT and its kin: classifiers of images.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Patches, Tower, TowerBlock};
use super::super::program::{Piece, Program, Slot};
use super::super::quantity::Stream;
use crate::flops::Part;

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 1] = ["vit"];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let bare = match head::ending(config)? {
        None | Some("ImageClassification") => false,
        Some("Model") => true,
        Some(_) => return Err(head::unknown(config)),
    };
    let tower = Tower::alone(if bare { "" } else { "vit" });
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(768);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(12);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(12);
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(3072);
    let patches = Patches::read(config, (224, 16), true)?;
    let positions = patches.count.saturating_add(1);
    let head_size = match config.size("head_dim", most::HEAD_SIZE)? {
        Some(given) => given,
        None => Attention::head_size(hidden, heads, &["num_attention_heads"])?,
    };
    let names = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"];
    let block = TowerBlock {
        branch: Branch { dropout: config.is_positive("hidden_dropout_prob")?, ..Branch::before(hidden) },
        attention: Attention {
            input_bias: config.flag("qkv_bias")?.unwrap_or(true),
            ..Attention::both_ways((heads, head_size), names)
        },
        feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
        norms: ["layernorm_before", "layernorm_after"],
        scales: [None, None],
    };
    let mut stem = tower.builder(positions);
    let cut = tower.cut(&mut stem, "embeddings.patch_embeddings.projection", patches, hidden);
    let all = tower.parameter(&mut stem, "embeddings.cls_token", hidden, cut);
    let placed = tower.parameter(&mut stem, "embeddings.position_embeddings", positions.saturating_mul(hidden), all);
    stem.rename(placed, Slot::RESIDUAL);
    let mut tail = tower.builder(positions);
    let normed = tail.layer_norm(tower.name("layernorm"), hidden, Slot::RESIDUAL);
    tail.switch(Stream::Pooled);
    let mut program = Program {
        input_embeddings: Some(tower.name("embeddings.patch_embeddings")),
        last_layers: Some(1),
        sequence_length: Some(positions),
        ..Program::default()
    };
    let mut pieces = vec![Piece::once(stem.finish()), tower.stack("layers", &block, layers, tower.stream(positions))];
    if bare {
        pieces.push(Piece::once(tail.finish()));
        let mut pooler = tower.over(Stream::Pooled);
        let width = config.size("pooler_output_size", most::WIDTH)?.unwrap_or(hidden);
        pooler.linear("pooler.dense", (hidden, width), true, Part::OutputHead, Slot::RESIDUAL);
        pieces.push(Piece::once(pooler.finish_unread()));
    } else {
        tail.linear("classifier", (hidden, head::labels(config)?), true, Part::OutputHead, normed);
        pieces.push(Piece::once(tail.finish()));
        program.output_head = Some(Cow::Borrowed("classifier"));
        program.classifies = true;
    }
    program.pieces = pieces;
    Ok(program)
}
