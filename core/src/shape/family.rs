//! The families, each in terms of shared parts.

use serde_json::Value;

use super::config::{Config, shortened_text};
use super::program::Program;
use super::{Shape, ShapeProblem};

mod alibi;
mod dense;
mod experts;
mod frame;
mod gpt;
mod keys;
mod opt;
mod parallel;
mod sizes;
mod state_space;

/// Reads a family's configuration.
type Read = fn(Config<'_>) -> Result<Program, ShapeProblem>;

/// Every family: its `model_type`s and who reads them.
const FAMILIES: [(&[&str], Read); 7] = [
    (&dense::MODEL_TYPES, dense::read),
    (&gpt::MODEL_TYPES, gpt::read),
    (&parallel::MODEL_TYPES, parallel::read),
    (&opt::MODEL_TYPES, opt::read),
    (&alibi::MODEL_TYPES, alibi::read),
    (&experts::MODEL_TYPES, experts::read),
    (&state_space::MODEL_TYPES, state_space::read),
];

/// Names that an unknown one is answered with.
const NEAREST: usize = 4;

/// Reads a configuration of any family above.
pub(super) fn read(config: &Value) -> Result<Shape, ShapeProblem> {
    let config = Config::new(config)?;
    let found = config.text("model_type")?;
    if config.has("text_config") {
        return Err(ShapeProblem::Wrapper { found: shortened_text(found.unwrap_or("(none)")) });
    }
    let model_type = found.ok_or_else(|| ShapeProblem::Missing { key: "model_type".to_owned() })?;
    let read = FAMILIES.iter().find(|(names, _)| names.contains(&model_type)).map(|(_, read)| read);
    let read = read.ok_or_else(|| unknown(model_type))?;
    Ok(Shape::new(model_type, read(config)?))
}

/// Every `model_type` that is counted from its configuration.
fn known() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|(names, _)| names.iter().copied())
}

fn unknown(model_type: &str) -> ShapeProblem {
    let found = shortened_text(model_type);
    let mut names: Vec<&str> = known().collect();
    names.sort_by_cached_key(|name| (strsim::osa_distance(name, &found), *name));
    let nearest = names.iter().take(NEAREST).copied().collect::<Vec<_>>().join(", ");
    ShapeProblem::UnknownFamily { found, count: names.len(), nearest }
}
