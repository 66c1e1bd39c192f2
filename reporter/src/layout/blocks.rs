//! Sets one block.

use super::chart;
use super::measure::Fonts;
use super::page::{FLOOR, Flow, LEFT, MEASURE, TOP};
use super::run::{Run, Style, exact, runs};
use super::set::TEXT;
use super::shape::Color;
use super::table::{CellText, PADDING, SetRow, column_widths, offset, text_height};
use super::wrap::wrap;
use crate::document::{Align, Block, Cell, Fact, Inline, Item, RowKind, Table, Text, Tone, Words};

/// Size of a table's text, and of whole numbers below rounded ones.
const CELL: f32 = 8.2;
const EXACT: f32 = 6.2;
/// Room for the names of a list of facts.
const NAME: f32 = 168.0;

pub(super) fn block(flow: &mut Flow, block: &Block, fonts: &Fonts) {
    match block {
        Block::Lead { tone, text } => lead(flow, *tone, text, fonts),
        Block::Heading { title } => heading(flow, title, fonts),
        Block::Paragraph { text } => paragraph(flow, text, fonts),
        Block::List { items } => list(flow, items, fonts),
        Block::Facts { facts } => self::facts(flow, facts, fonts),
        Block::Table(table) => self::table(flow, table, fonts),
        Block::Gauge(gauge) => chart::gauge(flow, gauge, fonts),
        Block::Bars(bars) => chart::bars(flow, bars, fonts),
        Block::Notice { tone, title, text } => notice(flow, *tone, title, text, fonts),
        Block::Signature { lines } => signature(flow, lines, fonts),
        Block::PageBreak => flow.turn(),
    }
}

pub(super) const fn tone_color(tone: Tone) -> Color {
    match tone {
        Tone::Calm => Color(0x1e, 0x7a, 0x4c),
        Tone::Caution => Color(0xb2, 0x6a, 0x00),
        Tone::Alarm => Color(0xb3, 0x26, 0x1e),
        Tone::Open => Color(0x4a, 0x5a, 0x75),
    }
}

const fn tone_fill(tone: Tone) -> Color {
    match tone {
        Tone::Calm => Color(0xec, 0xf6, 0xf0),
        Tone::Caution => Color(0xfd, 0xf4, 0xe3),
        Tone::Alarm => Color(0xfc, 0xed, 0xeb),
        Tone::Open => Color(0xee, 0xf1, 0xf6),
    }
}

fn lead(flow: &mut Flow, tone: Tone, text: &Text, fonts: &Fonts) {
    let lines = wrap(&runs(text, Style::plain(11.2), fonts), MEASURE - 28.0, fonts);
    flow.panel(&lines, tone_color(tone), tone_fill(tone));
    flow.y += 12.0;
}

fn heading(flow: &mut Flow, title: &Words, fonts: &Fonts) {
    flow.skip(6.0);
    flow.need(54.0);
    let run = Run::new(title.as_str(), Style::bold(TEXT).colored(Color::ACCENT), fonts);
    flow.paragraph(&wrap(&[run], MEASURE, fonts), LEFT);
    flow.y += 2.0;
}

fn paragraph(flow: &mut Flow, text: &Text, fonts: &Fonts) {
    let lines = wrap(&runs(text, Style::plain(TEXT), fonts), MEASURE, fonts);
    flow.paragraph(&lines, LEFT);
    flow.y += 6.0;
}

fn list(flow: &mut Flow, items: &[Item], fonts: &Fonts) {
    const INDENT: f32 = 12.0;
    for item in items {
        let mut all = Vec::new();
        if let Some(label) = &item.label {
            all.push(Run::new(&format!("{label}. "), Style::bold(TEXT), fonts));
        }
        all.extend(runs(&item.text, Style::plain(TEXT), fonts));
        let lines = wrap(&all, MEASURE - INDENT, fonts);
        flow.need(text_height(lines.get(..2.min(lines.len())).unwrap_or_default()));
        let bullet = wrap(&[Run::new("•", Style::plain(TEXT).colored(Color::QUIET), fonts)], INDENT, fonts);
        flow.stack(&bullet, LEFT, flow.y);
        flow.paragraph(&lines, LEFT + INDENT);
        flow.y += 3.0;
    }
    flow.y += 4.0;
}

fn notice(flow: &mut Flow, tone: Tone, title: &Words, text: &Text, fonts: &Fonts) {
    flow.skip(6.0);
    let title = Run::new(title.as_str(), Style::bold(TEXT).colored(tone_color(tone)), fonts);
    let mut lines = wrap(&[title], MEASURE - 28.0, fonts);
    lines.extend(wrap(&runs(text, Style::plain(TEXT), fonts), MEASURE - 28.0, fonts));
    flow.panel(&lines, tone_color(tone), tone_fill(tone));
    flow.y += 8.0;
}

fn facts(flow: &mut Flow, facts: &[Fact], fonts: &Fonts) {
    for fact in facts {
        let name = vec![Run::new(fact.name.as_str(), Style::plain(CELL + 0.4).colored(Color::QUIET), fonts)];
        let mut value = paragraphs(&fact.value, Style::plain(TEXT), fonts);
        value.extend(
            fact.remark.iter().map(|remark| runs(remark, Style::plain(CELL - 0.4).colored(Color::QUIET), fonts)),
        );
        let cells = [CellText { paragraphs: vec![name] }, CellText { paragraphs: value }];
        let widths = [NAME, MEASURE - NAME];
        row(flow, SetRow::new(&cells, &widths, RowKind::Plain, fonts), &widths, &[], None);
    }
    flow.y += 10.0;
}

/// A text, and the whole numbers of its figures below it where it is nothing but figures.
fn paragraphs(text: &Text, style: Style, fonts: &Fonts) -> Vec<Vec<Run>> {
    let mut all = vec![runs(text, style, fonts)];
    if let [Inline::Figure(figure)] = text.0.as_slice() {
        all.extend(exact(figure, EXACT.max(style.size * 0.76), fonts).map(|run| vec![run]));
    }
    all
}

fn cell_text(cell: &Cell, kind: RowKind, fonts: &Fonts) -> CellText {
    let style = if kind == RowKind::Sum { Style::bold(CELL) } else { Style::plain(CELL) };
    let set = |(index, text): (usize, &Text)| {
        // What stands below the first paragraph of a cell explains it.
        let style = if index == 0 { style } else { Style::plain(CELL * 0.9).colored(Color::QUIET) };
        paragraphs(text, style, fonts)
    };
    CellText { paragraphs: cell.0.iter().enumerate().flat_map(set).collect() }
}

fn table(flow: &mut Flow, table: &Table, fonts: &Fonts) {
    let header: Vec<CellText> = table
        .columns
        .iter()
        .map(|column| CellText {
            paragraphs: vec![vec![Run::new(
                column.header.as_str(),
                Style::bold(CELL - 0.4).colored(Color::ACCENT),
                fonts,
            )]],
        })
        .collect();
    let cells: Vec<Vec<CellText>> =
        table.rows.iter().map(|row| row.cells.iter().map(|cell| cell_text(cell, row.kind, fonts)).collect()).collect();
    let spans = |row: &&Vec<CellText>| row.len() == table.columns.len();
    let all: Vec<&Vec<CellText>> = std::iter::once(&header).chain(cells.iter().filter(spans)).collect();
    let aligns: Vec<_> = table.columns.iter().map(|column| column.align).collect();
    let widths = column_widths(&all, &aligns, MEASURE, fonts);
    let head = SetRow::new(&header, &widths, RowKind::Plain, fonts);

    let caption = Run::new(table.caption.as_str(), Style::bold(CELL + 0.3), fonts);
    let caption = wrap(&[caption], MEASURE, fonts);
    flow.skip(4.0);
    let first =
        cells.first().map_or(0.0, |cells| SetRow::new(cells, &widths, RowKind::Plain, fonts).height().min(120.0));
    flow.need(text_height(&caption) + head.height() + first + 4.0);
    flow.paragraph(&caption, LEFT);
    flow.y += 3.0;
    draw_head(flow, &head, &widths, &aligns);
    for (index, (source, cells)) in table.rows.iter().zip(&cells).enumerate() {
        if source.kind == RowKind::Group {
            let whole = [MEASURE];
            let set = SetRow::new(cells, &whole, RowKind::Group, fonts);
            // A heading within the table stays with what it heads.
            if flow.room() < set.height() + 40.0 {
                flow.turn();
                draw_head(flow, &head, &widths, &aligns);
            }
            row(flow, set, &whole, &[], Some((&head, &widths, &aligns)));
        } else {
            let set = SetRow::new(cells, &widths, source.kind, fonts);
            // A sum is not torn from the last of what it sums up.
            let sum = table.rows.get(index + 1).filter(|next| next.kind == RowKind::Sum);
            let below = sum.map_or(0.0, |_| set.height());
            if set.height() + below > flow.room() && set.height() < flow.room() {
                flow.turn();
                draw_head(flow, &head, &widths, &aligns);
            }
            row(flow, set, &widths, &aligns, Some((&head, &widths, &aligns)));
        }
    }
    flow.y += 12.0;
}

fn draw_head(flow: &mut Flow, head: &SetRow, widths: &[f32], aligns: &[Align]) {
    let (y, height) = (flow.y, head.height());
    flow.rectangle((LEFT, y), (MEASURE, height), Color::FILL);
    draw(flow, head, widths, aligns);
    flow.rule((LEFT, y + height), (LEFT + MEASURE, y + height), 0.8, Color::ACCENT);
}

/// A table's header row with its columns.
type Head<'a> = (&'a SetRow, &'a [f32], &'a [Align]);

/// Draws a row; one that does not fit goes to the next page, and one that fits no page is split.
fn row(flow: &mut Flow, row: SetRow, widths: &[f32], aligns: &[Align], head: Option<Head<'_>>) {
    let mut rest = row;
    loop {
        let height = rest.height();
        if height <= flow.room() {
            draw(flow, &rest, widths, aligns);
            return;
        }
        // Short rows stay whole; tall ones use the room that is left.
        let is_tall = height > (FLOOR - TOP) / 3.0;
        if is_tall
            && flow.room() > 60.0
            && let Some((here, later)) = rest.clone().split(flow.room())
        {
            draw(flow, &here, widths, aligns);
            rest = later;
            if rest.is_empty() {
                return;
            }
        }
        flow.turn();
        if let Some((head, widths, aligns)) = head {
            draw_head(flow, head, widths, aligns);
        }
    }
}

fn draw(flow: &mut Flow, row: &SetRow, widths: &[f32], aligns: &[Align]) {
    let height = row.height();
    let top = flow.y;
    let mut x = LEFT;
    if row.kind == RowKind::Group {
        flow.rectangle((LEFT, top), (MEASURE, height), Color::PALE);
    }
    for (index, (lines, width)) in row.cells.iter().zip(widths).enumerate() {
        let align = aligns.get(index).copied().unwrap_or(Align::Left);
        let mut y = top + PADDING;
        for line in lines {
            flow.line(line, x + offset(align, line.width, *width), y);
            y += line.height;
        }
        x += width;
    }
    flow.y += height;
    let (thickness, color) = if row.kind == RowKind::Sum { (0.7, Color::QUIET) } else { (0.5, Color::RULE) };
    flow.rule((LEFT, flow.y), (LEFT + MEASURE, flow.y), thickness, color);
}

fn signature(flow: &mut Flow, lines: &[Words], fonts: &Fonts) {
    const LINE: f32 = 34.0;
    flow.need(LINE * f32::from(u16::try_from(lines.len()).unwrap_or(u16::MAX)).min(20.0));
    for name in lines {
        let label = Run::new(name.as_str(), Style::plain(CELL).colored(Color::QUIET), fonts);
        let label = wrap(&[label], NAME - 10.0, fonts);
        flow.need(LINE);
        flow.stack(&label, LEFT, flow.y + LINE - 14.0);
        let y = flow.y + LINE - 4.0;
        flow.rule((LEFT + NAME, y), (LEFT + MEASURE, y), 0.6, Color::QUIET);
        flow.y += LINE;
    }
    flow.y += 14.0;
}
