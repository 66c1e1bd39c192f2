//! Llama 3.2 Vision: a tower of tiles, and a text model some of whose blocks ask what it saw.
//!
//! Sources: `configuration_mllama.py` for defaults, `modeling_mllama.py` for names and order, of `transformers` 5.23.
//! Each image is padded to all its tiles, and each tile to a multiple of eight positions.

use serde_json::Map;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::parts::{Attention, Branch, Decoder, FeedForward, HeadNorms, Patches, Scale, Tower, TowerBlock};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::vision_language::{self, Text, part};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 2] = ["mllama", "mllama_text_model"];

/// Rows of the embedding beyond the vocabulary.
const MORE_WORDS: u64 = 8;
/// Positions of a tile are filled up to a multiple of this.
const PADDING: u64 = 8;

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    if config.text("model_type")? == Some("mllama_text_model") {
        return text(config, Stream::Image(0));
    }
    let none = Map::new();
    let vision = part(config, "vision_config", &none)?;
    let text_config = part(config, "text_config", &none)?;
    let sizes = Sizes::read(vision)?;
    let seen = Stream::Image(sizes.seen());
    // Only the model itself tells how it is read within another; nothing else differs.
    let program = text(text_config, seen)?;
    let hidden = text_config.size("hidden_size", most::WIDTH)?.unwrap_or(4096);
    let mut text = vision_language::placed(Text { program, hidden }, "model.language_model");
    text.tie(false);
    let mut pieces = tower(vision, &sizes)?;
    let mut projector = vision_language::projector(seen);
    let outputs = vision.size("vision_output_dim", most::WIDTH)?.unwrap_or(7680);
    let name = "model.multi_modal_projector";
    let projected = projector.linear(name, (outputs, hidden), true, Part::Projector, Slot::SIDE);
    pieces.push(vision_language::hand_over(projector, projected));
    Ok(text.beside(pieces))
}

/// Sizes of the tower.
struct Sizes {
    hidden: u64,
    heads: u64,
    inner: u64,
    tiles: u64,
    patches: Patches,
    /// Shapes of pictures that have a table of their own, and none.
    shapes: u64,
}

impl Sizes {
    fn read(vision: Config<'_>) -> Result<Self, ShapeProblem> {
        Ok(Self {
            hidden: vision.size("hidden_size", most::WIDTH)?.unwrap_or(1280),
            heads: vision.size_of(&["attention_heads", "num_attention_heads"], most::HEADS)?.unwrap_or(16),
            inner: vision.size("intermediate_size", most::WIDTH)?.unwrap_or(5120),
            tiles: vision.size("max_num_tiles", most::WIDTH)?.unwrap_or(4),
            patches: Patches::read(vision, (448, 14), false)?,
            shapes: vision.items("supported_aspect_ratios")?.unwrap_or(8).saturating_add(1),
        })
    }

    /// Patches of a tile, and its class.
    const fn positions(&self) -> u64 {
        self.patches.count.saturating_add(1)
    }

    /// Positions of an image that the text may ask.
    const fn seen(&self) -> u64 {
        self.positions().saturating_mul(self.tiles)
    }

    /// Positions of an image that the tower's blocks read.
    const fn padded(&self) -> u64 {
        self.positions().div_ceil(PADDING).saturating_mul(PADDING).saturating_mul(self.tiles)
    }
}

fn tower(vision: Config<'_>, sizes: &Sizes) -> Result<Vec<Piece>, ShapeProblem> {
    let tower = Tower::beside_text("model.vision_model");
    let stream = Stream::Image(sizes.padded());
    let layers = vision.size("num_hidden_layers", most::LAYERS)?.unwrap_or(32);
    let global = vision.size("num_global_layers", most::LAYERS)?.unwrap_or(8);
    let taken = vision.integers("intermediate_layers_indices")?.unwrap_or_else(|| vec![3, 7, 15, 23, 30]);
    let kinds: Vec<bool> = (0..layers).map(|index| taken.iter().any(|it| u64::try_from(*it) == Ok(index))).collect();
    let plain = block(sizes, [None, None])?;
    let gate = |name| Some(Scale { name, width: 1 });
    let gated = block(sizes, [gate("gate_attn"), gate("gate_ffn")])?;
    let take = Step::Add { from: Slot::SIDE, with: Slot::RESIDUAL, to: Slot::SIDE };
    let mut build = |taken: &bool| {
        let mut built = plain.build(tower.over(stream));
        built.steps.extend(taken.then_some(take));
        built
    };
    // transformers has no checkpoints here.
    let first = Piece::stack(tower.name("transformer.layers"), &kinds, &mut build);
    let mut between = tower.over(stream);
    let normed = between.layer_norm(tower.name("layernorm_post"), sizes.hidden, Slot::RESIDUAL);
    let tiled = tiles(&mut between, &tower, "post_tile_positional_embedding", sizes, normed);
    between.rename(tiled, Slot::RESIDUAL);
    let kinds = vec![(); usize::try_from(global).unwrap_or_default()];
    let last = Piece::stack(tower.name("global_transformer.layers"), &kinds, &mut |()| gated.build(tower.over(stream)));
    let mut end = tower.over(stream);
    end.step(take);
    Ok(vec![
        Piece::once(stem(&tower, sizes)),
        Piece { checkpointed: false, ..first },
        Piece::once(between.finish()),
        Piece { checkpointed: false, ..last },
        Piece::once(end.finish()),
    ])
}

fn stem(tower: &Tower, sizes: &Sizes) -> Block {
    let hidden = sizes.hidden;
    let mut stem = tower.over(Stream::Image(sizes.patches.count.saturating_mul(sizes.tiles)));
    let cut = tower.cut_over(&mut stem, "patch_embedding", sizes.patches, hidden);
    let tiled = tiles(&mut stem, tower, "pre_tile_positional_embedding", sizes, cut);
    let classed = tower.parameter(&mut stem, "class_embedding", hidden, tiled);
    let gated = tower.parameter(&mut stem, "gated_positional_embedding.gate", 1, classed);
    let elements = sizes.positions().saturating_mul(hidden);
    let placed = tower.parameter(&mut stem, "gated_positional_embedding.embedding", elements, gated);
    let width = elements.saturating_mul(sizes.tiles);
    let all = tower.table(&mut stem, "gated_positional_embedding.tile_embedding", (sizes.shapes, width), placed);
    let normed = stem.layer_norm(tower.name("layernorm_pre"), hidden, all);
    stem.rename(normed, Slot::RESIDUAL);
    // Which positions are padding is a product of that mask with itself.
    let padded = Stream::Image(sizes.padded());
    stem.switch(padded);
    let (mask, pairs) = (stem.slot(), stem.pairs(padded, Mask::Bidirectional));
    stem.product(mask, mask, 2, pairs, Part::Tower);
    stem.finish()
}

/// A gated table with a row for each shape of a picture.
fn tiles(block: &mut Builder, tower: &Tower, name: &str, sizes: &Sizes, with: Slot) -> Slot {
    let row = sizes.tiles.saturating_mul(sizes.hidden);
    let tiled = tower.table(block, &format!("{name}.embedding"), (sizes.shapes, row), with);
    tower.parameter(block, &format!("{name}.gate"), 1, tiled)
}

fn block(sizes: &Sizes, scales: [Option<Scale>; 2]) -> Result<TowerBlock, ShapeProblem> {
    let head_size = Attention::head_size(sizes.hidden, sizes.heads, &["attention_heads"])?;
    let names = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    Ok(TowerBlock {
        branch: Branch::before(sizes.hidden),
        attention: Attention::both_ways((sizes.heads, head_size), names).biased(false),
        feed_forward: FeedForward::plain(sizes.inner, "mlp.fc1", "mlp.fc2"),
        norms: ["input_layernorm", "post_attention_layernorm"],
        scales,
    })
}

/// The text model; some of its blocks ask the images and not the text.
fn text(config: Config<'_>, seen: Stream) -> Result<Program, ShapeProblem> {
    let hidden = config.size("hidden_size", most::WIDTH)?.unwrap_or(4096);
    let heads = config.size("num_attention_heads", most::HEADS)?.unwrap_or(32);
    let key_value_heads = config.size("num_key_value_heads", most::HEADS)?.unwrap_or(8);
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    super::keys::check_groups("num_key_value_heads", heads, key_value_heads)?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(14_336);
    let vocabulary = config.size("vocab_size", most::VOCABULARY)?.unwrap_or(128_256);
    let layers = config.size("num_hidden_layers", most::LAYERS)?.unwrap_or(40);
    let asking = config.integers("cross_attention_layers")?.unwrap_or_else(|| vec![3, 8, 13, 18, 23, 28, 33, 38]);
    let kinds: Vec<bool> = (0..layers).map(|index| asking.iter().any(|it| u64::try_from(*it) == Ok(index))).collect();
    let attention = Attention::usual(heads, key_value_heads, head_size);
    let feed_forward = FeedForward::gated(inner);
    let mut program = Decoder::usual(vocabulary, hidden, false).program(&kinds, |asks| {
        if *asks {
            asking_block(hidden, &attention, &feed_forward, seen)
        } else {
            own(hidden, &attention, &feed_forward)
        }
    });
    let stem = program.pieces.first_mut().and_then(|piece| piece.blocks.first_mut());
    if let Some(embedding) = stem.and_then(|block| block.modules.first_mut()) {
        embedding.kind = ModuleKind::Embedding { rows: vocabulary.saturating_add(MORE_WORDS), width: hidden };
    }
    Ok(program)
}

/// A block as Llama has it.
fn own(hidden: u64, attention: &Attention, feed_forward: &FeedForward) -> Block {
    let mut block = Builder::new(Stream::Text);
    let branch = Branch { shift: false, ..Branch::before(hidden) };
    branch.build(&mut block, "input_layernorm", |block, input| attention.build(block, hidden, input));
    branch.build(&mut block, "post_attention_layernorm", |block, input| feed_forward.build(block, hidden, input));
    block.finish()
}

/// A block that asks images; both of its branches are gated.
fn asking_block(hidden: u64, attention: &Attention, feed_forward: &FeedForward, seen: Stream) -> Block {
    let mut block = Builder::new(Stream::TextBesideImages);
    let branch = Branch { shift: false, ..Branch::before(hidden) };
    let names = ["cross_attn.q_proj", "cross_attn.k_proj", "cross_attn.v_proj", "cross_attn.o_proj"];
    let asking = Attention {
        key_value_heads: attention.key_value_heads,
        norms: HeadNorms::Head { query: "cross_attn.q_norm", key: "cross_attn.k_norm" },
        mask: Mask::Bidirectional,
        ..Attention::both_ways((attention.heads, attention.head_size), names).biased(false)
    };
    let gate = |name| Some(Scale { name, width: 1 });
    branch.scaled(&mut block, "input_layernorm", gate("cross_attn_attn_gate"), |block, input| {
        asking.cross(block, hidden, input, (hidden, Slot::MEMORY, seen))
    });
    branch.scaled(&mut block, "post_attention_layernorm", gate("cross_attn_mlp_gate"), |block, input| {
        feed_forward.build(block, hidden, input)
    });
    block.finish()
}
