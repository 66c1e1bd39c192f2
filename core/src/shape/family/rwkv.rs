//! RWKV, the fourth version: decoders whose blocks mix each position with the one before and lead a state along.
//!
//! Sources: `configuration_rwkv.py` for defaults, `modeling_rwkv.py` for names and order, of `transformers` 5.23.
//! The state itself is led element by element, which is no product by our convention.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::Decoder;
use super::super::program::{Block, ModuleKind, Program, Slot};
use super::super::quantity::Stream;
use super::dense::check_head;
use crate::flops::Part;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["rwkv"];

/// Widths of a block.
#[derive(Clone, Copy)]
struct Widths {
    hidden: u64,
    /// Of the state.
    state: u64,
    /// Of the feed-forward part.
    inner: u64,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    check_head(config)?;
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(4096);
    let widths = Widths {
        hidden,
        state: config.size("attention_hidden_size", most::WIDTH)?.unwrap_or(hidden),
        inner: config.size("intermediate_size", most::WIDTH)?.unwrap_or(hidden.saturating_mul(4)),
    };
    let vocabulary = config.size("vocab_size", most::VOCABULARY)?.unwrap_or(50_277);
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(false);
    let frame = Decoder {
        inside: "rwkv",
        embedding: "embeddings",
        blocks: "blocks",
        final_norm: "ln_out",
        norm_bias: Some(true),
        head: "head",
        ..Decoder::usual(vocabulary, hidden, tied)
    };
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(32);
    let first: Vec<bool> = (0..layers).map(|index| index == 0).collect();
    Ok(frame.program(&first, |first| block(widths, *first)))
}

/// The first block norms what enters it once more.
fn block(widths: Widths, first: bool) -> Block {
    let mut block = Builder::new(Stream::Text);
    if first {
        let normed = block.layer_norm("pre_ln", widths.hidden, Slot::RESIDUAL);
        block.rename(normed, Slot::RESIDUAL);
    }
    let normed = block.layer_norm("ln1", widths.hidden, Slot::RESIDUAL);
    let mixed = widths.time_mix(&mut block, normed);
    block.add_to_residual(mixed);
    let normed = block.layer_norm("ln2", widths.hidden, Slot::RESIDUAL);
    let mixed = widths.channel_mix(&mut block, normed);
    block.add_to_residual(mixed);
    block.finish()
}

impl Widths {
    fn time_mix(self, block: &mut Builder, input: Slot) -> Slot {
        let [key, value, receptance] = ["key", "value", "receptance"]
            .map(|name| self.mixed(block, ("attention", name), (self.hidden, self.state), input));
        block.keep(receptance); // the sigmoid
        let mut led = block.multiply(key, value);
        for name in ["attention.time_decay", "attention.time_first"] {
            let nothing = block.slot();
            let kind = ModuleKind::Parameter { elements: self.state };
            let rate = block.apply(name, kind, Part::StateSpace, nothing);
            led = block.multiply(led, rate);
        }
        let gated = block.multiply(receptance, led);
        block.linear("attention.output", (self.state, self.hidden), false, Part::StateSpace, gated)
    }

    fn channel_mix(self, block: &mut Builder, input: Slot) -> Slot {
        let key = self.mixed(block, ("feed_forward", "key"), (self.hidden, self.inner), input);
        block.keep(key); // the square
        let value = block.linear("feed_forward.value", (self.inner, self.hidden), false, Part::FeedForward, key);
        let receptance = self.mixed(block, ("feed_forward", "receptance"), (self.hidden, self.hidden), input);
        block.keep(receptance); // the sigmoid
        block.multiply(receptance, value)
    }

    /// A projection of each position, mixed with the one before in a trained share for each channel.
    fn mixed(self, block: &mut Builder, (holder, name): (&str, &str), widths: (u64, u64), input: Slot) -> Slot {
        let part = if holder == "attention" { Part::StateSpace } else { Part::FeedForward };
        let nothing = block.slot();
        let kind = ModuleKind::Parameter { elements: self.hidden };
        let share = block.apply(format!("{holder}.time_mix_{name}"), kind, part, nothing);
        let mixed = block.multiply(input, share);
        block.linear(format!("{holder}.{name}"), widths, false, part, mixed)
    }
}
