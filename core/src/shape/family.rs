//! The families, each in terms of shared parts.

use serde_json::Value;

use super::config::{Config, shortened_text};
use super::own_code;
use super::program::Program;
use super::{Shape, ShapeProblem};

mod alibi;
mod aya_vision;
mod bart;
mod classes;
mod clip;
mod deberta;
mod dense;
mod encoders;
mod experts;
mod features;
mod frame;
mod gemma3n;
mod gemma4;
mod gemma4_vision;
mod gemma_vision;
mod gpt;
mod hybrid;
mod idefics;
mod internvl;
mod key_sharing;
mod keys;
mod llama4_vision;
mod llava;
mod minicpm;
mod mllama;
mod modernbert;
mod opt;
mod parallel;
mod pixtral;
mod qwen_vl;
mod rwkv;
mod sizes;
mod state_space;
mod swin;
mod t5;
mod vision;
mod vision_language;
mod whisper;

/// Reads a family's configuration.
type Read = fn(Config<'_>) -> Result<Program, ShapeProblem>;

/// Every family: its `model_type`s and who reads them.
const FAMILIES: &[(&[&str], Read)] = &[
    (&dense::MODEL_TYPES, dense::read),
    (&gpt::MODEL_TYPES, gpt::read),
    (&parallel::MODEL_TYPES, parallel::read),
    (&opt::MODEL_TYPES, opt::read),
    (&alibi::MODEL_TYPES, alibi::read),
    (&minicpm::MODEL_TYPES, minicpm::read),
    (&gemma3n::MODEL_TYPES, gemma3n::read),
    (&gemma4::MODEL_TYPES, gemma4::read),
    (&experts::MODEL_TYPES, experts::read),
    (&hybrid::MODEL_TYPES, hybrid::read),
    (&state_space::MODEL_TYPES, state_space::read),
    (&rwkv::MODEL_TYPES, rwkv::read),
    (&encoders::MODEL_TYPES, encoders::read),
    (&deberta::MODEL_TYPES, deberta::read),
    (&modernbert::MODEL_TYPES, modernbert::read),
    (&clip::MODEL_TYPES, clip::read),
    (&gemma4_vision::MODEL_TYPES, gemma4_vision::read),
    (&gemma_vision::MODEL_TYPES, gemma_vision::read),
    (&idefics::MODEL_TYPES, idefics::read),
    (&internvl::MODEL_TYPES, internvl::read),
    (&mllama::MODEL_TYPES, mllama::read),
    (&qwen_vl::MODEL_TYPES, qwen_vl::read),
    (&aya_vision::MODEL_TYPES, aya_vision::read),
    (&llama4_vision::MODEL_TYPES, llama4_vision::read),
    (&llava::MODEL_TYPES, llava::read),
    (&t5::MODEL_TYPES, t5::read),
    (&bart::MODEL_TYPES, bart::read),
    (&whisper::MODEL_TYPES, whisper::read),
    (&vision::MODEL_TYPES, vision::read),
    (&swin::MODEL_TYPES, swin::read),
];

/// Names that an unknown one is answered with.
const NEAREST: usize = 4;

/// Reads a configuration of any family above.
pub(super) fn read(config: &Value) -> Result<Shape, ShapeProblem> {
    let config = Config::new(config)?;
    let model_type =
        config.text("model_type")?.ok_or_else(|| ShapeProblem::Missing { key: "model_type".to_owned() })?;
    let shape = Shape::new(model_type, program(config)?);
    Ok(Shape { own_code: own_code::check(config)?, ..shape })
}

/// The program of a configuration that may stand within another.
fn program(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let found = config.text("model_type")?;
    let model_type = found.ok_or_else(|| ShapeProblem::Missing { key: "model_type".to_owned() })?;
    let read = FAMILIES.iter().find(|(names, _)| names.contains(&model_type)).map(|(_, read)| read);
    let refuse = || match shortened_text(model_type) {
        found if config.has("text_config") => ShapeProblem::Wrapper { found },
        _ => unknown(model_type),
    };
    read.ok_or_else(refuse)?(config)
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
