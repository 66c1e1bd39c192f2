//! Reads configuration files as Python writes them.

use serde_json::Value;

/// Words that Python writes for numbers and JSON does not have.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Reads the text of a configuration file. Python's own infinities stand in real ones (Mamba's `time_step_limit`) and become
/// texts, as no size is infinite.
///
/// ```
/// let config = flopsmeter_core::shape::read_json(r#"{"time_step_limit": [0.0, Infinity], "note": "Infinity \" NaN"}"#).unwrap();
/// assert_eq!(config["time_step_limit"][1], "Infinity");
/// assert_eq!(config["note"], "Infinity \" NaN");
/// ```
pub fn read_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|problem| {
        let quoted = quote_words(text);
        if quoted == text { Err(problem) } else { serde_json::from_str(&quoted) }
    })
}

/// The same text with these words in quotation marks where they stand outside of texts.
fn quote_words(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let word = WORDS.into_iter().find(|word| rest.starts_with(word));
        let taken = match (next, word) {
            ('"', _) => end_of_text(rest),
            (_, Some(word)) => {
                quoted.push('"');
                quoted.push_str(word);
                quoted.push('"');
                rest = rest.get(word.len()..).unwrap_or_default();
                continue;
            }
            _ => next.len_utf8(),
        };
        let (done, left) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        quoted.push_str(done);
        rest = left;
    }
    quoted
}

/// Bytes up to and with the quotation mark that ends the text at the beginning.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_outside_of_texts_are_quoted() {
        let text = r#"{"a": [NaN, -Infinity, Infinity], "Infinity": "NaN\\", "b\"": "-Infinity"}"#;
        let expected = r#"{"a": ["NaN", "-Infinity", "Infinity"], "Infinity": "NaN\\", "b\"": "-Infinity"}"#;
        assert_eq!(quote_words(text), expected);
        assert!(read_json(text).is_ok());
    }

    #[test]
    fn what_is_broken_stays_broken() {
        for text in ["", "{", r#"{"a": infinity}"#, r#"{"a": "NaN"#, "Infinity Infinity", "\"", "{\"ä\": NaN"] {
            assert!(read_json(text).is_err(), "{text}");
        }
    }
}
