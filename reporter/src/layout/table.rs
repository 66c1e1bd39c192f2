//! Widths of columns and rows of lines.

use super::measure::Fonts;
use super::run::Run;
use super::wrap::{Line, natural_and_least, wrap};
use crate::document::{Align, RowKind};

/// Space between a cell's text and its edges.
pub(super) const PADDING: f32 = 3.6;
/// A column that must be broken within words is left at least this wide, if all can be.
const LEAST_BROKEN: f32 = 78.0;

/// A cell: paragraphs of runs.
#[derive(Clone, Debug, Default)]
pub(super) struct CellText {
    pub(super) paragraphs: Vec<Vec<Run>>,
}

impl CellText {
    fn natural_and_least(&self, fonts: &Fonts) -> (f32, f32) {
        self.paragraphs
            .iter()
            .map(|runs| natural_and_least(runs, fonts))
            .fold((0.0, 0.0), |widest, one| (f32::max(widest.0, one.0), f32::max(widest.1, one.1)))
    }
}

/// A row ready to be drawn.
#[derive(Clone, Debug)]
pub(super) struct SetRow {
    pub(super) cells: Vec<Vec<Line>>,
    pub(super) kind: RowKind,
}

impl SetRow {
    /// Breaks each cell into its column.
    pub(super) fn new(cells: &[CellText], widths: &[f32], kind: RowKind, fonts: &Fonts) -> Self {
        let set = |(cell, width): (&CellText, &f32)| {
            let room = (width - 2.0 * PADDING).max(1.0);
            cell.paragraphs.iter().flat_map(|runs| wrap(runs, room, fonts)).collect()
        };
        Self { cells: cells.iter().zip(widths).map(set).collect(), kind }
    }

    /// Height with padding.
    pub(super) fn height(&self) -> f32 {
        let tallest = self.cells.iter().map(|lines| text_height(lines)).fold(0.0, f32::max);
        tallest + 2.0 * PADDING
    }

    /// Splits off what does not fit into `room`; `None` if not even one line of each cell does.
    pub(super) fn split(mut self, room: f32) -> Option<(Self, Self)> {
        let mut rest = Self { cells: Vec::new(), kind: self.kind };
        let mut took = false;
        for lines in &mut self.cells {
            let mut used = 2.0 * PADDING;
            let fits = lines
                .iter()
                .take_while(|line| {
                    used += line.height;
                    used <= room
                })
                .count();
            took |= fits > 0;
            rest.cells.push(lines.split_off(fits));
        }
        took.then_some((self, rest))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(Vec::is_empty)
    }
}

/// Height of lines under each other.
pub(super) fn text_height(lines: &[Line]) -> f32 {
    lines.iter().map(|line| line.height).sum()
}

/// Left edge of a line of `width` in a column.
pub(super) fn offset(align: Align, width: f32, column: f32) -> f32 {
    match align {
        Align::Left => PADDING,
        Align::Right => (column - PADDING - width).max(PADDING),
    }
}

/// Shares `available` among the columns of `rows`; the widths add up to it.
pub(super) fn column_widths(rows: &[&Vec<CellText>], aligns: &[Align], available: f32, fonts: &Fonts) -> Vec<f32> {
    let mut wants = vec![Want::default(); aligns.len()];
    for row in rows {
        for ((cell, want), align) in row.iter().zip(&mut wants).zip(aligns) {
            let (natural, least) = cell.natural_and_least(fonts);
            // Half a point more, so that rounding never breaks a line.
            let edges = 2.0 * PADDING + 0.5;
            want.natural = want.natural.max(natural + edges);
            // Names may be broken within if that lets other columns breathe; numbers only if nothing else helps.
            let least = least.min(natural) + edges;
            want.whole_words = want.whole_words.max(least);
            want.least = want.least.max(if *align == Align::Right { least } else { least.min(LEAST_BROKEN) });
        }
    }
    share(&wants, available)
}

/// What a column would like.
#[derive(Clone, Copy, Debug, Default)]
struct Want {
    /// No line broken.
    natural: f32,
    /// No word broken.
    whole_words: f32,
    /// Words broken that may be.
    least: f32,
}

/// The first of these that fits, and what is left in proportion to what more each wants: nothing broken, no word broken,
/// long names broken, everything broken.
fn share(wants: &[Want], available: f32) -> Vec<f32> {
    let natural: Vec<f32> = wants.iter().map(|want| want.natural).collect();
    let more = |widths: &[f32]| -> Vec<f32> {
        natural.iter().zip(widths).map(|(natural, width)| (natural - width).max(0.0)).collect()
    };
    let room = |widths: &[f32]| available - widths.iter().sum::<f32>();
    if room(&natural) >= 0.0 {
        return spread(&natural, &natural, room(&natural));
    }
    let whole: Vec<f32> = wants.iter().map(|want| want.whole_words).collect();
    // Where whole words leave hardly anything for the rest, sentences would stand in slivers.
    if room(&whole) >= available * 0.25 {
        return spread(&whole, &more(&whole), room(&whole));
    }
    let least: Vec<f32> = wants.iter().map(|want| want.least).collect();
    if room(&least) >= 0.0 {
        return spread(&least, &more(&least), room(&least));
    }
    let scale = available / least.iter().sum::<f32>();
    least.iter().map(|width| width * scale).collect()
}

/// Adds `room` to `widths` in proportion to `weights`.
fn spread(widths: &[f32], weights: &[f32], room: f32) -> Vec<f32> {
    let whole: f32 = weights.iter().sum();
    if whole <= 0.0 {
        return widths.to_vec();
    }
    widths.iter().zip(weights).map(|(width, weight)| width + room * weight / whole).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::run::Style;
    use super::*;

    fn cell(text: &str, fonts: &Fonts) -> CellText {
        CellText { paragraphs: vec![vec![Run::new(text, Style::plain(8.0), fonts)]] }
    }

    proptest! {
        #[test]
        fn columns_fill_the_page_and_never_more(
            texts in proptest::collection::vec(proptest::collection::vec("[a-z ]{0,80}", 4), 1..6),
            available in 200.0_f32..600.0,
        ) {
            let fonts = Fonts::embedded().unwrap();
            let rows: Vec<Vec<CellText>> =
                texts.iter().map(|row| row.iter().map(|text| cell(text, &fonts)).collect()).collect();
            let rows: Vec<&Vec<CellText>> = rows.iter().collect();
            let aligns = [Align::Left, Align::Right, Align::Left, Align::Left];
            let widths = column_widths(&rows, &aligns, available, &fonts);
            prop_assert!((widths.iter().sum::<f32>() - available).abs() < 0.1);
            prop_assert!(widths.iter().all(|width| *width > 0.0));
        }
    }

    #[test]
    fn a_row_split_over_pages_loses_no_line() {
        let fonts = Fonts::embedded().unwrap();
        let cells = [cell(&"word ".repeat(200), &fonts), cell("short", &fonts)];
        let row = SetRow::new(&cells, &[100.0, 100.0], RowKind::Plain, &fonts);
        let all = row.cells[0].len();
        let (head, rest) = row.split(100.0).unwrap();
        assert!(head.height() <= 100.0);
        assert_eq!(head.cells[0].len() + rest.cells[0].len(), all);
        assert!(rest.cells[1].is_empty());
    }
}
