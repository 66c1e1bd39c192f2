//! A row's figures against one another.

use num_rational::Ratio;

use super::{Findings, agree, formula};
use crate::estimate::six_parameters_tokens;
use crate::registry::RegistryProblem;
use crate::rules::{FigureKey, RuleSet};
use crate::unit::Flops;

/// How far a figure may be from 6·P·D before somebody has to say why: a mixture of experts counted by all its parameters, a
/// corpus taken for the tokens seen and a slip of a digit are all further off.
const FAR: u128 = 3;

/// How many hundredths two figures' quotient may be off, for it is written with two digits.
const HUNDREDTHS: Ratio<u128> = Ratio::new_raw(1, 100);

pub(super) fn check(found: &mut Findings<'_, '_>, rules: &RuleSet) -> Result<(), RegistryProblem> {
    estimate(found)?;
    let Some(flop) = found.row.flop("flop")? else { return without_figure(found) };
    basis(found, flop)?;
    lowest(found)?;
    thirds(found)?;
    far_from_crude(found, flop)?;
    for (column, figure) in
        [("above_1e23", FigureKey::GpaiCriterion), ("above_1e25", FigureKey::SystemicRiskPresumption)]
    {
        above(found, column, flop, rules.flop_figure(figure))?;
    }
    Ok(())
}

fn estimate(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    let formula = found.row.cell("estimate_formula")?;
    match (formula, found.row.flop("flop_estimate")?) {
        (None, None) => {}
        (None, Some(_)) => found.say("estimate_formula", "there is an estimate without its arithmetic"),
        (Some(_), None) => found.say("flop_estimate", "there is arithmetic without its result"),
        (Some(formula), Some(estimate)) => match formula::evaluate(formula) {
            Err(problem) => found.say("estimate_formula", problem),
            Ok(value) if agree(value, Ratio::from_integer(estimate.0)) => {}
            Ok(value) => {
                let value = Flops(value.to_integer()).scientific(4);
                found.say("flop_estimate", format!("the row's own arithmetic gives {value}"));
            }
        },
    }
    if formula.is_some() && found.row.cell("estimate_method")?.is_none() {
        found.say("estimate_method", "say what the arithmetic is");
    }
    Ok(())
}

fn without_figure(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    if found.row.cell("flop_basis")? != Some("unknown") {
        found.say("flop_basis", "a row without a figure has the basis `unknown`");
    }
    for column in ["flop_developer", "flop_epoch", "flop_estimate", "flop_third_party_list"] {
        let is_partial = column == "flop_epoch" && found.row.cell("flop_epoch_scope")? != Some("whole model");
        if !is_partial && found.row.flop(column)?.is_some() {
            found.say(column, "there is a figure, and `flop` recommends none");
        }
    }
    Ok(())
}

/// The recommended figure is the one that its basis names.
fn basis(found: &mut Findings<'_, '_>, flop: Flops) -> Result<(), RegistryProblem> {
    let basis = found.row.required("flop_basis")?;
    let column = match basis.as_str() {
        "epoch" => "flop_epoch",
        "developer-stated" => "flop_developer",
        _ if basis.starts_with("third-party list") => "flop_third_party_list",
        _ if basis.starts_with("estimated") => "flop_estimate",
        _ => {
            found.say(
                "flop_basis",
                format!("`{basis}` is none of `developer-stated`, `epoch`, `estimated`, `third-party list`, `unknown`"),
            );
            return Ok(());
        }
    };
    if found.row.flop(column)? != Some(flop) {
        found.say("flop", format!("the basis is `{basis}`, and `{column}` has another figure"));
    }
    Ok(())
}

/// The figures that mean the same: a parent's compute as a lower bound says nothing beside a figure of the whole.
fn comparable(found: &Findings<'_, '_>) -> Result<Vec<Flops>, RegistryProblem> {
    let method = found.row.cell("estimate_method")?.unwrap_or_default();
    let is_point = found.row.cell("flop_bound")? == Some("point");
    let is_bound = is_point && (method.ends_with("as lower bound") || method.contains("own stage only"));
    let figures = found.row.figures()?.into_iter();
    Ok(figures.filter(|figure| !(is_bound && figure.source == "estimate")).map(|figure| figure.flop).collect())
}

fn lowest(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    let figures = comparable(found)?;
    let (Some(least), Some(most)) = (figures.iter().min(), figures.iter().max()) else { return Ok(()) };
    if found.row.flop("flop_lowest")? != Some(*least) {
        found.say("flop_lowest", format!("the smallest comparable figure of the row is {}", least.scientific(4)));
    }
    if figures.len() < 2 {
        return Ok(());
    }
    let ratio = Ratio::new(most.0, least.0.max(1));
    if let Some(text) = found.row.cell("max_min_ratio")? {
        let told = formula::evaluate(text);
        let is_off = |told: &Ratio<u128>| *told > ratio + HUNDREDTHS || *told + HUNDREDTHS < ratio;
        if told.as_ref().map_or(true, is_off) {
            found.say(
                "max_min_ratio",
                format!("the row's figures are {} and {}", least.scientific(4), most.scientific(4)),
            );
        }
    }
    let apart = ratio > Ratio::new(13, 10);
    if apart != (found.row.cell("disagreement_over_30pct")? == Some("yes")) {
        let says = if apart { "yes" } else { "no" };
        found.say("disagreement_over_30pct", format!("the row's own figures say `{says}`"));
    }
    Ok(())
}

fn thirds(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    for (whole, third) in [("flop", "third_of_flop"), ("flop_lowest", "third_of_lowest")] {
        let Some((flop, part)) = found.row.flop(whole)?.zip(found.row.flop(third)?) else { continue };
        if !agree(Ratio::from_integer(part.0) * Ratio::from_integer(3), Ratio::from_integer(flop.0)) {
            found.say(third, format!("it is no third of `{whole}`"));
        }
    }
    Ok(())
}

fn far_from_crude(found: &mut Findings<'_, '_>, flop: Flops) -> Result<(), RegistryProblem> {
    let (total, active) = (found.row.whole("total_params")?, found.row.whole("active_params")?);
    if active.zip(total).is_some_and(|(active, total)| active > total) {
        found.say("active_params", "more parameters are active than there are");
    }
    let Some((parameters, tokens)) = active.or(total).zip(found.row.whole("pretrain_tokens")?) else { return Ok(()) };
    let Some(crude) = six_parameters_tokens(parameters, tokens) else {
        found.say("pretrain_tokens", "6 × parameters × tokens leave 128 bits");
        return Ok(());
    };
    let is_far = flop.0 > crude.0.saturating_mul(FAR) || crude.0 > flop.0.saturating_mul(FAR);
    if is_far && !found.has_note()? {
        let crude = crude.scientific(4);
        found.say(
            "flop",
            format!("6 × parameters × tokens is {crude}, more than three times off; say why under `notes`"),
        );
    }
    Ok(())
}

/// What the column says against the figure in force; `disputed` and `unknown` need no figure to agree with.
fn above(
    found: &mut Findings<'_, '_>,
    column: &'static str,
    flop: Flops,
    figure: Flops,
) -> Result<(), RegistryProblem> {
    let says = match found.row.cell(column)? {
        Some("yes") => true,
        Some("no") => false,
        _ => return Ok(()),
    };
    if says != (flop > figure) {
        let right = if says { "no" } else { "yes" };
        found.say(
            column,
            format!("{} says `{right}`, or `disputed` where the row's figures differ", flop.scientific(4)),
        );
    }
    Ok(())
}
