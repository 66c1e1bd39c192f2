//! The steps by which a result was reached, what is missing, and what a reader has to know.

use std::collections::BTreeMap;

use super::base_facts::BaseFacts;
use super::lines::{Case, Lines};
use super::status::Ruling;
use super::verdict::Judgement;
use super::yardstick::{Amounts, Yardstick};
use super::{AnswerKey, Basis, Citation, Finding, LineKind, Missing, Question, Status, Step, Verdict};
use crate::registry::FlopBound;
use crate::rules::{FigureKey, RuleSet};
use crate::unit::Flops;

/// All that was concluded.
#[derive(Clone, Copy)]
pub(super) struct Conclusion<'a, 'r> {
    pub(super) question: &'a Question<'a>,
    pub(super) base: Option<&'a BaseFacts<'a>>,
    pub(super) lines: &'a Lines<'r>,
    pub(super) judgement: &'a Judgement,
    pub(super) headline: Option<&'a Yardstick<'r>>,
    pub(super) ruling: &'a Ruling<'r>,
    /// Base and modification together are over the presumption of systemic risk, and the base alone is not.
    pub(super) crosses_presumption: bool,
}

/// A value's serde name, for the values of a step.
pub(super) fn word<T: serde::Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn step<const N: usize>(code: &str, values: [(&str, String); N], citation: Option<Citation>) -> Step {
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>();
    Step { code: code.to_owned(), values, citation }
}

fn or_missing(flops: Option<Flops>) -> String {
    flops.map_or_else(|| "missing".to_owned(), |flops| flops.to_string())
}

impl Conclusion<'_, '_> {
    fn rules(&self) -> &RuleSet {
        self.question.rules
    }

    /// The steps in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![self.rule_set(), self.base_figure()];
        let judged = self.headline.zip(self.judgement.amounts);
        steps.extend(self.headline.map(Self::line_chosen));
        steps.push(self.spent());
        steps.extend(judged.map(|(line, amounts)| Self::comparison(line, amounts)));
        steps.extend(self.headline.map(|line| self.margin(line)));
        steps.extend(self.raised());
        steps.extend(self.ceiling_proof());
        steps.push(self.verdict());
        steps.push(self.status());
        steps
    }

    fn rule_set(&self) -> Step {
        let (rules, as_of) = (self.rules(), self.question.as_of);
        let values = [
            ("rules", rules.id().to_owned()),
            ("title", rules.title().to_owned()),
            ("as_of", as_of.to_string()),
            ("in_force", rules.is_in_force(as_of).to_string()),
        ];
        step("rule-set", values, None)
    }

    fn base_figure(&self) -> Step {
        let Some(base) = self.base else { return step("base-not-named", [], None) };
        let criterion = self.rules().figure(FigureKey::GpaiCriterion);
        let is_over = base.flop.map_or("unknown", |flop| if flop.0 > criterion.value { "yes" } else { "no" });
        let bound = match base.bound {
            FlopBound::Point => "point",
            FlopBound::Lower => "lower",
        };
        let values = [
            ("base", base.name.to_owned()),
            ("flop", or_missing(base.flop)),
            ("bound", bound.to_owned()),
            ("lowest_flop", or_missing(base.lowest)),
            ("over_gpai_criterion", is_over.to_owned()),
            ("gpai_criterion", criterion.value.to_string()),
        ];
        step("base-figure", values, Some(self.rules().citation(&criterion.cite)))
    }

    fn line_chosen(headline: &Yardstick<'_>) -> Step {
        let line = &headline.line;
        let values = [
            ("rule", line.rule.clone()),
            ("kind", word(line.kind)),
            ("multiplier", line.multiplier.clone()),
            ("base_flop", line.base_flop.to_string()),
            ("line_flop", line.flop.to_string()),
            ("measure_flop", headline.measure.to_string()),
        ];
        step("line-chosen", values, Some(line.citation.clone()))
    }

    fn spent(&self) -> Step {
        let spent = &self.question.spent;
        let training = self.rules().phase("training").map(|row| self.rules().citation(&row.cite));
        let values = [
            ("training", or_missing(spent.training)),
            ("cumulative", or_missing(spent.cumulative)),
            ("debatable", or_missing(spent.debatable)),
            ("complete", spent.complete.to_string()),
            ("basis", word(spent.basis)),
        ];
        step("spent", values, training)
    }

    fn comparison(line: &Yardstick<'_>, amounts: Amounts) -> Step {
        let amount = line.amount(amounts);
        let multiplier = line.row.multiplier;
        let product = |of: Flops, factor: u64| or_missing(of.checked_mul(factor.into()));
        let exceeds = line.verdict(amounts) == Verdict::Exceeds;
        let values = [
            ("spent", amount.to_string()),
            (
                "sum",
                if line.row.spent == crate::rules::SpentKind::Training { "training" } else { "cumulative" }.to_owned(),
            ),
            ("factor", multiplier.denominator().to_string()),
            ("left", product(amount, multiplier.denominator())),
            ("right", product(line.measure, multiplier.numerator())),
            ("exceeds", exceeds.to_string()),
        ];
        step("comparison", values, Some(line.line.citation.clone()))
    }

    fn margin(&self, line: &Yardstick<'_>) -> Step {
        let margin = self.rules().margin();
        let values = [
            ("margin", margin.value.to_string()),
            ("near", line.row.near.to_string()),
            ("upper", line.row.clear.to_string()),
            ("near_edge", line.near_edge().to_string()),
            ("upper_edge", line.upper_edge().to_string()),
        ];
        step("margin", values, Some(self.rules().citation(&margin.cite)))
    }

    fn raised(&self) -> Option<Step> {
        let by = &self.judgement.raised_by;
        (!by.is_empty()).then(|| step("raised-to-near", [("readings", by.join(", "))], None))
    }

    fn ceiling_proof(&self) -> Option<Step> {
        (self.judgement.basis == Basis::Ceiling)
            .then(|| step("ceiling-proof", [("ceiling", or_missing(self.question.spent.ceiling))], None))
    }

    fn verdict(&self) -> Step {
        let citation = self.headline.map(|line| line.line.citation.clone());
        step("verdict", [("verdict", word(self.judgement.verdict)), ("basis", word(self.judgement.basis))], citation)
    }

    fn status(&self) -> Step {
        let rows = &self.ruling.rows;
        let codes = rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>().join(", ");
        let open = self.ruling.open.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ");
        let citation = rows.last().map(|row| self.rules().citation(&row.cite));
        step("status", [("status", word(self.ruling.status)), ("rows", codes), ("open", open)], citation)
    }

    /// What is missing, the verdict's needs first.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let mut facts: Vec<&str> = Vec::new();
        if self.question.spent.training.is_none() || !self.question.spent.complete {
            facts.push("operations");
        } else if self.judgement.amounts.is_none() && self.lines.needs_cumulative() {
            facts.push("cumulative-operations");
        }
        if self.judgement.verdict == Verdict::Undetermined || matches!(self.lines.case, Case::NoBase | Case::Unknown) {
            facts.extend(self.lines.deciding);
        }
        if self.lines.case == Case::Unknowable && self.base.is_some_and(|base| base.has_systemic_risk.is_none()) {
            facts.push(AnswerKey::BaseHasSystemicRisk.name());
        }
        if self.ruling.status == Status::Open {
            facts.extend(self.ruling.open.iter().map(|key| key.name()));
        }
        let missing = |fact: &str| Missing { fact: fact.to_owned(), next_step: next_step(fact) };
        facts.into_iter().map(missing).collect()
    }

    /// What a reader has to know besides the numbers.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.base.map(|base| base.findings.clone()).unwrap_or_default();
        let mut find = |code: &str, text: String| findings.push(Finding { code: code.to_owned(), text });
        self.find_about_base(&mut find);
        self.find_about_spent(&mut find);
        if self.crosses_presumption {
            find(
                "systemic-risk-watch",
                "Base and modification together are over the compute at which systemic risk is presumed, and the base alone is not: have it reviewed, the time to notify is short.".to_owned(),
            );
        }
        findings
    }

    fn find_about_base(&self, find: &mut impl FnMut(&str, String)) {
        let Some(base) = self.base else { return };
        let name = base.name;
        let exceeds = self.judgement.verdict == Verdict::Exceeds;
        if exceeds && self.headline.is_some_and(|line| line.line.kind == LineKind::ThirdOfLowerBound) {
            find(
                "lower-bound-line",
                format!(
                    "The line is a third of a lower bound of {name}'s compute: have that figure reviewed, for the true line may be higher."
                ),
            );
        }
        if !self.judgement.raised_by.is_empty() {
            let by = self.judgement.raised_by.join(", ");
            find(
                "readings-disagree",
                format!(
                    "The verdict is raised from below to near, because another reading says more than below ({by}): compare the readings before relying on it."
                ),
            );
        }
        if self.judgement.readings.iter().any(|reading| reading.code == "highest-base-figure") {
            find(
                "sources-disagree",
                format!(
                    "Sources differ on {name}'s compute so far that the highest figure gives another verdict; it is shown and not followed: settle which figure holds."
                ),
            );
        }
        if base.flop.is_some() && self.question.answers.value(AnswerKey::BaseUnknowable) == Some(true) {
            find(
                "fallback-not-open",
                format!(
                    "{name}'s compute is declared to be unknowable, but a figure is known; the fixed line is open only where it can be neither known nor estimated, so the figure is used."
                ),
            );
        }
        match self.lines.case {
            Case::Narrow => find(
                "base-not-gpai",
                format!(
                    "{name} is declared to be no general-purpose model, so the rule on modifications does not speak of it; a third of its compute is shown as an indication: have the result's generality reviewed."
                ),
            ),
            Case::Unknown => find(
                "base-compute-unknown",
                format!(
                    "No figure of {name}'s training compute is known; the fixed line opens only once somebody declares that it can be neither learnt nor estimated."
                ),
            ),
            _ => {}
        }
    }

    fn find_about_spent(&self, find: &mut impl FnMut(&str, String)) {
        let spent = &self.question.spent;
        if spent.training.is_some() && !spent.complete {
            let text = match self.judgement.verdict {
                Verdict::Exceeds => {
                    "Not everything was counted; what was counted is over the line already, so the verdict stands."
                }
                Verdict::Below => {
                    "Not everything was counted; the hardware's ceiling proves that the whole is below the line."
                }
                _ => {
                    "Not everything was counted, so the sum is a lower bound and decides nothing: see which runs are incomplete."
                }
            };
            find("operations-incomplete", text.to_owned());
        }
        let above = spent.training.zip(spent.ceiling.filter(|_| spent.ceiling_complete));
        if let Some((training, ceiling)) = above
            && training > ceiling
        {
            find(
                "operations-above-ceiling",
                format!(
                    "The counted operations ({training}) are above what the hardware could have done ({ceiling}): one of the two is wrong, have both checked."
                ),
            );
        }
    }
}

fn next_step(fact: &str) -> String {
    const BASE_FILE: &str = "a TOML file with name, flop, source, declared_by and date";
    match fact {
        "base" => format!("name the base model with --base ID (`flopsmeter models search` finds ids), or declare it with --base FILE, {BASE_FILE}"),
        "base-compute" => format!("declare the base's training compute with --base FILE, {BASE_FILE}; if its provider was asked, did not tell, and it cannot be estimated, declare `base-unknowable`"),
        "operations" => "run the whole job under `flopsmeter run`, or count it from its configuration with `flopsmeter plan --config`".to_owned(),
        "cumulative-operations" => "meter the runs that make data for the training too, with `flopsmeter run --phase`".to_owned(),
        "base-is-gpai" => "declare whether the base is a general-purpose AI model: `gpai = true` or `false` in the file of --base FILE, or `base-is-gpai` with `flopsmeter modifications answer`".to_owned(),
        "base-has-systemic-risk" => "declare whether the base has systemic risk: `systemic_risk = true` or `false` in the file of --base FILE, or `base-has-systemic-risk` with `flopsmeter modifications answer`".to_owned(),
        other => format!("have somebody who may say so declare `{other}` with `flopsmeter modifications answer`"),
    }
}
