//! Puts a block together, part by part.

use std::borrow::Cow;

use super::program::{Amount, Block, Module, ModuleKind, Slot, Step};
use super::quantity::{Mask, Quantity, Stream};
use crate::flops::Part;

/// Collects modules and steps of one block.
#[derive(Debug)]
pub(crate) struct Builder {
    block: Block,
    next: u16,
    stream: Stream,
    /// Books every product here, whatever the part's own: a tower beside the text model.
    tower: Option<Part>,
}

impl Builder {
    /// An empty block whose products happen at each position of a stream.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { block: Block::default(), next: Slot::FIRST_LOCAL.0, stream, tower: None }
    }

    /// The same, with every product booked as one part.
    pub(crate) fn tower(stream: Stream, part: Part) -> Self {
        Self { tower: Some(part), ..Self::new(stream) }
    }

    /// Leads what follows over another stream.
    pub(crate) fn switch(&mut self, stream: Stream) {
        self.stream = stream;
    }

    pub(crate) const fn stream(&self) -> Stream {
        self.stream
    }

    /// An activation that has no name yet.
    pub(crate) fn slot(&mut self) -> Slot {
        let slot = Slot(self.next);
        self.next = self.next.saturating_add(1);
        slot
    }

    /// Through a module into a new activation.
    pub(crate) fn apply(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: ModuleKind,
        part: Part,
        from: Slot,
    ) -> Slot {
        let to = self.slot();
        self.apply_to(name, kind, part, from, to);
        to
    }

    /// Through a module into a named activation.
    pub(crate) fn apply_to(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        kind: ModuleKind,
        part: Part,
        from: Slot,
        to: Slot,
    ) {
        let module = self.module(name, kind, part);
        self.block.steps.push(Step::Apply { module, from, to, rows: Quantity::Positions(self.stream) });
    }

    /// Adds a module that a later step uses, or none.
    pub(crate) fn module(&mut self, name: impl Into<Cow<'static, str>>, kind: ModuleKind, part: Part) -> usize {
        let part = self.booked(part);
        let module = Module { name: name.into(), kind, part, tied: false, outside_all_linear: false };
        self.block.modules.push(module);
        self.block.modules.len() - 1
    }

    /// The module of a name, for a step that uses it once more.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.block.modules.iter().position(|module| module.name == name)
    }

    /// The module that was added last.
    pub(crate) fn last(&mut self) -> Option<&mut Module> {
        self.block.modules.last_mut()
    }

    /// A linear module with or without bias.
    pub(crate) fn linear(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        (inputs, outputs): (u64, u64),
        bias: bool,
        part: Part,
        from: Slot,
    ) -> Slot {
        self.apply(name, ModuleKind::Linear { inputs, outputs, bias }, part, from)
    }

    /// A scale for each channel.
    pub(crate) fn norm(&mut self, name: impl Into<Cow<'static, str>>, width: u64, from: Slot) -> Slot {
        self.apply(name, ModuleKind::Scale { weight: width, bias: 0 }, Part::Norms, from)
    }

    /// A scale and a shift for each channel.
    pub(crate) fn layer_norm(&mut self, name: impl Into<Cow<'static, str>>, width: u64, from: Slot) -> Slot {
        self.apply(name, ModuleKind::Scale { weight: width, bias: width }, Part::Norms, from)
    }

    /// A product of two activations.
    pub(crate) fn product(&mut self, left: Slot, right: Slot, factor: u128, quantity: Quantity, part: Part) -> Slot {
        let (to, part) = (self.slot(), self.booked(part));
        self.block.steps.push(Step::Product { left, right, to, amount: Amount { factor, quantity }, part });
        to
    }

    /// A product with a module's weight alone, whatever stands beside the module.
    pub(crate) fn weight(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        (inputs, outputs): (u64, u64),
        bias: bool,
        part: Part,
        from: Slot,
    ) -> Slot {
        let module = self.module(name, ModuleKind::Linear { inputs, outputs, bias }, part);
        let (to, rows) = (self.slot(), Quantity::Positions(self.stream));
        self.block.steps.push(Step::Weight { module, from, to, rows });
        to
    }

    /// A product that the backward pass alone forms.
    pub(crate) fn gradient(&mut self, of: Slot, factor: u128, quantity: Quantity, part: Part) {
        let part = self.booked(part);
        self.block.steps.push(Step::Gradient { of, amount: Amount { factor, quantity }, part });
    }

    /// This stream's positions.
    pub(crate) const fn positions(&self) -> Quantity {
        Quantity::Positions(self.stream)
    }

    /// Pairs of this stream's positions with those of a stream of keys.
    pub(crate) const fn pairs(&self, key: Stream, mask: Mask) -> Quantity {
        match mask {
            Mask::Window(side) => Quantity::WindowPairs { side },
            mask => Quantity::Pairs { query: self.stream, key, mask },
        }
    }

    /// An activation that depends on two; nothing is kept.
    pub(crate) fn add(&mut self, from: Slot, with: Slot) -> Slot {
        let to = self.slot();
        self.step(Step::Add { from, with, to });
        to
    }

    /// An activation that depends on two; both are kept.
    pub(crate) fn multiply(&mut self, from: Slot, with: Slot) -> Slot {
        let to = self.slot();
        self.step(Step::Multiply { from, with, to });
        to
    }

    /// Adds a branch to the residual stream.
    pub(crate) fn add_to_residual(&mut self, branch: Slot) {
        self.step(Step::Add { from: Slot::RESIDUAL, with: branch, to: Slot::RESIDUAL });
    }

    /// Gives an activation a second name.
    pub(crate) fn rename(&mut self, from: Slot, to: Slot) {
        self.step(Step::Add { from, with: from, to });
    }

    /// Something of an activation is kept for the backward pass.
    pub(crate) fn keep(&mut self, on: Slot) {
        self.step(Step::Keep { on });
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.block.steps.push(step);
    }

    pub(crate) fn finish(self) -> Block {
        self.block
    }

    /// The block, whose results nothing reads that the loss depends on.
    pub(crate) fn finish_unread(self) -> Block {
        Block { unread: true, ..self.block }
    }

    fn booked(&self, part: Part) -> Part {
        match self.tower {
            Some(tower) if !matches!(part, Part::InputEmbeddings | Part::Norms) => tower,
            _ => part,
        }
    }
}
