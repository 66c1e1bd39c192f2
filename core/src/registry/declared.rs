//! A base model that somebody declares in a file.

use chrono::NaiveDate;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::row::FlopBound;
use crate::assess::Origin;
use crate::ledger::Digest;
use crate::unit::{Flops, parse_whole};

const KEYS: [&str; 14] = [
    "name",
    "flop",
    "flop_bound",
    "source",
    "declared_by",
    "date",
    "gpai",
    "systemic_risk",
    "total_parameters",
    "active_parameters",
    "config",
    "parent",
    "own_flop",
    "modified_by",
];

/// What somebody declares of a base model.
///
/// ```
/// use flopsmeter_core::registry::DeclaredBase;
/// let text = r#"
/// name = "acme/in-house-7b"
/// flop = "8.4e22"
/// source = "training log of March 2026"
/// declared_by = "Ada Lovelace, head of training"
/// date = "2026-11-21"
/// gpai = true
/// "#;
/// let base = DeclaredBase::parse(text, "base.toml").unwrap();
/// assert_eq!(base.flop.to_string(), "84000000000000000000000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredBase {
    /// What people call it.
    pub name: String,
    /// Its training compute.
    pub flop: Flops,
    /// Whether that is the figure or less than it.
    pub flop_bound: FlopBound,
    /// What the figure is taken from.
    pub source: String,
    /// Who declares it.
    pub declared_by: String,
    /// When.
    pub date: NaiveDate,
    /// Whether it is a general-purpose model, if declared.
    pub gpai: Option<bool>,
    /// Whether it has systemic risk, if declared.
    pub systemic_risk: Option<bool>,
    /// All parameters.
    pub total_parameters: Option<u128>,
    /// Those that one token passes.
    pub active_parameters: Option<u128>,
    /// Where its `config.json` is, as the file says; resolving the path is the caller's.
    pub config: Option<String>,
    /// The model that it was made from, where it is itself a modification.
    pub descent: Option<Descent>,
    digest: Digest,
}

/// How a declared model came from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descent {
    /// The model it was made from: a Hugging Face id, or what people call it.
    pub parent: String,
    /// The part of the model's compute that was spent on the way from there.
    pub own_flop: Flops,
    /// Who spent it.
    pub modified_by: ModifiedBy,
}

/// Who made a modification that this ledger did not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModifiedBy {
    /// Whoever declares it: another team, machine or ledger of the same modifier.
    Us,
    /// Somebody else.
    Others,
}

/// What is wrong with a declared base file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclaredBaseProblem {
    /// It is no TOML.
    #[error("{file} is no valid TOML: {cause}; write lines such as `flop = \"8.4e22\"`")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser says.
        cause: String,
    },
    /// A key is missing.
    #[error("{file} does not say `{key}`; add {example}")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// A line to add.
        example: &'static str,
    },
    /// A key's value cannot be used.
    #[error("{file}: `{key}` {cause}; write {example}")]
    Value {
        /// The file.
        file: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        cause: String,
        /// A line that would do.
        example: &'static str,
    },
    /// A key is not known.
    #[error("{file}: unknown key `{key}`; the keys are {known}")]
    Unknown {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What may be written.
        known: String,
    },
}

/// A figure as people write it: text, or a number that TOML keeps exactly.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Text(String),
    Integer(i64),
}

impl DeclaredBase {
    /// Reads the text of a file; `file` is its name, for messages.
    pub fn parse(text: &str, file: &str) -> Result<Self, DeclaredBaseProblem> {
        let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| DeclaredBaseProblem::Syntax {
            file: file.to_owned(),
            cause: in_one_line(&cause, text),
        })?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let (file, key, known) = (file.to_owned(), key.clone(), KEYS.join(", "));
            return Err(DeclaredBaseProblem::Unknown { file, key, known });
        }
        let keys = Keys { table: &table, file };
        let flop_bound = keys.optional("flop_bound", "`flop_bound = \"lower\"` or `\"point\"`")?;
        let name = keys.text("name", "`name = \"organisation/model\"`")?;
        let flop = keys.amount("flop", FLOP).and_then(|flop| keys.needed(flop, "flop", FLOP)).map(Flops)?;
        Ok(Self {
            descent: keys.descent(&name, flop)?,
            name,
            flop,
            flop_bound: flop_bound.unwrap_or(FlopBound::Point),
            source: keys.text("source", "`source = \"where the figure is from\"`")?,
            declared_by: keys.text("declared_by", "`declared_by = \"name and role\"`")?,
            date: keys.date()?,
            gpai: keys.optional("gpai", "`gpai = true` or `false`")?,
            systemic_risk: keys.optional("systemic_risk", "`systemic_risk = true` or `false`")?,
            total_parameters: keys.amount("total_parameters", "`total_parameters = 7000000000`")?,
            active_parameters: keys.amount("active_parameters", "`active_parameters = 7000000000`")?,
            config: keys.optional("config", "`config = \"path/to/config.json\"`")?,
            digest: Digest(Sha256::digest(text.as_bytes()).into()),
        })
    }

    /// The model that this one was made from, as far as the file tells of it: what is left of the compute without the own part.
    ///
    /// ```
    /// use flopsmeter_core::registry::DeclaredBase;
    /// let text = r#"
    /// name = "acme/legal-7b"
    /// flop = "9e22"
    /// source = "training logs"
    /// declared_by = "Ada Lovelace, head of training"
    /// date = "2026-11-21"
    /// parent = "acme/in-house-7b"
    /// own_flop = "6e21"
    /// modified_by = "others"
    /// "#;
    /// let parent = DeclaredBase::parse(text, "base.toml").unwrap().parent().unwrap();
    /// assert_eq!((parent.name.as_str(), parent.flop), ("acme/in-house-7b", "8.4e22".parse().unwrap()));
    /// ```
    pub fn parent(&self) -> Option<Self> {
        let descent = self.descent.as_ref()?;
        Some(Self {
            name: descent.parent.clone(),
            flop: Flops(self.flop.0.saturating_sub(descent.own_flop.0)),
            descent: None,
            config: None,
            ..self.clone()
        })
    }

    /// The same under another name.
    pub(crate) fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// SHA-256 of the file.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Where its figure comes from.
    pub fn origin(&self) -> Origin {
        let by = format!("{}, {}", self.declared_by, self.date);
        Origin::Declared { by, source: Some(self.source.clone()) }
    }
}

/// The parser's own words draw the line over several of ours, and a message in a job's output has one.
fn in_one_line(cause: &toml::de::Error, text: &str) -> String {
    let words = cause.message().trim_end().replace('\n', ", ");
    let before = cause.span().and_then(|span| text.get(..span.start));
    before.map_or(words.clone(), |before| format!("{words} in line {}", before.matches('\n').count() + 1))
}

const FLOP: &str = "`flop = \"8.4e22\"`";

struct Keys<'a> {
    table: &'a toml::Table,
    file: &'a str,
}

impl Keys<'_> {
    fn optional<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
        example: &'static str,
    ) -> Result<Option<T>, DeclaredBaseProblem> {
        let value = self.table.get(key).cloned();
        value
            .map(|value| value.try_into().map_err(|cause: toml::de::Error| self.wrong(key, cause.message(), example)))
            .transpose()
    }

    fn text(&self, key: &'static str, example: &'static str) -> Result<String, DeclaredBaseProblem> {
        let text: String = self.needed(self.optional(key, example)?, key, example)?;
        let text = text.trim();
        if text.is_empty() { Err(self.wrong(key, "is empty", example)) } else { Ok(text.to_owned()) }
    }

    /// Three keys that stand together or not at all: a modification whose part or maker nobody names would be guessed at.
    fn descent(&self, name: &str, flop: Flops) -> Result<Option<Descent>, DeclaredBaseProblem> {
        const PARENT: &str = "`parent = \"organisation/original\"`";
        const OWN: &str = "`own_flop = \"6e21\"`, the part of `flop` that was spent since the parent";
        const BY: &str = "`modified_by = \"us\"` or `\"others\"`";
        if !["parent", "own_flop", "modified_by"].iter().any(|key| self.table.contains_key(*key)) {
            return Ok(None);
        }
        let parent = self.text("parent", PARENT)?;
        if parent.eq_ignore_ascii_case(name) {
            return Err(self.wrong("parent", "is the model itself", PARENT));
        }
        let own_flop = self.needed(self.amount("own_flop", OWN)?, "own_flop", OWN)?;
        if own_flop >= flop.0 {
            return Err(self.wrong("own_flop", "is not less than `flop`, of which it is a part", OWN));
        }
        let modified_by = self.needed(self.optional("modified_by", BY)?, "modified_by", BY)?;
        Ok(Some(Descent { parent, own_flop: Flops(own_flop), modified_by }))
    }

    fn amount(&self, key: &'static str, example: &'static str) -> Result<Option<u128>, DeclaredBaseProblem> {
        let Some(value) = self.table.get(key).cloned() else { return Ok(None) };
        let text = match value.try_into() {
            Ok(Amount::Text(text)) => text,
            Ok(Amount::Integer(number)) => number.to_string(),
            Err(_) => return Err(self.wrong(key, "is no whole number in quotes", example)),
        };
        match parse_whole(&text) {
            Ok(0) => Err(self.wrong(key, "is zero", example)),
            Ok(value) => Ok(Some(value)),
            Err(problem) => Err(self.wrong(key, &format!("cannot be used: {problem}"), example)),
        }
    }

    /// A day, quoted or as TOML's own date.
    fn date(&self) -> Result<NaiveDate, DeclaredBaseProblem> {
        const EXAMPLE: &str = "`date = \"2026-11-21\"`";
        let text = match self.table.get("date") {
            Some(toml::Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let text = self.needed(text, "date", EXAMPLE)?;
        text.parse().map_err(|_| self.wrong("date", &format!("is `{text}`, which is no day"), EXAMPLE))
    }

    fn needed<T>(&self, value: Option<T>, key: &'static str, example: &'static str) -> Result<T, DeclaredBaseProblem> {
        value.ok_or_else(|| DeclaredBaseProblem::Missing { file: self.file.to_owned(), key, example })
    }

    fn wrong(&self, key: &'static str, cause: &str, example: &'static str) -> DeclaredBaseProblem {
        DeclaredBaseProblem::Value { file: self.file.to_owned(), key, cause: cause.to_owned(), example }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"a/b\"\nflop = \"1e20\"\nsource = \"log\"\ndeclared_by = \"me\"\ndate = 2026-11-21\n";

    #[test]
    fn a_file_is_read_exactly() {
        let base = DeclaredBase::parse(GOOD, "base.toml").unwrap();
        assert_eq!(base.flop, Flops(100_000_000_000_000_000_000));
        assert_eq!(base.date.to_string(), "2026-11-21");
        assert_eq!((base.flop_bound, base.gpai, base.systemic_risk), (FlopBound::Point, None, None));
        let lower =
            DeclaredBase::parse(&format!("{GOOD}flop_bound = \"lower\"\nactive_parameters = 7\n"), "x").unwrap();
        assert_eq!((lower.flop_bound, lower.active_parameters), (FlopBound::Lower, Some(7)));
        assert_ne!(lower.digest(), base.digest());
    }

    #[test]
    fn a_model_made_from_another_says_from_which_by_how_much_and_by_whom() {
        let text = format!("{GOOD}parent = \"a/original\"\nown_flop = \"2e19\"\nmodified_by = \"others\"\n");
        let base = DeclaredBase::parse(&text, "base.toml").unwrap();
        assert_eq!(
            base.parent().map(|parent| (parent.name, parent.flop)),
            Some(("a/original".to_owned(), Flops(8 * 10_u128.pow(19))))
        );
        assert_eq!(DeclaredBase::parse(GOOD, "base.toml").unwrap().parent(), None);
        let sized = DeclaredBase::parse(&format!("{text}active_parameters = 7\n"), "base.toml").unwrap();
        assert_eq!(sized.parent().and_then(|parent| parent.active_parameters), Some(7), "training on leaves the size");
        for (from, to, names) in [
            ("modified_by = \"others\"\n", "", "`modified_by`"),
            ("own_flop = \"2e19\"\n", "", "`own_flop`"),
            ("parent = \"a/original\"\n", "", "`parent`"),
            ("a/original", "A/B", "is the model itself"),
            ("2e19", "1e20", "is not less than `flop`"),
            ("\"others\"", "\"them\"", "`modified_by`"),
        ] {
            let problem = DeclaredBase::parse(&text.replace(from, to), "my base.toml").unwrap_err().to_string();
            assert!(problem.contains("my base.toml") && problem.contains(names), "{to}: {problem}");
        }
    }

    #[test]
    fn the_examples_base_is_read() {
        let base = DeclaredBase::parse(include_str!("../../../examples/tiny-base.toml"), "tiny-base.toml").unwrap();
        assert_eq!(base.gpai, Some(true), "under the criterion, so the demonstration has to declare it");
    }

    #[test]
    fn a_problem_names_file_key_and_next_step() {
        let cases = [
            ("flop = \"1e20\"", "flop = 1e20", "`flop`"),
            ("flop = \"1e20\"", "flop = \"-3\"", "`flop`"),
            ("flop = \"1e20\"", "flop = \"1e99\"", "`flop`"),
            ("flop = \"1e20\"", "flop = 0", "`flop`"),
            ("flop = \"1e20\"\n", "", "`flop`"),
            ("source = \"log\"", "source = \"\"", "`source`"),
            ("declared_by = \"me\"", "declared_by = 5", "`declared_by`"),
            ("date = 2026-11-21", "date = \"yesterday\"", "`date`"),
            ("name = \"a/b\"", "nmae = \"a/b\"", "`nmae`"),
            ("name = \"a/b\"", "name = \"a/b\"\ngpai = \"yes\"", "`gpai`"),
            ("name = \"a/b\"", "name = a/b", "TOML"),
        ];
        for (from, to, names) in cases {
            let text = GOOD.replace(from, to);
            let problem = DeclaredBase::parse(&text, "my base.toml").unwrap_err().to_string();
            assert!(problem.contains("my base.toml") && problem.contains(names), "{to}: {problem}");
            assert!(problem.contains("; "), "{to} gives no next step: {problem}");
        }
    }
}
