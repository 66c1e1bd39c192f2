//! Running text in HTML.

use flopsmeter_core::assess::Origin;

use super::escape::Page;
use crate::document::{Figure, Inline, Text, Words};

pub(super) fn text(page: &mut Page, text: &Text) {
    for inline in &text.0 {
        match inline {
            Inline::Text(words) => page.text(words.as_str()),
            Inline::Strong(words) => page.raw("<strong>").text(words.as_str()).raw("</strong>"),
            Inline::Code(words) => page.raw("<code>").text(words.as_str()).raw("</code>"),
            Inline::Quiet(words) => page.raw("<span class=\"quiet\">").text(words.as_str()).raw("</span>"),
            Inline::Link { words, url } => {
                page.raw("<a href=\"").text(url).raw("\" rel=\"noreferrer\">").text(words.as_str()).raw("</a>")
            }
            Inline::Figure(figure) => self::figure(page, figure),
        };
    }
}

/// The same; a text that is nothing but a figure has its whole number below.
pub(super) fn with_exact(page: &mut Page, text: &Text) {
    self::text(page, text);
    if let [Inline::Figure(figure)] = text.0.as_slice()
        && let Some(exact) = figure.exact()
    {
        page.raw("<span class=\"exact\">").text(exact).raw("</span>");
    }
}

/// A figure with its mark; the mark's title says where the figure comes from.
fn figure<'a>(page: &'a mut Page, figure: &Figure) -> &'a mut Page {
    page.raw("<span class=\"figure\">");
    raised(page, figure.text());
    let mark = figure.mark();
    page.raw("<abbr class=\"mark ")
        .text(mark.name())
        .raw("\" title=\"")
        .text(Words::new(&origin(figure.origin())).as_str())
        .raw("\">");
    page.text(mark.letter()).raw("</abbr></span>")
}

/// Exponents as superscripts proper, which are read aloud as such.
fn raised(page: &mut Page, text: &str) {
    let mut is_raised = false;
    for character in text.chars() {
        let plain = plain_digit(character);
        match (plain.is_some(), is_raised) {
            (true, false) => page.raw("<sup>"),
            (false, true) => page.raw("</sup>"),
            _ => page,
        };
        is_raised = plain.is_some();
        page.text(plain.unwrap_or(character).encode_utf8(&mut [0; 4]));
    }
    if is_raised {
        page.raw("</sup>");
    }
}

const fn plain_digit(character: char) -> Option<char> {
    Some(match character {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴' => '4',
        '⁵' => '5',
        '⁶' => '6',
        '⁷' => '7',
        '⁸' => '8',
        '⁹' => '9',
        '⁻' => '-',
        _ => return None,
    })
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Measured { by: detail } | Origin::Computed { from: detail } => detail.clone(),
        Origin::Registry { source, date } => format!("{source}, {date}"),
        Origin::Declared { by, source: Some(source) } => format!("{by}: {source}"),
        Origin::Declared { by, source: None } => by.clone(),
        Origin::Missing { next_step } => next_step.clone(),
    }
}
