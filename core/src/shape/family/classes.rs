//! Which heads the classes of decoders with experts and of hybrid ones have besides that of a language model.

use super::super::ShapeProblem;
use super::super::config::Config;
use super::super::head;
use super::super::parts::{ClassHeads, Decoder};

/// The same decoder with the head that `architectures` names, if its family has it.
pub(super) fn ending(config: Config<'_>, decoder: Decoder) -> Result<Decoder, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    decoder.ending_in(head::read(config)?, of(model_type)).ok_or_else(|| head::unknown(config))
}

const fn sequences() -> ClassHeads {
    ClassHeads { sequence: true, ..ClassHeads::NONE }
}

fn of(model_type: &str) -> ClassHeads {
    match model_type {
        "qwen3_moe" | "qwen3_next" => ClassHeads::ALL,
        "mixtral" | "qwen2_moe" | "minimax" => ClassHeads { question: Some("model"), ..ClassHeads::ALL },
        "deepseek_v3" | "mistral4" | "gpt_oss" => ClassHeads { question: None, ..ClassHeads::ALL },
        "deepseek_v2" | "hunyuan_v1_moe" | "phimoe" | "jetmoe" | "qwen3_5_text" | "jamba" | "zamba" | "zamba2" => {
            sequences()
        }
        _ => ClassHeads::NONE,
    }
}
