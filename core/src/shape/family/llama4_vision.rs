//! Llama 4: a tower, patches shuffled together, an adapter, one linear map, and the text model with its experts. Its images
//! are tiles of pictures.
//!
//! Sources: `configuration_llama4.py` for defaults, `modeling_llama4.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::{Attention, Branch, FeedForward, Patches, Tower, TowerBlock};
use super::super::program::{Block, Piece, Program, Slot, Step};
use super::features::Features;
use super::internvl::shrinking;
use super::vision_language::{self, part};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["llama4"];

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let mut text = vision_language::text(part(config, "text_config", &none)?, "llama4_text", "language_model.model")?;
    text.rename_head("language_model.lm_head");
    let features = tower(vision, Tower::beside_text("vision_model"))?;
    let shrinking = shrinking(vision, "pixel_shuffle_ratio")?;
    let merged = shrinking.saturating_mul(shrinking);
    let [rows, columns] = features.grid;
    let stream = features.tower.stream(rows.saturating_mul(columns) / merged);
    let mut adapter = features.tower.over(stream);
    adapt(&mut adapter, vision, &features, merged)?;
    let mut projector = vision_language::projector(stream);
    let outputs = vision.size("vision_output_dim", most::WIDTH)?.unwrap_or(7680);
    let name = "multi_modal_projector.linear_1";
    let projected = projector.linear(name, (outputs, text.hidden), false, Part::Projector, Slot::RESIDUAL);
    let mut pieces = features.whole();
    pieces.push(Piece::once(adapter.finish()));
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}

/// Two maps without biases, each with an activation function behind it.
fn adapt(block: &mut Builder, vision: Config<'_>, features: &Features, merged: u64) -> Result<(), ShapeProblem> {
    let inner = vision.size("projector_input_dim", most::WIDTH)?.unwrap_or(4096);
    let outputs = vision.size("projector_output_dim", most::WIDTH)?.unwrap_or(4096);
    let inputs = vision.size("intermediate_size", most::WIDTH)?.unwrap_or(5632);
    let shuffled = features.hidden.saturating_mul(merged);
    if inputs != shuffled {
        return Err(ShapeProblem::Contradiction {
            key: "intermediate_size".to_owned(),
            found: inputs.to_string(),
            conflict: format!("patches shuffled together have {shuffled} numbers"),
        });
    }
    if inner != outputs {
        return Err(ShapeProblem::Contradiction {
            key: "projector_input_dim".to_owned(),
            found: inner.to_string(),
            conflict: format!("projector_output_dim is {outputs}"),
        });
    }
    let name = |what: &str| features.tower.name(&format!("vision_adapter.mlp.{what}"));
    let first = block.linear(name("fc1"), (inputs, inner), false, Part::Projector, Slot::RESIDUAL);
    block.keep(first);
    let second = block.linear(name("fc2"), (outputs, outputs), false, Part::Projector, first);
    block.rename(second, Slot::RESIDUAL);
    Ok(())
}

fn tower(config: Config<'_>, tower: Tower) -> Result<Features, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(768);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(16);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(34);
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(5632);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let patches = Patches::read(config, (448, 14), false)?;
    let positions = patches.count.saturating_add(1);
    let mut stem = tower.builder(patches.count);
    let pixels = stem.slot();
    let inputs = patches.channels.saturating_mul(patches.pixels);
    let name = tower.name("patch_embedding.linear");
    let cut = stem.linear(name, (inputs, hidden), false, Part::Tower, pixels);
    stem.step(Step::InputGradients { slot: cut });
    let classed = tower.parameter(&mut stem, "class_embedding", hidden, cut);
    let placed = tower.parameter(&mut stem, "positional_embedding_vlm", positions.saturating_mul(hidden), classed);
    let normed = stem.layer_norm(tower.name("layernorm_pre"), hidden, placed);
    stem.rename(normed, Slot::RESIDUAL);
    let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    Ok(Features {
        stem: vec![Piece::once(Block { by_name: true, ..stem.finish() })],
        blocks: tower.name("model.layers"),
        block: TowerBlock {
            branch: Branch::before(hidden),
            attention: Attention::both_ways((heads, head_size), names),
            feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
            norms: ["input_layernorm", "post_attention_layernorm"],
            scales: [None, None],
        },
        layers,
        by_name: true,
        norm: Some(tower.name("layernorm_post")),
        pool: None,
        hidden,
        stream: tower.stream(positions),
        patches: tower.stream(patches.count),
        grid: patches.grid,
        tower,
    })
}
