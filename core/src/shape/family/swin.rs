//! Swin: stages of blocks that attend within windows, each stage on half as many rows and columns as the one before.
//!
//! Sources: `configuration_swin.py` for defaults, `modeling_swin.py` for names and order, of `transformers` 5.23.
//! Images are taken to have the size of the configuration.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Patches, Tower};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use crate::flops::Part;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["swin"];

const DEPTHS: [u64; 4] = [2, 2, 6, 2];
const HEADS: [u64; 4] = [3, 6, 12, 24];

/// Blocks of one stage.
#[derive(Clone, Copy)]
struct Stage {
    width: u64,
    heads: u64,
    depth: u64,
    /// Rows and columns of positions.
    grid: [u64; 2],
    /// Side of a window.
    window: u64,
    inner: u64,
    bias: bool,
    dropout: bool,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let bare = match head::ending(config)? {
        None | Some("ImageClassification") => false,
        Some("Model") => true,
        Some(_) => return Err(head::unknown(config)),
    };
    let patches = patches(config)?;
    let embedded = config.size("embed_dim", most::WIDTH)?.unwrap_or(96);
    let tower = Tower::alone(if bare { "" } else { "swin" });
    let mut program = Program {
        input_embeddings: Some(tower.name("embeddings.patch_embeddings")),
        sequence_length: Some(patches.count),
        ..Program::default()
    };
    program.pieces.push(Piece::once(stem(config, &tower, patches, embedded)?));
    let stages = stages(config, embedded, patches.grid)?;
    for (number, stage) in (0_u16..).zip(&stages) {
        let name = format!("encoder.layers.{number}");
        let blocks = vec![(); usize::try_from(stage.depth).unwrap_or_default()];
        let stack = Piece::stack(tower.name(&format!("{name}.blocks")), &blocks, &mut |()| stage.block());
        program.pieces.push(Piece { stage: Some(number), ..stack });
        if usize::from(number) + 1 < stages.len() {
            let merge = Piece::once(stage.merge(&tower, &name));
            program.pieces.push(Piece { stage: Some(number), checkpointed: true, ..merge });
        }
    }
    let (width, positions) = stages.last().map_or((embedded, 0), |last| (last.width, last.positions()));
    let mut tail = tower.builder(positions);
    let last = tail.layer_norm(tower.name("layernorm"), width, Slot::RESIDUAL);
    if !bare {
        tail.switch(Stream::Pooled);
        tail.linear("classifier", (width, head::labels(config)?), true, Part::OutputHead, last);
        program.output_head = Some(Cow::Borrowed("classifier"));
        program.classifies = true;
    }
    program.pieces.push(Piece::once(tail.finish()));
    Ok(program)
}

/// Images that patches fill.
fn patches(config: Config<'_>) -> Result<Patches, ShapeProblem> {
    let image = config.height_and_width("image_size", most::WIDTH)?.unwrap_or([224; 2]);
    let patch = config.height_and_width("patch_size", most::WIDTH)?.unwrap_or([4; 2]);
    if image.iter().zip(patch).any(|(image, patch)| !image.is_multiple_of(patch)) {
        return Err(ShapeProblem::Contradiction {
            key: "patch_size".to_owned(),
            found: format!("{patch:?}"),
            conflict: format!("does not divide image_size, {image:?}"),
        });
    }
    Patches::read(config, (224, 4), true)
}

fn stem(config: Config<'_>, tower: &Tower, patches: Patches, embedded: u64) -> Result<Block, ShapeProblem> {
    let mut stem = tower.builder(patches.count);
    let cut = tower.cut(&mut stem, "embeddings.patch_embeddings.projection", patches, embedded);
    let mut all = stem.layer_norm(tower.name("embeddings.norm"), embedded, cut);
    if config.flag("use_absolute_embeddings")?.unwrap_or(false) {
        let elements = patches.count.saturating_mul(embedded);
        all = tower.parameter(&mut stem, "embeddings.position_embeddings", elements, all);
    }
    stem.rename(all, Slot::RESIDUAL);
    Ok(stem.finish())
}

fn stages(config: Config<'_>, embedded: u64, mut grid: [u64; 2]) -> Result<Vec<Stage>, ShapeProblem> {
    let depths = config.sizes("depths", most::LAYERS)?.unwrap_or_else(|| DEPTHS.to_vec());
    let heads = config.sizes("num_heads", most::HEADS)?.unwrap_or_else(|| HEADS.to_vec());
    let conflict = |key: &str, found: String, conflict: String| {
        Err(ShapeProblem::Contradiction { key: key.to_owned(), found, conflict })
    };
    if depths.len() != heads.len() || depths.len() > usize::from(u8::MAX) {
        let found = format!("a list of {}", heads.len());
        return conflict("num_heads", found, format!("depths is a list of {}", depths.len()));
    }
    let window = config.size("window_size", most::WIDTH)?.unwrap_or(7);
    let bias = config.flag("qkv_bias")?.unwrap_or(true);
    let dropout = config.is_positive("hidden_dropout_prob")?;
    let mut stages = Vec::with_capacity(depths.len());
    let mut width = embedded;
    for (depth, heads) in depths.into_iter().zip(heads) {
        if !width.is_multiple_of(heads) {
            return conflict("num_heads", heads.to_string(), format!("does not divide the stage's width, {width}"));
        }
        if grid.iter().any(|side| *side < window) {
            return conflict("window_size", window.to_string(), format!("a stage has only {grid:?} positions"));
        }
        let inner = config.times("mlp_ratio", width, most::WIDTH)?.unwrap_or_else(|| width.saturating_mul(4));
        stages.push(Stage { width, heads, depth, grid, window, inner, bias, dropout });
        grid = grid.map(|side| side.div_ceil(2));
        width = width.saturating_mul(2).min(most::WIDTH);
    }
    Ok(stages)
}

impl Stage {
    const fn positions(&self) -> u64 {
        let [rows, columns] = self.grid;
        rows.saturating_mul(columns)
    }

    /// The same with rows and columns filled up to whole windows.
    fn filled(&self) -> u64 {
        let [rows, columns] = self.grid.map(|side| side.div_ceil(self.window).saturating_mul(self.window));
        rows.saturating_mul(columns)
    }

    /// Both the stage and the block are checkpointed layers.
    fn block(&self) -> Block {
        let mut block = Builder::new(Stream::Fixed(self.positions()));
        block.step(Step::Nested);
        let input = block.layer_norm("layernorm_before", self.width, Slot::RESIDUAL);
        block.switch(Stream::Fixed(self.filled()));
        let attended = self.attend(&mut block, input);
        block.switch(Stream::Fixed(self.positions()));
        self.join(&mut block, attended);
        let input = block.layer_norm("layernorm_after", self.width, Slot::RESIDUAL);
        let wide = block.linear("mlp.fc1", (self.width, self.inner), true, Part::FeedForward, input);
        block.keep(wide);
        let narrow = block.linear("mlp.fc2", (self.inner, self.width), true, Part::FeedForward, wide);
        self.join(&mut block, narrow);
        block.finish()
    }

    fn join(&self, block: &mut Builder, branch: Slot) {
        if self.dropout {
            block.keep(branch);
        }
        block.add_to_residual(branch);
    }

    /// Each position asks those of its window.
    fn attend(&self, block: &mut Builder, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let square = (self.width, self.width);
        let [query, key, value] = ["q_proj", "k_proj", "v_proj"]
            .map(|name| block.linear(format!("attention.{name}"), square, self.bias, part, input));
        let far = self.window.saturating_mul(2).saturating_sub(1);
        let elements = far.saturating_mul(far).saturating_mul(self.heads);
        let nothing = block.slot();
        let name = "attention.relative_position_bias.relative_position_bias_table";
        let distances = block.apply(name, ModuleKind::Parameter { elements }, part, nothing);
        let keys = u128::from(self.window).saturating_mul(u128::from(self.window));
        let factor = u128::from(self.width).saturating_mul(2).saturating_mul(keys);
        let scores = block.product(query, key, factor, block.positions(), Part::AttentionScores);
        let weights = block.add(scores, distances);
        block.keep(weights); // the softmax
        let mixed = block.product(weights, value, factor, block.positions(), Part::AttentionScores);
        block.linear("attention.o_proj", square, true, part, mixed)
    }

    /// Four neighbours become one position of twice the width.
    fn merge(&self, tower: &Tower, name: &str) -> Block {
        let [rows, columns] = self.grid.map(|side| side.div_ceil(2));
        let mut block = Builder::new(Stream::Fixed(rows.saturating_mul(columns)));
        let four = self.width.saturating_mul(4);
        let normed = block.layer_norm(tower.name(&format!("{name}.downsample.norm")), four, Slot::RESIDUAL);
        let reduction = tower.name(&format!("{name}.downsample.reduction"));
        let widths = (four, self.width.saturating_mul(2));
        let reduced = block.linear(reduction, widths, false, Part::FeedForward, normed);
        block.rename(reduced, Slot::RESIDUAL);
        block.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, value: serde_json::Value) -> Option<ShapeProblem> {
        let mut config = serde_json::json!({ "model_type": "swin" });
        config[key] = value;
        Config::new(&config).and_then(read).err()
    }

    #[test]
    fn sizes_that_do_not_fit_each_other_are_refused_by_name() {
        let cases = [
            ("window_size", serde_json::json!(8), "window_size"),
            ("patch_size", serde_json::json!(3), "patch_size"),
            ("num_heads", serde_json::json!([3, 6, 12]), "num_heads"),
            ("num_heads", serde_json::json!([5, 6, 12, 24]), "num_heads"),
        ];
        for (key, value, named) in cases {
            let found = problem(key, value);
            assert!(matches!(&found, Some(ShapeProblem::Contradiction { key, .. }) if key == named), "{found:?}");
        }
        assert_eq!(problem("qkv_bias", serde_json::json!(false)), None);
    }
}
