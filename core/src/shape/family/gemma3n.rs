//! Gemma 3n's text model: several predictions of the stream side by side, of which each block computes one.
//!
//! Sources: `configuration_gemma3n.py` for defaults, `modeling_gemma3n.py` for names and order, of `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::mask::{self, Windows};
use super::super::parts::{Decoder, FeedForward, LayerInputs, SharingAttention};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::dense::check_head;
use super::key_sharing;
use super::keys::{Keys, Sizes};
use super::sizes::{Heads, heads};
use crate::flops::Part;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["gemma3n_text"];

const WINDOWS: Windows = Windows::Repeating { every: 5, first: false, adjustable: false, window: 512 };
const HEADS: Heads = Heads { key_value: Some(2), size: Some(256) };
/// Blocks that ask the keys of earlier ones.
const SHARING: u64 = 15;

/// What all blocks have in common.
#[derive(Clone, Copy)]
struct Common {
    hidden: u64,
    /// Predictions of the stream.
    predictions: u64,
    /// Channels of the second, narrow path beside attention.
    narrow: u64,
    /// The corrected prediction is scaled before it is gated.
    scaled: bool,
    layer_inputs: LayerInputs,
}

/// What sets a block apart: its attention, and the width of its feed-forward part.
type Kind = (SharingAttention, u64);

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    check_head(config)?;
    let sizes = Keys::USUAL.read(config)?;
    let size = |key: &str, default: u64| Ok::<u64, ShapeProblem>(config.size(key, most::WIDTH)?.unwrap_or(default));
    let common = Common {
        hidden: sizes.hidden,
        predictions: config.size("altup_num_inputs", most::HEADS)?.unwrap_or(4),
        narrow: size("laurel_rank", 64)?,
        scaled: config.flag("altup_correct_scale")?.unwrap_or(true),
        layer_inputs: LayerInputs {
            width: size("hidden_size_per_layer_input", 256)?,
            rows: config.size("vocab_size_per_layer_input", most::VOCABULARY)?.unwrap_or(262_144),
            layers: sizes.layers,
        },
    };
    let kinds = kinds(config, sizes)?;
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    let decoder = Decoder::usual(sizes.vocabulary, sizes.hidden, tied);
    let mut program = Program { reads_tokens: true, ..Program::default() };
    program.pieces.push(Piece::once(decoder.stem()));
    program.pieces.push(Piece::once(common.layer_inputs.ahead(decoder)));
    program.pieces.push(Piece::once(common.projections(decoder, "altup_projections")));
    program.last_layers = Some(program.pieces.len());
    let mut build = |(attention, inner): &Kind| common.block(attention, *inner);
    program.pieces.push(Piece::stack(decoder.name(decoder.blocks), &kinds, &mut build));
    program.pieces.push(Piece::once(common.projections(decoder, "altup_unembed_projections")));
    decoder.finish(&mut program);
    Ok(program)
}

fn kinds(config: Config<'_>, sizes: Sizes) -> Result<Vec<Kind>, ShapeProblem> {
    let masks = mask::read(WINDOWS, config, sizes.layers)?;
    let full: Vec<bool> = masks.iter().map(|mask| *mask == Mask::Causal).collect();
    let sharing = key_sharing::read(config, SHARING, &full)?;
    let (heads, key_value_heads, head_size) = heads(config, HEADS, sizes.hidden)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let attentions = masks.into_iter().zip(sharing).map(|(mask, sharing)| SharingAttention {
        heads,
        key_value_heads,
        head_size,
        bias,
        mask,
        keys_are_values: false,
        sharing,
    });
    Ok(attentions.zip(widths(config, sizes.layers)?).collect())
}

/// Width of each feed-forward part: one for all, or a list.
fn widths(config: Config<'_>, layers: u64) -> Result<Vec<u64>, ShapeProblem> {
    let listed = config.sizes("intermediate_size", most::WIDTH)?;
    let listed = listed.ok_or_else(|| ShapeProblem::Missing { key: "intermediate_size".to_owned() })?;
    if let [inner] = *listed.as_slice() {
        return Ok((0..layers).map(|_| inner).collect());
    }
    if u64::try_from(listed.len()) == Ok(layers) {
        return Ok(listed);
    }
    Err(ShapeProblem::Contradiction {
        key: "intermediate_size".to_owned(),
        found: format!("a list of {}", listed.len()),
        conflict: format!("num_hidden_layers is {layers}"),
    })
}

impl Common {
    /// One square map for each prediction but the first, from the words' vectors and back to one.
    fn projections(self, decoder: Decoder, name: &str) -> Block {
        let mut block = Builder::new(Stream::Text);
        let mut all = Slot::RESIDUAL;
        for index in 1..self.predictions {
            let name = decoder.name(&format!("{name}.{}", index - 1));
            let one = block.linear(name, (self.hidden, self.hidden), false, Part::FeedForward, Slot::RESIDUAL);
            all = block.add(all, one);
        }
        block.rename(all, Slot::RESIDUAL);
        block.finish()
    }

    fn block(self, attention: &SharingAttention, inner: u64) -> Block {
        let mut block = Builder::new(Stream::Text);
        let predicted = self.predict(&mut block);
        let input = block.norm("input_layernorm", self.hidden, predicted);
        let narrow = self.narrow_path(&mut block, input);
        let attended = attention.build(&mut block, self.hidden, input);
        let attended = block.norm("post_attention_layernorm", self.hidden, attended);
        let attended = block.add(predicted, attended);
        let attended = block.add(attended, narrow);
        let input = block.norm("pre_feedforward_layernorm", self.hidden, attended);
        let widened = FeedForward::gated(inner).build(&mut block, self.hidden, input);
        let widened = block.norm("post_feedforward_layernorm", self.hidden, widened);
        let computed = block.add(attended, widened);
        let corrected = self.correct(&mut block, predicted, computed);
        let first = self.scale(&mut block, corrected);
        let more = self.layer_inputs.build(&mut block, self.hidden, first);
        block.step(Step::Add { from: corrected, with: more, to: Slot::RESIDUAL });
        block.finish()
    }

    /// Each prediction as a mixture of all, at each position in shares of its own.
    fn predict(self, block: &mut Builder) -> Slot {
        let normed = block.norm("altup.router_norm", self.hidden, Slot::RESIDUAL);
        block.keep(normed); // a factor that is no parameter
        let widths = (self.hidden, self.predictions);
        let routed = block.linear("altup.modality_router", widths, false, Part::Router, normed);
        block.keep(routed); // the hyperbolic tangent
        let squared = self.predictions.saturating_mul(self.predictions);
        let shares = block.linear("altup.prediction_coefs", (self.predictions, squared), false, Part::Router, routed);
        let factor = u128::from(self.hidden).saturating_mul(u128::from(squared)).saturating_mul(2);
        let mixed = block.product(Slot::RESIDUAL, shares, factor, block.positions(), Part::FeedForward);
        block.add(mixed, Slot::RESIDUAL)
    }

    /// A low-rank path beside attention.
    fn narrow_path(self, block: &mut Builder, input: Slot) -> Slot {
        let part = Part::FeedForward;
        let down = block.linear("laurel.linear_left", (self.hidden, self.narrow), false, part, input);
        let up = block.linear("laurel.linear_right", (self.narrow, self.hidden), false, part, down);
        let normed = block.norm("laurel.post_laurel_norm", self.hidden, up);
        block.add(input, normed)
    }

    /// What the block computed corrects every prediction.
    fn correct(self, block: &mut Builder, predicted: Slot, computed: Slot) -> Slot {
        let normed = again(block, "altup.router_norm", computed);
        block.keep(normed);
        let routed = again(block, "altup.modality_router", normed);
        block.keep(routed);
        let widths = (self.predictions, self.predictions);
        // Training clips this weight, so the product is with the clipped one, past the module.
        let shares = block.weight("altup.correction_coefs", widths, false, Part::Router, routed);
        let innovation = block.add(computed, predicted);
        let correction = block.multiply(innovation, shares);
        block.add(correction, predicted)
    }

    fn scale(self, block: &mut Builder, corrected: Slot) -> Slot {
        let (name, kind) = ("altup.correct_output_scale", ModuleKind::Parameter { elements: self.hidden });
        if !self.scaled {
            block.module(name, kind, Part::Norms);
            return corrected;
        }
        let nothing = block.slot();
        let scale = block.apply(name, kind, Part::Norms, nothing);
        block.multiply(corrected, scale)
    }
}

/// Through a module that the block has used before.
fn again(block: &mut Builder, name: &str, from: Slot) -> Slot {
    let to = block.slot();
    if let Some(module) = block.find(name) {
        block.step(Step::Apply { module, from, to, rows: block.positions() });
    }
    to
}
