//! One table of the file: what is taken from it is gone, so that what remains is unknown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::ConfigProblem;

pub(super) struct Row<'a> {
    path: &'a Path,
    name: String,
    table: Table,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Row<'a> {
    pub(super) fn new(
        path: &'a Path,
        name: String,
        table: Table,
        environment: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { path, name, table, environment }
    }

    pub(super) fn wrong(&self, key: &str, problem: String) -> ConfigProblem {
        ConfigProblem::Value { path: self.path.to_owned(), row: self.name.clone(), key: key.to_owned(), problem }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigProblem> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "is no text, or empty; write it in quotes".to_owned())),
        }
    }

    pub(super) fn required(&mut self, key: &str) -> Result<String, ConfigProblem> {
        self.text(key)?.ok_or_else(|| self.wrong(key, "is missing".to_owned()))
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, ConfigProblem> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| {
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        texts.map(Some).ok_or_else(|| self.wrong(key, "is no list of texts; write [\"one\", \"two\"]".to_owned()))
    }

    pub(super) fn tables(&mut self, key: &str) -> Result<Vec<Table>, ConfigProblem> {
        let Some(value) = self.table.remove(key) else { return Ok(Vec::new()) };
        let tables = value
            .as_array()
            .and_then(|values| values.iter().map(|value| value.as_table().cloned()).collect::<Option<Vec<Table>>>());
        tables.ok_or_else(|| self.wrong(key, "is no list of tables; write [[sink]] above each".to_owned()))
    }

    /// A file's path, from the folder of the configuration.
    pub(super) fn path(&mut self, key: &str) -> Result<Option<PathBuf>, ConfigProblem> {
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(self.text(key)?.map(|text| folder.join(text)))
    }

    pub(super) fn port(&mut self, key: &str, usual: u16) -> Result<u16, ConfigProblem> {
        match self.table.remove(key) {
            None => Ok(usual),
            Some(value) => {
                let port = value.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                port.ok_or_else(|| self.wrong(key, "is no port; write a number from 1 to 65535".to_owned()))
            }
        }
    }

    pub(super) fn seconds(&mut self, key: &str, usual: Duration) -> Result<Duration, ConfigProblem> {
        match self.table.remove(key) {
            None => Ok(usual),
            Some(value) => {
                let seconds = value.as_integer().and_then(|seconds| u64::try_from(seconds).ok());
                let seconds = seconds.filter(|seconds| (1..=600).contains(seconds)).map(Duration::from_secs);
                seconds.ok_or_else(|| self.wrong(key, "is no number of seconds from 1 to 600".to_owned()))
            }
        }
    }

    /// What the variable `KEY-env` or the file `KEY-file` has. One that stands here in the open is refused.
    pub(super) fn secret(&mut self, key: &str) -> Result<Option<String>, ConfigProblem> {
        let (env_key, file_key) = (format!("{key}-env"), format!("{key}-file"));
        if self.table.contains_key(key) {
            let problem = format!("is a secret; write {env_key} (a variable that has it) or {file_key} instead");
            return Err(self.wrong(key, problem));
        }
        let (variable, file) = (self.text(&env_key)?, self.path(&file_key)?);
        match (variable, file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(self.wrong(&env_key, format!("stands beside {file_key}; write one of them"))),
            (Some(variable), None) => {
                let value = (self.environment)(&variable).filter(|value| !value.trim().is_empty());
                let missing = || self.missing(&env_key, format!("names {variable}, which is not set"));
                value.map(|value| value.trim().to_owned()).map(Some).ok_or_else(missing)
            }
            (None, Some(file)) => {
                let text = fs_err::read_to_string(&file)
                    .map_err(|cause| self.missing(&file_key, format!("cannot be read: {cause}")))?;
                let text = text.trim();
                if text.is_empty() {
                    Err(self.missing(&file_key, "names an empty file".to_owned()))
                } else {
                    Ok(Some(text.to_owned()))
                }
            }
        }
    }

    fn missing(&self, key: &str, problem: String) -> ConfigProblem {
        let (path, row) = (self.path.to_owned(), self.name.clone());
        ConfigProblem::Secret { path, row, key: key.to_owned(), problem }
    }

    pub(super) fn finish(&self) -> Result<(), ConfigProblem> {
        self.table.keys().next().map_or(Ok(()), |key| Err(self.wrong(key, "is no key of this row".to_owned())))
    }
}
