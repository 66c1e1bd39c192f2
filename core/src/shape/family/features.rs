//! What a tower of images offers to the model beside it.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::parts::{PoolingHead, Tower, TowerBlock};
use super::super::program::{Block, Piece, Slot, Step};
use super::super::quantity::Stream;

/// A tower, from its pixels to what it offers.
pub(super) struct Features {
    pub(super) tower: Tower,
    /// Up to the first block.
    pub(super) stem: Vec<Piece>,
    /// Full name of the list of blocks.
    pub(super) blocks: Cow<'static, str>,
    pub(super) block: TowerBlock,
    pub(super) layers: u64,
    /// What enters a block is passed by name.
    pub(super) by_name: bool,
    /// Norm behind the last block.
    pub(super) norm: Option<Cow<'static, str>>,
    /// What makes one position of all.
    pub(super) pool: Option<PoolingHead>,
    pub(super) hidden: u64,
    /// Positions of an image: all, and those that are patches.
    pub(super) stream: Stream,
    pub(super) patches: Stream,
    /// Patches of a column and of a row.
    pub(super) grid: [u64; 2],
}

/// How a block of a tower is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Another block reads it.
    Passing,
    /// So do the features that the text model gets.
    Taken,
    /// Nothing does.
    Unread,
}

/// Adds what leaves a block to the features.
const TAKE: Step = Step::Add { from: Slot::SIDE, with: Slot::RESIDUAL, to: Slot::SIDE };

impl Features {
    /// The pieces of the tower where the features are taken from some of its blocks, counted as `transformers` counts hidden
    /// states: 0 is what enters the first block, -1 what leaves the last one. `SIDE` holds them.
    pub(super) fn taken_from(self, layers: &[i64]) -> Result<Vec<Piece>, ShapeProblem> {
        let count = i64::try_from(self.layers).unwrap_or(i64::MAX);
        let place = |layer: &i64| if *layer < 0 { count.saturating_add(*layer) } else { layer.saturating_sub(1) };
        let taken: Vec<i64> = layers.iter().map(place).collect();
        if let Some((wrong, _)) = layers.iter().zip(&taken).find(|(_, place)| !(-1..count).contains(*place)) {
            return Err(ShapeProblem::Contradiction {
                key: "vision_feature_layer".to_owned(),
                found: wrong.to_string(),
                conflict: format!("the tower has {count} blocks"),
            });
        }
        let last = taken.iter().copied().max().unwrap_or(-1);
        let used = |index: i64| match index {
            index if taken.contains(&index) => Use::Taken,
            index if index < last => Use::Passing,
            _ => Use::Unread,
        };
        let each: Vec<Use> = (0..count).map(used).collect();
        let behind = [self.last_norm(false), self.pooling(false)];
        let mut pieces = self.up_to_last(&each, taken.contains(&-1));
        pieces.extend(behind.into_iter().flatten());
        Ok(pieces)
    }

    /// The pieces of the tower where what leaves the last norm is read, in `RESIDUAL`.
    pub(super) fn whole(self) -> Vec<Piece> {
        self.all(false)
    }

    /// The pieces of the tower where what is pooled is read, in `RESIDUAL`.
    pub(super) fn pooled(self) -> Vec<Piece> {
        self.all(true)
    }

    fn all(self, pooled: bool) -> Vec<Piece> {
        let uses = vec![Use::Passing; usize::try_from(self.layers).unwrap_or_default()];
        let behind = [self.last_norm(true), self.pooling(pooled)];
        let mut pieces = self.up_to_last(&uses, false);
        pieces.extend(behind.into_iter().flatten());
        pieces
    }

    fn up_to_last(self, uses: &[Use], takes_first: bool) -> Vec<Piece> {
        let mut pieces = self.stem;
        if takes_first {
            pieces.push(Piece::once(Block { steps: vec![TAKE], ..Block::default() }));
        }
        let mut build = |how: &Use| {
            let block = Block { by_name: self.by_name, ..self.block.build(self.tower.over(self.stream)) };
            match how {
                Use::Passing => block,
                Use::Taken => Block { steps: [block.steps, vec![TAKE]].concat(), ..block },
                Use::Unread => Block { unread: true, ..block },
            }
        };
        pieces.push(Piece::stack(self.blocks, uses, &mut build));
        pieces
    }

    fn last_norm(&self, read: bool) -> Option<Piece> {
        let name = self.norm.clone()?;
        let mut block = self.tower.over(self.stream);
        let normed = block.layer_norm(name, self.hidden, Slot::RESIDUAL);
        block.rename(normed, Slot::RESIDUAL);
        Some(Piece::once(if read { block.finish() } else { block.finish_unread() }))
    }

    fn pooling(&self, read: bool) -> Option<Piece> {
        let head = self.pool?;
        let mut block = self.tower.over(self.stream);
        let pooled = head.build(&mut block, &self.tower, Slot::RESIDUAL);
        block.rename(pooled, Slot::RESIDUAL);
        Some(Piece::once(if read { block.finish() } else { block.finish_unread() }))
    }
}
