//! Drawings: the gauge of the line, and bars.

use super::blocks::tone_color;
use super::measure::Fonts;
use super::page::{Flow, LEFT, MEASURE};
use super::run::{Run, Style, runs};
use super::shape::{Color, Shape};
use super::wrap::{Line, wrap};
use crate::document::{Bars, Gauge, Inline, Text};

/// Position of the line on a gauge.
const LINE: u32 = 10_000;
/// Ends of the scale: as far as it takes, but the line stays well in sight.
const LEAST_END: u32 = 13_000;
const MOST_END: u32 = 30_000;
/// Colours of the track, and of the margin of error on it.
const TRACK: Color = Color(0xe4, 0xe8, 0xee);
const BAND: Color = Color(0xf3, 0xd5, 0x9b);

const LABEL: f32 = 8.0;
const HEIGHT: f32 = 13.0;

/// End of a gauge's scale.
pub(crate) fn scale_end(gauge: &Gauge) -> u32 {
    let band = gauge.band.as_ref().map_or(0, |band| band.to.saturating_add(1_500));
    let spent = gauge.position.unwrap_or(0).saturating_add(1_500);
    LEAST_END.max(band).max(spent).min(MOST_END)
}

/// `position / end` between 0 and 1.
pub(crate) fn fraction(position: u32, end: u32) -> f32 {
    // Both are at most 30,000 after the minimum, which a float holds exactly.
    let exact = |number: u32| f32::from(u16::try_from(number.min(MOST_END)).unwrap_or(u16::MAX));
    exact(position.min(end)) / exact(end.max(1))
}

pub(super) fn gauge(flow: &mut Flow, gauge: &Gauge, fonts: &Fonts) {
    let end = scale_end(gauge);
    let at = |position: u32| LEFT + MEASURE * fraction(position, end);
    flow.need(64.0);
    let top = flow.y;
    let label = |words: &str, figure: &crate::document::Figure, color: Color| -> Vec<Line> {
        let text = Text(vec![Inline::Figure(figure.clone())]);
        let mut all =
            vec![Run { glued: true, ..Run::new(&format!("{words} "), Style::bold(LABEL).colored(color), fonts) }];
        all.extend(runs(&text, Style::plain(LABEL), fonts));
        wrap(&all, MEASURE, fonts)
    };
    let above = label(gauge.labels.line.as_str(), &gauge.line, Color::INK);
    let below = label(gauge.labels.spent.as_str(), &gauge.spent, tone_color(gauge.tone));
    let track = top + 14.0;
    flow.rectangle((LEFT, track), (MEASURE, HEIGHT), TRACK);
    if let Some(band) = &gauge.band {
        flow.rectangle((at(band.from), track), (at(band.to) - at(band.from), HEIGHT), BAND);
    }
    if let Some(position) = gauge.position {
        let color = tone_color(gauge.tone);
        // Something spent is always seen.
        let width = (at(position) - LEFT).max(if position > 0 { 1.2 } else { 0.6 });
        flow.rectangle((LEFT, track + 3.0), (width, HEIGHT - 6.0), color);
        if position > end {
            let tip = LEFT + MEASURE;
            let middle = track + HEIGHT / 2.0;
            let points = vec![(tip, track - 2.0), (tip + 7.0, middle), (tip, track + HEIGHT + 2.0)];
            flow.push(Shape::Polygon { points, fill: color });
        }
        let x = LEFT + width;
        let tip = track + HEIGHT + 0.5;
        flow.push(Shape::Polygon { points: vec![(x, tip), (x - 3.2, tip + 5.2), (x + 3.2, tip + 5.2)], fill: color });
    }
    flow.rectangle((at(LINE) - 0.8, track - 4.0), (1.6, HEIGHT + 8.0), Color::INK);
    centred(flow, &above, at(LINE), top - 2.0);
    let spent_at = gauge.position.map_or(LEFT, at);
    let end_of_label = centred(flow, &below, spent_at, track + HEIGHT + 6.0);
    if gauge.band.is_some() {
        band_label(flow, gauge, track + HEIGHT + 6.0, end_of_label, fonts);
    }
    flow.y = track + HEIGHT + 26.0;
}

/// Draws one line around `x`, kept within the margins; returns where it starts and ends.
fn centred(flow: &mut Flow, lines: &[Line], x: f32, y: f32) -> (f32, f32) {
    let Some(line) = lines.first() else { return (x, x) };
    let start = (x - line.width / 2.0).clamp(LEFT, (LEFT + MEASURE - line.width).max(LEFT));
    flow.line(line, start, y);
    (start, start + line.width)
}

/// A swatch with its name, at whichever end of the row is free.
fn band_label(flow: &mut Flow, gauge: &Gauge, y: f32, taken: (f32, f32), fonts: &Fonts) {
    let name = Run::new(gauge.labels.band.as_str(), Style::plain(LABEL).colored(Color::QUIET), fonts);
    let lines = wrap(&[name], MEASURE, fonts);
    let Some(line) = lines.first() else { return };
    let width = line.width + 14.0;
    let right = LEFT + MEASURE - width;
    let x = if taken.1 + 12.0 < right { right } else { LEFT };
    if x < taken.1 && x + width > taken.0 {
        return;
    }
    flow.rectangle((x, y + 2.0), (9.0, 7.0), BAND);
    flow.line(line, x + 13.0, y);
}

pub(super) fn bars(flow: &mut Flow, bars: &Bars, fonts: &Fonts) {
    const ROW: f32 = 15.0;
    const NAME: f32 = 140.0;
    const VALUE: f32 = 104.0;
    flow.skip(4.0);
    flow.need(ROW * 4.0);
    let caption = Run::new(bars.caption.as_str(), Style::bold(8.5), fonts);
    flow.paragraph(&wrap(&[caption], MEASURE, fonts), LEFT);
    flow.y += 3.0;
    let room = MEASURE - NAME - VALUE;
    for bar in &bars.bars {
        flow.need(ROW);
        let y = flow.y;
        let name = wrap(&[Run::new(bar.name.as_str(), Style::plain(LABEL), fonts)], NAME - 8.0, fonts);
        flow.stack(name.get(..1).unwrap_or_default(), LEFT, y + 1.0);
        let length = room * fraction(bar.length, LINE).max(0.003);
        flow.rectangle((LEFT + NAME, y + 2.5), (length, ROW - 6.0), Color(0x4f, 0x76, 0xa8));
        let mut text = runs(&Text(vec![Inline::Figure(bar.figure.clone())]), Style::plain(LABEL), fonts);
        let share = format!("  {}", bar.share.text());
        text.push(Run { glued: true, ..Run::new(&share, Style::plain(LABEL).colored(Color::QUIET), fonts) });
        if let Some(line) = wrap(&text, MEASURE, fonts).first() {
            flow.line(line, LEFT + MEASURE - line.width, y + 1.0);
        }
        flow.y += ROW;
    }
    flow.y += 10.0;
}
