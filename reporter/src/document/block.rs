//! Building blocks of a document.

use serde::Serialize;

use super::figure::Figure;
use super::text::{Text, Words};

/// One building block.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "block")]
pub enum Block {
    /// The verdict: one strong paragraph in the colour of its tone.
    Lead {
        /// How it should strike the reader.
        tone: Tone,
        /// The paragraph.
        text: Text,
    },
    /// Heading below the section's.
    Heading {
        /// The heading.
        title: Words,
    },
    /// A paragraph.
    Paragraph {
        /// The paragraph.
        text: Text,
    },
    /// A list of short paragraphs.
    List {
        /// Its items.
        items: Vec<Item>,
    },
    /// Names and what stands for them.
    Facts {
        /// Rows.
        facts: Vec<Fact>,
    },
    /// A table.
    Table(Table),
    /// The share of the line, drawn.
    Gauge(Box<Gauge>),
    /// A bar chart.
    Bars(Bars),
    /// A paragraph that must not be overlooked.
    Notice {
        /// How it should strike the reader.
        tone: Tone,
        /// Its heading.
        title: Words,
        /// The paragraph.
        text: Text,
    },
    /// Lines to be filled in by hand.
    Signature {
        /// Names of the lines.
        lines: Vec<Words>,
    },
    /// A good place for a new page, where pages exist.
    PageBreak,
}

/// How a block should strike the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// Nothing to do.
    Calm,
    /// Take care.
    Caution,
    /// Act.
    Alarm,
    /// Not known yet.
    Open,
}

impl Tone {
    /// Stable name, also the style class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Caution => "caution",
            Self::Alarm => "alarm",
            Self::Open => "open",
        }
    }
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// Short name in front, if it has one.
    pub label: Option<Words>,
    /// The item.
    pub text: Text,
}

/// A name and what stands for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fact {
    /// The name.
    pub name: Words,
    /// What stands for it.
    pub value: Text,
    /// What a reader should know of it.
    pub remark: Option<Text>,
}

/// A table; its header row is repeated on every page it spans.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// What the table shows.
    pub caption: Words,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Header.
    pub header: Words,
    /// Where its cells stand.
    pub align: Align,
}

/// Where a cell's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it does in the table.
    pub kind: RowKind,
    /// Cells: one for each column; a single one that spans all for [`RowKind::Group`].
    pub cells: Vec<Cell>,
}

impl Row {
    /// An ordinary row.
    pub const fn plain(cells: Vec<Cell>) -> Self {
        Self { kind: RowKind::Plain, cells }
    }

    /// A row that sums up.
    pub const fn sum(cells: Vec<Cell>) -> Self {
        Self { kind: RowKind::Sum, cells }
    }

    /// A row that heads the rows below it.
    pub fn group(text: Text) -> Self {
        Self { kind: RowKind::Group, cells: vec![text.into()] }
    }
}

/// What a row does in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// States something.
    Plain,
    /// Sums up the rows above it.
    Sum,
    /// Heads the rows below it.
    Group,
}

/// A cell: paragraphs under each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cell(pub Vec<Text>);

impl From<Text> for Cell {
    fn from(text: Text) -> Self {
        Self(vec![text])
    }
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        Self(vec![figure.into()])
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(vec![Text::plain(text)])
    }
}

/// Where the spent operations stand against the line. Positions are in ten-thousandths of the line, so the line is at 10,000.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gauge {
    /// One sentence for readers who do not see the drawing.
    pub description: Words,
    /// Spent operations, as a figure.
    pub spent: Figure,
    /// Their position; `None` if not known.
    pub position: Option<u32>,
    /// The line, as a figure.
    pub line: Figure,
    /// Words under the marker, the line and the band.
    pub labels: GaugeLabels,
    /// The margins of estimation, where the rule set gives them.
    pub band: Option<GaugeBand>,
    /// How the marker should strike the reader.
    pub tone: Tone,
}

/// Words in the drawing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GaugeLabels {
    /// At the marker.
    pub spent: Words,
    /// At the line.
    pub line: Words,
    /// In the band.
    pub band: Words,
}

/// The margins of estimation around the line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GaugeBand {
    /// Near edge, below the line.
    pub from: u32,
    /// The near edge as a figure.
    pub near_edge: Figure,
    /// Upper edge, above the line.
    pub to: u32,
}

/// A bar chart: shares of a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bars {
    /// What it shows.
    pub caption: Words,
    /// Bars, longest first.
    pub bars: Vec<Bar>,
}

/// A bar.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Its name.
    pub name: Words,
    /// Its value.
    pub figure: Figure,
    /// Its share of the whole.
    pub share: Figure,
    /// Its length in ten-thousandths of the longest bar.
    pub length: u32,
}
