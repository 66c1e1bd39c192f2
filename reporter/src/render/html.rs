//! HTML: one self-contained page that loads nothing, reads well aloud, and prints.

mod chart;
mod escape;
mod inline;

use super::Renderer;
use crate::document::{
    Align, Block, Cell, Column, Document, Fact, Item, Row, RowKind, Section, Table, Text, Tone, Words,
};
use crate::problem::ReportProblem;
use escape::Page;

/// The style sheet is part of the page.
const STYLE: &str = include_str!("../../../templates/page/style.css");

pub(super) struct Html;

impl Renderer for Html {
    fn render(&self, document: &Document) -> Result<Vec<u8>, ReportProblem> {
        let mut page = Page::default();
        head(&mut page, document);
        page.raw("<body>\n<main>\n");
        title(&mut page, document);
        for section in &document.sections {
            self::section(&mut page, section, document);
        }
        page.raw("</main>\n</body>\n</html>\n");
        Ok(page.into_bytes())
    }
}

fn head(page: &mut Page, document: &Document) {
    page.raw("<!DOCTYPE html>\n<html lang=\"").text(&document.language).raw("\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Nothing may be fetched and nothing may run, whatever gets into the page.
    page.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.raw("<meta name=\"generator\" content=\"").text(document.generator.as_str()).raw("\">\n<title>");
    page.text(document.title.as_str()).raw(": ").text(document.subject.as_str()).raw("</title>\n<style>\n");
    page.raw(STYLE).raw("</style>\n</head>\n");
}

fn title(page: &mut Page, document: &Document) {
    page.raw("<header>\n<p class=\"kind\">").text(document.title.as_str()).raw("</p>\n<h1><bdi>");
    page.text(document.subject.as_str()).raw("</bdi></h1>\n<p class=\"meta\">");
    if let Some(organisation) = &document.organisation {
        page.raw("<bdi>").text(organisation.as_str()).raw("</bdi> · ");
    }
    let machine = document.generated.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let shown = document.generated.format("%-d %B %Y").to_string();
    page.raw("<time datetime=\"").text(&machine).raw("\">").text(&shown).raw("</time> · ");
    page.text(document.generator.as_str()).raw("</p>\n</header>\n");
}

fn section(page: &mut Page, section: &Section, document: &Document) {
    page.raw("<section id=\"").text(section.id).raw("\"");
    match &section.title {
        Some(title) => {
            page.raw(" aria-labelledby=\"").text(section.id).raw("-title\">\n<h2 id=\"").text(section.id);
            page.raw("-title\">").text(title.as_str()).raw("</h2>\n");
        }
        None => {
            page.raw(" aria-label=\"").text(document.title.as_str()).raw("\">\n");
        }
    }
    for (index, block) in section.blocks.iter().enumerate() {
        self::block(page, block, &format!("{}-{index}", section.id));
    }
    if section.title.is_none() {
        legend(page, document);
    }
    page.raw("</section>\n");
    if section.title.is_none() {
        contents(page, document);
    }
}

fn legend(page: &mut Page, document: &Document) {
    page.raw("<p class=\"legend\">").text(document.furniture.legend.as_str());
    for (mark, name) in &document.furniture.origins {
        page.raw(" <span class=\"mark ").text(mark.name()).raw("\">").text(mark.letter()).raw("</span> ");
        page.text(name.as_str());
    }
    page.raw("</p>\n");
}

fn contents(page: &mut Page, document: &Document) {
    page.raw("<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">").text(document.furniture.contents.as_str());
    page.raw("</h2>\n<ol>\n");
    for section in &document.sections {
        if let Some(title) = &section.title {
            page.raw("<li><a href=\"#").text(section.id).raw("\">").text(title.as_str()).raw("</a></li>\n");
        }
    }
    page.raw("</ol>\n</nav>\n");
}

/// `id` is unique in the page.
fn block(page: &mut Page, block: &Block, id: &str) {
    match block {
        Block::Lead { tone, text } => {
            page.raw("<div class=\"lead ").text(tone.name()).raw("\">");
            paragraph(page, text);
            page.raw("</div>\n");
        }
        Block::Heading { title } => {
            page.raw("<h3>").text(title.as_str()).raw("</h3>\n");
        }
        Block::Paragraph { text } => paragraph(page, text),
        Block::List { items } => list(page, items),
        Block::Facts { facts } => self::facts(page, facts),
        Block::Table(table) => self::table(page, table),
        Block::Gauge(gauge) => chart::gauge(page, gauge, id),
        Block::Bars(bars) => chart::bars(page, bars, id),
        Block::Notice { tone, title, text } => notice(page, *tone, title, text),
        Block::Signature { lines } => signature(page, lines),
        Block::PageBreak => {}
    }
}

fn paragraph(page: &mut Page, text: &Text) {
    page.raw("<p>");
    inline::text(page, text);
    page.raw("</p>\n");
}

fn notice(page: &mut Page, tone: Tone, title: &Words, text: &Text) {
    page.raw("<div class=\"notice ")
        .text(tone.name())
        .raw("\" role=\"note\">\n<h3>")
        .text(title.as_str())
        .raw("</h3>\n");
    paragraph(page, text);
    page.raw("</div>\n");
}

fn list(page: &mut Page, items: &[Item]) {
    page.raw("<ul>\n");
    for item in items {
        page.raw("<li>");
        if let Some(label) = &item.label {
            page.raw("<strong><bdi>").text(label.as_str()).raw("</bdi>.</strong> ");
        }
        inline::text(page, &item.text);
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

fn facts(page: &mut Page, facts: &[Fact]) {
    page.raw("<dl>\n");
    for fact in facts {
        page.raw("<dt>").text(fact.name.as_str()).raw("</dt>\n<dd>");
        inline::with_exact(page, &fact.value);
        if let Some(remark) = &fact.remark {
            page.raw("<small>");
            inline::text(page, remark);
            page.raw("</small>");
        }
        page.raw("</dd>\n");
    }
    page.raw("</dl>\n");
}

fn table(page: &mut Page, table: &Table) {
    // A table that is wider than the screen scrolls by itself, from the keyboard too.
    page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"").text(table.caption.as_str());
    page.raw("\">\n<table>\n<caption>").text(table.caption.as_str()).raw("</caption>\n<thead>\n<tr>");
    for column in &table.columns {
        page.raw("<th scope=\"col\"").raw(class(column)).raw(">").text(column.header.as_str()).raw("</th>");
    }
    page.raw("</tr>\n</thead>\n<tbody>\n");
    for row in &table.rows {
        self::row(page, row, &table.columns);
    }
    page.raw("</tbody>\n</table>\n</div>\n");
}

fn row(page: &mut Page, row: &Row, columns: &[Column]) {
    match row.kind {
        RowKind::Group => {
            page.raw("<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"")
                .text(&columns.len().to_string())
                .raw("\">");
            row.cells.iter().for_each(|cell| self::cell(page, cell));
            page.raw("</th></tr>\n");
            return;
        }
        RowKind::Sum => page.raw("<tr class=\"sum\">"),
        RowKind::Plain => page.raw("<tr>"),
    };
    for (index, (cell, column)) in row.cells.iter().zip(columns).enumerate() {
        let (open, close) = if index == 0 { ("<th scope=\"row\"", "</th>") } else { ("<td", "</td>") };
        page.raw(open).raw(class(column)).raw(">");
        self::cell(page, cell);
        page.raw(close);
    }
    page.raw("</tr>\n");
}

const fn class(column: &Column) -> &'static str {
    match column.align {
        Align::Left => "",
        Align::Right => " class=\"right\"",
    }
}

fn cell(page: &mut Page, cell: &Cell) {
    for text in cell.0.iter().filter(|text| !text.is_empty()) {
        page.raw("<p>");
        inline::with_exact(page, text);
        page.raw("</p>");
    }
}

fn signature(page: &mut Page, lines: &[Words]) {
    page.raw("<div class=\"sign\">\n");
    for line in lines {
        page.raw("<span>").text(line.as_str()).raw("</span><i></i>\n");
    }
    page.raw("</div>\n");
}
