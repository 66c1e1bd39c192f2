//! From an inventory's steps to those of a block.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Modules, part_of};
use super::rows::{rows, terms};
use crate::facts::{Inventory, InventoryAmount, InventoryCheckpoint, InventoryStep};
use crate::shape::ShapeProblem;
use crate::shape::program::{Slot, Step};
use crate::shape::quantity::Quantity;

/// What never requires gradients: no step sets it.
const NEVER: Slot = Slot(3);
/// Parameters on their way into the step that uses them.
const LEFT: Slot = Slot(4);
const RIGHT: Slot = Slot(5);
/// What steps that are recomputed take from outside.
const ENTRY: Slot = Slot(6);
const FIRST_ACTIVATION: u16 = 7;

/// Reads the steps, one after the other.
pub(super) struct Reader<'a> {
    inventory: &'a Inventory,
    modules: &'a Modules,
    steps: Vec<Step>,
    slots: BTreeMap<u32, Slot>,
    next: u16,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(inventory: &'a Inventory, modules: &'a Modules) -> Self {
        Self { inventory, modules, steps: Vec::new(), slots: BTreeMap::new(), next: FIRST_ACTIVATION }
    }

    /// The steps, and the names of the runs among them that can be recomputed.
    pub(super) fn read(mut self) -> Result<(Vec<Step>, Vec<Cow<'static, str>>), ShapeProblem> {
        let checkpoints = outermost(&self.inventory.checkpoints);
        let names = checkpoints.iter().map(|checkpoint| Cow::Owned(checkpoint.module.clone())).collect();
        let mut checkpoints = checkpoints.into_iter().peekable();
        let mut end = None;
        for (number, step) in (0_u32..).zip(&self.inventory.steps) {
            if end == Some(number) {
                self.steps.push(Step::EndCheckpoint);
                end = None;
            }
            if let Some(checkpoint) = checkpoints.next_if(|checkpoint| checkpoint.first == number) {
                self.begin(checkpoint)?;
                end = Some(checkpoint.end);
            }
            self.step(step)?;
        }
        if end.is_some() {
            self.steps.push(Step::EndCheckpoint);
        }
        Ok((self.steps, names))
    }

    fn begin(&mut self, checkpoint: &InventoryCheckpoint) -> Result<(), ShapeProblem> {
        let place = |step: u32| usize::try_from(step).unwrap_or(usize::MAX);
        let steps = self.inventory.steps.get(place(checkpoint.first)..place(checkpoint.end));
        let steps = steps.ok_or_else(|| problem(format!("`{}` ends after the last step", checkpoint.module)))?;
        self.steps.push(Step::Add { from: NEVER, with: NEVER, to: ENTRY });
        let outside: BTreeSet<Slot> =
            steps.iter().flat_map(operands).filter_map(|slot| self.slots.get(&slot).copied()).collect();
        self.steps.extend(outside.into_iter().map(|slot| Step::Add { from: ENTRY, with: slot, to: ENTRY }));
        self.steps.push(Step::BeginCheckpoint { entry: ENTRY, always: checkpoint.always });
        Ok(())
    }

    fn step(&mut self, step: &InventoryStep) -> Result<(), ShapeProblem> {
        match step {
            InventoryStep::Product { operands, output, forward, part, dead: true, .. } => {
                self.dead_product(*operands, *output, forward, part)
            }
            InventoryStep::Product { operands, output, forward, part, module, .. } => {
                self.product(*operands, *output, forward, part, *module)
            }
            InventoryStep::LookUp { table, output, positions } => self.look_up(*table, *output, positions),
            InventoryStep::Join { operands, output } => self.join(operands, *output),
            InventoryStep::Save { slot } => {
                let on = self.operand(Some(*slot), LEFT)?;
                self.steps.push(Step::Keep { on });
                Ok(())
            }
        }
    }

    fn product(
        &mut self,
        [left, right]: [Option<u32>; 2],
        output: u32,
        forward: &InventoryAmount,
        part: &str,
        owner: Option<u32>,
    ) -> Result<(), ShapeProblem> {
        let applied = right.and_then(|weight| self.modules.multiplied(weight, owner));
        if let Some((module, kind)) = applied
            && let Some(rows) = rows(kind, forward)
        {
            let from = self.operand(left, LEFT)?;
            let to = self.result(output)?;
            self.steps.extend(rows.into_iter().map(|rows| Step::Apply { module, from, to, rows }));
            self.note_input(output, to);
            return Ok(());
        }
        let (left, right) = (self.operand(left, LEFT)?, self.operand(right, RIGHT)?);
        let to = self.result(output)?;
        self.steps.push(Step::Add { from: left, with: right, to });
        let part = part_of(part);
        self.steps.extend(terms(forward).map(|amount| Step::Product { left, right, to, amount, part }));
        self.note_input(output, to);
        Ok(())
    }

    /// It keeps its operands as any other does, but no gradient ever comes back to it.
    fn dead_product(
        &mut self,
        [left, right]: [Option<u32>; 2],
        output: u32,
        forward: &InventoryAmount,
        part: &str,
    ) -> Result<(), ShapeProblem> {
        let (left, right) = (self.operand(left, LEFT)?, self.operand(right, RIGHT)?);
        let to = self.result(output)?;
        let part = part_of(part);
        self.steps.extend([Step::Keep { on: left }, Step::Keep { on: right }]);
        let product = |amount| Step::Product { left: NEVER, right: NEVER, to, amount, part };
        self.steps.extend(terms(forward).map(product));
        self.steps.push(Step::Add { from: left, with: right, to });
        Ok(())
    }

    fn look_up(&mut self, table: u32, output: u32, positions: &InventoryAmount) -> Result<(), ShapeProblem> {
        let module = self.modules.bare(table).ok_or_else(|| unknown(table))?;
        let to = self.result(output)?;
        let rows = terms(positions).next().map_or(Quantity::Pass, |amount| amount.quantity);
        self.steps.push(Step::Apply { module, from: NEVER, to, rows });
        self.note_input(output, to);
        Ok(())
    }

    fn join(&mut self, operands: &[u32], output: u32) -> Result<(), ShapeProblem> {
        let own: Vec<u32> = operands.iter().copied().filter(|slot| !self.modules.adds_by_itself(*slot)).collect();
        if let [alone] = own[..]
            && let Some(known) = self.slots.get(&alone).copied()
        {
            self.slots.insert(output, known);
            self.note_input(output, known);
            return Ok(());
        }
        let to = self.result(output)?;
        self.steps.push(Step::Add { from: NEVER, with: NEVER, to });
        for slot in own {
            let with = self.operand(Some(slot), LEFT)?;
            self.steps.push(Step::Add { from: to, with, to });
        }
        self.note_input(output, to);
        Ok(())
    }

    /// The slot of an operand; a parameter is led into `place` first.
    fn operand(&mut self, slot: Option<u32>, place: Slot) -> Result<Slot, ShapeProblem> {
        let Some(slot) = slot else { return Ok(NEVER) };
        if let Some(known) = self.slots.get(&slot) {
            return Ok(*known);
        }
        let module = self.modules.bare(slot).ok_or_else(|| unknown(slot))?;
        self.steps.push(Step::Apply { module, from: NEVER, to: place, rows: Quantity::Pass });
        Ok(place)
    }

    /// A slot of its own for a result.
    fn result(&mut self, slot: u32) -> Result<Slot, ShapeProblem> {
        if self.slots.contains_key(&slot) || self.modules.holds(slot) {
            return Err(problem(format!("slot {slot} is set twice")));
        }
        let result = Slot(self.next);
        self.next = self.next.checked_add(1).ok_or_else(|| problem("it has too many activations".to_owned()))?;
        self.slots.insert(slot, result);
        Ok(result)
    }

    fn note_input(&mut self, output: u32, slot: Slot) {
        if self.inventory.input_embeddings.contains(&output) {
            self.steps.push(Step::InputGradients { slot });
        }
    }
}

/// Slots that a step reads.
fn operands(step: &InventoryStep) -> Vec<u32> {
    match step {
        InventoryStep::Product { operands, .. } => operands.iter().flatten().copied().collect(),
        InventoryStep::LookUp { table, .. } => vec![*table],
        InventoryStep::Join { operands, .. } => operands.clone(),
        InventoryStep::Save { slot } => vec![*slot],
    }
}

/// Without those that stand within others: what is around them is what is repeated.
fn outermost(checkpoints: &[InventoryCheckpoint]) -> Vec<&InventoryCheckpoint> {
    let mut sorted: Vec<&InventoryCheckpoint> = checkpoints.iter().filter(|it| it.first < it.end).collect();
    sorted.sort_by_key(|checkpoint| (checkpoint.first, core::cmp::Reverse(checkpoint.end)));
    let mut end = 0;
    sorted.retain(|checkpoint| {
        let outside = checkpoint.first >= end;
        if outside {
            end = checkpoint.end;
        }
        outside
    });
    sorted
}

fn unknown(slot: u32) -> ShapeProblem {
    problem(format!("slot {slot} is read before it is set"))
}

fn problem(what: String) -> ShapeProblem {
    ShapeProblem::Inventory { what }
}
