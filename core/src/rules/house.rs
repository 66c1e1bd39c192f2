//! House rules: an organisation's own stricter lines and ways to add up, in a file of its own.

use chrono::NaiveDate;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::RuleSet;
use super::cumulation::{CumulationCounts, CumulationKey};
use super::document::Document;
use super::fraction::Fraction;
use super::problem::RulesProblem;
use super::row::{LineKey, LineRow};
use crate::ledger::Digest;

/// An organisation's stricter lines over a rule set.
#[derive(Clone, Debug)]
pub struct HouseRules {
    /// The name by which the organisation calls them.
    pub name: String,
    /// Who made them a rule.
    pub declared_by: String,
    /// When.
    pub date: NaiveDate,
    /// What they mean.
    pub says: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The rule set with the stricter lines in place of the law's.
    pub rules: RuleSet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    declared_by: String,
    date: NaiveDate,
    says: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HouseLine {
    key: LineKey,
    multiplier: Option<Fraction>,
    near: Option<Fraction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HouseCumulation {
    key: CumulationKey,
    counts: CumulationCounts,
}

impl RuleSet {
    /// The same rule set with an organisation's house rules beside it. The law's lines stay as they are.
    ///
    /// ```
    /// use flopsmeter_core::rules::{LineKey, RuleSet};
    /// let law = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
    /// let file = r#"
    /// name = "acme-30-percent"
    /// declared_by = "Ada, compliance"
    /// date = 2026-11-21
    /// says = "We ask for a review at 30 % of the base model's compute."
    /// [[line]]
    /// key = "third-of-base"
    /// multiplier = "3/10"
    /// "#;
    /// let with = law.with_house(file).unwrap();
    /// assert_eq!(with.line(LineKey::ThirdOfBase).multiplier.to_string(), "1/3", "the law's line is the law's");
    /// assert_eq!(with.house().unwrap().rules.line(LineKey::ThirdOfBase).multiplier.to_string(), "3/10");
    /// let looser = law.with_house(&file.replace("3/10", "2/5")).unwrap_err().to_string();
    /// assert!(looser.contains("line.third-of-base") && looser.contains("`multiplier`"), "{looser}");
    /// ```
    pub fn with_house(&self, text: &str) -> Result<Self, RulesProblem> {
        let mut file: toml::Table =
            text.parse().map_err(|cause: toml::de::Error| RulesProblem::Syntax { cause: cause.to_string() })?;
        let cumulation: Vec<HouseCumulation> = optional_rows(&mut file, "cumulation")?;
        let lines: Vec<HouseLine> = if cumulation.is_empty() {
            super::document::rows(&mut file, "line")?
        } else {
            optional_rows(&mut file, "line")?
        };
        let head: Head = toml::Value::Table(file)
            .try_into()
            .map_err(|cause: toml::de::Error| RulesProblem::row("header", cause.message()))?;
        for (key, text) in [("name", &head.name), ("declared_by", &head.declared_by), ("says", &head.says)] {
            if text.trim().is_empty() {
                return Err(RulesProblem::row("header", format!("`{key}` is empty")));
            }
        }
        let mut stricter = Self { house: None, of_house: Some(head.name.clone()), ..self.clone() };
        let mut seen: Vec<LineKey> = Vec::new();
        for line in &lines {
            if seen.contains(&line.key) {
                return Err(RulesProblem::row(row(line.key), "the row stands twice"));
            }
            seen.push(line.key);
            tighten(stricter.document.line_mut(line.key), line)?;
        }
        for row in &cumulation {
            stricter.document.follow(row)?;
        }
        let house = HouseRules {
            name: head.name,
            declared_by: head.declared_by,
            date: head.date,
            says: head.says,
            digest: Digest(Sha256::digest(text.as_bytes()).into()),
            rules: stricter,
        };
        Ok(Self { house: Some(Box::new(house)), ..self.clone() })
    }

    /// The name of the house rules whose stricter lines these are; `None` for the law.
    pub fn of_house(&self) -> Option<&str> {
        self.of_house.as_deref()
    }

    /// The house rules beside this rule set, if there are any.
    pub fn house(&self) -> Option<&HouseRules> {
        self.house.as_deref()
    }
}

/// Rows of a section that may be absent.
fn optional_rows<Row: serde::de::DeserializeOwned>(
    file: &mut toml::Table,
    section: &str,
) -> Result<Vec<Row>, RulesProblem> {
    if file.contains_key(section) { super::document::rows(file, section) } else { Ok(Vec::new()) }
}

impl Document {
    /// Has one more way to add up decide; that one decides no longer would be looser.
    fn follow(&mut self, house: &HouseCumulation) -> Result<(), RulesProblem> {
        let row = format!("cumulation.{}", house.key.name());
        let law = self.cumulation.iter_mut().find(|law| law.key == house.key);
        let law = law.ok_or_else(|| RulesProblem::row(&row, "the row is missing"))?;
        if house.counts < law.counts {
            let cause =
                "`counts` is `shown`, which is looser than the law's `decides`; a house rule can only be stricter";
            return Err(RulesProblem::row(row, cause));
        }
        law.counts = house.counts;
        Ok(())
    }
}

fn row(key: LineKey) -> String {
    format!("line.{}", key.name())
}

/// Puts the house's edges in place of the law's, where they are not looser.
fn tighten(law: &mut LineRow, house: &HouseLine) -> Result<(), RulesProblem> {
    if house.multiplier.is_none() && house.near.is_none() {
        return Err(RulesProblem::row(row(house.key), "neither `multiplier` nor `near` is given"));
    }
    for (key, own, laws) in [("multiplier", house.multiplier, law.multiplier), ("near", house.near, law.near)] {
        if let Some(own) = own.filter(|own| own.is_more_than(laws)) {
            let cause =
                format!("`{key}` is {own}, which is looser than the law's {laws}; a house rule can only be stricter");
            return Err(RulesProblem::row(row(house.key), cause));
        }
    }
    let multiplier = house.multiplier.unwrap_or(law.multiplier);
    let near = house.near.unwrap_or(law.near);
    if house.near.is_some_and(|near| near.is_more_than(multiplier)) {
        let cause = format!("`near` is {near}, which is over `multiplier` {multiplier}; it comes before the line");
        return Err(RulesProblem::row(row(house.key), cause));
    }
    law.multiplier = multiplier;
    law.near = if near.is_more_than(multiplier) { multiplier } else { near };
    Ok(())
}
