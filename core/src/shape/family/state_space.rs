//! State-space decoders: which parts each family is made of, and the defaults `transformers` 5.23 fills in.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names, biases and order, of the release above.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::{Decoder, Gating, Mamba, Mamba2, MambaNorms};
use super::super::program::{Block, Program, Slot};
use super::super::quantity::Stream;
use super::dense::check_head;

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 3] = ["mamba", "mamba2", "falcon_mamba"];

/// The layer of every block.
enum Mixer {
    One(Mamba),
    Two(Mamba2),
}

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    check_head(config)?;
    let model_type = config.text("model_type")?.unwrap_or_default();
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let mixer = if model_type == "mamba2" {
        Mixer::Two(mamba2(config, hidden)?)
    } else {
        Mixer::One(mamba(config, hidden, model_type == "falcon_mamba")?)
    };
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(model_type != "mamba2");
    let frame = Decoder {
        inside: "backbone",
        embedding: "embeddings",
        final_norm: "norm_f",
        ..Decoder::usual(vocabulary, hidden, tied)
    };
    let kinds: Vec<()> = (0..layers).map(|_| ()).collect();
    Ok(frame.program(&kinds, |()| block(hidden, &mixer)))
}

fn block(hidden: u64, mixer: &Mixer) -> Block {
    let mut block = Builder::new(Stream::Text);
    let normed = block.norm("norm", hidden, Slot::RESIDUAL);
    let branch = match mixer {
        Mixer::One(mixer) => mixer.build(&mut block, hidden, normed),
        Mixer::Two(mixer) => mixer.build(&mut block, hidden, normed),
    };
    block.add_to_residual(branch);
    block.finish()
}

fn mamba(config: Config<'_>, hidden: u64, normed: bool) -> Result<Mamba, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let expand = size("expand", 2)?;
    Ok(Mamba {
        name: "mixer",
        inner: size("intermediate_size", expand.saturating_mul(hidden))?,
        state: size("state_size", 16)?,
        time_step_rank: time_step_rank(config, "time_step_rank", hidden)?,
        heads: None,
        kernel: size("conv_kernel", 4)?,
        bias: config.flag("use_bias")?.unwrap_or(false),
        convolution_bias: config.flag("use_conv_bias")?.unwrap_or(true),
        norms: if normed { MambaNorms::Plain } else { MambaNorms::None },
    })
}

/// A number, or `auto` for a sixteenth of the width, rounded up.
pub(super) fn time_step_rank(config: Config<'_>, key: &str, hidden: u64) -> Result<u64, ShapeProblem> {
    if config.is_text(key) {
        return Ok(hidden.div_ceil(16));
    }
    Ok(config.size(key, most::WIDTH)?.unwrap_or_else(|| hidden.div_ceil(16)))
}

fn mamba2(config: Config<'_>, hidden: u64) -> Result<Mamba2, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let (heads, head_size) = (size("num_heads", 128)?, size("head_dim", 64)?);
    let inner = size("expand", 2)?.saturating_mul(hidden);
    if heads.saturating_mul(head_size) != inner {
        return Err(ShapeProblem::Contradiction {
            key: "num_heads".to_owned(),
            found: heads.to_string(),
            conflict: format!("times head_dim, {head_size}, is not hidden_size times expand, {inner}"),
        });
    }
    let bias = config.flag("use_bias")?.unwrap_or(false);
    Ok(Mamba2 {
        name: "mixer",
        inner,
        heads,
        head_size,
        state: size("state_size", 128)?,
        groups: size("n_groups", 8)?,
        chunk: size("chunk_size", 256)?,
        kernel: size("conv_kernel", 4)?,
        bias,
        output_bias: bias,
        convolution_bias: config.flag("use_conv_bias")?.unwrap_or(true),
        gating: Gating::Normed,
    })
}
