//! DBRX: attention with one fused projection, experts in three flat parameters.

use std::borrow::Cow;

use super::super::super::ShapeProblem;
use super::super::super::build::Builder;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Attention, Decoder};
use super::super::super::program::{Block, ModuleKind, Program, Slot};
use super::super::super::quantity::Stream;
use super::super::classes::ending;
use super::super::keys::{Keys, check_groups};
use super::super::sizes::Key;
use super::counts;
use crate::flops::Part;

/// The keys of the outer object.
const KEYS: Keys = Keys {
    hidden: &["d_model", "hidden_size"],
    layers: &["n_layers", "num_hidden_layers"],
    heads: &["n_heads", "num_attention_heads"],
};

/// What all blocks have in common.
struct Dbrx {
    hidden: u64,
    attention: Attention,
    count: u64,
    chosen: u64,
    inner: u64,
    /// What leaves a branch goes through a dropout that is on.
    dropout: bool,
}

pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    let attending = config.inner("attn_config")?;
    let key_value = attending.map_or(Ok(None), |it| it.size("kv_n_heads", most::HEADS))?.unwrap_or(1);
    check_groups("kv_n_heads", sizes.heads, key_value)?;
    let dropout = attending.map_or(Ok(false), |it| it.is_positive("attn_pdrop"))?;
    let name = "norm_attn_norm.attn.Wqkv";
    let fused = Attention::fused((sizes.heads, key_value, head_size), name, "norm_attn_norm.attn.out_proj");
    let (count, chosen) = (Key::new(&["moe_num_experts"], 4), Key::new(&["moe_top_k"], 1));
    let (count, chosen, inner) = match config.inner("ffn_config")? {
        Some(widening) => {
            let (count, chosen) = counts(widening, count, chosen)?;
            (count, chosen, widening.size("ffn_hidden_size", most::WIDTH)?.unwrap_or(3584))
        }
        None => (4, 1, 3584),
    };
    let dbrx = Dbrx {
        hidden: sizes.hidden,
        attention: Attention { dropout, ..fused },
        count,
        chosen,
        inner,
        dropout: config.is_positive("resid_pdrop")?,
    };
    let frame = Decoder {
        blocks: "blocks",
        final_norm: "norm_f",
        norm_bias: Some(false),
        ..Decoder::gpt(sizes.vocabulary, sizes.hidden, false)
    };
    let kinds: Vec<()> = (0..sizes.layers).map(|_| ()).collect();
    Ok(ending(config, frame)?.program(&kinds, |()| dbrx.block()))
}

impl Dbrx {
    fn block(&self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let normed = block.norm("norm_attn_norm.norm_1", self.hidden, Slot::RESIDUAL);
        let attended = self.attention.build(&mut block, self.hidden, normed);
        self.join(&mut block, attended);
        let normed = block.norm("norm_attn_norm.norm_2", self.hidden, Slot::RESIDUAL);
        let widened = self.experts(&mut block, normed);
        self.join(&mut block, widened);
        block.finish()
    }

    fn join(&self, block: &mut Builder, branch: Slot) {
        if self.dropout {
            block.keep(branch);
        }
        block.add_to_residual(branch);
    }

    fn experts(&self, block: &mut Builder, input: Slot) -> Slot {
        let weights = block.linear("ffn.router.layer", (self.hidden, self.count), false, Part::Router, input);
        block.keep(weights);
        let mut each = |what: &str, inputs, outputs, from| {
            let kind = ModuleKind::Experts { count: self.count, chosen: self.chosen, inputs, outputs, bias: false };
            let name = Cow::<'static, str>::Owned(format!("ffn.experts.mlp.{what}"));
            let to = block.apply(name, kind, Part::Experts, from);
            block.keep(to);
            to
        };
        let gate = each("w1", self.hidden, self.inner, input);
        let up = each("v1", self.hidden, self.inner, input);
        let wide = block.multiply(gate, up);
        let kind = ModuleKind::Experts {
            count: self.count,
            chosen: self.chosen,
            inputs: self.inner,
            outputs: self.hidden,
            bias: false,
        };
        let narrow = block.apply("ffn.experts.mlp.w2", kind, Part::Experts, wide);
        block.multiply(narrow, weights)
    }
}
