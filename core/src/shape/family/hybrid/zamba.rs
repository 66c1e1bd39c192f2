//! State-space layers with few transformer blocks that are used again and again: Zamba and Zamba2.

use std::borrow::Cow;

use super::super::super::ShapeProblem;
use super::super::super::build::Builder;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Decoder, Gating, Mamba, Mamba2, MambaNorms, scores_and_values};
use super::super::super::program::{Block, ModuleKind, Program, Slot, Step};
use super::super::super::quantity::{Mask, Stream};
use super::super::sizes::{Heads, heads, layer_kinds};
use super::super::state_space::time_step_rank;
use super::Sizes;
use crate::flops::Part;

/// Hybrid blocks of Zamba2 where the configuration lists none.
const USUAL_HYBRIDS: [u64; 9] = [6, 12, 18, 24, 30, 36, 42, 47, 51];

/// What all blocks of a model have in common.
struct Zamba {
    hidden: u64,
    states: States,
    /// Name of a shared transformer block.
    shared: &'static str,
    heads: (u64, u64, u64),
    /// Width that attention reads.
    wide: u64,
    inner: u64,
    /// Shared transformer blocks, which take turns.
    turns: usize,
    /// Hybrid blocks.
    hybrids: usize,
    adapters: Option<Adapters>,
}

/// The state-space layer, in blocks of its own and in hybrid ones.
enum States {
    One(Mamba),
    Two(Mamba2),
}

/// Low-rank pairs of the model itself, one for each use of a shared block.
#[derive(Clone, Copy)]
struct Adapters {
    rank: u64,
    /// Queries, keys and values have them too.
    attention: bool,
}

/// A block: hybrid ones by their number among these.
type Kind = Option<usize>;

pub(super) fn first(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let kinds = match listed(config, sizes)? {
        Some(kinds) => kinds,
        None => periodic(config, sizes)?,
    };
    let wide = size("attention_hidden_size", sizes.hidden.saturating_mul(2))?;
    let heads = attention_heads(config, sizes, Some(16), "attention_head_dim")?;
    let zamba = Zamba {
        hidden: sizes.hidden,
        states: States::One(mamba(config, sizes)?),
        shared: "shared_transf",
        heads,
        wide,
        inner: config.required_size("intermediate_size", most::WIDTH)?,
        turns: 1,
        hybrids: kinds.iter().flatten().count(),
        adapters: None,
    };
    Ok(zamba.program(sizes.frame(config, "final_layernorm", true)?, &kinds))
}

pub(super) fn second(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let kinds = match listed(config, sizes)? {
        Some(kinds) => kinds,
        None => numbered((0..sizes.layers).map(|layer| USUAL_HYBRIDS.contains(&layer))),
    };
    let inner = config.size("intermediate_size", most::WIDTH)?;
    let turns = config.size("num_mem_blocks", most::LAYERS)?.unwrap_or(1);
    let attention = config.flag("use_shared_attention_adapter")?.unwrap_or(false);
    let adapters = Adapters { rank: config.size("adapter_rank", most::WIDTH)?.unwrap_or(128), attention };
    if config.flag("add_bias_linear")?.unwrap_or(false) {
        return Err(ShapeProblem::Contradiction {
            key: "add_bias_linear".to_owned(),
            found: "true".to_owned(),
            conflict: "shared blocks are counted without biases".to_owned(),
        });
    }
    // The size of a head follows from the width, whatever the file says.
    let count = config.required_size("num_attention_heads", most::HEADS)?;
    let (_, key_value, _) = heads(config, Heads { key_value: None, size: Some(1) }, sizes.hidden)?;
    let zamba = Zamba {
        hidden: sizes.hidden,
        states: States::Two(mamba2(config, sizes)?),
        shared: "shared_transformer",
        heads: (count, key_value, sizes.hidden.saturating_mul(2) / count),
        wide: sizes.hidden.saturating_mul(2),
        inner: inner.unwrap_or(sizes.hidden.saturating_mul(4)),
        turns: usize::try_from(turns).unwrap_or(usize::MAX),
        hybrids: kinds.iter().flatten().count(),
        adapters: Some(adapters),
    };
    Ok(zamba.program(sizes.frame(config, "final_layernorm", true)?, &kinds))
}

fn attention_heads(
    config: Config<'_>,
    sizes: Sizes,
    key_value: Option<u64>,
    size: &str,
) -> Result<(u64, u64, u64), ShapeProblem> {
    let (count, key_value, _) = heads(config, Heads { key_value, size: Some(1) }, sizes.hidden)?;
    let size = config.size(size, most::HEAD_SIZE)?.unwrap_or(sizes.hidden.saturating_mul(2) / count);
    Ok((count, key_value, size))
}

fn listed(config: Config<'_>, sizes: Sizes) -> Result<Option<Vec<Kind>>, ShapeProblem> {
    let known = ["linear_attention", "hybrid"];
    let kinds = layer_kinds(config, &["layers_block_type", "layer_types"], Some(sizes.layers), &known)?;
    Ok(kinds.map(|kinds| numbered(kinds.into_iter().map(|kind| kind == 1))))
}

/// Two blocks, a hybrid one, then one in so many.
fn periodic(config: Config<'_>, sizes: Sizes) -> Result<Vec<Kind>, ShapeProblem> {
    let period = config.size("attn_layer_period", most::LAYERS)?.unwrap_or(6);
    let offset = config.count("attn_layer_offset")?.unwrap_or(4);
    Ok(numbered((0..sizes.layers).map(|layer| match layer {
        0 | 1 => false,
        2 => true,
        layer => (layer - 3) % period == offset,
    })))
}

fn numbered(hybrid: impl Iterator<Item = bool>) -> Vec<Kind> {
    let mut next = 0;
    let number = |hybrid: bool| {
        let number = hybrid.then_some(next);
        next += usize::from(hybrid);
        number
    };
    hybrid.map(number).collect()
}

impl Zamba {
    fn program(&self, frame: Decoder, kinds: &[Kind]) -> Program {
        let mut program = frame.program(kinds, |kind| self.block(*kind));
        // Hybrid blocks read the embeddings again.
        if let Some(stem) = program.pieces.first_mut().and_then(|piece| piece.blocks.first_mut()) {
            stem.steps.push(Step::Add { from: Slot::RESIDUAL, with: Slot::RESIDUAL, to: Slot::MEMORY });
        }
        program.ties.extend(self.ties(kinds, &frame.name(frame.blocks)));
        program
    }

    /// Names of the modules that the uses of one shared block have in common.
    fn ties(&self, kinds: &[Kind], prefix: &str) -> Vec<Vec<Cow<'static, str>>> {
        let turns = (0..self.turns.min(self.hybrids)).map(|turn| {
            let uses = kinds.iter().enumerate().filter(move |(_, kind)| kind.is_some_and(|it| it % self.turns == turn));
            let layers: Vec<usize> = uses.map(|(layer, _)| layer).collect();
            let modules = self.block(Some(turn)).modules;
            let shared = modules.into_iter().filter(|module| module.name.starts_with(self.shared));
            shared.map(move |module| {
                let name = |layer: &usize| Cow::Owned(format!("{prefix}.{layer}.{}", module.name));
                layers.iter().map(name).collect::<Vec<_>>()
            })
        });
        turns.flatten().collect()
    }

    fn block(&self, kind: Kind) -> Block {
        let mut block = Builder::new(Stream::Text);
        let Some(number) = kind else {
            self.mix(&mut block, "", Slot::RESIDUAL);
            return block.finish();
        };
        let transformed = self.transform(&mut block, number);
        let entered = block.add(Slot::RESIDUAL, transformed);
        block.step(Step::Nested);
        self.mix(&mut block, "mamba_decoder.", entered);
        let mut block = block.finish();
        // The first use of each shared block holds the weights.
        for module in block.modules.iter_mut().filter(|module| module.name.starts_with(self.shared)) {
            module.tied = number >= self.turns;
        }
        block
    }

    fn mix(&self, block: &mut Builder, holder: &'static str, entered: Slot) {
        let normed = block.norm(format!("{holder}input_layernorm"), self.hidden, entered);
        let name = if holder.is_empty() { "mamba" } else { "mamba_decoder.mamba" };
        let mixed = match self.states {
            States::One(layer) => Mamba { name, ..layer }.build(block, self.hidden, normed),
            States::Two(layer) => Mamba2 { name, ..layer }.build(block, self.hidden, normed),
        };
        block.add_to_residual(mixed);
    }

    fn transform(&self, block: &mut Builder, number: usize) -> Slot {
        let shared = self.shared;
        let both = block.add(Slot::RESIDUAL, Slot::MEMORY);
        let normed = block.norm(format!("{shared}.input_layernorm"), self.wide, both);
        let attended = self.attend(block, number, normed);
        let normed = block.norm(format!("{shared}.pre_ff_layernorm"), self.hidden, attended);
        let widened = self.widen(block, number, normed);
        block.linear("linear", (self.hidden, self.hidden), false, Part::FeedForward, widened)
    }

    fn attend(&self, block: &mut Builder, number: usize, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let (heads, key_value, size) = self.heads;
        let name = |what: &str| format!("{}.self_attn.{what}", self.shared);
        let (queries, keys) = (heads.saturating_mul(size), key_value.saturating_mul(size));
        let mut project = |letter: &str, outputs: u64| {
            let plain = block.linear(name(&format!("{letter}_proj")), (self.wide, outputs), false, part, input);
            let Some(adapters) = self.adapters.filter(|adapters| adapters.attention) else { return plain };
            let list = name(&format!("linear_{letter}_adapter_list"));
            let adapted = self.adapt(block, (&list, number), (self.wide, adapters.rank, self.wide), part, input);
            block.add(plain, adapted)
        };
        let projected = (project("q", queries), project("k", keys), project("v", keys));
        let stream = block.stream();
        let mixed = scores_and_values(block, projected, (queries, queries), stream, Mask::Causal, false);
        block.linear(name("o_proj"), (queries, self.hidden), false, part, mixed)
    }

    fn widen(&self, block: &mut Builder, number: usize, input: Slot) -> Slot {
        let part = Part::FeedForward;
        let name = |what: &str| format!("{}.feed_forward.{what}", self.shared);
        let (hidden, inner) = (self.hidden, self.inner);
        let wide = if let Some(adapters) = self.adapters {
            let outputs = inner.saturating_mul(2);
            let plain = block.linear(name("gate_up_proj"), (hidden, outputs), false, part, input);
            let list = name("gate_up_proj_adapter_list");
            let adapted = self.adapt(block, (&list, number), (hidden, adapters.rank, outputs), part, input);
            let both = block.add(plain, adapted);
            block.multiply(both, both)
        } else {
            let gate = block.linear(name("gate_proj"), (hidden, inner), false, part, input);
            block.keep(gate);
            let up = block.linear(name("up_proj"), (hidden, inner), false, part, input);
            block.multiply(gate, up)
        };
        block.linear(name("down_proj"), (inner, hidden), false, part, wide)
    }

    /// Every use of a shared block has the pairs of all its uses and goes through its own.
    fn adapt(
        &self,
        block: &mut Builder,
        (list, number): (&str, usize),
        (inputs, rank, outputs): (u64, u64, u64),
        part: Part,
        input: Slot,
    ) -> Slot {
        let linear = |inputs, outputs| ModuleKind::Linear { inputs, outputs, bias: false };
        let mut own = input;
        for other in (number % self.turns..self.hybrids).step_by(self.turns) {
            let (enter, leave) = (format!("{list}.{other}.0"), format!("{list}.{other}.1"));
            if other == number {
                let down = block.apply(enter, linear(inputs, rank), part, input);
                own = block.apply(leave, linear(rank, outputs), part, down);
            } else {
                block.module(enter, linear(inputs, rank), part);
                block.module(leave, linear(rank, outputs), part);
            }
        }
        own
    }
}

fn mamba(config: Config<'_>, sizes: Sizes) -> Result<Mamba, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let inner = size("mamba_expand", 2)?.saturating_mul(sizes.hidden);
    let heads = size("n_mamba_heads", 2)?;
    check_heads(inner, heads)?;
    Ok(Mamba {
        name: "mamba",
        inner,
        state: size("mamba_d_state", 16)?,
        time_step_rank: time_step_rank(config, "mamba_dt_rank", sizes.hidden)?,
        heads: Some(heads),
        kernel: size("mamba_d_conv", 4)?,
        bias: config.flag("mamba_proj_bias")?.unwrap_or(false),
        convolution_bias: config.flag("mamba_conv_bias")?.unwrap_or(true),
        norms: MambaNorms::None,
    })
}

fn mamba2(config: Config<'_>, sizes: Sizes) -> Result<Mamba2, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let inner = size("mamba_expand", 2)?.saturating_mul(sizes.hidden);
    let heads = size("n_mamba_heads", 8)?;
    check_heads(inner, heads)?;
    Ok(Mamba2 {
        name: "mamba",
        inner,
        heads,
        head_size: inner / heads,
        state: size("mamba_d_state", 64)?,
        groups: size("mamba_ngroups", 1)?,
        chunk: size("chunk_size", 256)?,
        kernel: size("mamba_d_conv", 4)?,
        bias: false,
        output_bias: false,
        convolution_bias: true,
        gating: Gating::Normed,
    })
}

fn check_heads(inner: u64, heads: u64) -> Result<(), ShapeProblem> {
    if inner.is_multiple_of(heads) {
        return Ok(());
    }
    Err(ShapeProblem::Contradiction {
        key: "n_mamba_heads".to_owned(),
        found: heads.to_string(),
        conflict: format!("does not divide the width of the layer, {inner}"),
    })
}
