//! Towers of patches: images cut into patches, and blocks that see all of them.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::program::{Block, ModuleKind, Piece, Slot, Step};
use super::super::quantity::Stream;
use super::{Attention, Branch, FeedForward, Scale};
use crate::flops::Part;

/// Where a tower stands: it is the whole model, or one part beside another.
#[derive(Clone, Debug)]
pub(crate) struct Tower {
    /// Full name of the module that holds it; empty where there is none.
    pub(crate) name: Cow<'static, str>,
    /// It stands beside a text model, so that its positions are those of images, and its products a tower's.
    pub(crate) beside_text: bool,
}

/// How an image is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patches {
    pub(crate) channels: u64,
    /// Pixels of a patch.
    pub(crate) pixels: u64,
    /// Patches of an image: of a column, and of a row.
    pub(crate) grid: [u64; 2],
    /// The same in all.
    pub(crate) count: u64,
    /// The convolution that turns patches into vectors has a bias.
    pub(crate) bias: bool,
}

/// One block of a tower: two normed branches.
#[derive(Clone, Debug)]
pub(crate) struct TowerBlock {
    pub(crate) branch: Branch,
    pub(crate) attention: Attention,
    pub(crate) feed_forward: FeedForward,
    pub(crate) norms: [&'static str; 2],
    /// Trained scales of what the branches give.
    pub(crate) scales: [Option<Scale>; 2],
}

impl Tower {
    /// A tower that is the whole model but its head, under this name.
    pub(crate) fn alone(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), beside_text: false }
    }

    /// A tower beside a text model.
    pub(crate) fn beside_text(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), beside_text: true }
    }

    /// The full name of something in it.
    pub(crate) fn name(&self, what: &str) -> Cow<'static, str> {
        if self.name.is_empty() { Cow::Owned(what.to_owned()) } else { Cow::Owned(format!("{}.{what}", self.name)) }
    }

    /// So many positions of each image.
    pub(crate) const fn stream(&self, positions: u64) -> Stream {
        if self.beside_text { Stream::Image(positions) } else { Stream::Fixed(positions) }
    }

    /// An empty block over so many positions of each image.
    pub(crate) fn builder(&self, positions: u64) -> Builder {
        self.over(self.stream(positions))
    }

    /// An empty block over a stream.
    pub(crate) fn over(&self, stream: Stream) -> Builder {
        if self.beside_text { Builder::tower(stream, Part::Tower) } else { Builder::new(stream) }
    }

    /// Patches turned into vectors by a convolution. The hook of input gradients hangs there.
    pub(crate) fn cut(&self, block: &mut Builder, name: &str, patches: Patches, hidden: u64) -> Slot {
        let all = block.stream();
        block.switch(self.stream(patches.count));
        let cut = self.cut_over(block, name, patches, hidden);
        block.switch(all);
        cut
    }

    /// The same over the block's own stream.
    pub(crate) fn cut_over(&self, block: &mut Builder, name: &str, patches: Patches, hidden: u64) -> Slot {
        let cut = self.convolve(block, name, patches, hidden);
        block.step(Step::InputGradients { slot: cut });
        cut
    }

    /// The convolution alone.
    pub(crate) fn convolve(&self, block: &mut Builder, name: &str, patches: Patches, hidden: u64) -> Slot {
        let kind = ModuleKind::Convolution {
            inputs: patches.channels,
            outputs: hidden,
            kernel: patches.pixels,
            groups: 1,
            bias: patches.bias,
        };
        let pixels = block.slot();
        block.apply(self.name(name), kind, Part::Convolutions, pixels)
    }

    /// A bare parameter that is joined to an activation, or added to it.
    pub(crate) fn parameter(&self, block: &mut Builder, name: &str, elements: u64, with: Slot) -> Slot {
        let nothing = block.slot();
        let kind = ModuleKind::Parameter { elements };
        let trained = block.apply(self.name(name), kind, Part::InputEmbeddings, nothing);
        block.add(with, trained)
    }

    /// A table with a row for each position, added to an activation.
    pub(crate) fn table(&self, block: &mut Builder, name: &str, (rows, row): (u64, u64), with: Slot) -> Slot {
        let nothing = block.slot();
        let kind = ModuleKind::Embedding { rows, width: row };
        let looked_up = block.apply(self.name(name), kind, Part::InputEmbeddings, nothing);
        block.add(with, looked_up)
    }

    /// The stack of a tower's blocks, all alike, over so many positions.
    pub(crate) fn stack(&self, name: &str, block: &TowerBlock, layers: u64, stream: Stream) -> Piece {
        let kinds = vec![(); usize::try_from(layers).unwrap_or_default()];
        Piece::stack(self.name(name), &kinds, &mut |()| block.build(self.over(stream)))
    }
}

impl TowerBlock {
    /// Modules and steps, put into an empty block.
    pub(crate) fn build(&self, mut block: Builder) -> Block {
        let [first, second] = self.norms;
        let hidden = self.branch.hidden;
        let [attention_scale, feed_forward_scale] = self.scales;
        let attend = |block: &mut Builder, input| self.attention.build(block, hidden, input);
        self.branch.scaled(&mut block, first, attention_scale, attend);
        let widen = |block: &mut Builder, input| self.feed_forward.build(block, hidden, input);
        self.branch.scaled(&mut block, second, feed_forward_scale, widen);
        block.finish()
    }
}

impl Patches {
    /// Reads `image_size`, `patch_size` and `num_channels`.
    pub(crate) fn read(config: Config<'_>, (image, patch): (u64, u64), bias: bool) -> Result<Self, ShapeProblem> {
        let [height, width] = config.height_and_width("image_size", most::WIDTH)?.unwrap_or([image; 2]);
        let [patch_height, patch_width] = config.height_and_width("patch_size", most::WIDTH)?.unwrap_or([patch; 2]);
        let grid = [height / patch_height, width / patch_width];
        let count = grid[0].saturating_mul(grid[1]);
        if count == 0 {
            return Err(ShapeProblem::Contradiction {
                key: "patch_size".to_owned(),
                found: format!("{patch_height} by {patch_width}"),
                conflict: format!("image_size is {height} by {width}"),
            });
        }
        let channels = config.size("num_channels", most::WIDTH)?.unwrap_or(3);
        Ok(Self { channels, pixels: patch_height.saturating_mul(patch_width), grid, count, bias })
    }
}
