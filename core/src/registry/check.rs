//! What has to hold of the base-model table besides its form: each figure is where its basis says, each estimate comes out of its
//! own row, a child costs no less than its parent, and nothing is far from 6·P·D without a word about it.
//!
//! A note (`notes`) is the word: it excuses what is unusual, never what is wrong.

mod figure;
mod formula;
mod lineage;
mod source;

use num_rational::Ratio;

use super::row::{self, Row};
use super::{Registry, RegistryProblem};
use crate::rules::RuleSet;

/// Something in a row that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Defect {
    /// Id of the row.
    pub row: String,
    /// Column.
    pub column: &'static str,
    /// What does not hold, and what would mend it.
    pub text: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many rows there are.
    pub rows: usize,
    /// By row and column; empty where everything holds.
    pub defects: Vec<Defect>,
}

/// Figures are written with four digits, so two of them agree when they differ by no more than this part of one.
const DIGITS: u128 = 1500;

/// Checks every row of a table against the figures of a rule set.
///
/// ```
/// use flopsmeter_core::registry::{self, Registry};
/// use flopsmeter_core::rules::RuleSet;
/// let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
/// assert_eq!(registry::check(Registry::TABLE, rules).unwrap().defects, []);
/// ```
///
/// # Errors
///
/// A table whose form is broken is not checked further: the first problem is returned, with its row and column.
pub fn check(rows: &str, rules: &RuleSet) -> Result<Checked, RegistryProblem> {
    let registry = Registry::parse(rows, super::ABOUT)?;
    let mut defects = Vec::new();
    row::each(rows, |row, _| {
        let mut found = Findings { row, defects: &mut defects };
        figure::check(&mut found, rules)?;
        lineage::check(&mut found, &registry)?;
        source::check(&mut found)
    })?;
    defects.sort();
    Ok(Checked { rows: registry.models().len(), defects })
}

/// The defects of one row.
struct Findings<'a, 'row> {
    row: &'a Row<'row>,
    defects: &'a mut Vec<Defect>,
}

impl Findings<'_, '_> {
    fn say(&mut self, column: &'static str, text: impl Into<String>) {
        self.defects.push(Defect { row: self.row.id().to_owned(), column, text: text.into() });
    }

    fn has_note(&self) -> Result<bool, RegistryProblem> {
        Ok(self.row.cell("notes")?.is_some())
    }
}

/// Whether two figures are the same to the digits that the table keeps.
fn agree(one: Ratio<u128>, other: Ratio<u128>) -> bool {
    let apart = if one > other { one - other } else { other - one };
    apart.to_integer().saturating_mul(DIGITS) <= other.to_integer()
}

#[cfg(test)]
mod tests;
