//! From a shape to the modules and steps of the Hugging Face model of that shape.

use super::block::{Block, Module, ModuleKind, Slot, Step};
use super::cost::Part;
use crate::shape::{AttentionShape, FeedForward, NormPlacement, Projections, Shape};

/// Name of the list of blocks.
pub(super) const BLOCKS: &str = "model.layers";

/// What stands before the first block.
pub(super) fn stem(shape: &Shape) -> Block {
    let mut block = Builder::default();
    block.apply("model.embed_tokens", embedding(shape), Part::InputEmbeddings, Slot::Residual, Slot::Residual);
    block.finish()
}

/// What stands after the last block.
pub(super) fn tail(shape: &Shape) -> Block {
    let mut block = Builder::default();
    block.norm("model.norm", shape.hidden, Slot::Residual, Slot::Branch);
    let (inputs, outputs) = (shape.hidden, shape.vocabulary);
    let head = if shape.tied_head {
        ModuleKind::TiedHead { inputs, outputs }
    } else {
        ModuleKind::Linear { inputs, outputs, bias: false }
    };
    block.apply("lm_head", head, Part::OutputHead, Slot::Branch, Slot::Branch);
    block.finish()
}

/// One block: two branches, each normed, computed and added to the residual stream.
pub(super) fn block(shape: &Shape) -> Block {
    let after = matches!(shape.norms, NormPlacement::BeforeAndAfter);
    let mut block = Builder::default();
    block.norm("input_layernorm", shape.hidden, Slot::Residual, Slot::Branch);
    attention(&mut block, &shape.attention, shape.hidden);
    if after {
        block.norm("post_attention_layernorm", shape.hidden, Slot::Branch, Slot::Branch);
    }
    end_of_branch(&mut block, shape);
    let before_second = if after { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
    block.norm(before_second, shape.hidden, Slot::Residual, Slot::Branch);
    feed_forward(&mut block, shape.feed_forward, shape.hidden);
    if after {
        block.norm("post_feedforward_layernorm", shape.hidden, Slot::Branch, Slot::Branch);
    }
    end_of_branch(&mut block, shape);
    block.finish()
}

fn embedding(shape: &Shape) -> ModuleKind {
    ModuleKind::Embedding { rows: shape.vocabulary, width: shape.hidden }
}

fn end_of_branch(block: &mut Builder, shape: &Shape) {
    if shape.residual_dropout {
        block.steps.push(Step::Dropout { on: Slot::Branch });
    }
    block.steps.push(Step::AddToResidual);
}

fn attention(block: &mut Builder, shape: &AttentionShape, hidden: u64) {
    let queries = shape.heads.saturating_mul(shape.head_size);
    let keys = shape.key_value_heads.saturating_mul(shape.head_size);
    let project = |outputs| ModuleKind::Linear { inputs: hidden, outputs, bias: shape.input_bias };
    let part = Part::AttentionProjections;
    match shape.projections {
        Projections::Separate => {
            block.apply("self_attn.q_proj", project(queries), part, Slot::Branch, Slot::Query);
            block.apply("self_attn.k_proj", project(keys), part, Slot::Branch, Slot::Key);
            block.apply("self_attn.v_proj", project(keys), part, Slot::Branch, Slot::Value);
        }
        Projections::Fused => {
            let all = queries.saturating_add(keys.saturating_mul(2));
            block.apply("self_attn.qkv_proj", project(all), part, Slot::Branch, Slot::Query);
            block.steps.push(Step::Copy { from: Slot::Query, to: Slot::Key });
            block.steps.push(Step::Copy { from: Slot::Query, to: Slot::Value });
        }
    }
    if shape.head_norms {
        block.norm("self_attn.q_norm", shape.head_size, Slot::Query, Slot::Query);
        block.norm("self_attn.k_norm", shape.head_size, Slot::Key, Slot::Key);
    }
    // Keys and values are repeated for the query heads that share them, so grouping saves no operations here.
    let per_pair = queries.saturating_mul(2);
    block.steps.push(Step::Scores { per_pair });
    block.steps.push(Step::Values { per_pair });
    let output = ModuleKind::Linear { inputs: queries, outputs: hidden, bias: shape.output_bias };
    block.apply("self_attn.o_proj", output, part, Slot::Branch, Slot::Branch);
}

fn feed_forward(block: &mut Builder, shape: FeedForward, hidden: u64) {
    let FeedForward::Gated { inner, fused, bias } = shape;
    let part = Part::FeedForward;
    let widen = |outputs| ModuleKind::Linear { inputs: hidden, outputs, bias };
    if fused {
        block.apply("mlp.gate_up_proj", widen(inner.saturating_mul(2)), part, Slot::Branch, Slot::Gate);
        block.steps.push(Step::Copy { from: Slot::Gate, to: Slot::Up });
    } else {
        block.apply("mlp.gate_proj", widen(inner), part, Slot::Branch, Slot::Gate);
        block.apply("mlp.up_proj", widen(inner), part, Slot::Branch, Slot::Up);
    }
    block.steps.push(Step::Multiply { with: Slot::Gate, to: Slot::Up });
    let narrow = ModuleKind::Linear { inputs: inner, outputs: hidden, bias };
    block.apply("mlp.down_proj", narrow, part, Slot::Up, Slot::Branch);
}

/// Collects modules and steps.
#[derive(Default)]
struct Builder {
    modules: Vec<Module>,
    steps: Vec<Step>,
}

impl Builder {
    fn apply(&mut self, name: &'static str, kind: ModuleKind, part: Part, from: Slot, to: Slot) {
        self.steps.push(Step::Apply { module: self.modules.len(), from, to });
        self.modules.push(Module { name, kind, part });
    }

    fn norm(&mut self, name: &'static str, width: u64, from: Slot, to: Slot) {
        self.apply(name, ModuleKind::Norm { width }, Part::Norms, from, to);
    }

    fn finish(self) -> Block {
        Block { modules: self.modules, steps: self.steps }
    }
}
