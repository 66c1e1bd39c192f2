//! The same work counted on other bases, each against a base model's figure of the same kind.
//!
//! Published figures of base models mostly are 6·P·D, some are GPU-hours times a peak; ours is the products that were asked for. The
//! headline compares ours with the recommended figure. The other bases stand beside it: where one of them says more than `below`,
//! the choice of a basis decides, and that has to be looked at.

use super::base_facts::BaseFacts;
use super::lines::{Lines, third_of_own};
use super::verdict::reading;
use super::yardstick::{Amounts, Yardstick};
use super::{Measures, Reading};
use crate::estimate::six_parameters_tokens;
use crate::rules::{Measure, RuleSet};
use crate::unit::Flops;

/// Readings on other bases of the amounts that are spent; none of work that no base can be compared with.
pub(super) fn readings(
    rules: &RuleSet,
    lines: &Lines<'_>,
    base: &BaseFacts<'_>,
    measures: Measures,
    amounts: Amounts,
) -> Vec<Reading> {
    let Amounts { training, cumulative } = amounts;
    // What is cumulative beyond training is not counted otherwise.
    let instead =
        |other: Flops| Amounts { training: other, cumulative: other + Flops(cumulative.0.saturating_sub(training.0)) };
    let against_lines = |code: &str, other: Flops| {
        let amounts = instead(other);
        let verdict = lines.verdict(amounts);
        reading(code, verdict, lines.headline(verdict), amounts)
    };
    let context = measures.attention_context.filter(|context| *context > Flops::ZERO && training > *context);
    let without_context =
        context.map(|context| against_lines("without-attention-context", Flops(training.0 - context.0)));
    let crude = base.parameters_passed.zip(measures.tokens).and_then(|(parameters, tokens)| {
        six_parameters_tokens(parameters, tokens).filter(|crude| *crude > Flops::ZERO)
    });
    let crude = crude.map(|crude| against_lines("six-parameters-tokens", crude));
    let by_hardware = by_hardware(rules, lines, base, measures.hardware);
    without_context.into_iter().chain(crude).chain(by_hardware).collect()
}

/// GPU-hours against GPU-hours, each times its data sheet's peak: how well either was used does not enter.
fn by_hardware(rules: &RuleSet, lines: &Lines<'_>, base: &BaseFacts<'_>, spent: Option<Flops>) -> Option<Reading> {
    let against_own = lines.yardsticks.iter().any(|line| line.row.measure == Measure::Base);
    let (spent, of_base) = spent.filter(|_| against_own).zip(base.hardware.as_ref())?;
    let line = Yardstick::with_origin(third_of_own(rules, base, of_base.flop), of_base.origin.clone());
    let amounts = Amounts::both(spent);
    Some(reading("gpu-hours", line.verdict(amounts), Some(&line), amounts))
}
