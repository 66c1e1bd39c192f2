//! What every section of the memo needs: the input, the wording, and figures with their origins in words.

use flopsmeter_core::assess::{Citation, Origin};
use flopsmeter_core::unit::Flops;

use super::ThresholdInput;
use super::totals::Totals;
use crate::document::{
    Align, Block, Cell, Column, Figure, Furniture, Inline, Mark, Row, RowKind, Section, Table, Text, Words,
};
use crate::problem::ReportProblem;
use crate::wording::{Values, Wording};

/// Names in titles and sentences are cut here, so that nothing pushes the verdict off the first page.
pub(super) const LONGEST_NAME: usize = 160;
/// Rows of one table; what is left out is said, and the JSON form has it.
const MOST_ROWS: usize = 500;

pub(super) struct Composer<'a> {
    pub(super) input: &'a ThresholdInput,
    pub(super) totals: Totals,
    wording: &'a Wording,
}

impl<'a> Composer<'a> {
    pub(super) fn new(input: &'a ThresholdInput, wording: &'a Wording) -> Self {
        Self { input, totals: Totals::of(&input.runs), wording }
    }

    /// Fixed words of the memo.
    pub(super) fn label(&self, name: &str) -> Result<Words, ReportProblem> {
        self.wording.label("threshold/labels", name)
    }

    /// A fixed sentence.
    pub(super) fn say(&self, file: &str, name: &str, values: &Values) -> Result<Text, ReportProblem> {
        self.wording.sentence(&format!("threshold/{file}"), name, values)
    }

    /// A fixed sentence as a paragraph.
    pub(super) fn paragraph(&self, file: &str, name: &str, values: &Values) -> Result<Block, ReportProblem> {
        Ok(Block::Paragraph { text: self.say(file, name, values)? })
    }

    /// The sentence of a code, if the wording knows it.
    pub(super) fn by_code(&self, file: &str, code: &str, values: &Values) -> Option<Text> {
        self.wording.by_code(&format!("threshold/{file}"), code, values)
    }

    pub(super) fn section(&self, id: &'static str, title: &str, blocks: Vec<Block>) -> Result<Section, ReportProblem> {
        Ok(Section { id, title: Some(self.label(title)?), blocks })
    }

    /// A table with headers by name; numbers stand right.
    pub(super) fn table(
        &self,
        caption: &str,
        columns: &[(&str, Align)],
        rows: Vec<Row>,
    ) -> Result<Block, ReportProblem> {
        let columns = columns
            .iter()
            .map(|(name, align)| Ok(Column { header: self.label(name)?, align: *align }))
            .collect::<Result<Vec<_>, ReportProblem>>()?;
        let rows = self.bounded(rows, columns.len())?;
        Ok(Block::Table(Table { caption: self.label(caption)?, columns, rows }))
    }

    fn bounded(&self, mut rows: Vec<Row>, columns: usize) -> Result<Vec<Row>, ReportProblem> {
        if rows.len() <= MOST_ROWS {
            return Ok(rows);
        }
        let cut = rows.split_off(MOST_ROWS - 1).len();
        let counted = u64::try_from(cut).unwrap_or(u64::MAX);
        let figure = Figure::count(counted, self.computed("from_records")?);
        let mut cells = vec![Cell::default(); columns];
        if let Some(first) = cells.first_mut() {
            *first = self.say("labels", "rows_cut", &Values::default().figure("count", figure))?.into();
        }
        rows.push(Row { cells, kind: RowKind::Sum });
        Ok(rows)
    }

    /// Counted or read while the job ran; `by` names the wording.
    pub(super) fn measured(&self, by: &str) -> Result<Origin, ReportProblem> {
        Ok(Origin::Measured { by: self.label(by)?.to_string() })
    }

    /// Follows from other numbers; `from` names the wording.
    pub(super) fn computed(&self, from: &str) -> Result<Origin, ReportProblem> {
        Ok(Origin::Computed { from: self.label(from)?.to_string() })
    }

    /// A figure that is not there.
    pub(super) fn missing(&self, next_step: &str) -> Result<Figure, ReportProblem> {
        Ok(Figure::missing(self.label("word_missing")?.as_str(), self.label(next_step)?.as_str()))
    }

    /// Operations, or `missing` with what to do about it.
    pub(super) fn flops(&self, flops: Option<Flops>, origin: Origin, next_step: &str) -> Result<Figure, ReportProblem> {
        flops.map_or_else(|| self.missing(next_step), |flops| Ok(Figure::flops(flops, origin)))
    }

    /// Name of the modification's base, or a word for not knowing it.
    pub(super) fn base_name(&self) -> Result<String, ReportProblem> {
        match &self.input.base {
            Some(base) => Ok(Words::brief(&base.name, LONGEST_NAME).to_string()),
            None => Ok(self.label("unknown_base")?.to_string()),
        }
    }

    /// Instrument and place as a link, and how sure we are of it.
    pub(super) fn citation(&self, citation: Option<&Citation>) -> Result<Cell, ReportProblem> {
        let Some(citation) = citation else { return Ok(Cell::default()) };
        let mut cell =
            vec![Text::link(&format!("{}, {}", citation.instrument, citation.place), citation.url.as_deref())];
        if !citation.confidence.is_empty() {
            cell.push(self.confidence(&citation.confidence)?);
        }
        Ok(Cell(cell))
    }

    fn confidence(&self, mark: &str) -> Result<Text, ReportProblem> {
        let values = Values::default().words("confidence", mark);
        let words = self.say("labels", "confidence", &values)?.to_plain();
        Ok(Text(vec![Inline::Quiet(Words::new(&words))]))
    }

    pub(super) fn furniture(&self) -> Result<Furniture, ReportProblem> {
        let origins = Mark::ALL
            .into_iter()
            .map(|mark| Ok((mark, self.label(&format!("origin_{}", mark.name()))?)))
            .collect::<Result<Vec<_>, ReportProblem>>()?;
        Ok(Furniture {
            page: self.label("page")?,
            of: self.label("of")?,
            origins,
            legend: self.label("legend")?,
            contents: self.label("contents")?,
        })
    }
}
