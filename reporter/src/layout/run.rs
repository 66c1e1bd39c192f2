//! Running text as runs of one style, with what the font cannot show made visible.

use core::fmt::Write as _;

use super::measure::{Face, Fonts};
use super::shape::Color;
use crate::document::{Figure, Inline, Mark, Text};

/// How a run looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) face: Face,
    pub(super) size: f32,
    pub(super) color: Color,
    /// Height of the baseline above the line's.
    pub(super) rise: f32,
    /// Drawn as a tag: on a tinted ground of its own.
    pub(super) tag: Option<Color>,
}

impl Style {
    pub(super) const fn plain(size: f32) -> Self {
        Self { face: Face::Regular, size, color: Color::INK, rise: 0.0, tag: None }
    }

    pub(super) const fn bold(size: f32) -> Self {
        Self { face: Face::Bold, ..Self::plain(size) }
    }

    pub(super) const fn colored(self, color: Color) -> Self {
        Self { color, ..self }
    }
}

/// Text of one style.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) style: Style,
    /// Keeps its spaces from being broken at, unless nothing else fits.
    pub(super) glued: bool,
    pub(super) url: Option<String>,
}

impl Run {
    pub(super) fn new(text: &str, style: Style, fonts: &Fonts) -> Self {
        let style = Style { face: face_for(text, style.face, fonts), ..style };
        Self { text: visible(text, style.face, fonts), style, glued: false, url: None }
    }
}

/// Fixed pitch lacks some letters that the text face has; a name is set in one face throughout.
fn face_for(text: &str, face: Face, fonts: &Fonts) -> Face {
    if face == Face::Mono && !text.chars().all(|character| fonts.shows(Face::Mono, character)) {
        return Face::Regular;
    }
    face
}

/// Characters that the face cannot show become their code points: `[U+1F980]`, neighbours in one pair of brackets.
pub(super) fn visible(text: &str, face: Face, fonts: &Fonts) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut hidden = false;
    for character in text.chars() {
        if fonts.shows(face, character) {
            if hidden {
                shown.push(']');
            }
            hidden = false;
            shown.push(character);
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(shown, "{}U+{:04X}", if hidden { " " } else { "[" }, u32::from(character));
        hidden = true;
    }
    if hidden {
        shown.push(']');
    }
    shown
}

/// Runs of `text` in `style`.
pub(super) fn runs(text: &Text, style: Style, fonts: &Fonts) -> Vec<Run> {
    let bold = Style { face: Face::Bold, ..style };
    let mut runs = Vec::new();
    for inline in &text.0 {
        match inline {
            Inline::Text(words) => runs.push(Run::new(words.as_str(), style, fonts)),
            Inline::Strong(words) => runs.push(Run::new(words.as_str(), bold, fonts)),
            Inline::Quiet(words) => {
                runs.push(Run::new(
                    words.as_str(),
                    Style { size: style.size * 0.88, color: Color::QUIET, ..style },
                    fonts,
                ));
            }
            // Fixed pitch is wide; a tenth smaller it looks as large as the text around it.
            Inline::Code(words) => {
                runs.push(Run::new(
                    words.as_str(),
                    Style { face: Face::Mono, size: style.size * 0.88, ..style },
                    fonts,
                ));
            }
            Inline::Link { words, url } => {
                let run = Run::new(words.as_str(), style.colored(Color::ACCENT), fonts);
                runs.push(Run { url: Some(url.clone()), ..run });
            }
            Inline::Figure(figure) => runs.extend(figure_runs(figure, style, fonts)),
        }
    }
    runs
}

/// A figure and its mark: a letter in a tag, so that nobody reads it as a unit or an exponent.
fn figure_runs(figure: &Figure, style: Style, fonts: &Fonts) -> [Run; 3] {
    let (color, ground) = mark_colors(figure.mark());
    let size = style.size * 0.62;
    let mark = Style { face: Face::Bold, size, color, rise: style.size * 0.06, tag: Some(ground) };
    let glued = |text: &str, style: Style| Run { glued: true, ..Run::new(text, style, fonts) };
    // The space keeps figure and letter apart when the text is copied.
    [glued(figure.text(), style), glued(" ", Style { rise: 0.0, ..style }), glued(figure.mark().letter(), mark)]
}

/// Runs of the whole number below a rounded figure.
pub(super) fn exact(figure: &Figure, size: f32, fonts: &Fonts) -> Option<Run> {
    figure.exact().map(|exact| Run::new(exact, Style::plain(size).colored(Color::QUIET), fonts))
}

/// Letter and ground of a mark's tag.
pub(super) const fn mark_colors(mark: Mark) -> (Color, Color) {
    match mark {
        Mark::Measured => (Color(0x1c, 0x6e, 0x46), Color(0xdf, 0xf0, 0xe6)),
        Mark::Computed => (Color(0x2a, 0x5a, 0x9a), Color(0xe2, 0xeb, 0xf7)),
        Mark::Registry => (Color(0x6a, 0x3d, 0x9a), Color(0xec, 0xe4, 0xf5)),
        Mark::Declared => (Color(0x7d, 0x4a, 0x00), Color(0xfb, 0xec, 0xcf)),
        Mark::Missing => (Color(0xb3, 0x26, 0x1e), Color(0xfb, 0xe1, 0xdf)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_font_lacks_is_shown_as_code_points() {
        let fonts = Fonts::embedded().unwrap();
        assert_eq!(visible("a🦀b", Face::Regular, &fonts), "a[U+1F980]b");
        assert_eq!(visible("אב", Face::Regular, &fonts), "[U+05D0 U+05D1]");
        assert_eq!(visible("plain", Face::Mono, &fonts), "plain");
    }
}
