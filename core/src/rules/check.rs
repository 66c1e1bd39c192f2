//! What a rule set has to satisfy beyond its form.

use super::cumulation::{CumulationCounts, CumulationKey};
use super::document::Document;
use super::fraction::Fraction;
use super::problem::RulesProblem;
use super::row::{Cite, FigureKey, LineKey, LineRow, Margins, When};

/// Checks every row's citation, and that edges follow from multiplier and margin.
pub(super) fn check(document: &Document) -> Result<(), RulesProblem> {
    if document.until.is_some_and(|until| until < document.from) {
        return Err(RulesProblem::row("header", "`until` is before `from`"));
    }
    for (row, cite) in citations(document) {
        check_cite(document, &row, cite)?;
    }
    for key in LineKey::ALL {
        check_edges(document.line(key), document.margin.value)?;
    }
    let mut seen: Vec<&str> = Vec::new();
    for phase in &document.phases {
        if seen.contains(&phase.name.as_str()) {
            return Err(RulesProblem::row(format!("phase.{}", phase.name), "the row stands twice"));
        }
        seen.push(&phase.name);
    }
    check_figures(document)?;
    check_cumulation(document)?;
    super::check_answers::check(document)?;
    match document.status.last() {
        Some(last) if last.when == When::default() => Ok(()),
        _ => Err(RulesProblem::row("status", "the last row must apply always (`when = {}`)")),
    }
}

fn citations(document: &Document) -> Vec<(String, &Cite)> {
    let mut all = vec![("margin.estimation".to_owned(), &document.margin.cite)];
    all.extend(FigureKey::ALL.map(|key| (format!("figure.{}", key.name()), &document.figure(key).cite)));
    all.extend(LineKey::ALL.map(|key| (format!("line.{}", key.name()), &document.line(key).cite)));
    all.extend(document.phases.iter().map(|row| (format!("phase.{}", row.name), &row.cite)));
    all.extend(document.counting.iter().map(|row| (format!("counting.{}", row.key), &row.cite)));
    all.extend(document.policies.iter().map(|row| (format!("policy.{}", row.key), &row.cite)));
    all.extend(document.cumulation.iter().map(|row| (format!("cumulation.{}", row.key.name()), &row.cite)));
    all.extend(document.dates.iter().map(|row| (format!("date.{}", row.key), &row.cite)));
    all.extend(document.questions.iter().map(|row| (format!("question.{}", row.key.name()), &row.cite)));
    all.extend(document.derivations.iter().map(|row| (format!("derivation.{}", row.code), &row.cite)));
    all.extend(document.contradictions.iter().map(|row| (format!("contradiction.{}", row.code), &row.cite)));
    all.extend(document.reliefs.iter().map(|row| (format!("relief.{}", row.code), &row.cite)));
    all.extend(document.status.iter().map(|row| (format!("status.{}", row.code), &row.cite)));
    all.extend(document.obligations.iter().map(|row| (format!("obligation.{}", row.code), &row.cite)));
    all
}

/// A figure of nothing, or so large that thirds and sums of it overflow, is a slip.
fn check_figures(document: &Document) -> Result<(), RulesProblem> {
    for key in FigureKey::ALL {
        let value = document.figure(key).value;
        if value == 0 || value > u128::MAX / 1_000_000 {
            let cause = format!("`value` is {value}, which is absurd for a {}", document.figure(key).unit);
            return Err(RulesProblem::row(format!("figure.{}", key.name()), cause));
        }
    }
    Ok(())
}

/// Every way to read stands once, and the cautious one decides: a set that followed single jobs alone could be passed by splitting one.
fn check_cumulation(document: &Document) -> Result<(), RulesProblem> {
    for key in CumulationKey::ALL {
        let row = format!("cumulation.{}", key.name());
        match document.cumulation.iter().filter(|row| row.key == key).count() {
            1 => {}
            0 => return Err(RulesProblem::row(row, "the row is missing")),
            _ => return Err(RulesProblem::row(row, "the row stands twice")),
        }
    }
    let default = CumulationKey::OwnModificationsOfSameOriginal;
    let decides = |row: &&super::CumulationRow| row.key == default && row.counts == CumulationCounts::Decides;
    if document.cumulation.iter().any(|row| decides(&row)) {
        return Ok(());
    }
    let cause = "`counts` is not `decides`: the sum over own modifications is the least that is held against the line";
    Err(RulesProblem::row(format!("cumulation.{}", default.name()), cause))
}

fn check_cite(document: &Document, row: &str, cite: &Cite) -> Result<(), RulesProblem> {
    if !document.instruments.iter().any(|instrument| instrument.key == cite.instrument) {
        let cause = format!("`cite.instrument` names `{}`, which is no instrument of this file", cite.instrument);
        return Err(RulesProblem::row(row, cause));
    }
    if cite.place.trim().is_empty() {
        return Err(RulesProblem::row(row, "`cite.place` is empty"));
    }
    Ok(())
}

/// With a margin m, the edges of a multiple k are k(1-m)/(1+m) and k(1+m)/(1-m) where both sides are estimates, else k/(1+m) and k/(1-m).
fn check_edges(line: &LineRow, margin: Fraction) -> Result<(), RulesProblem> {
    let row = format!("line.{}", line.key.name());
    let (above, below) = (margin.numerator(), margin.denominator());
    let less = below.checked_sub(above).filter(|less| *less > 0);
    let Some((less, more)) = less.zip(below.checked_add(above)) else {
        return Err(RulesProblem::row("margin.estimation", "`value` is no fraction below one"));
    };
    let (near, clear) = match line.margins {
        Margins::Both => ((less, more), (more, less)),
        Margins::Spent => ((below, more), (below, less)),
    };
    for (name, edge, (up, down)) in [("near", line.near, near), ("clear", line.clear, clear)] {
        let expected = line
            .multiplier
            .numerator()
            .checked_mul(up)
            .zip(line.multiplier.denominator().checked_mul(down))
            .and_then(|(up, down)| Fraction::new(up, down))
            .ok_or_else(|| RulesProblem::row(&row, "`multiplier` is absurd"))?;
        if !edge.equals(expected) {
            let cause = format!("`{name}` is {edge}, but `multiplier` and the margin give {expected}");
            return Err(RulesProblem::row(&row, cause));
        }
    }
    Ok(())
}
