//! CLIP: the tower of images.
//!
//! Sources: `configuration_clip.py` for defaults, `modeling_clip.py` for names and order, of `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::{Attention, Branch, FeedForward, Patches, Tower, TowerBlock};
use super::super::program::{Piece, Slot};
use super::vision_language::Features;

const PROJECTIONS: [&str; 4] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"];

/// The tower beside a text model.
pub(super) fn tower(config: Config<'_>, tower: Tower) -> Result<Features, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(768);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(12);
    let patches = Patches::read(config, (224, 32), false)?;
    let positions = patches.count.saturating_add(1);
    let block = block(config, hidden)?;
    let mut stem = tower.builder(positions);
    let cut = tower.cut(&mut stem, "embeddings.patch_embedding", patches, hidden);
    let all = tower.parameter(&mut stem, "embeddings.class_embedding", hidden, cut);
    let placed = tower.table(&mut stem, "embeddings.position_embedding", (positions, hidden), all);
    let normed = stem.layer_norm(tower.name("pre_layrnorm"), hidden, placed);
    stem.rename(normed, Slot::RESIDUAL);
    let mut last = tower.builder(positions);
    last.layer_norm(tower.name("post_layernorm"), hidden, Slot::RESIDUAL);
    Ok(Features {
        stem: vec![Piece::once(stem.finish())],
        blocks: tower.name("encoder.layers"),
        block,
        layers,
        behind: vec![Piece::once(last.finish_unread())],
        hidden,
        positions,
        extra: 1,
        tower,
    })
}

fn block(config: Config<'_>, hidden: u64) -> Result<TowerBlock, ShapeProblem> {
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(12);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(3072);
    Ok(TowerBlock {
        branch: Branch::before(hidden),
        attention: Attention::both_ways((heads, head_size), PROJECTIONS),
        feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
        norms: ["layer_norm1", "layer_norm2"],
        scales: [None, None],
    })
}
