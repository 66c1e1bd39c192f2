//! What stands differently in another rule set, row by row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RuleSet;
use super::document::row_name;

/// One value that stands differently in another rule set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// Section and key of the row, for example `line.third-of-base`; `header` for the set itself.
    pub row: String,
    /// Which key of it, for example `cite.place`; `None` for a row that only one of the two has.
    pub key: Option<String>,
    /// What stands in the one; `None` if nothing does.
    pub from: Option<String>,
    /// What stands in the other.
    pub to: Option<String>,
}

impl RuleSet {
    /// What stands differently in `other`, in the order of rows' names.
    ///
    /// ```
    /// use flopsmeter_core::rules::RuleSet;
    /// let set = |id| RuleSet::embedded(id).unwrap();
    /// let changes = set("eu-gpai-2025-07-18").changes_to(set("eu-gpai-2025-11-19"));
    /// let place = changes.iter().find(|change| change.row == "line.third-of-base" && change.key.as_deref() == Some("cite.place"));
    /// assert_eq!(place.unwrap().to.as_deref(), Some("paragraph 60"));
    /// assert!(set("eu-gpai-2025-07-18").changes_to(set("eu-gpai-2025-07-18")).is_empty());
    /// ```
    pub fn changes_to(&self, other: &Self) -> Vec<RowChange> {
        let (ours, theirs) = (rows(&self.text), rows(&other.text));
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().flat_map(|name| of_row(name, ours.get(name), theirs.get(name))).collect()
    }
}

type Row = BTreeMap<String, String>;

fn of_row(name: &str, ours: Option<&Row>, theirs: Option<&Row>) -> Vec<RowChange> {
    let change = |key: Option<&String>, from: Option<&String>, to: Option<&String>| RowChange {
        row: name.to_owned(),
        key: key.cloned(),
        from: from.cloned(),
        to: to.cloned(),
    };
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            keys.sort();
            keys.dedup();
            let differs = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key));
            differs.map(|key| change(Some(key), ours.get(key), theirs.get(key))).collect()
        }
        (ours, theirs) => vec![change(None, ours.and_then(summary), theirs.and_then(summary))],
    }
}

/// What a row that only one of the two has is about.
fn summary(row: &Row) -> Option<&String> {
    ["says", "asks", "title"].iter().find_map(|key| row.get(*key)).or_else(|| row.values().next())
}

/// Every row under its name, each value as a text under its path.
fn rows(text: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut header = Row::new();
    // A rule set has been read from this text.
    let file: toml::Table = text.parse().unwrap_or_default();
    for (section, value) in &file {
        match value {
            toml::Value::Array(list) => {
                for (index, row) in list.iter().enumerate() {
                    let mut values = Row::new();
                    flatten("", row, &mut values);
                    rows.insert(row_name(section, index, row), values);
                }
            }
            other => flatten(section, other, &mut header),
        }
    }
    rows.insert("header".to_owned(), header);
    rows
}

fn flatten(path: &str, value: &toml::Value, into: &mut Row) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, into);
            }
        }
        toml::Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        other => drop(into.insert(path.to_owned(), other.to_string())),
    }
}
