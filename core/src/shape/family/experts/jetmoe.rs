//! JetMoE: experts project the queries and the output of attention too.

use super::super::super::ShapeProblem;
use super::super::super::build::Builder;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Decoder, scores_and_values};
use super::super::super::program::{Block, ModuleKind, Program, Slot};
use super::super::super::quantity::{Mask, Stream};
use super::super::classes::ending;
use super::super::sizes::Key;
use super::counts;
use crate::flops::Part;

/// What all blocks have in common.
struct JetMoe {
    hidden: u64,
    count: u64,
    chosen: u64,
    /// Width between an expert's projections.
    inner: u64,
    /// Channels of all keys of a position.
    keys: u64,
    dropout: bool,
}

pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let heads = config.size("num_key_value_heads", most::HEADS)?.unwrap_or(16);
    let size = Key::new(&["kv_channels", "head_dim"], 128).size(config, most::HEAD_SIZE)?;
    let (count, chosen) = counts(config, Key::new(&["num_local_experts"], 8), Key::new(&["num_experts_per_tok"], 2))?;
    let jetmoe = JetMoe {
        hidden,
        count,
        chosen,
        inner: config.size("intermediate_size", most::WIDTH)?.unwrap_or(5632),
        keys: heads.saturating_mul(size),
        dropout: config.is_positive("attention_dropout")?,
    };
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    let kinds: Vec<()> = (0..layers).map(|_| ()).collect();
    Ok(ending(config, Decoder::usual(vocabulary, hidden, tied))?.program(&kinds, |()| jetmoe.block()))
}

impl JetMoe {
    fn block(&self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let normed = block.norm("input_layernorm", self.hidden, Slot::RESIDUAL);
        let attended = self.attend(&mut block, normed);
        block.add_to_residual(attended);
        let normed = block.norm("post_attention_layernorm", self.hidden, Slot::RESIDUAL);
        let widened = self.widen(&mut block, normed);
        block.add_to_residual(widened);
        block.finish()
    }

    fn attend(&self, block: &mut Builder, input: Slot) -> Slot {
        let holder = "self_attention.experts";
        let weights = self.route(block, holder, input);
        let query = self.each(block, holder, ("input_linear", self.hidden, self.keys), input);
        let widths = (self.hidden, self.keys.saturating_mul(2));
        let both = block.linear("self_attention.kv_proj", widths, false, Part::AttentionProjections, input);
        // Each chosen expert asks with as many heads as there are keys.
        let asking = self.keys.saturating_mul(self.chosen);
        let stream = block.stream();
        let mixed = scores_and_values(block, (query, both, both), (asking, asking), stream, Mask::Causal, self.dropout);
        let left = self.each(block, holder, ("output_linear", self.keys, self.hidden), mixed);
        self.merge(block, holder, left, weights)
    }

    fn widen(&self, block: &mut Builder, input: Slot) -> Slot {
        let weights = self.route(block, "mlp", input);
        let wide = self.each(block, "mlp", ("input_linear", self.hidden, self.inner.saturating_mul(2)), input);
        let activated = block.multiply(wide, wide);
        let narrow = self.each(block, "mlp", ("output_linear", self.inner, self.hidden), activated);
        self.merge(block, "mlp", narrow, weights)
    }

    fn route(&self, block: &mut Builder, holder: &str, input: Slot) -> Slot {
        let widths = (self.hidden, self.count);
        let weights = block.linear(format!("{holder}.router.layer"), widths, false, Part::Router, input);
        block.keep(weights);
        weights
    }

    fn each(&self, block: &mut Builder, holder: &str, (what, inputs, outputs): (&str, u64, u64), input: Slot) -> Slot {
        let kind = ModuleKind::Experts { count: self.count, chosen: self.chosen, inputs, outputs, bias: false };
        block.apply(format!("{holder}.{what}"), kind, Part::Experts, input)
    }

    /// What the experts give, weighed, added up and shifted.
    fn merge(&self, block: &mut Builder, holder: &str, left: Slot, weights: Slot) -> Slot {
        let weighed = block.multiply(left, weights);
        let nothing = block.slot();
        let kind = ModuleKind::Scale { weight: self.hidden, bias: 0 };
        let shift = block.apply(format!("{holder}.bias"), kind, Part::Experts, nothing);
        block.add(weighed, shift)
    }
}
