//! Reads a rendered sentence back into text: strong words, fixed pitch, and figures in place of their tokens.

use std::io::{self, Write};

use crate::document::{Figure, Inline, Text, Words};

/// Opens and closes a figure's token. Private-use characters: [`Words`] lets none of them through from outside.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

/// What a template prints for figure number `index`.
pub(super) fn token(index: usize) -> String {
    format!("{OPEN}{index}{CLOSE}")
}

/// Makes the characters that mean something in running text harmless in a value.
pub(super) fn escape(value: &str, output: &mut dyn Write) -> io::Result<()> {
    for character in value.chars() {
        if matches!(character, '*' | '`' | '\\') {
            output.write_all(b"\\")?;
        }
        write!(output, "{character}")?;
    }
    Ok(())
}

/// Reads `rendered`; runs of white space, which templates are free to use, become one space.
pub(super) fn read(rendered: &str, figures: &[Figure]) -> Text {
    let mut reader = Reader { figures, form: Form::Plain, words: String::new(), pieces: Vec::new() };
    let mut characters = rendered.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => reader.words.extend(characters.next()),
            '*' if characters.next_if_eq(&'*').is_some() => reader.toggle(Form::Strong),
            '`' => reader.toggle(Form::Code),
            OPEN => {
                let index: String = characters.by_ref().take_while(|next| *next != CLOSE).collect();
                reader.figure(&index);
            }
            _ if character.is_whitespace() && !is_fixed_space(character) => {
                if !reader.words.ends_with(' ') {
                    reader.words.push(' ');
                }
            }
            _ => reader.words.push(character),
        }
    }
    reader.flush();
    Text(reader.pieces)
}

/// No-break spaces are meant and stay.
const fn is_fixed_space(character: char) -> bool {
    matches!(character, '\u{A0}' | '\u{202F}')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Strong,
    Code,
}

struct Reader<'a> {
    figures: &'a [Figure],
    form: Form,
    words: String,
    pieces: Vec<Inline>,
}

impl Reader<'_> {
    fn toggle(&mut self, form: Form) {
        self.flush();
        self.form = if self.form == form { Form::Plain } else { form };
    }

    fn figure(&mut self, index: &str) {
        self.flush();
        let figure = index.parse().ok().and_then(|index: usize| self.figures.get(index));
        self.pieces.extend(figure.cloned().map(Inline::Figure));
    }

    fn flush(&mut self) {
        if self.words.is_empty() {
            return;
        }
        // Values were bounded one by one, so that a sentence is never cut in its middle.
        let words = Words::sentence(&core::mem::take(&mut self.words));
        self.pieces.push(match self.form {
            Form::Plain => Inline::Text(words),
            Form::Strong => Inline::Strong(words),
            Form::Code => Inline::Code(words),
        });
    }
}

#[cfg(test)]
mod tests {
    use flopsmeter_core::assess::Origin;

    use super::*;

    fn escaped(value: &str) -> String {
        let mut bytes = Vec::new();
        escape(value, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn strong_words_and_figures_come_back() {
        let figure = Figure::count(7, Origin::Measured { by: "test".to_owned() });
        let text = read(&format!("**Below.**\n  It took {} steps of `x`.", token(0)), std::slice::from_ref(&figure));
        assert_eq!(
            text.0,
            vec![
                Inline::Strong(Words::new("Below.")),
                Inline::Text(Words::new(" It took ")),
                Inline::Figure(figure),
                Inline::Text(Words::new(" steps of ")),
                Inline::Code(Words::new("x")),
                Inline::Text(Words::new(".")),
            ]
        );
    }

    #[test]
    fn a_value_cannot_change_the_form() {
        let text = read(&format!("name {}", escaped("**bold** `code` \\")), &[]);
        assert_eq!(text.0, vec![Inline::Text(Words::new("name **bold** `code` \\"))]);
    }

    #[test]
    fn a_token_for_no_figure_prints_nothing() {
        assert_eq!(read("a\u{E000}9\u{E001}b \u{E000}", &[]).to_plain(), "ab ");
    }
}
