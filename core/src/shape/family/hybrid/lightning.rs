//! Lightning attention with full attention in some blocks: MiniMax-01.

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::mask::{self, Windows};
use super::super::super::parts::{Attention, Experts, LightningAttention, Router};
use super::super::super::program::{ExpertTargets, Program};
use super::super::super::quantity::Mask;
use super::super::experts::counts;
use super::super::sizes::{Heads, Key, heads, layer_kinds};
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};

pub(super) fn read(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let (count, key_value, size) = heads(config, Heads { key_value: Some(8), size: None }, sizes.hidden)?;
    let mask = mask::read(Windows::All(None), config, 1)?.first().copied().unwrap_or(Mask::Causal);
    let attention = Attention { mask, ..Attention::usual(count, key_value, size) };
    let chunk = config.size("block_size", most::WINDOW)?.unwrap_or(256);
    let lightning = LightningAttention { heads: count, head_size: size, chunk };
    let (count, chosen) =
        counts(config, Key::new(&["num_local_experts", "num_experts"], 8), Key::new(&["num_experts_per_tok"], 2))?;
    let experts = Experts::gated(
        (count, chosen),
        config.required_size("intermediate_size", most::WIDTH)?,
        "mlp.experts",
        Router::parameter("mlp.gate"),
    );
    let given = layer_kinds(config, &["layer_types"], Some(sizes.layers), &["full_attention", "linear_attention"])?;
    let kinds = given.unwrap_or_else(|| (0..sizes.layers).map(|layer| usize::from(layer % 2 == 1)).collect());
    let norms = Norms::Carried("input_layernorm", "post_attention_layernorm");
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(Mixer::Attention(attention), norms), (Mixer::Lightning(lightning), norms)],
        inners: vec![Inner::Experts(experts)],
        kinds: kinds.into_iter().map(|kind| (kind, 0)).collect(),
    };
    let mut program = layers.program(sizes.frame(config, "norm", false)?);
    program.expert_targets = Some(ExpertTargets::Mixtral);
    Ok(program)
}
