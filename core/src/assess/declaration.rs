//! Answers as people write them down: words of a command line, or a file.

use chrono::NaiveDate;

use super::{Answer, AnswerKey};
use crate::rules::{AnswerProblem, RuleSet};

/// Why something is no answer. Each names the question or the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationProblem {
    /// Nobody asks that.
    #[error("there is no question `{key}`; the questions are {known}")]
    UnknownQuestion {
        /// What was written.
        key: String,
        /// What there is.
        known: String,
    },
    /// The value answers another kind of question.
    #[error(transparent)]
    Value(#[from] AnswerProblem),
    /// An answer that nobody stands for is none.
    #[error("nobody stands for the answer to `{key}`: name them with --by NAME, or `by` in the file")]
    NobodyDeclares {
        /// Name of the question.
        key: String,
    },
    /// The day of the declaration is still to come.
    #[error("`{key}` is declared on {date}, which is still to come: `--date` is the day on which somebody said so")]
    StillToCome {
        /// Name of the question.
        key: String,
        /// The day.
        date: NaiveDate,
    },
    /// A word that is no pair.
    #[error("`{word}` is no answer; write it as KEY=VALUE, for example base-is-gpai=yes")]
    NoPair {
        /// The word.
        word: String,
    },
    /// A file of another form.
    #[error("{cause}; a file of answers has `by`, `date` and a table `[answers]`")]
    Form {
        /// Which key, and why.
        cause: String,
    },
}

/// What holds for every answer that does not say otherwise.
///
/// ```
/// use flopsmeter_core::assess::{AnswerKey, Declaration};
/// use flopsmeter_core::rules::RuleSet;
/// let today = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
/// let rules = RuleSet::in_force(today).unwrap();
/// let declaration = Declaration { rules, by: Some("Ada, compliance".into()), date: None, today };
/// let given = declaration.of_words(&["sme=yes".into(), "placed-on-market-date=2026-03-01".into()]).unwrap();
/// assert_eq!(given[0].0, AnswerKey::Sme);
/// assert_eq!(given[1].1.value.day(), "2026-03-01".parse().ok());
/// assert!(declaration.of_words(&["sme=maybe".into()]).unwrap_err().to_string().contains("yes or no"));
/// ```
#[derive(Clone, Debug)]
pub struct Declaration<'r> {
    /// The rule set that asks.
    pub rules: &'r RuleSet,
    /// Who declares, where an answer does not say.
    pub by: Option<String>,
    /// When, where an answer does not say.
    pub date: Option<NaiveDate>,
    /// The day on which it is recorded; nothing is declared later.
    pub today: NaiveDate,
}

/// Answers in the order in which they were given.
pub type Given = Vec<(AnswerKey, Answer)>;

impl Declaration<'_> {
    /// `KEY=VALUE …`, or one `KEY VALUE`.
    pub fn of_words(&self, words: &[String]) -> Result<Given, DeclarationProblem> {
        if let [key, value] = words
            && !key.contains('=')
            && !value.contains('=')
        {
            return Ok(vec![self.read(key, value, &Signature::default())?]);
        }
        let pair = |word: &String| match word.split_once('=') {
            Some((key, value)) => self.read(key, value, &Signature::default()),
            None => Err(DeclarationProblem::NoPair { word: word.chars().take(80).collect() }),
        };
        words.iter().map(pair).collect()
    }

    /// A TOML file: `by` and `date`, and `[answers]` with a value for each key, or `{ value, by, date }`.
    pub fn of_file(&self, text: &str) -> Result<Given, DeclarationProblem> {
        let mut file: toml::Table =
            text.parse().map_err(|cause: toml::de::Error| form(format!("no valid TOML: {}", cause.message())))?;
        let Some(toml::Value::Table(answers)) = file.remove("answers") else {
            return Err(form("`answers` is missing or is no table"));
        };
        let common = Signature::take(&mut file, "header")?;
        if let Some(key) = file.keys().next() {
            return Err(form(format!("unknown key `{key}`")));
        }
        answers.into_iter().map(|(key, value)| self.of_entry(&key, value, &common)).collect()
    }

    fn of_entry(
        &self,
        key: &str,
        value: toml::Value,
        common: &Signature,
    ) -> Result<(AnswerKey, Answer), DeclarationProblem> {
        let (value, own) = match value {
            toml::Value::Table(mut table) => {
                let value = table.remove("value").ok_or_else(|| form(format!("`answers.{key}` has no `value`")))?;
                let own = Signature::take(&mut table, key)?;
                if let Some(unknown) = table.keys().next() {
                    return Err(form(format!("`answers.{key}` has an unknown key `{unknown}`")));
                }
                (value, own)
            }
            value => (value, Signature::default()),
        };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let signed = Signature { by: own.by.or_else(|| common.by.clone()), date: own.date.or(common.date) };
        self.read(key, &text, &signed)
    }

    fn read(&self, key: &str, value: &str, signed: &Signature) -> Result<(AnswerKey, Answer), DeclarationProblem> {
        let unknown = || DeclarationProblem::UnknownQuestion {
            key: key.chars().take(80).collect(),
            known: AnswerKey::ALL.map(AnswerKey::name).join(", "),
        };
        let row = AnswerKey::named(key).and_then(|question| self.rules.question(question)).ok_or_else(unknown)?;
        let value = row.read(value)?;
        let by = signed.by.as_deref().or(self.by.as_deref()).map(str::trim).filter(|by| !by.is_empty());
        let by = by.ok_or_else(|| DeclarationProblem::NobodyDeclares { key: key.to_owned() })?.to_owned();
        let date = signed.date.or(self.date).unwrap_or(self.today);
        if date > self.today {
            return Err(DeclarationProblem::StillToCome { key: key.to_owned(), date });
        }
        Ok((row.key, Answer { value, by, date }))
    }
}

fn form(cause: impl Into<String>) -> DeclarationProblem {
    DeclarationProblem::Form { cause: cause.into() }
}

/// Who declares, and when.
#[derive(Default)]
struct Signature {
    by: Option<String>,
    date: Option<NaiveDate>,
}

impl Signature {
    /// Takes `by` and `date` out of a table; `place` is how an error names it.
    fn take(table: &mut toml::Table, place: &str) -> Result<Self, DeclarationProblem> {
        let by = match table.remove("by") {
            None => None,
            Some(toml::Value::String(by)) if !by.trim().is_empty() => Some(by),
            Some(_) => return Err(form(format!("`by` of `{place}` is no name"))),
        };
        let day = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok();
        let date = match table.remove("date") {
            None => None,
            Some(date) => {
                Some(day(&date).ok_or_else(|| form(format!("`date` of `{place}` is no day such as 2026-11-21")))?)
            }
        };
        Ok(Self { by, date })
    }
}
