//! What stands behind a modification and what was made from it, as nodes and edges.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::order::{Modifications, parents_first};
use super::{BaseReference, LineageProblem, Modification};
use crate::assess::Spent;
use crate::registry::{Base, FlopBound, Registry};
use crate::unit::Flops;

/// Nodes and edges, each once, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// Models and modifications.
    pub nodes: Vec<Node>,
    /// What was made from what.
    pub edges: Vec<Edge>,
}

/// A model or a modification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Node {
    /// Its name among the nodes: `modification:NAME`, else `model:NAME`.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// What people call it.
    pub name: String,
    /// Of a model its whole training compute, of a modification what it spent by itself; `None` if that is not known.
    pub flop: Option<Flops>,
    /// Whether that is everything; else it is a lower bound.
    pub complete: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A model that nobody here made.
    Model,
    /// A modification of this ledger.
    Modification,
    /// A modification of this ledger that was merged from others' weights.
    Merge,
}

/// That one was made from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Edge {
    /// From which.
    pub from: String,
    /// Which.
    pub to: String,
    /// How.
    pub relation: Relation,
    /// What was spent on the way, which is all that the later one spent: on several edges into one node it is the same compute.
    pub flop: Option<Flops>,
}

/// How one was made from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Trained further.
    TrainedFrom,
    /// Merged, with others.
    MergedFrom,
}

impl Picture {
    /// Everything behind `of` and everything made from it. `spent_of` tells what a modification spent by itself.
    pub fn around<E: From<LineageProblem>>(
        of: &Modification,
        all: &Modifications,
        registry: &'static Registry,
        mut spent_of: impl FnMut(&Modification) -> Result<Spent, E>,
    ) -> Result<Self, E> {
        let mut shown: BTreeMap<&str, &Modification> = parents_first(of, all)?
            .into_iter()
            .map(|modification| (modification.slug.as_str(), modification))
            .collect();
        shown.extend(made_from(of, all));
        let mut drawing = Drawing { nodes: BTreeMap::new(), edges: BTreeSet::new(), registry };
        for modification in shown.values() {
            drawing.modification(modification, &spent_of(modification)?)?;
        }
        // The other parents of what was made from it, without what is behind those.
        for modification in shown.values() {
            for slug in modification.parent_slugs().filter(|slug| !shown.contains_key(slug)) {
                drawing.unread(slug);
            }
        }
        Ok(Self { nodes: drawing.nodes.into_values().collect(), edges: drawing.edges.into_iter().collect() })
    }

    /// Edges that lead to this modification.
    pub fn parents_of(&self, slug: &str) -> impl Iterator<Item = (&Edge, &Node)> {
        let id = modification_id(slug);
        self.edges.iter().filter(move |edge| edge.to == id).filter_map(|edge| Some((edge, self.node(&edge.from)?)))
    }

    /// Edges that lead away from it.
    pub fn children_of(&self, slug: &str) -> impl Iterator<Item = (&Edge, &Node)> {
        let id = modification_id(slug);
        self.edges.iter().filter(move |edge| edge.from == id).filter_map(|edge| Some((edge, self.node(&edge.to)?)))
    }

    fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The same for Graphviz.
    pub fn dot(&self) -> String {
        let amount = |flop: Option<Flops>| {
            flop.map_or_else(|| "not counted".to_owned(), |flop| format!("{} FLOP", flop.scientific(3)))
        };
        let mut text = String::from("digraph lineage {\n  rankdir=LR;\n");
        for node in &self.nodes {
            let shape = match node.kind {
                NodeKind::Model => "box",
                NodeKind::Modification => "ellipse",
                NodeKind::Merge => "diamond",
            };
            let label = format!("{}\\n{}", escaped(&node.name), amount(node.flop));
            text.push_str(&format!("  \"{}\" [shape={shape}, label=\"{label}\"];\n", escaped(&node.id)));
        }
        for edge in &self.edges {
            let label = amount(edge.flop);
            text.push_str(&format!(
                "  \"{}\" -> \"{}\" [label=\"{label}\"];\n",
                escaped(&edge.from),
                escaped(&edge.to)
            ));
        }
        text.push_str("}\n");
        text
    }
}

struct Drawing {
    nodes: BTreeMap<String, Node>,
    edges: BTreeSet<Edge>,
    registry: &'static Registry,
}

impl Drawing {
    fn modification(&mut self, modification: &Modification, spent: &Spent) -> Result<(), LineageProblem> {
        let (kind, relation) = match modification.merge {
            Some(_) => (NodeKind::Merge, Relation::MergedFrom),
            None => (NodeKind::Modification, Relation::TrainedFrom),
        };
        let (id, name) = (modification_id(&modification.slug), modification.slug.clone());
        let node = Node { id: id.clone(), kind, name, flop: spent.training, complete: spent.complete };
        self.nodes.insert(id.clone(), node);
        for parent in modification.parents() {
            let from = match parent.slug() {
                Some(slug) => modification_id(slug),
                None => self.model(modification, parent)?,
            };
            self.edges.insert(Edge { from, to: id.clone(), relation, flop: spent.training });
        }
        Ok(())
    }

    /// A model that nobody here made, with the one that it is declared to be made from; its name among the nodes.
    fn model(&mut self, child: &Modification, reference: &BaseReference) -> Result<String, LineageProblem> {
        let base = reference.resolve(self.registry);
        let base = base.map_err(|source| LineageProblem::Base { child: child.slug.clone(), source })?;
        let id = self.base(&base);
        if let Base::Declared(declared) = &base
            && let (Some(descent), Some(parent)) = (&declared.descent, declared.parent())
        {
            let parent = match self.registry.lookup_name_or_path(&descent.parent) {
                Ok(model) => Base::Registry(model),
                Err(_) => Base::Declared(Box::new(parent)),
            };
            let from = self.base(&parent);
            let flop = Some(descent.own_flop);
            self.edges.insert(Edge { from, to: id.clone(), relation: Relation::TrainedFrom, flop });
        }
        Ok(id)
    }

    fn base(&mut self, base: &Base<'_>) -> String {
        let id = format!("model:{}", base.name());
        let complete = base.flop().is_some() && base.flop_bound() == FlopBound::Point;
        let node =
            Node { id: id.clone(), kind: NodeKind::Model, name: base.name().to_owned(), flop: base.flop(), complete };
        self.nodes.insert(id.clone(), node);
        id
    }

    fn unread(&mut self, slug: &str) {
        let id = modification_id(slug);
        let node =
            Node { id: id.clone(), kind: NodeKind::Modification, name: slug.to_owned(), flop: None, complete: false };
        self.nodes.entry(id).or_insert(node);
    }
}

/// Everything that was made from `of`, directly or not.
fn made_from<'m>(of: &Modification, all: &'m Modifications) -> BTreeMap<&'m str, &'m Modification> {
    let mut children: BTreeMap<&str, Vec<&Modification>> = BTreeMap::new();
    for modification in all.values() {
        for parent in modification.parent_slugs() {
            children.entry(parent).or_default().push(modification);
        }
    }
    let mut found: BTreeMap<&str, &Modification> = BTreeMap::new();
    let mut next: Vec<&str> = vec![of.slug.as_str()];
    while let Some(parent) = next.pop() {
        for child in children.get(parent).into_iter().flatten().copied().filter(|child| child.slug != of.slug) {
            if found.insert(&child.slug, child).is_none() {
                next.push(&child.slug);
            }
        }
    }
    found
}

fn modification_id(slug: &str) -> String {
    format!("{}{slug}", super::MODIFICATION_SCHEME)
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
