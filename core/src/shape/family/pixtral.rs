//! Pixtral's tower: images of any size, all of a pass in one row.
//!
//! Sources: `configuration_pixtral.py` for defaults, `modeling_pixtral.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::{Attention, Branch, FeedForward, Patches, Tower, TowerBlock, Widening};
use super::super::program::{Piece, Slot};
use super::super::quantity::{Mask, Stream};
use super::features::Features;

/// The tower beside a text model.
pub(super) fn tower(config: Config<'_>, tower: Tower) -> Result<Features, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(1024);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(24);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(16);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(4096);
    let patches = Patches::read(config, (1024, 16), false)?;
    let mut stem = tower.over(Stream::Grid(1));
    let cut = tower.cut_over(&mut stem, "patch_conv", patches, hidden);
    let normed = stem.norm(tower.name("ln_pre"), hidden, cut);
    stem.rename(normed, Slot::RESIDUAL);
    let names = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"];
    let block = TowerBlock {
        branch: Branch { shift: false, ..Branch::before(hidden) },
        attention: Attention {
            input_bias: false,
            output_bias: false,
            mask: Mask::OneRow,
            ..Attention::both_ways((heads, head_size), names)
        },
        feed_forward: FeedForward {
            widening: Widening::Gated {
                gate: Cow::Borrowed("feed_forward.gate_proj"),
                up: Cow::Borrowed("feed_forward.up_proj"),
            },
            down: Cow::Borrowed("feed_forward.down_proj"),
            ..FeedForward::gated(inner)
        },
        norms: ["attention_norm", "ffn_norm"],
        scales: [None, None],
    };
    Ok(Features {
        stem: vec![Piece::once(stem.finish())],
        blocks: tower.name("transformer.layers"),
        block,
        layers,
        by_name: false,
        norm: None,
        pool: None,
        hidden,
        stream: Stream::Grid(1),
        patches: Stream::Grid(1),
        grid: patches.grid,
        tower,
    })
}
