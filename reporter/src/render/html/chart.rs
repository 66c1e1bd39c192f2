//! Drawings as inline SVG.

use super::escape::Page;
use crate::document::{Bars, Figure, Gauge};
use crate::layout::{fraction, scale_end};

/// Width of a drawing, in its own units.
const WIDTH: f32 = 800.0;
/// Position of the line on a gauge.
const LINE: u32 = 10_000;

fn number(page: &mut Page, number: f32) {
    page.text(&format!("{number:.1}"));
}

/// `name="value"` with a number.
fn attribute(page: &mut Page, name: &'static str, value: f32) {
    page.raw(" ").raw(name).raw("=\"");
    number(page, value);
    page.raw("\"");
}

fn rectangle(page: &mut Page, (x, y): (f32, f32), (width, height): (f32, f32), fill: &'static str) {
    page.raw("<rect");
    attribute(page, "x", x);
    attribute(page, "y", y);
    attribute(page, "width", width.max(0.0));
    attribute(page, "height", height);
    page.raw(" fill=\"").raw(fill).raw("\"/>");
}

/// A label around `x`, anchored so that it stays within the drawing.
fn label(page: &mut Page, words: &str, figure: &Figure, (x, y): (f32, f32)) {
    let anchor = if x < WIDTH * 0.2 {
        "start"
    } else if x > WIDTH * 0.8 {
        "end"
    } else {
        "middle"
    };
    page.raw("<text");
    attribute(page, "x", x);
    attribute(page, "y", y);
    page.raw(" text-anchor=\"").raw(anchor).raw("\"><tspan font-weight=\"700\">").text(words).raw("</tspan> ");
    // Superscript characters stay as they are: SVG has no raised text.
    page.text(figure.text()).raw(" <tspan class=\"quiet\">(").text(figure.mark().letter()).raw(")</tspan></text>");
}

pub(super) fn gauge(page: &mut Page, gauge: &Gauge, id: &str) {
    const TRACK: f32 = 26.0;
    const HEIGHT: f32 = 22.0;
    let end = scale_end(gauge);
    let at = |position: u32| WIDTH * fraction(position, end);
    page.raw("<figure class=\"")
        .text(gauge.tone.name())
        .raw("\">\n<svg viewBox=\"0 0 800 78\" role=\"img\" aria-labelledby=\"");
    page.text(id).raw("\"><title id=\"").text(id).raw("\">").text(gauge.description.as_str()).raw("</title>");
    rectangle(page, (0.0, TRACK), (WIDTH, HEIGHT), "#e4e8ee");
    if let Some(band) = &gauge.band {
        rectangle(page, (at(band.from), TRACK), (at(band.to) - at(band.from), HEIGHT), "#f3d59b");
        page.raw("<text class=\"quiet\"");
        let right = at(band.to);
        attribute(page, "x", right - 6.0);
        attribute(page, "y", TRACK + 15.0);
        page.raw(" text-anchor=\"end\">").text(gauge.labels.band.as_str()).raw("</text>");
    }
    if let Some(position) = gauge.position {
        let width = at(position).max(2.0);
        rectangle(page, (0.0, TRACK + 5.0), (width, HEIGHT - 10.0), "var(--tone)");
        page.raw("<path fill=\"var(--tone)\" d=\"M");
        for (x, y) in
            [(width, TRACK + HEIGHT + 1.0), (width - 5.0, TRACK + HEIGHT + 9.0), (width + 5.0, TRACK + HEIGHT + 9.0)]
        {
            number(page, x);
            page.raw(" ");
            number(page, y);
            page.raw(" ");
        }
        page.raw("z\"/>");
    }
    rectangle(page, (at(LINE) - 1.25, TRACK - 6.0), (2.5, HEIGHT + 12.0), "#1b2430");
    label(page, gauge.labels.line.as_str(), &gauge.line, (at(LINE), 14.0));
    label(page, gauge.labels.spent.as_str(), &gauge.spent, (gauge.position.map_or(0.0, at), TRACK + HEIGHT + 24.0));
    page.raw("</svg>\n</figure>\n");
}

pub(super) fn bars(page: &mut Page, bars: &Bars, id: &str) {
    const ROW: f32 = 26.0;
    const NAME: f32 = 210.0;
    const VALUE: f32 = 190.0;
    let rows = u16::try_from(bars.bars.len()).unwrap_or(u16::MAX);
    page.raw("<figure>\n<figcaption id=\"").text(id).raw("\">").text(bars.caption.as_str()).raw("</figcaption>\n");
    page.raw("<svg role=\"img\" aria-labelledby=\"").text(id).raw("\" viewBox=\"0 0 800 ");
    number(page, f32::from(rows) * ROW);
    page.raw("\">");
    let mut y = 0.0;
    for bar in &bars.bars {
        page.raw("<text x=\"0\"");
        attribute(page, "y", y + 17.0);
        page.raw(">").text(&shortened(bar.name.as_str())).raw("</text>");
        let length = (WIDTH - NAME - VALUE) * fraction(bar.length, LINE).max(0.003);
        rectangle(page, (NAME, y + 5.0), (length, ROW - 10.0), "#4f76a8");
        page.raw("<text x=\"800\" text-anchor=\"end\"");
        attribute(page, "y", y + 17.0);
        page.raw(">").text(bar.figure.text()).raw(" <tspan class=\"quiet\">(").text(bar.figure.mark().letter());
        page.raw(") ").text(bar.share.text()).raw("</tspan></text>");
        y += ROW;
    }
    page.raw("</svg>\n</figure>\n");
}

/// SVG text does not wrap.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 30;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}
