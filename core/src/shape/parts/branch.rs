//! A branch of a block: what it reads of the residual stream, and how its result joins it again.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot};
use crate::flops::Part;

/// How the branches of a block stand beside its residual stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    /// Width of the stream.
    pub(crate) hidden: u64,
    /// The norms shift too; without, they only scale.
    pub(crate) shift: bool,
    /// The norm is that of the sum, not that of what the branch reads.
    pub(crate) norm_of_sum: bool,
    /// What leaves a branch goes through a dropout that is on.
    pub(crate) dropout: bool,
}

/// A trained scale of what a branch gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) name: &'static str,
    /// One for each channel, or one for all.
    pub(crate) width: u64,
}

impl Branch {
    /// Norms with a shift ahead of each branch, no dropout.
    pub(crate) const fn before(hidden: u64) -> Self {
        Self { hidden, shift: true, norm_of_sum: false, dropout: false }
    }

    /// Norms with a shift of each sum, with dropout or without.
    pub(crate) const fn of_sum(hidden: u64, dropout: bool) -> Self {
        Self { hidden, shift: true, norm_of_sum: true, dropout }
    }

    /// Leads the stream through a branch and adds its result.
    pub(crate) fn build(
        self,
        block: &mut Builder,
        norm: impl Into<Cow<'static, str>>,
        compute: impl FnOnce(&mut Builder, Slot) -> Slot,
    ) {
        self.scaled(block, norm, None, compute);
    }

    /// The same, with the result multiplied by a trained scale before it is added.
    pub(crate) fn scaled(
        self,
        block: &mut Builder,
        norm: impl Into<Cow<'static, str>>,
        scale: Option<Scale>,
        compute: impl FnOnce(&mut Builder, Slot) -> Slot,
    ) {
        let norm = norm.into();
        let input = if self.norm_of_sum { Slot::RESIDUAL } else { self.normed(block, norm.clone(), Slot::RESIDUAL) };
        let mut result = compute(block, input);
        if let Some(Scale { name, width }) = scale {
            result = block.norm(name, width, result);
        }
        if self.dropout {
            block.keep(result);
        }
        block.add_to_residual(result);
        if self.norm_of_sum {
            let normed = self.normed(block, norm, Slot::RESIDUAL);
            block.rename(normed, Slot::RESIDUAL);
        }
    }

    /// Through a norm of the stream's width.
    pub(crate) fn normed(self, block: &mut Builder, name: impl Into<Cow<'static, str>>, from: Slot) -> Slot {
        let bias = if self.shift { self.hidden } else { 0 };
        block.apply(name, ModuleKind::Scale { weight: self.hidden, bias }, Part::Norms, from)
    }
}
