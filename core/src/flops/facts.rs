//! From what a hook says of a live model to a network with its trained parts.

use super::cost::Part;
use super::names::{self, Place, Rule};
use super::network::Network;
use super::state::{Pair, Scale, State};
use super::walk::Entry;
use crate::facts::{AdapterKind, TrainingFacts, VirtualKind, VirtualTokens};
use crate::run::Finding;
use crate::shape::{Quantity, Shape, Stream};

/// Names that are listed in one finding before the rest is only counted.
const LISTED: usize = 8;

impl Network {
    /// The network of a shape as a live model is trained.
    ///
    /// Names that fit no module of the shape are listed in findings; what they stand for is then missing from the count.
    pub fn from_facts(shape: &Shape, facts: &TrainingFacts) -> (Self, Vec<Finding>) {
        let mut network = Self::frozen(shape);
        network.checkpoint = facts.gradient_checkpointing;
        network.input_require_grads = facts.input_require_grads;
        let mut findings = Vec::new();
        network.place_kept_blocks(facts, &mut findings);
        network.place_copies(facts, &mut findings);
        network.place_trained(facts, &mut findings);
        network.place_adapters(facts, &mut findings);
        network.place_scales(facts, &mut findings);
        facts.virtual_tokens.iter().for_each(|tokens| network.place_virtual_tokens(tokens, &mut findings));
        network.settle();
        findings.extend(network.cut_gradients());
        note_dora(facts, &mut findings);
        (network, findings)
    }

    fn place_kept_blocks(&mut self, facts: &TrainingFacts, findings: &mut Vec<Finding>) {
        let mut lost = Vec::new();
        for name in &facts.not_recomputed {
            match names::block(&self.program, name) {
                Some((piece, layer)) => {
                    self.pieces.get_mut(piece).into_iter().for_each(|planned| planned.kept.push(layer));
                }
                None => lost.push(name.as_str()),
            }
        }
        report(findings, "unplaced-blocks", "blocks that are not recomputed", &lost);
    }

    fn place_copies(&mut self, facts: &TrainingFacts, findings: &mut Vec<Finding>) {
        let mut lost = Vec::new();
        for name in &facts.copied {
            let places = names::find(self, name, Rule::SuffixOfHolder);
            if places.is_empty() {
                lost.push(name.as_str());
            }
            self.edit(&places, |_, state| state.copied = true);
        }
        report(findings, "unplaced-copies", "trained copies of modules", &lost);
    }

    fn place_trained(&mut self, facts: &TrainingFacts, findings: &mut Vec<Finding>) {
        let mut lost = Vec::new();
        for name in &facts.trained {
            let Some((place, bias)) = self.parameter(name) else {
                lost.push(name.as_str());
                continue;
            };
            self.edit(&[place], |_, state: &mut State| {
                if bias {
                    state.bias_trained = true;
                } else {
                    state.weight_trained = true;
                }
            });
        }
        report(findings, "unplaced-parameters", "trained parameters", &lost);
    }

    /// The module of a parameter, and whether it is the module's bias.
    fn parameter(&self, name: &str) -> Option<(Place, bool)> {
        let program = &self.program;
        let with_bias = |place: Place| self.module(place).is_some_and(|module| module.kind.bias() > 0);
        // A bare parameter stands as a module of its own; a stack's bias is named after it.
        if let Some(place) = names::place(program, name) {
            return Some((place, false));
        }
        if let Some((_, module)) = program.bias_names.iter().find(|(bias, _)| bias == name) {
            return names::place(program, module).map(|place| (place, true));
        }
        if let Some(place) = name.strip_suffix("_bias").and_then(|stack| names::place(program, stack)) {
            return with_bias(place).then_some((place, true));
        }
        let (module, parameter) = name.rsplit_once('.')?;
        let place = names::place(program, module)?;
        match parameter {
            "weight" => Some((place, false)),
            "bias" if with_bias(place) => Some((place, true)),
            _ => None,
        }
    }

    fn place_adapters(&mut self, facts: &TrainingFacts, findings: &mut Vec<Finding>) {
        let mut lost = Vec::new();
        for adapter in &facts.adapters {
            let fits = |place: &Place| {
                self.module(*place).is_some_and(|module| match adapter.kind {
                    AdapterKind::Lora => module.kind.widths().is_some(),
                    AdapterKind::Dora => module.kind.is_linear() || module.kind.is_convolution(),
                })
            };
            let Some(place) = self.adapted(&adapter.module).filter(fits) else {
                lost.push(adapter.module.as_str());
                continue;
            };
            let dropout = adapter.dropout.unwrap_or(false);
            let pair = Pair { kind: adapter.kind, rank: adapter.rank, trained: adapter.trained, dropout };
            self.edit(&[place], |_, state| state.pairs.push(pair));
        }
        report(findings, "unplaced-adapters", "low-rank adapters", &lost);
    }

    fn place_scales(&mut self, facts: &TrainingFacts, findings: &mut Vec<Finding>) {
        let mut lost = Vec::new();
        for scaled in &facts.scaled {
            let fits = |place: &Place| self.module(*place).is_some_and(|module| module.kind.channels().is_some());
            let Some(place) = self.adapted(&scaled.module).filter(fits) else {
                lost.push(scaled.module.as_str());
                continue;
            };
            let scale = Scale { side: scaled.side, trained: scaled.trained };
            self.edit(&[place], |_, state| state.scales.push(scale));
        }
        report(findings, "unplaced-adapters", "scaling vectors", &lost);
    }

    /// The passes themselves tell how many there are: what is left is what their being trained changes.
    fn place_virtual_tokens(&mut self, tokens: &VirtualTokens, findings: &mut Vec<Finding>) {
        match tokens.kind {
            VirtualKind::Prompt => self.prompted = tokens.trained,
            VirtualKind::Prefix => {
                let prefixed = self.prefixed();
                if prefixed.is_none() {
                    report(findings, "unplaced-adapters", "trained prefixes", &["keys and values of every attention"]);
                }
                self.prefix_trained = prefixed.filter(|_| tokens.trained);
            }
        }
        self.virtual_parameters = tokens.parameters;
        self.virtual_trained = tokens.trained;
        let each = |[inputs, outputs]: &[u64; 2]| u128::from(*inputs).saturating_mul(u128::from(*outputs));
        let forward = tokens.maps.iter().map(each).fold(0, u128::saturating_add).saturating_mul(2);
        // What goes into the first of them is trained as well.
        let backward = if tokens.trained { forward.saturating_mul(2) } else { 0 };
        let quantity = match tokens.kind {
            // `peft` makes one prompt and repeats it for each sequence, but a prefix for each anew.
            VirtualKind::Prompt => Quantity::Shared(Stream::Fixed(tokens.count)),
            VirtualKind::Prefix => Quantity::Positions(Stream::Fixed(tokens.count)),
        };
        let entry = Entry { part: Part::Adapters, quantity, forward, backward, recompute: 0 };
        self.virtual_products = (forward > 0).then_some(entry);
    }

    /// The module an adapter stands beside; one on a parameter (`mlp.gate.weight`) is named after that.
    fn adapted(&self, name: &str) -> Option<Place> {
        let parameter = || name.strip_suffix(".weight").and_then(|module| names::place(&self.program, module));
        names::place(&self.program, name).or_else(parameter)
    }
}

/// With dropout DoRA multiplies with the frozen weight a second time; hooks before version 0.2 do not tell of it.
fn note_dora(facts: &TrainingFacts, findings: &mut Vec<Finding>) {
    if facts.adapters.iter().any(|adapter| adapter.kind == AdapterKind::Dora && adapter.dropout.is_none()) {
        findings.push(Finding {
            code: "dora-dropout-not-counted".to_owned(),
            text: "DoRA is counted without dropout; with lora_dropout above 0 every adapted module repeats its own product \
                   in each training pass, so compare the count with a traced step before you rely on it"
                .to_owned(),
        });
    }
}

fn report(findings: &mut Vec<Finding>, code: &str, what: &str, names: &[&str]) {
    if names.is_empty() {
        return;
    }
    let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    findings.push(Finding {
        code: code.to_owned(),
        text: format!("{what} that this family's shape does not have are left out of the count: {shown}{rest}; compare the model's class with its configuration"),
    });
}
