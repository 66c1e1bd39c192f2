//! Running text whose numbers are figures and whose foreign words are harmless.

use core::fmt::{self, Write as _};

use serde::Serialize;

use super::figure::Figure;

/// Longest foreign string that is printed whole; what is cut is said, and the JSON form has it.
const LONGEST: usize = 2_000;

/// A string that is safe to show: no control, bidirectional or private-use characters, bounded in length.
///
/// Characters that would steer a terminal, a page or a reader's eye are shown as their code point, for example `[U+202E]`.
///
/// ```
/// use flopsmeter_reporter::document::Words;
/// assert_eq!(Words::new("a\u{202e}b\tc").as_str(), "a[U+202E]b c");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Words(String);

impl Words {
    /// Cleans `text`.
    pub fn new(text: &str) -> Self {
        Self::brief(text, LONGEST)
    }

    /// The same for a title: `longest` characters at most.
    pub fn brief(text: &str, longest: usize) -> Self {
        let mut clean = String::with_capacity(text.len().min(longest));
        let mut characters = text.chars();
        for character in characters.by_ref().take(longest) {
            push_clean(&mut clean, character);
        }
        let cut = characters.count();
        if cut > 0 {
            // Writing to a string cannot fail.
            let _ = write!(clean, "… [{cut} more characters]");
        }
        Self(clean)
    }

    /// Cleans a rendered sentence, whose parts are bounded already.
    pub(crate) fn sentence(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len());
        text.chars().for_each(|character| push_clean(&mut clean, character));
        Self(clean)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn push_clean(clean: &mut String, character: char) {
    match character {
        '\n' | '\r' | '\t' => clean.push(' '),
        _ if steers(character) => {
            let _ = write!(clean, "[U+{:04X}]", u32::from(character));
        }
        _ => clean.push(character),
    }
}

/// Control, formatting, direction-changing, invisible, private-use and non-characters.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0x00AD | 0x061C | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB
            | 0xE000..=0xF8FF | 0xE0000..=0xE0FFF | 0xF0000..=0x10_FFFF)
        || u32::from(character) & 0xFFFE == 0xFFFE
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// A piece of running text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Inline {
    /// Plain words.
    Text(Words),
    /// Words that carry the sentence.
    Strong(Words),
    /// Names, digests and commands, set in a fixed pitch.
    Code(Words),
    /// Words of less weight: citations, remarks.
    Quiet(Words),
    /// A number with its origin.
    Figure(Figure),
    /// Words that lead to an address.
    Link {
        /// What is shown.
        words: Words,
        /// Where it leads; only `https:` addresses get this far.
        url: String,
    },
}

/// Running text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Text(pub Vec<Inline>);

impl Text {
    /// Plain words.
    pub fn plain(text: &str) -> Self {
        Self(vec![Inline::Text(Words::new(text))])
    }

    /// Strong words.
    pub fn strong(text: &str) -> Self {
        Self(vec![Inline::Strong(Words::new(text))])
    }

    /// Quiet words.
    pub fn quiet(text: &str) -> Self {
        Self(vec![Inline::Quiet(Words::new(text))])
    }

    /// Fixed pitch.
    pub fn code(text: &str) -> Self {
        Self(vec![Inline::Code(Words::new(text))])
    }

    /// A link, or plain words where the address is none we would follow.
    pub fn link(text: &str, url: Option<&str>) -> Self {
        match url {
            Some(url) if is_plain_https(url) => {
                Self(vec![Inline::Link { words: Words::new(text), url: url.to_owned() }])
            }
            _ => Self::plain(text),
        }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All words without their form, as a reader hears them.
    pub fn to_plain(&self) -> String {
        self.0
            .iter()
            .map(|inline| match inline {
                Inline::Text(words) | Inline::Strong(words) | Inline::Code(words) | Inline::Quiet(words) => {
                    words.as_str()
                }
                Inline::Link { words, .. } => words.as_str(),
                Inline::Figure(figure) => figure.text(),
            })
            .collect()
    }
}

/// `https:` and nothing that would need escaping in an attribute or a PDF string.
fn is_plain_https(url: &str) -> bool {
    url.len() <= 500
        && url.strip_prefix("https://").is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&+,;=%".contains(&byte))
        })
}

impl From<Figure> for Text {
    fn from(figure: Figure) -> Self {
        Self(vec![Inline::Figure(figure)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_page_is_shown() {
        assert_eq!(Words::new("a\u{7}b").as_str(), "a[U+0007]b");
        assert_eq!(Words::new("\u{e000}0\u{e001}").as_str(), "[U+E000]0[U+E001]");
        assert_eq!(Words::new("x\u{200b}y").as_str(), "x[U+200B]y");
        assert_eq!(Words::new("two\nlines").as_str(), "two lines");
    }

    #[test]
    fn long_words_are_cut_and_say_so() {
        let cut = Words::new(&"x".repeat(10_000));
        assert!(cut.as_str().ends_with("… [8000 more characters]"));
    }

    #[test]
    fn only_harmless_addresses_become_links() {
        assert!(matches!(Text::link("law", Some("https://eur-lex.europa.eu/a?b=c")).0[..], [Inline::Link { .. }]));
        for url in ["javascript:alert(1)", "http://a", "https://a\"onload=", "https://a b", "https://"] {
            assert!(matches!(Text::link("law", Some(url)).0[..], [Inline::Text(_)]), "{url} became a link");
        }
    }
}
