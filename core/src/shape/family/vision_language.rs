//! Text models that see: a tower of images, a projector, and the blocks of a text family behind them.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::Config;
use super::super::program::{Module, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use crate::flops::Part;

/// An empty block of what leads features into the text model.
pub(super) fn projector(stream: Stream) -> Builder {
    Builder::tower(stream, Part::Projector)
}

/// The end of a projector: what the text model will find in `MEMORY`, and nothing else.
pub(super) fn hand_over(mut block: Builder, features: Slot) -> Piece {
    block.rename(features, Slot::MEMORY);
    block.step(Step::Detach { slot: Slot::RESIDUAL });
    block.step(Step::Detach { slot: Slot::SIDE });
    Piece::once(block.finish())
}

/// The text model of a configuration around it, with the name that it has there; its head keeps its own.
pub(super) fn text(config: Config<'_>, inside: &str) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let complete = config.or_defaults(defaults(model_type));
    let mut program = super::program(Config::of(&complete))?;
    let embedding = program.input_embeddings.clone().unwrap_or_default();
    let base = embedding.split_once('.').map_or("", |(base, _)| base).to_owned();
    rename(&mut program, &|name| match name.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) => Some(Cow::Owned(format!("{inside}.{rest}"))),
        None => None,
    });
    Ok(program)
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

/// Ties the head to the embeddings, or unties it: the configuration around the text model decides.
pub(super) fn tie(program: &mut Program, tied: bool) {
    let (Some(embedding), Some(head)) = (program.input_embeddings.clone(), program.output_head.clone()) else { return };
    program.ties.clear();
    if tied {
        program.ties.push(vec![embedding, head.clone()]);
    }
    let blocks = program.pieces.iter_mut().filter(|piece| !piece.is_stack()).flat_map(|piece| &mut piece.blocks);
    let heads = blocks.flat_map(|block| &mut block.modules).filter(|module: &&mut Module| module.name == head);
    heads.for_each(|module| module.tied = tied);
}

/// Puts a tower before a text model: what is in `MEMORY` takes the places that the text keeps for images.
pub(super) fn see(mut tower: Vec<Piece>, mut text: Program) -> Program {
    let mut merge = Builder::new(Stream::Text);
    merge.add_to_residual(Slot::MEMORY);
    merge.step(Step::Detach { slot: Slot::MEMORY });
    let ahead = tower.len() + 1;
    let mut pieces = text.pieces.into_iter();
    tower.extend(pieces.next());
    tower.push(Piece::once(merge.finish()));
    tower.extend(pieces);
    text.pieces = tower;
    text.last_layers = text.last_layers.map(|index| index + ahead);
    text
}

/// Sizes that the classes of text models fill in where a configuration around them is silent.
fn defaults(model_type: &str) -> &'static [(&'static str, u64)] {
    match model_type {
        "llama" => &[
            ("vocab_size", 32_000),
            ("hidden_size", 4096),
            ("intermediate_size", 11_008),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
        ],
        "mistral" => &[
            ("vocab_size", 32_000),
            ("hidden_size", 4096),
            ("intermediate_size", 14_336),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
        ],
        "gemma3_text" => &[
            ("vocab_size", 262_208),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
        ],
        _ => &[],
    }
}
