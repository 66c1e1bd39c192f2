//! The typed document: what is said, apart from how a format shows it.

mod block;
mod figure;
mod text;

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use block::{
    Align, Bar, Bars, Block, Cell, Column, Fact, Gauge, GaugeBand, GaugeLabels, Item, Row, RowKind, Table, Tone,
};
pub(crate) use figure::per;
pub use figure::{Figure, Mark};
pub use text::{Inline, Text, Words};

/// Kinds of document; the name is the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The threshold memo.
    Threshold,
}

impl Kind {
    /// File name without extension.
    pub const fn file_stem(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
        }
    }

    /// Name and version of the JSON form.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Threshold => "flopsmeter.threshold/1",
        }
    }
}

/// A document in one language. Same input, same value.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Which document.
    pub kind: Kind,
    /// BCP 47 tag of its language.
    pub language: String,
    /// Title line.
    pub title: Words,
    /// What it is about: the modification.
    pub subject: Words,
    /// For whom it was made, if known.
    pub organisation: Option<Words>,
    /// When, as the caller says.
    pub generated: DateTime<Utc>,
    /// Program and version.
    pub generator: Words,
    /// Fixed words that every page or format needs.
    pub furniture: Furniture,
    /// Sections in reading order.
    pub sections: Vec<Section>,
    /// What the document was composed from, for the JSON form.
    #[serde(skip)]
    pub data: serde_json::Value,
}

/// Fixed words in the document's language.
#[derive(Clone, Debug, Serialize)]
pub struct Furniture {
    /// `Page`
    pub page: Words,
    /// `of`
    pub of: Words,
    /// Names of the five origins, with their one-letter marks, for the legend.
    pub origins: Vec<(Mark, Words)>,
    /// Introduces the legend.
    pub legend: Words,
    /// `Contents`
    pub contents: Words,
}

/// A titled part.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Stable name, an anchor in HTML.
    pub id: &'static str,
    /// Heading; the first section has none, its lead paragraph is the verdict.
    pub title: Option<Words>,
    /// Content.
    pub blocks: Vec<Block>,
}
