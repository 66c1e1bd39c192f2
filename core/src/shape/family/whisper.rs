//! Whisper: an encoder of sound of one length, and a decoder of text.
//!
//! Sources: `configuration_whisper.py` for defaults, `modeling_whisper.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::Branch;
use super::super::positions::PositionTable;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use super::bart::{self, Stack};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["whisper"];

/// Frames on either side of one that a convolution sees, and itself.
const KERNEL: u64 = 3;

/// Rows of the decoder's table of positions where the configuration is silent.
const TARGET_POSITIONS: u64 = 448;

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let hidden = config.required_size_of(&["d_model", "hidden_size"], most::WIDTH)?;
    let branch = Branch { dropout: config.is_positive("dropout")?, ..Branch::before(hidden) };
    let positions = config.size("max_source_positions", most::WIDTH)?.unwrap_or(1500);
    let sound = Stream::Frames(positions);
    let (prefix, labels) = match head::ending(config)? {
        None | Some("ConditionalGeneration") => ("model.", None),
        Some("Model") => ("", None),
        Some("AudioClassification") => ("", Some(head::labels(config)?)),
        Some(_) => return Err(head::unknown(config)),
    };
    let name = |what: &str| Cow::<'static, str>::Owned(format!("{prefix}{what}"));
    let mut program = Program { sequence_length: Some(positions), ..Program::default() };
    program.pieces.push(Piece::once(hear(config, hidden, positions, &name)?));
    program.last_layers = Some(program.pieces.len());
    let encoder = Stack { key_bias: false, ..Stack::read(config, "encoder", branch, (sound, None))? };
    program.pieces.push(encoder.piece(name("encoder.layers")));
    program.pieces.push(Piece::once(bart::turn(branch, sound, Some(name("encoder.layer_norm")))));
    if let Some(labels) = labels {
        program.pieces.push(Piece::once(classify(config, hidden, sound, labels)?));
        program.input_embeddings = Some(name("encoder.conv1"));
        program.output_head = Some(Cow::Borrowed("classifier"));
        program.classifies = true;
        return Ok(program);
    }
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    program.pieces.push(Piece::once(listen(config, hidden, vocabulary, &name)?));
    program.last_layers = Some(program.pieces.len());
    let decoder = Stack { key_bias: false, ..Stack::read(config, "decoder", branch, (Stream::Decoder, Some(sound)))? };
    program.pieces.push(decoder.piece(name("decoder.layers")));
    program.input_embeddings = Some(name("decoder.embed_tokens"));
    let most = config.size("max_target_positions", most::VOCABULARY)?.unwrap_or(TARGET_POSITIONS);
    let stream = Stream::Decoder;
    program.position_tables = vec![PositionTable { stream, key: "max_target_positions", most }];
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    let mut tail = Builder::new(Stream::Decoder);
    let normed = tail.layer_norm(name("decoder.layer_norm"), hidden, Slot::RESIDUAL);
    if !prefix.is_empty() {
        tail.linear("proj_out", (hidden, vocabulary), false, Part::OutputHead, normed);
        if let Some(head) = tail.last() {
            head.tied = tied;
            head.outside_all_linear = true;
        }
        program.output_head = Some(Cow::Borrowed("proj_out"));
        if tied {
            program.ties.push(vec![name("decoder.embed_tokens"), Cow::Borrowed("proj_out")]);
        }
    }
    program.pieces.push(Piece::once(tail.finish()));
    Ok(program)
}

/// Two convolutions, the second of which halves the frames, and positions nobody trains.
fn hear(
    config: Config<'_>,
    hidden: u64,
    positions: u64,
    name: &impl Fn(&str) -> Cow<'static, str>,
) -> Result<Block, ShapeProblem> {
    let bins = config.size("num_mel_bins", most::WIDTH)?.unwrap_or(80);
    let convolution =
        |inputs| ModuleKind::Convolution { inputs, outputs: hidden, kernel: KERNEL, groups: 1, bias: true };
    let mut block = Builder::new(Stream::Frames(positions.saturating_mul(2)));
    let frames = block.slot();
    let first = block.apply(name("encoder.conv1"), convolution(bins), Part::Convolutions, frames);
    block.step(Step::InputGradients { slot: first });
    block.switch(Stream::Frames(positions));
    let second = block.apply(name("encoder.conv2"), convolution(hidden), Part::Convolutions, first);
    let kind = ModuleKind::Constant { elements: positions.saturating_mul(hidden) };
    let placed = block.apply(name("encoder.embed_positions"), kind, Part::InputEmbeddings, frames);
    block.step(Step::Add { from: second, with: placed, to: Slot::RESIDUAL });
    Ok(block.finish())
}

fn listen(
    config: Config<'_>,
    hidden: u64,
    vocabulary: u64,
    name: &impl Fn(&str) -> Cow<'static, str>,
) -> Result<Block, ShapeProblem> {
    let mut block = Builder::new(Stream::Decoder);
    let tokens = block.slot();
    let table = |rows| ModuleKind::Embedding { rows, width: hidden };
    let words = block.apply(name("decoder.embed_tokens"), table(vocabulary), Part::InputEmbeddings, tokens);
    block.step(Step::InputGradients { slot: words });
    let rows = config.size("max_target_positions", most::VOCABULARY)?.unwrap_or(TARGET_POSITIONS);
    let placed = block.apply(name("decoder.embed_positions"), table(rows), Part::InputEmbeddings, tokens);
    block.step(Step::Add { from: words, with: placed, to: Slot::RESIDUAL });
    Ok(block.finish())
}

fn classify(config: Config<'_>, hidden: u64, sound: Stream, labels: u64) -> Result<Block, ShapeProblem> {
    if config.flag("use_weighted_layer_sum")?.unwrap_or(false) {
        let key = "use_weighted_layer_sum".to_owned();
        return Err(ShapeProblem::NotCounted { key, found: "true".to_owned() });
    }
    let width = config.size("classifier_proj_size", most::WIDTH)?.unwrap_or(256);
    let mut block = Builder::new(sound);
    let projected = block.linear("projector", (hidden, width), true, Part::OutputHead, Slot::MEMORY);
    block.switch(Stream::Pooled);
    block.linear("classifier", (width, labels), true, Part::OutputHead, projected);
    Ok(block.finish())
}
