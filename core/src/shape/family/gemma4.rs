//! Gemma 4's text model: two sizes of heads, shared keys, embeddings for each block, experts beside the feed-forward part.
//!
//! Sources: `configuration_gemma4.py` for defaults, `modeling_gemma4.py` for names and order, of `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::mask::{self, Windows};
use super::super::parts::{Decoder, Experts, FeedForward, LayerInputs, Router, Sharing, SharingAttention};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot};
use super::super::quantity::{Mask, Stream};
use super::dense::check_head;
use super::key_sharing;
use super::keys::{Keys, Sizes, check_groups};
use crate::flops::Part;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["gemma4_text"];

const WINDOWS: Windows = Windows::Repeating { every: 6, first: false, adjustable: false, window: 512 };

/// What all blocks have in common.
struct Common {
    hidden: u64,
    inner: u64,
    /// Blocks that reuse keys and values have twice the width between their projections.
    doubled: bool,
    layer_inputs: Option<LayerInputs>,
    experts: Option<Experts>,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    check_head(config)?;
    let sizes = Keys::USUAL.read(config)?;
    let common = Common {
        hidden: sizes.hidden,
        inner: config.required_size("intermediate_size", most::WIDTH)?,
        doubled: config.flag("use_double_wide_mlp")?.unwrap_or(false),
        layer_inputs: layer_inputs(config, sizes.layers)?,
        experts: experts(config)?,
    };
    let attentions = attentions(config, sizes)?;
    let decoder = Decoder::usual(sizes.vocabulary, sizes.hidden, config.flag("tie_word_embeddings")?.unwrap_or(true));
    let mut program = Program { reads_tokens: true, ..Program::default() };
    program.pieces.push(Piece::once(decoder.stem()));
    program.pieces.extend(common.layer_inputs.map(|inputs| Piece::once(inputs.ahead(decoder))));
    program.last_layers = Some(program.pieces.len());
    let mut build = |attention: &SharingAttention| common.block(attention);
    program.pieces.push(Piece::stack(decoder.name(decoder.blocks), &attentions, &mut build));
    decoder.finish(&mut program);
    Ok(program)
}

/// Embeddings for each block, unless their width is 0.
fn layer_inputs(config: Config<'_>, layers: u64) -> Result<Option<LayerInputs>, ShapeProblem> {
    if config.count("hidden_size_per_layer_input")? == Some(0) {
        return Ok(None);
    }
    Ok(Some(LayerInputs {
        width: config.size("hidden_size_per_layer_input", most::WIDTH)?.unwrap_or(256),
        rows: config.size("vocab_size_per_layer_input", most::VOCABULARY)?.unwrap_or(262_144),
        layers,
    }))
}

fn experts(config: Config<'_>) -> Result<Option<Experts>, ShapeProblem> {
    if !config.flag("enable_moe_block")?.unwrap_or(false) {
        return Ok(None);
    }
    let count = config.required_size("num_experts", most::EXPERTS)?;
    let chosen = config.required_size("top_k_experts", most::EXPERTS)?;
    if chosen > count {
        return Err(ShapeProblem::Contradiction {
            key: "top_k_experts".to_owned(),
            found: chosen.to_string(),
            conflict: format!("num_experts is {count}"),
        });
    }
    let inner = config.required_size("moe_intermediate_size", most::WIDTH)?;
    Ok(Some(Experts::gated((count, chosen), inner, "experts", Router::parameter("router.proj"))))
}

/// The attention of each block.
fn attentions(config: Config<'_>, sizes: Sizes) -> Result<Vec<SharingAttention>, ShapeProblem> {
    let mut masks = mask::read(WINDOWS, config, sizes.layers)?;
    if let Some(last) = masks.last_mut() {
        *last = Mask::Causal; // whatever `layer_types` says of it
    }
    let full: Vec<bool> = masks.iter().map(|mask| *mask == Mask::Causal).collect();
    let both_ways = config.text("use_bidirectional_attention")? == Some("all");
    let sharing = key_sharing::read(config, 0, &full)?;
    let blocks = masks.into_iter().zip(sharing).enumerate();
    let read = |(index, (mask, sharing)): (usize, (Mask, Sharing))| {
        let attention = attention(config, sizes.heads, (index, mask == Mask::Causal))?;
        Ok(SharingAttention { mask: if both_ways { Mask::Bidirectional } else { mask }, sharing, ..attention })
    };
    blocks.map(read).collect()
}

/// Sizes of one block's heads: the usual ones, or those that blocks which see everything have.
fn attention(config: Config<'_>, heads: u64, (index, full): (usize, bool)) -> Result<SharingAttention, ShapeProblem> {
    let keys_are_values = full && config.flag("attention_k_eq_v")?.unwrap_or(false);
    let mut head_size = config.size("head_dim", most::HEAD_SIZE)?.unwrap_or(256);
    let mut key_value_heads = config.size("num_key_value_heads", most::HEADS)?.unwrap_or(4);
    if let Some(own) = config.inner("per_layer_config")? {
        if let Some(own) = own.inner(&index.to_string())? {
            head_size = own.size("head_dim", most::HEAD_SIZE)?.unwrap_or(head_size);
            key_value_heads = own.size("num_key_value_heads", most::HEADS)?.unwrap_or(key_value_heads);
        }
    } else if full {
        head_size = config.size("global_head_dim", most::HEAD_SIZE)?.unwrap_or(512);
        let own = config.size("num_global_key_value_heads", most::HEADS)?.filter(|_| keys_are_values);
        key_value_heads = own.unwrap_or(key_value_heads);
    }
    check_groups("num_key_value_heads", heads, key_value_heads)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let (mask, sharing) = (Mask::Causal, Sharing::Own);
    Ok(SharingAttention { heads, key_value_heads, head_size, bias, mask, keys_are_values, sharing })
}

impl Common {
    fn block(&self, attention: &SharingAttention) -> Block {
        let mut block = Builder::new(Stream::Text);
        let input = block.norm("input_layernorm", self.hidden, Slot::RESIDUAL);
        let attended = attention.build(&mut block, self.hidden, input);
        let attended = block.norm("post_attention_layernorm", self.hidden, attended);
        block.add_to_residual(attended);
        let widened = self.widen(&mut block, matches!(attention.sharing, Sharing::Reused(_)));
        block.add_to_residual(widened);
        if let Some(inputs) = self.layer_inputs {
            let more = inputs.build(&mut block, self.hidden, Slot::RESIDUAL);
            block.add_to_residual(more);
        }
        block.keep(Slot::RESIDUAL); // a factor that is no parameter
        block.finish()
    }

    fn widen(&self, block: &mut Builder, reuses: bool) -> Slot {
        let times = if reuses && self.doubled { 2 } else { 1 };
        let input = block.norm("pre_feedforward_layernorm", self.hidden, Slot::RESIDUAL);
        let mut widened = FeedForward::gated(self.inner.saturating_mul(times)).build(block, self.hidden, input);
        if let Some(experts) = &self.experts {
            let first = block.norm("post_feedforward_layernorm_1", self.hidden, widened);
            let second = self.route(block, experts);
            widened = block.add(first, second);
        }
        block.norm("post_feedforward_layernorm", self.hidden, widened)
    }

    /// Experts read the stream as the feed-forward part does, through a norm of their own; what chooses them has none.
    fn route(&self, block: &mut Builder, experts: &Experts) -> Slot {
        let part = Part::Router;
        block.keep(Slot::RESIDUAL); // a norm without parameters
        let scaled = trained(block, "router.scale", self.hidden, Slot::RESIDUAL);
        let weights = block.linear("router.proj", (self.hidden, experts.count), false, part, scaled);
        block.keep(weights);
        let weights = trained(block, "router.per_expert_scale", experts.count, weights);
        let input = block.norm("pre_feedforward_layernorm_2", self.hidden, Slot::RESIDUAL);
        let output = experts.each(block, self.hidden, input);
        let weighted = block.multiply(output, weights);
        block.norm("post_feedforward_layernorm_2", self.hidden, weighted)
    }
}

/// Multiplied with trained numbers.
fn trained(block: &mut Builder, name: &'static str, elements: u64, input: Slot) -> Slot {
    let nothing = block.slot();
    let factor = block.apply(name, ModuleKind::Parameter { elements }, Part::Router, nothing);
    block.multiply(input, factor)
}
