//! Decoders that mix positions in more than one way: attention beside state-space layers, delta rules, convolutions.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names, biases and order, of
//! `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::Decoder;
use super::super::program::Program;
use super::classes::ending;

mod block;
mod convolution;
mod delta;
mod kimi;
mod lightning;
mod mamba;
mod nemotron;
mod recurrent;
mod zamba;

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 16] = [
    "qwen3_next",
    "qwen3_5_text",
    "qwen3_5_moe_text",
    "olmo_hybrid",
    "granitemoehybrid",
    "falcon_h1",
    "bamba",
    "jamba",
    "minimax",
    "kimi_linear",
    "nemotron_h",
    "recurrent_gemma",
    "zamba",
    "zamba2",
    "lfm2",
    "lfm2_moe",
];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let family = config.text("model_type")?.unwrap_or_default();
    if family == "nemotron_h" {
        return nemotron::read(config);
    }
    let sizes = Sizes::read(config)?;
    match family {
        "granitemoehybrid" => mamba::granite(config, sizes),
        "falcon_h1" => mamba::falcon(config, sizes),
        "bamba" => mamba::bamba(config, sizes),
        "jamba" => mamba::jamba(config, sizes),
        "recurrent_gemma" => recurrent::read(config, sizes),
        "zamba" => zamba::first(config, sizes),
        "zamba2" => zamba::second(config, sizes),
        "kimi_linear" => kimi::read(config, sizes),
        "minimax" => lightning::read(config, sizes),
        family @ ("lfm2" | "lfm2_moe") => convolution::read(family, config, sizes),
        family => delta::read(family, config, sizes),
    }
}

/// Sizes that every family has.
#[derive(Clone, Copy)]
struct Sizes {
    hidden: u64,
    layers: u64,
    vocabulary: u64,
    /// Whether the head shares the embedding's weight, where the configuration says so or not.
    tied: Option<bool>,
}

impl Sizes {
    fn read(config: Config<'_>) -> Result<Self, ShapeProblem> {
        Ok(Self {
            hidden: config.required_size("hidden_size", most::WIDTH)?,
            layers: config.required_size("num_hidden_layers", most::LAYERS)?,
            vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
            tied: config.flag("tie_word_embeddings")?,
        })
    }

    /// The usual frame, with a final norm of this name.
    fn frame(self, config: Config<'_>, final_norm: &'static str, tied: bool) -> Result<Decoder, ShapeProblem> {
        let tied = self.tied.unwrap_or(tied);
        ending(config, Decoder { final_norm, ..Decoder::usual(self.vocabulary, self.hidden, tied) })
    }
}
