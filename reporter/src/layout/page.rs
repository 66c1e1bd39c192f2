//! Fills pages from top to bottom.

use super::shape::{Color, Page, Pages, Shape};
use super::table::text_height;
use super::wrap::Line;
use crate::document::Align;

/// A4.
pub(super) const WIDTH: f32 = 595.28;
pub(super) const HEIGHT: f32 = 841.89;
/// Margins.
pub(super) const LEFT: f32 = 56.0;
pub(super) const RIGHT: f32 = 56.0;
pub(super) const TOP: f32 = 66.0;
pub(super) const BOTTOM: f32 = 62.0;
/// Width between the margins.
pub(super) const MEASURE: f32 = WIDTH - LEFT - RIGHT;
/// Where text may end.
pub(super) const FLOOR: f32 = HEIGHT - BOTTOM;

/// Pages in the making.
#[derive(Debug)]
pub(super) struct Flow {
    pages: Vec<Page>,
    outline: Vec<(String, usize)>,
    /// Where the next thing goes.
    pub(super) y: f32,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { pages: vec![Page::default()], outline: Vec::new(), y: TOP }
    }

    /// Room left on this page.
    pub(super) fn room(&self) -> f32 {
        FLOOR - self.y
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.y <= TOP
    }

    pub(super) fn turn(&mut self) {
        self.pages.push(Page::default());
        self.y = TOP;
    }

    /// Turns the page unless `height` fits; a fresh page is taken as it is.
    pub(super) fn need(&mut self, height: f32) {
        if height > self.room() && !self.is_fresh() {
            self.turn();
        }
    }

    /// White space, none at the top of a page.
    pub(super) fn skip(&mut self, height: f32) {
        if !self.is_fresh() {
            self.y += height;
        }
    }

    pub(super) fn push(&mut self, shape: Shape) {
        if let Some(page) = self.pages.last_mut() {
            page.shapes.push(shape);
        }
    }

    pub(super) fn rectangle(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), fill: Color) {
        self.push(Shape::Rectangle { x, y, width, height, fill });
    }

    pub(super) fn rule(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, color: Color) {
        self.push(Shape::Rule { from, to, thickness, color });
    }

    /// Remembers a heading for the outline.
    pub(super) fn mark(&mut self, title: &str) {
        self.outline.push((title.to_owned(), self.pages.len() - 1));
    }

    /// Draws one line with its upper edge at `y`.
    pub(super) fn line(&mut self, line: &Line, x: f32, y: f32) {
        // The baseline of the line's tallest text; smaller text shares it.
        let baseline = y + line.height * 0.745;
        for piece in &line.pieces {
            if let Some(url) = &piece.url {
                let (width, height) = (piece.width, line.height);
                self.push(Shape::Link { x: x + piece.x, y, width, height, url: url.clone() });
            }
            if let Some(ground) = piece.style.tag {
                // The capitals' height and a little more on each side.
                let (margin, tall) = (piece.style.size * 0.17, piece.style.size * 1.16);
                let upper = baseline - piece.style.rise - piece.style.size * 0.94;
                self.rectangle((x + piece.x - margin, upper), (piece.width + 2.0 * margin, tall), ground);
            }
            self.push(Shape::Text {
                x: x + piece.x,
                y: baseline - piece.style.rise,
                face: piece.style.face,
                size: piece.style.size,
                color: piece.style.color,
                text: piece.text.clone(),
            });
        }
    }

    /// Draws lines under each other within one page.
    pub(super) fn stack(&mut self, lines: &[Line], x: f32, mut y: f32) {
        for line in lines {
            self.line(line, x, y);
            y += line.height;
        }
    }

    /// Draws a paragraph, over as many pages as it takes, keeping two lines together at either end.
    pub(super) fn paragraph(&mut self, lines: &[Line], x: f32) {
        self.need(text_height(lines.get(..2.min(lines.len())).unwrap_or_default()));
        for line in lines {
            self.need(line.height);
            self.line(line, x, self.y);
            self.y += line.height;
        }
    }

    /// Draws a paragraph on a filled panel with a bar at its left, over as many pages as it takes.
    pub(super) fn panel(&mut self, lines: &[Line], bar: Color, fill: Color) {
        const INSET: f32 = 9.0;
        let whole = text_height(lines) + 2.0 * INSET;
        // What fits on one page is not torn.
        if whole < FLOOR - TOP {
            self.need(whole);
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.room() - 2.0 * INSET;
            let mut height = 0.0;
            let fits = rest
                .iter()
                .take_while(|line| {
                    height += line.height;
                    height <= room
                })
                .count()
                .max(1);
            let (here, later) = rest.split_at(fits.min(rest.len()));
            let height = text_height(here) + 2.0 * INSET;
            let y = self.y;
            self.rectangle((LEFT, y), (MEASURE, height), fill);
            self.rectangle((LEFT, y), (3.5, height), bar);
            self.stack(here, LEFT + 14.0, y + INSET);
            self.y += height;
            rest = later;
            if !rest.is_empty() {
                self.turn();
            }
        }
    }

    /// The pages, with `furniture` drawn on each: given its index and how many there are.
    pub(super) fn finish(mut self, furniture: impl Fn(usize, usize) -> Vec<(Line, Align, f32)>) -> Pages {
        let count = self.pages.len();
        for index in 0..count {
            let mut stamp = Self { pages: vec![Page::default()], outline: Vec::new(), y: TOP };
            for (line, align, y) in furniture(index, count) {
                let x = match align {
                    Align::Left => LEFT,
                    Align::Right => WIDTH - RIGHT - line.width,
                };
                stamp.line(&line, x, y);
            }
            if index > 0 {
                stamp.rule((LEFT, TOP - 16.0), (WIDTH - RIGHT, TOP - 16.0), 0.5, Color::RULE);
            }
            stamp.rule((LEFT, FLOOR + 16.0), (WIDTH - RIGHT, FLOOR + 16.0), 0.5, Color::RULE);
            if let (Some(page), Some(stamped)) = (self.pages.get_mut(index), stamp.pages.pop()) {
                page.shapes.extend(stamped.shapes);
            }
        }
        Pages { width: WIDTH, height: HEIGHT, pages: self.pages, outline: self.outline }
    }
}
