//! Markdown (with tables as GitHub and Pandoc read them): for diffs, wikis and mail.

use core::fmt::Write as _;

use super::Renderer;
use crate::document::{
    Align, Bars, Block, Cell, Document, Fact, Figure, Gauge, Inline, Item, Mark, RowKind, Section, Table, Text, Words,
};
use crate::problem::ReportProblem;

pub(super) struct Markdown;

impl Renderer for Markdown {
    fn render(&self, document: &Document) -> Result<Vec<u8>, ReportProblem> {
        let mut page = format!("# {}: {}\n\n", escape(&document.title), escape(&document.subject));
        for section in &document.sections {
            push_section(&mut page, section);
            if section.title.is_none() {
                push_legend(&mut page, document);
            }
        }
        Ok(page.into_bytes())
    }
}

fn push_legend(page: &mut String, document: &Document) {
    let marks: Vec<String> =
        document.furniture.origins.iter().map(|(mark, name)| format!("{} {}", letter(*mark), escape(name))).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{} {}.\n", escape(&document.furniture.legend), marks.join(", "));
}

fn push_section(page: &mut String, section: &Section) {
    if let Some(title) = &section.title {
        let _ = writeln!(page, "## {}\n", escape(title));
    }
    for block in &section.blocks {
        push_block(page, block);
    }
}

fn push_block(page: &mut String, block: &Block) {
    let _ = match block {
        Block::Lead { text, .. } | Block::Paragraph { text } => writeln!(page, "{}\n", inline(text)),
        Block::Heading { title } => writeln!(page, "### {}\n", escape(title)),
        Block::List { items } => writeln!(page, "{}", list(items)),
        Block::Facts { facts } => writeln!(page, "{}", self::facts(facts)),
        Block::Table(table) => writeln!(page, "{}", self::table(table)),
        Block::Gauge(gauge) => writeln!(page, "{}\n", self::gauge(gauge)),
        Block::Bars(bars) => writeln!(page, "{}", self::bars(bars)),
        Block::Notice { title, text, .. } => writeln!(page, "> **{}.** {}\n", escape(title), inline(text)),
        Block::Signature { lines } => writeln!(page, "{}", signature(lines)),
        Block::PageBreak => Ok(()),
    };
}

fn list(items: &[Item]) -> String {
    let mut lines = String::new();
    for item in items {
        let label = item.label.as_ref().map(|label| format!("**{}.** ", escape(label))).unwrap_or_default();
        let _ = writeln!(lines, "- {label}{}", inline(&item.text));
    }
    lines
}

fn facts(facts: &[Fact]) -> String {
    let mut lines = "| | |\n|:--|:--|\n".to_owned();
    for fact in facts {
        let remark = fact.remark.as_ref().map(|remark| format!("<br>{}", inline(remark))).unwrap_or_default();
        let _ = writeln!(lines, "| **{}** | {}{remark} |", escape(&fact.name), inline(&fact.value));
    }
    lines
}

fn table(table: &Table) -> String {
    let mut lines = format!("**{}**\n\n|", escape(&table.caption));
    for column in &table.columns {
        let _ = write!(lines, " {} |", escape(&column.header));
    }
    lines.push_str("\n|");
    for column in &table.columns {
        lines.push_str(match column.align {
            Align::Left => ":--|",
            Align::Right => "--:|",
        });
    }
    lines.push('\n');
    for row in &table.rows {
        lines.push('|');
        for cell in &row.cells {
            let _ = write!(lines, " {} |", self::cell(cell, row.kind));
        }
        // A row with fewer cells spans the table.
        lines.push_str(&" |".repeat(table.columns.len().saturating_sub(row.cells.len())));
        lines.push('\n');
    }
    lines
}

fn cell(cell: &Cell, kind: RowKind) -> String {
    let paragraphs: Vec<String> = cell.0.iter().filter(|text| !text.is_empty()).map(inline).collect();
    match paragraphs.split_first() {
        Some((first, rest)) if kind == RowKind::Sum && !first.is_empty() && !first.contains("**") => {
            [vec![format!("**{first}**")], rest.to_vec()].concat().join("<br>")
        }
        _ => paragraphs.join("<br>"),
    }
}

fn gauge(gauge: &Gauge) -> String {
    escape(&gauge.description)
}

fn bars(bars: &Bars) -> String {
    let mut lines = format!("**{}**\n\n", escape(&bars.caption));
    for bar in &bars.bars {
        let _ = writeln!(lines, "- {}: {} ({})", escape(&bar.name), figure(&bar.figure), bar.share.text());
    }
    lines
}

fn signature(lines: &[Words]) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{}: \\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\\_\n", escape(line));
    }
    text
}

fn inline(text: &Text) -> String {
    text.0
        .iter()
        .map(|inline| match inline {
            Inline::Text(words) | Inline::Quiet(words) => escape(words),
            Inline::Strong(words) => format!("**{}**", escape(words)),
            Inline::Code(words) => code(words),
            Inline::Figure(figure) => self::figure(figure),
            Inline::Link { words, url } => format!("[{}]({})", escape(words), url),
        })
        .collect()
}

fn figure(figure: &Figure) -> String {
    let text = escape_str(figure.text());
    let exact = figure.exact().map(|exact| format!(" ({exact})")).unwrap_or_default();
    format!("{text}{exact} {}", letter(figure.mark()))
}

fn letter(mark: Mark) -> String {
    format!("\\[{}\\]", mark.letter())
}

/// Code spans take no escapes; a run of back-ticks or a bar would end the span or the cell, so such words are escaped text.
fn code(words: &Words) -> String {
    if words.as_str().contains(['`', '|', '\\']) || words.is_empty() {
        return escape(words);
    }
    format!("`{words}`")
}

fn escape(words: &Words) -> String {
    escape_str(words.as_str())
}

/// Everything that means something in Markdown or in the HTML it lets through.
fn escape_str(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_cell() {
        assert_eq!(escape_str("a | b"), "a \\| b");
        assert_eq!(escape_str("<script>"), "&lt;script&gt;");
        assert_eq!(code(&Words::new("a|b")), "a\\|b");
        assert_eq!(code(&Words::new("sha:abc")), "`sha:abc`");
    }
}
