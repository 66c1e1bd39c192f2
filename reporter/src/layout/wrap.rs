//! Breaks running text into lines. Nothing is ever lost: the lines' text, joined, is the text that came in.

use super::measure::Fonts;
use super::run::{Run, Style};

/// Height of a line over the size of its text.
const LEADING: f32 = 1.36;

/// Text of one style within a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// Distance from the line's left end.
    pub(super) x: f32,
    pub(super) width: f32,
    pub(super) text: String,
    pub(super) style: Style,
    pub(super) url: Option<String>,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) pieces: Vec<Piece>,
    /// Without the spaces at its end.
    pub(super) width: f32,
    pub(super) height: f32,
}

/// A character, its run and its width.
struct Glyph {
    character: char,
    run: usize,
    advance: f32,
}

/// Breaks `runs` so that no line is wider than `width`; a single character that is wider stands alone.
pub(super) fn wrap(runs: &[Run], width: f32, fonts: &Fonts) -> Vec<Line> {
    let glyphs = glyphs(runs, fonts);
    let mut lines = Vec::new();
    let mut start = 0;
    while start < glyphs.len() {
        let end = line_end(&glyphs, start, width, runs);
        lines.push(line(&glyphs[start..end], runs));
        start = end;
    }
    lines
}

fn glyphs(runs: &[Run], fonts: &Fonts) -> Vec<Glyph> {
    let characters = runs.iter().enumerate().flat_map(|(run, content)| {
        content.text.chars().map(move |character| Glyph {
            character,
            run,
            advance: fonts.advance(content.style.face, character) * content.style.size,
        })
    });
    characters.collect()
}

/// Where the line that begins at `start` ends: after a space, else after a joining sign, else where the width ends.
fn line_end(glyphs: &[Glyph], start: usize, width: f32, runs: &[Run]) -> usize {
    let mut used = 0.0;
    let mut after_space = None;
    let mut after_sign = None;
    for (index, glyph) in glyphs.iter().enumerate().skip(start) {
        used += glyph.advance;
        // Spaces may hang over the end: nobody sees them.
        if used > width && glyph.character != ' ' {
            return after_space.or(after_sign).unwrap_or(index.max(start + 1));
        }
        let next = glyphs.get(index + 1);
        if breaks_after_space(glyph, next, runs) {
            after_space = Some(index + 1);
        } else if is_sign(glyph.character) && used > width * 0.4 {
            after_sign = Some(index + 1);
        }
    }
    glyphs.len()
}

fn breaks_after_space(glyph: &Glyph, next: Option<&Glyph>, runs: &[Run]) -> bool {
    let glued = runs.get(glyph.run).is_some_and(|run| run.glued);
    let word_follows = next.is_none_or(|next| next.character != ' ');
    match glyph.character {
        ' ' => !glued && word_follows,
        '–' | '—' => next.is_some_and(|next| next.character.is_alphanumeric()),
        _ => false,
    }
}

/// Signs within long names after which a break disturbs least.
const fn is_sign(character: char) -> bool {
    matches!(character, '/' | '-' | '_' | '.' | ',' | ':' | ';' | '=' | '&' | '?' | ' ' | '·')
}

fn line(glyphs: &[Glyph], runs: &[Run]) -> Line {
    let mut line = Line::default();
    let mut x = 0.0;
    let mut last_run = None;
    for glyph in glyphs {
        if last_run != Some(glyph.run)
            && let Some(run) = runs.get(glyph.run)
        {
            line.pieces.push(Piece { x, width: 0.0, text: String::new(), style: run.style, url: run.url.clone() });
            line.height = line.height.max(run.style.size * LEADING);
            last_run = Some(glyph.run);
        }
        if let Some(piece) = line.pieces.last_mut() {
            piece.text.push(glyph.character);
            piece.width += glyph.advance;
        }
        x += glyph.advance;
    }
    let hanging: f32 = glyphs.iter().rev().take_while(|glyph| glyph.character == ' ').map(|glyph| glyph.advance).sum();
    line.width = x - hanging;
    line
}

/// Width of the longest line if there were room, and of the longest part that is not broken gladly.
pub(super) fn natural_and_least(runs: &[Run], fonts: &Fonts) -> (f32, f32) {
    let glyphs = glyphs(runs, fonts);
    let natural = glyphs.iter().map(|glyph| glyph.advance).sum();
    let mut least: f32 = 0.0;
    let mut word = 0.0;
    for (index, glyph) in glyphs.iter().enumerate() {
        if breaks_after_space(glyph, glyphs.get(index + 1), runs) {
            least = least.max(word);
            word = 0.0;
        } else {
            word += glyph.advance;
        }
    }
    (natural, least.max(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(lines: &[Line]) -> String {
        lines.iter().flat_map(|line| &line.pieces).map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn breaks_stand_after_spaces_first_and_after_signs_next() {
        let fonts = Fonts::embedded().unwrap();
        let lines = wrap(&[Run::new("one two three", Style::plain(10.0), &fonts)], 40.0, &fonts);
        let texts: Vec<String> = lines.iter().map(|line| joined(std::slice::from_ref(line))).collect();
        assert_eq!(texts, ["one two ", "three"]);
        let path = wrap(&[Run::new("/home/someone/data", Style::plain(10.0), &fonts)], 60.0, &fonts);
        assert!(joined(&path[..1]).ends_with('/'), "{path:?}");
    }

    #[test]
    fn a_figure_is_not_torn_from_its_mark() {
        let fonts = Fonts::embedded().unwrap();
        let mut figure = Run::new("7.23 × 10²³ M", Style::plain(10.0), &fonts);
        figure.glued = true;
        let lines = wrap(&[Run::new("took ", Style::plain(10.0), &fonts), figure], 70.0, &fonts);
        assert_eq!(joined(&lines[1..]), "7.23 × 10²³ M");
    }

    proptest! {
        #[test]
        fn no_character_is_lost_and_no_line_is_too_wide(
            texts in proptest::collection::vec("[ a-zA-Z0-9/_.é×-]{0,60}", 0..6),
            width in 20.0_f32..300.0,
            glued in any::<bool>(),
        ) {
            let fonts = Fonts::embedded().unwrap();
            let runs: Vec<Run> = texts
                .iter()
                .map(|text| Run { glued, ..Run::new(text, Style::plain(9.0), &fonts) })
                .collect();
            let lines = wrap(&runs, width, &fonts);
            prop_assert_eq!(joined(&lines), texts.concat());
            for line in &lines {
                prop_assert!(line.width <= width + 0.01, "{} > {}", line.width, width);
            }
        }
    }
}
