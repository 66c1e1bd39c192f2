//! What was said of the levels of a line, and who took it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::Key;

/// See [`super::Body::LevelsSaid`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelsSaid {
    /// Id of the run that said so; its stream has the alert.
    pub run: String,
    /// Id of the alert.
    pub id: String,
    /// The levels.
    pub keys: Vec<Key>,
    /// Digests of the sinks that are told, besides standard error and the ledger; `None` in records of versions for which a level that
    /// was said was said to all.
    pub sinks: Option<Vec<String>>,
    /// Until when they are being told at the latest; those of whom it was not noted by then that they took it may be told anew. `None` in
    /// records of versions that did not note it: for them who was told has heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// See [`super::Body::LevelsHeard`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelsHeard {
    /// Id of the run whose alert it was.
    pub run: String,
    /// Id of the alert.
    pub id: String,
    /// Digests of the sinks that took it.
    pub sinks: Vec<String>,
}

/// See [`super::Body::LevelsMissed`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelsMissed {
    /// Id of the run whose alert it was.
    pub run: String,
    /// Id of the alert.
    pub id: String,
    /// Digests of the sinks that did not take it.
    pub sinks: Vec<String>,
}

/// See [`super::Body::LevelsLeft`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelsLeft {
    /// Id of the run that saw it.
    pub run: String,
    /// The levels.
    pub keys: Vec<Key>,
}
