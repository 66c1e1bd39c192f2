//! What is known of the base model, from the registry, a declared file and answers together.

use super::{AnswerKey, Answers, Finding, Origin};
use crate::registry::{Base, FlopBound};
use crate::rules::{FigureKey, RuleSet};
use crate::unit::Flops;

/// What the choice of a line needs to know of the base.
#[derive(Clone, Debug)]
pub(super) struct BaseFacts<'b> {
    pub(super) name: &'b str,
    pub(super) flop: Option<Flops>,
    pub(super) bound: FlopBound,
    /// Smallest and largest comparable figure, where there are several.
    pub(super) lowest: Option<Flops>,
    pub(super) highest: Option<Flops>,
    pub(super) is_gpai: Option<bool>,
    pub(super) has_systemic_risk: Option<bool>,
    /// Its compute presumes the risk, and somebody denies it all the same; the risk of the result is open then.
    pub(super) risk_is_denied: bool,
    pub(super) total_parameters: Option<u128>,
    /// Parameters that a token passes on the way through: of an encoder-decoder about half. `None` where compute is not counted by
    /// tokens.
    pub(super) parameters_passed: Option<u128>,
    /// What its published GPU-hours could do by the data sheet.
    pub(super) hardware: Option<HardwareFigure>,
    pub(super) origin: Origin,
    /// Contradictions among the sources.
    pub(super) findings: Vec<Finding>,
}

/// What the data sheets say that some GPUs could do in some hours.
#[derive(Clone, Debug)]
pub(super) struct HardwareFigure {
    pub(super) flop: Flops,
    pub(super) origin: Origin,
}

impl<'b> BaseFacts<'b> {
    pub(super) fn of(base: &'b Base<'_>, rules: &RuleSet, answers: &Answers) -> Self {
        let mut facts = Self::of_source(base);
        let name = facts.name;
        for (key, known, what) in [
            (AnswerKey::BaseIsGpai, &mut facts.is_gpai, "general-purpose"),
            (AnswerKey::BaseHasSystemicRisk, &mut facts.has_systemic_risk, "a model with systemic risk"),
        ] {
            let Some((answer, value)) = answers.get(key).zip(answers.value(key)) else { continue };
            if known.is_some_and(|known| known != value) {
                let (is, was) = if value { ("is", "is not") } else { ("is not", "is") };
                let text = format!(
                    "{} declared on {} that {name} {is} {what}; its source says that it {was}. The declaration is followed: have it reviewed, or withdraw it.",
                    answer.by, answer.date
                );
                facts.findings.push(Finding { code: format!("{}-contradicted", key.name()), text });
            }
            *known = Some(value);
        }
        facts.presume_risk(rules);
        facts
    }

    /// Over the figure the risk is presumed, and a bare denial does not take that away; only of a model that is declared not
    /// to be general-purpose it is believed, for of such a model nothing is presumed.
    fn presume_risk(&mut self, rules: &RuleSet) {
        let figure = rules.figure(FigureKey::SystemicRiskPresumption);
        if self.flop.is_none_or(|flop| flop <= Flops(figure.value)) {
            return;
        }
        match self.has_systemic_risk {
            Some(true) => {}
            None => self.has_systemic_risk = Some(true),
            Some(false) if self.is_gpai == Some(false) => {}
            Some(false) => {
                self.has_systemic_risk = Some(true);
                self.risk_is_denied = true;
                let followed = format!("{}-contradicted", AnswerKey::BaseHasSystemicRisk.name());
                self.findings.retain(|finding| finding.code != followed);
                self.findings.push(denied(rules, self.name));
            }
        }
    }

    /// Whether it is a general-purpose AI model: as declared, else as its compute or its risk indicates.
    pub(super) fn is_general(&self, rules: &RuleSet) -> Option<bool> {
        let criterion = rules.flop_figure(FigureKey::GpaiCriterion);
        let indicated = self.has_systemic_risk == Some(true) || self.flop.is_some_and(|flop| flop > criterion);
        self.is_gpai.or_else(|| indicated.then_some(true))
    }

    fn of_source(base: &'b Base<'_>) -> Self {
        match base {
            Base::Registry(model) => Self {
                name: &model.id,
                flop: model.flop,
                bound: model.flop_bound,
                lowest: model.flop_lowest,
                highest: model.figures.iter().map(|figure| figure.flop).max(),
                is_gpai: None,
                has_systemic_risk: model.has_systemic_risk,
                risk_is_denied: false,
                total_parameters: model.total_parameters,
                parameters_passed: model.parameters_passed(),
                hardware: model.hardware_flop.map(|flop| HardwareFigure { flop, origin: model.hardware_origin() }),
                origin: match &model.unknown_reason {
                    Some(reason) => Origin::Missing { next_step: reason.clone() },
                    None => model.origin(),
                },
                findings: Vec::new(),
            },
            Base::Declared(declared) => Self {
                name: &declared.name,
                flop: Some(declared.flop),
                bound: declared.flop_bound,
                lowest: None,
                highest: None,
                is_gpai: declared.gpai,
                has_systemic_risk: declared.systemic_risk,
                risk_is_denied: false,
                total_parameters: declared.total_parameters,
                parameters_passed: declared.active_parameters.or(declared.total_parameters),
                hardware: None,
                origin: declared.origin(),
                findings: Vec::new(),
            },
            Base::Composed(composed) => Self {
                name: &composed.name,
                flop: composed.flop,
                bound: composed.flop_bound,
                lowest: None,
                highest: None,
                is_gpai: composed.gpai,
                has_systemic_risk: composed.systemic_risk,
                risk_is_denied: false,
                total_parameters: None,
                // Tokens and hours of one part are no measure of the whole.
                parameters_passed: None,
                hardware: None,
                origin: Origin::Computed { from: composed.from.clone() },
                findings: Vec::new(),
            },
            Base::Unresolved { name, suggestions } => Self {
                name,
                flop: None,
                bound: FlopBound::Point,
                lowest: None,
                highest: None,
                is_gpai: None,
                has_systemic_risk: None,
                risk_is_denied: false,
                total_parameters: None,
                parameters_passed: None,
                hardware: None,
                origin: Origin::Missing { next_step: "declare it in a base file".to_owned() },
                findings: vec![unresolved(name, suggestions)],
            },
        }
    }
}

fn denied(rules: &RuleSet, name: &str) -> Finding {
    let presumption = rules.citation(&rules.figure(FigureKey::SystemicRiskPresumption).cite);
    let only_by = rules.policy("presumption-denied").map(|row| rules.citation(&row.cite));
    let only_by =
        only_by.map_or_else(String::new, |citation| format!(" ({}, {})", citation.instrument, citation.place));
    let text = format!(
        "{name} is declared to have no systemic risk, and its compute is over the figure at which that is presumed ({}, {}). A declaration alone does not take the presumption away, only arguments that the Commission accepted do{only_by}: until then it is held against the line of a model with systemic risk, and whether the result has that risk stays open. Have it reviewed.",
        presumption.instrument, presumption.place
    );
    Finding { code: "systemic-risk-denied".to_owned(), text }
}

fn unresolved(name: &str, suggestions: &[String]) -> Finding {
    let hint = match suggestions {
        [] => String::new(),
        some => format!("; it may be {}", some.join(", ")),
    };
    let text = format!(
        "The registry has no base model `{name}`{hint}: name it exactly with --base ID, or declare it with --base FILE."
    );
    Finding { code: "base-unresolved".to_owned(), text }
}
