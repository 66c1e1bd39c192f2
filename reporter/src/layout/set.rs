//! Sets a whole document: title, sections, and what every page carries.

use super::blocks;
use super::measure::Fonts;
use super::page::{FLOOR, Flow, MEASURE, TOP};
use super::run::{Run, Style, mark_colors};
use super::shape::{Color, Pages};
use super::wrap::{Line, wrap};
use crate::document::{Align, Document, Words};

/// Size of running text.
pub(super) const TEXT: f32 = 9.4;
/// Size of what every page carries.
const SMALL: f32 = 7.4;
/// Longest subject that fits the head of a page.
const HEAD_SUBJECT: usize = 60;

/// Sets `document` on A4 pages. Nothing stands outside the page, whatever the text.
pub fn set(document: &Document, fonts: &Fonts) -> Pages {
    let mut flow = Flow::new();
    title(&mut flow, document, fonts);
    for section in &document.sections {
        if let Some(title) = &section.title {
            heading(&mut flow, title, fonts);
        }
        for block in &section.blocks {
            blocks::block(&mut flow, block, fonts);
        }
        if section.title.is_none() {
            legend(&mut flow, document, fonts);
        }
    }
    flow.finish(|index, count| furniture(document, index, count, fonts))
}

/// Kind of document, its subject, and for whom and when it was made.
fn title(flow: &mut Flow, document: &Document, fonts: &Fonts) {
    flow.y = TOP - 18.0;
    let kind = document.title.as_str().to_uppercase();
    let kind = Run::new(&kind, Style::bold(8.6).colored(Color::QUIET), fonts);
    flow.paragraph(&wrap(&[kind], MEASURE, fonts), super::page::LEFT);
    let subject = Run::new(document.subject.as_str(), Style::bold(20.0).colored(Color::ACCENT), fonts);
    flow.paragraph(&wrap(&[subject], MEASURE, fonts), super::page::LEFT);
    let date = document.generated.format("%-d %B %Y").to_string();
    let line = match &document.organisation {
        Some(organisation) => format!("{organisation} · {date}"),
        None => date,
    };
    let line = Run::new(&line, Style::plain(TEXT).colored(Color::QUIET), fonts);
    flow.paragraph(&wrap(&[line], MEASURE, fonts), super::page::LEFT);
    flow.y += 10.0;
}

fn heading(flow: &mut Flow, title: &Words, fonts: &Fonts) {
    let run = Run::new(title.as_str(), Style::bold(13.0).colored(Color::ACCENT), fonts);
    let lines = wrap(&[run], MEASURE, fonts);
    flow.skip(16.0);
    // A heading is not left alone at the end of a page.
    flow.need(110.0);
    flow.mark(title.as_str());
    flow.paragraph(&lines, super::page::LEFT);
    flow.y += 4.0;
}

/// What the letters after the figures mean.
fn legend(flow: &mut Flow, document: &Document, fonts: &Fonts) {
    let style = Style::plain(SMALL).colored(Color::QUIET);
    let mut runs = vec![Run::new(&format!("{} ", document.furniture.legend), style, fonts)];
    let last = document.furniture.origins.len().saturating_sub(1);
    for (index, (mark, name)) in document.furniture.origins.iter().enumerate() {
        let (color, ground) = mark_colors(*mark);
        let letter = Style { tag: Some(ground), ..Style::bold(SMALL * 0.9).colored(color) };
        runs.push(Run::new(mark.letter(), letter, fonts));
        let end = if index == last { "." } else { ",  " };
        runs.push(Run::new(&format!("  {name}{end}"), style, fonts));
    }
    flow.skip(4.0);
    flow.paragraph(&wrap(&runs, MEASURE, fonts), super::page::LEFT);
}

/// Head and foot of a page.
fn furniture(document: &Document, index: usize, count: usize, fonts: &Fonts) -> Vec<(Line, Align, f32)> {
    let style = Style::plain(SMALL).colored(Color::QUIET);
    let line = |text: &str| wrap(&[Run::new(text, style, fonts)], MEASURE * 0.66, fonts).into_iter().next();
    let mut lines = Vec::new();
    if index > 0 {
        lines.extend(line(document.title.as_str()).map(|line| (line, Align::Left, TOP - 31.0)));
        lines.extend(line(&short(document.subject.as_str())).map(|line| (line, Align::Right, TOP - 31.0)));
    }
    let made = format!("{} · {}", document.generator, document.generated.format("%Y-%m-%d %H:%M UTC"));
    lines.extend(line(&made).map(|line| (line, Align::Left, FLOOR + 20.0)));
    let furniture = &document.furniture;
    let number = format!("{} {} {} {count}", furniture.page, index + 1, furniture.of);
    lines.extend(line(&number).map(|line| (line, Align::Right, FLOOR + 20.0)));
    lines
}

fn short(subject: &str) -> String {
    if subject.chars().count() <= HEAD_SUBJECT {
        return subject.to_owned();
    }
    subject.chars().take(HEAD_SUBJECT).chain(['…']).collect()
}
