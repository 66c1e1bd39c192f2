//! Idefics 3 and `SmolVLM`: patches shuffled together, one linear map, a text model. Their images are tiles of pictures.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::Tower;
use super::super::program::{Program, Slot};
use super::clip::{self, Kin};
use super::vision_language::{self, part, tied};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 2] = ["idefics3", "smolvlm"];

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let mut text = vision_language::text(part(config, "text_config", &none)?, "llama", "model.text_model")?;
    text.tie(tied(config, false)?);
    let mut keys = vision.or_defaults(&[
        ("hidden_size", 1152),
        ("intermediate_size", 3072),
        ("num_hidden_layers", 12),
        ("num_attention_heads", 16),
        ("image_size", 224),
        ("patch_size", 32),
    ]);
    keys.insert("vision_use_head".to_owned(), false.into());
    let features = clip::tower(Config::of(&keys), Kin::Siglip, Tower::beside_text("model.vision_model"))?;
    let scale = config.size("scale_factor", most::HEADS)?.unwrap_or(2);
    let merged = scale.saturating_mul(scale);
    let [rows, columns] = features.grid;
    let tokens = rows.saturating_mul(columns) / merged;
    let mut projector = vision_language::projector(features.tower.stream(tokens));
    let inputs = features.hidden.saturating_mul(merged);
    let name = "model.connector.modality_projection.proj";
    let projected = projector.linear(name, (inputs, text.hidden), false, Part::Projector, Slot::RESIDUAL);
    let mut pieces = features.whole();
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.behind(pieces))
}
