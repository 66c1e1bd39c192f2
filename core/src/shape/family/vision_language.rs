//! Text models that see: a tower of images, a projector, and the blocks of a text family behind them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::program::{Module, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use crate::flops::Part;

/// A text model and its width.
pub(super) struct Text {
    pub(super) program: Program,
    pub(super) hidden: u64,
}

/// How the class of a text model within another is told from that of the same model alone.
struct Within {
    model_type: &'static str,
    /// The family that describes it.
    family: &'static str,
    /// Sizes that the class fills in where the configuration is silent.
    defaults: &'static [(&'static str, u64)],
}

const WITHIN: &[Within] = &[
    Within { model_type: "llama", family: "llama", defaults: &sizes(32_000, 4096, 11_008, 32, 32) },
    Within { model_type: "mistral", family: "mistral", defaults: &sizes(32_000, 4096, 14_336, 32, 32) },
    Within { model_type: "gemma3_text", family: "gemma3_text", defaults: &sizes(262_208, 2304, 9216, 26, 8) },
    Within { model_type: "qwen2_vl_text", family: "qwen2", defaults: QWEN2_VL },
    Within { model_type: "qwen2_5_vl_text", family: "qwen2", defaults: QWEN2_VL },
    Within { model_type: "qwen3_vl_text", family: "qwen3", defaults: &sizes(151_936, 4096, 22_016, 32, 32) },
    Within { model_type: "qwen3_vl_moe_text", family: "qwen3_moe", defaults: &[] },
];

/// These classes also look later for windows.
const QWEN2_VL: &[(&str, u64)] = &[
    ("vocab_size", 152_064),
    ("hidden_size", 8192),
    ("intermediate_size", 29_568),
    ("num_hidden_layers", 80),
    ("num_attention_heads", 64),
    ("num_key_value_heads", 8),
    ("max_window_layers", 80),
];

const fn sizes(words: u64, hidden: u64, inner: u64, layers: u64, heads: u64) -> [(&'static str, u64); 5] {
    [
        ("vocab_size", words),
        ("hidden_size", hidden),
        ("intermediate_size", inner),
        ("num_hidden_layers", layers),
        ("num_attention_heads", heads),
    ]
}

/// The text model of a configuration around it, under the name that it has there; its head keeps its own name.
///
/// `usual` is its `model_type` where the configuration does not say.
pub(super) fn text(config: Config<'_>, usual: &str, inside: &str) -> Result<Text, ShapeProblem> {
    text_with(config, usual, inside, |_| {})
}

/// The same, with what the class around it changes.
pub(super) fn text_with(
    config: Config<'_>,
    usual: &str,
    inside: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<Text, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or(usual);
    let within = WITHIN.iter().find(|within| within.model_type == model_type);
    let mut keys = config.or_defaults(within.map_or(&[], |within| within.defaults));
    keys.insert("model_type".to_owned(), Value::from(within.map_or(model_type, |within| within.family)));
    // The class around it has the head, whatever this configuration was saved from.
    keys.remove("architectures");
    change(&mut keys);
    let config = Config::of(&keys);
    let hidden = config.required_size_of(&["hidden_size", "n_embd", "d_model"], most::WIDTH)?;
    Ok(placed(Text { program: super::program(config)?, hidden }, inside))
}

/// A text model under the name that it has within another; its head keeps its own.
pub(super) fn placed(mut text: Text, inside: &str) -> Text {
    let embedding = text.program.input_embeddings.clone().unwrap_or_default();
    let base = embedding.split_once('.').map_or("", |(base, _)| base).to_owned();
    // peft translates targets by the whole model's `model_type`, which no mapping of its knows.
    text.program.expert_targets = None;
    rename(&mut text.program, &|name| {
        let rest = name.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('.'));
        rest.map(|rest| Cow::Owned(format!("{inside}.{rest}")))
    });
    text
}

/// Gives everything in a program another name where there is one.
fn rename(program: &mut Program, renamed: &impl Fn(&str) -> Option<Cow<'static, str>>) {
    let change = |name: &mut Cow<'static, str>| {
        if let Some(new) = renamed(name) {
            *name = new;
        }
    };
    for piece in &mut program.pieces {
        if piece.is_stack() {
            change(&mut piece.prefix);
        } else {
            piece.blocks.iter_mut().flat_map(|block| &mut block.modules).for_each(|module| change(&mut module.name));
        }
    }
    program.ties.iter_mut().flatten().for_each(change);
    program.input_embeddings.iter_mut().chain(&mut program.output_head).for_each(change);
    program.bias_names.iter_mut().for_each(|(bias, module)| {
        change(bias);
        change(module);
    });
}

impl Text {
    /// Ties the head to the embeddings, or unties it: the class around the text model decides.
    pub(super) fn tie(&mut self, tied: bool) {
        let program = &mut self.program;
        let (Some(embedding), Some(head)) = (program.input_embeddings.clone(), program.output_head.clone()) else {
            return;
        };
        program.ties.clear();
        if tied {
            program.ties.push(vec![embedding, head.clone()]);
        }
        let blocks = program.pieces.iter_mut().filter(|piece| !piece.is_stack()).flat_map(|piece| &mut piece.blocks);
        let heads = blocks.flat_map(|block| &mut block.modules).filter(|module: &&mut Module| module.name == head);
        heads.for_each(|module| module.tied = tied);
    }

    /// Gives the head another name.
    pub(super) fn rename_head(&mut self, name: &'static str) {
        let Some(old) = self.program.output_head.clone() else { return };
        rename(&mut self.program, &|known| (known == old).then_some(Cow::Borrowed(name)));
    }

    /// Puts a tower before the text: what is in `MEMORY` takes the places that the text keeps for images.
    pub(super) fn behind(self, tower: Vec<Piece>) -> Program {
        let mut merge = Builder::new(Stream::Text);
        merge.add_to_residual(Slot::MEMORY);
        merge.step(Step::Detach { slot: Slot::MEMORY });
        self.after(tower, Some(Piece::once(merge.finish())))
    }

    /// Puts a tower before the text, whose own blocks ask what is in `MEMORY`.
    pub(super) fn beside(self, tower: Vec<Piece>) -> Program {
        self.after(tower, None)
    }

    fn after(self, mut tower: Vec<Piece>, merge: Option<Piece>) -> Program {
        let mut text = self.program;
        let ahead = tower.len().saturating_add(usize::from(merge.is_some()));
        let mut pieces = text.pieces.into_iter();
        tower.extend(pieces.next());
        tower.extend(merge);
        tower.extend(pieces);
        text.pieces = tower;
        text.last_layers = text.last_layers.map(|index| index.saturating_add(ahead));
        text
    }
}

/// Whether the head is tied, by the configuration around the text alone.
pub(super) fn tied(config: Config<'_>, default: bool) -> Result<bool, ShapeProblem> {
    Ok(config.flag("tie_word_embeddings")?.unwrap_or(default))
}

/// An empty block of what leads features into the text model.
pub(super) fn projector(stream: Stream) -> Builder {
    Builder::tower(stream, Part::Projector)
}

/// Two linear maps with an activation function between them.
pub(super) fn two_maps(block: &mut Builder, name: &str, (inputs, outputs): (u64, u64), bias: bool, from: Slot) -> Slot {
    let wide = block.linear(format!("{name}.linear_1"), (inputs, outputs), bias, Part::Projector, from);
    block.keep(wide);
    block.linear(format!("{name}.linear_2"), (outputs, outputs), bias, Part::Projector, wide)
}

/// The end of a projector: what the text model will find in `MEMORY`, and nothing else.
pub(super) fn hand_over(mut block: Builder, features: Slot) -> Piece {
    block.rename(features, Slot::MEMORY);
    block.step(Step::Detach { slot: Slot::RESIDUAL });
    block.step(Step::Detach { slot: Slot::SIDE });
    Piece::once(block.finish())
}

/// The configuration of a part; without one, an empty one.
pub(super) fn part<'a>(
    config: Config<'a>,
    key: &str,
    none: &'a Map<String, Value>,
) -> Result<Config<'a>, ShapeProblem> {
    Ok(config.inner(key)?.unwrap_or(Config::of(none)))
}
