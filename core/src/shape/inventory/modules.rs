//! Which parameters of an inventory become which modules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::rows::{rows, terms};
use crate::facts::{Inventory, InventoryAmount, InventoryModule, InventoryParameter, InventoryStep, Role};
use crate::flops::Part;
use crate::shape::program::{Module, ModuleKind};

/// The modules, and which of them a slot stands for.
#[derive(Debug)]
pub(super) struct Modules {
    list: Vec<Module>,
    /// For each slot of a parameter: the module that is multiplied, by the inventory's number of its owner.
    multiplied: BTreeMap<u32, Vec<(u32, usize)>>,
    /// For each slot of a parameter: the module without a product that stands for it.
    bare: BTreeMap<u32, usize>,
    /// Biases that their module adds by itself, with the slot of its weight.
    biases: BTreeMap<u32, u32>,
    /// Modules that share a slot.
    shared: BTreeMap<u32, Vec<usize>>,
}

impl Modules {
    pub(super) fn new(inventory: &Inventory) -> Self {
        let uses = Uses::of(inventory);
        let mut modules = Self {
            list: Vec::new(),
            multiplied: BTreeMap::new(),
            bare: BTreeMap::new(),
            biases: BTreeMap::new(),
            shared: BTreeMap::new(),
        };
        for (owner, module) in (0_u32..).zip(&inventory.modules) {
            modules.add(owner, module, &uses);
        }
        modules
    }

    fn add(&mut self, owner: u32, module: &InventoryModule, uses: &Uses<'_>) {
        let bias = module.parameters.iter().find(|parameter| parameter.name == "bias" && parameter.tied_to.is_none());
        let weight = module.parameters.iter().find(|parameter| parameter.name == "weight");
        let joined = bias.zip(weight).filter(|(bias, weight)| uses.is_bias_of(bias.slot, weight.slot));
        let has_kind = |has_bias| weight.and_then(|weight| kind(weight, has_bias, uses));
        let absorbed = joined.filter(|(bias, _)| has_kind(true).is_some_and(|kind| kind.bias() == bias.elements));
        if let Some((bias, weight)) = absorbed {
            self.biases.insert(bias.slot, weight.slot);
        }
        for parameter in &module.parameters {
            if absorbed.is_some_and(|(bias, _)| bias.slot == parameter.slot) {
                continue;
            }
            let is_weight = parameter.name == "weight";
            let kind = kind(parameter, is_weight && absorbed.is_some(), uses);
            let whole = kind.is_some() && is_weight && !module.name.is_empty();
            let name = if whole { module.name.clone() } else { full_name(module, parameter) };
            let kind = kind.unwrap_or(ModuleKind::Parameter { elements: parameter.elements });
            self.place(owner, parameter, name, kind, uses);
        }
    }

    fn place(&mut self, owner: u32, parameter: &InventoryParameter, name: String, kind: ModuleKind, uses: &Uses<'_>) {
        let index = self.list.len();
        let part = match kind {
            ModuleKind::Embedding { .. } => Part::InputEmbeddings,
            ModuleKind::Parameter { .. } => Part::Norms,
            _ => uses.part(parameter.slot, owner),
        };
        let tied = parameter.tied_to.is_some();
        self.list.push(Module { name: Cow::Owned(name), kind, part, tied, outside_all_linear: false });
        self.shared.entry(parameter.slot).or_default().push(index);
        if kind.product().is_some() {
            self.multiplied.entry(parameter.slot).or_default().push((owner, index));
        } else {
            self.bare.entry(parameter.slot).or_insert(index);
        }
    }

    /// The module whose product a step is: its slot's, of the owner that is named where several share it.
    pub(super) fn multiplied(&self, slot: u32, owner: Option<u32>) -> Option<(usize, ModuleKind)> {
        let held = self.multiplied.get(&slot)?;
        let named = held.iter().find(|(number, _)| Some(*number) == owner).or_else(|| held.first());
        let index = named?.1;
        self.list.get(index).map(|module| (index, module.kind))
    }

    /// The module without a product that stands for a parameter.
    pub(super) fn bare(&self, slot: u32) -> Option<usize> {
        self.bare.get(&slot).copied()
    }

    /// Whether a slot is a parameter's.
    pub(super) fn holds(&self, slot: u32) -> bool {
        self.shared.contains_key(&slot) || self.biases.contains_key(&slot)
    }

    /// Whether a module adds this parameter by itself.
    pub(super) fn adds_by_itself(&self, slot: u32) -> bool {
        self.biases.contains_key(&slot)
    }

    /// Names of modules that share one weight.
    pub(super) fn ties(&self) -> Vec<Vec<Cow<'static, str>>> {
        let shared = self.shared.values().filter(|indices| indices.len() > 1);
        let name = |index: &usize| self.list.get(*index).map(|module| module.name.clone());
        shared.map(|indices| indices.iter().filter_map(name).collect()).collect()
    }

    pub(super) fn into_list(self) -> Vec<Module> {
        self.list
    }
}

fn full_name(module: &InventoryModule, parameter: &InventoryParameter) -> String {
    if module.name.is_empty() { parameter.name.clone() } else { format!("{}.{}", module.name, parameter.name) }
}

/// What a parameter is as a module; nothing where its sizes contradict each other or some step uses it in another way.
fn kind(parameter: &InventoryParameter, bias: bool, uses: &Uses<'_>) -> Option<ModuleKind> {
    let kind = match parameter.role {
        Role::Linear { inputs, outputs } => ModuleKind::Linear { inputs, outputs, bias },
        Role::LinearParameter { inputs, outputs } => ModuleKind::LinearParameter { inputs, outputs, bias },
        Role::Convolution { inputs, outputs, window: kernel, groups }
            if groups > 0 && inputs.is_multiple_of(groups) =>
        {
            ModuleKind::Convolution { inputs, outputs, kernel, groups, bias }
        }
        Role::Experts { count, inputs, outputs } => {
            let chosen = uses.chosen(parameter.slot, inputs, outputs)?;
            ModuleKind::Experts { count, chosen, inputs, outputs, bias: false }
        }
        Role::Embedding { rows, width } => ModuleKind::Embedding { rows, width },
        Role::Convolution { .. } | Role::Other => return None,
    };
    (kind.weight() == parameter.elements && uses.fit(parameter.slot, kind)).then_some(kind)
}

/// A product with a parameter: its amount, its part and the owner that is named.
type Product<'a> = (&'a InventoryAmount, &'a str, Option<u32>);

/// What the steps do with each parameter.
#[derive(Default)]
struct Uses<'a> {
    /// As the second operand of a product.
    products: BTreeMap<u32, Vec<Product<'a>>>,
    look_ups: BTreeMap<u32, Vec<&'a InventoryAmount>>,
    /// In any other way.
    otherwise: BTreeSet<u32>,
    /// Slots it is added to by a join of two.
    joined: BTreeMap<u32, Vec<u32>>,
    /// Weights by the results of their products.
    results: BTreeMap<u32, u32>,
}

impl<'a> Uses<'a> {
    fn of(inventory: &'a Inventory) -> Self {
        let mut uses = Self::default();
        for step in &inventory.steps {
            uses.add(step);
        }
        uses
    }

    fn add(&mut self, step: &'a InventoryStep) {
        match step {
            InventoryStep::Product { operands: [left, right], output, forward, part, module, dead } => {
                self.otherwise.extend(left);
                self.otherwise.extend(right.filter(|_| *dead));
                if let Some(weight) = right {
                    self.products.entry(*weight).or_default().push((forward, part.as_str(), *module));
                    self.results.insert(*output, *weight);
                }
            }
            InventoryStep::LookUp { table, positions, .. } => {
                self.look_ups.entry(*table).or_default().push(positions);
            }
            InventoryStep::Join { operands, .. } => {
                if let [first, second] = operands[..] {
                    self.joined.entry(first).or_default().push(second);
                    self.joined.entry(second).or_default().push(first);
                } else {
                    self.otherwise.extend(operands);
                }
            }
            InventoryStep::Save { slot } => {
                self.otherwise.insert(*slot);
            }
        }
    }

    /// Whether everything that is done with a parameter is what a module of this kind does.
    fn fit(&self, slot: u32, kind: ModuleKind) -> bool {
        let follow = |amount: &InventoryAmount| rows(kind, amount).is_some();
        if matches!(kind, ModuleKind::Embedding { .. }) {
            return self.look_ups.get(&slot).is_none_or(|amounts| amounts.iter().all(|amount| follow(amount)));
        }
        let products = self.products.get(&slot);
        let alone = !self.otherwise.contains(&slot) && !self.joined.contains_key(&slot);
        // Where the same weight is looked up in, that module stands for every other use.
        (alone || self.look_ups.contains_key(&slot))
            && products.is_none_or(|products| products.iter().all(|(amount, ..)| follow(amount)))
    }

    /// Whether a parameter is only ever added to the results of a weight's products.
    fn is_bias_of(&self, bias: u32, weight: u32) -> bool {
        let elsewhere = self.otherwise.contains(&bias) || self.products.contains_key(&bias);
        let results = |slot: &u32| self.results.get(slot) == Some(&weight);
        !elsewhere && self.joined.get(&bias).is_some_and(|others| others.iter().all(results))
    }

    /// How many experts of a stack each position goes through.
    fn chosen(&self, slot: u32, inputs: u64, outputs: u64) -> Option<u64> {
        let mut products = self.products.get(&slot)?.iter();
        let (amount, ..) = products.next()?;
        let each = ModuleKind::Linear { inputs, outputs, bias: false }.product().filter(|each| *each > 0)?;
        let mut all = terms(amount);
        let factor = all.next().map(|term| term.factor).filter(|factor| factor.is_multiple_of(each))?;
        u64::try_from(factor / each).ok()
    }

    /// Where the products of a parameter are booked.
    fn part(&self, slot: u32, owner: u32) -> Part {
        let products = self.products.get(&slot).map_or(&[][..], Vec::as_slice);
        let own = products.iter().find(|(_, _, named)| named.is_none_or(|number| number == owner));
        own.map_or(Part::FeedForward, |(_, part, _)| part_of(part))
    }
}

/// The part of a name; what nobody has named is booked with the feed-forward parts.
pub(super) fn part_of(name: &str) -> Part {
    Part::from_name(name).unwrap_or(Part::FeedForward)
}
