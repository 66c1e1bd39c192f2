//! Sentences: Tera templates in, text with figures out.
//!
//! A template file holds one block per sentence, and each is a template of its own: rendering one block of a file would run
//! the whole file, and so ask for every value that any sentence names. Values reach it in two kinds. *Words* are printed with the few characters
//! that mean something in running text made harmless. *Figures* are printed as tokens, which become [`crate::document::Inline::Figure`]
//! again when the sentence is read back; so a number in a sentence keeps its origin, and no value can forge one.
//! A sentence may set words `**strong**` and names in `` `fixed pitch` ``.

mod embedded;
mod inline;
mod sentences;
mod values;

use std::io::{self, Write};

use tera::Tera;

use crate::document::{Text, Words};
use crate::problem::ReportProblem;

pub use values::Values;

/// All sentences of one language.
#[derive(Debug)]
pub struct Wording {
    language: &'static str,
    tera: Tera,
}

impl Wording {
    /// The embedded wording in `language` (`en`).
    ///
    /// ```
    /// assert!(flopsmeter_reporter::Wording::embedded("en").is_ok());
    /// assert!(flopsmeter_reporter::Wording::embedded("tlh").is_err());
    /// ```
    pub fn embedded(language: &str) -> Result<Self, ReportProblem> {
        let (language, files) = embedded::files(language)
            .ok_or_else(|| ReportProblem::Language { language: Words::new(language).to_string() })?;
        let mut tera = Tera::default();
        tera.set_escape_fn(inline::escape);
        tera.autoescape_on([embedded::SUFFIX]);
        let sentences = files.iter().flat_map(|(file, content)| {
            sentences::split(content).into_iter().map(|(name, sentence)| (address(file, name), sentence))
        });
        // All at once: the engine goes over everything it holds after each addition.
        tera.add_raw_templates(sentences).map_err(|cause| ReportProblem::Wording {
            template: language.to_owned(),
            sentence: "(all)".to_owned(),
            cause: one_line(&cause),
        })?;
        Ok(Self { language, tera })
    }

    /// BCP 47 tag.
    pub const fn language(&self) -> &'static str {
        self.language
    }

    /// The sentence `name` of `file` with `values`.
    pub fn sentence(&self, file: &str, name: &str, values: &Values) -> Result<Text, ReportProblem> {
        // Block names are identifiers; codes are kebab-case.
        let block = name.replace('-', "_");
        let mut raw = Bounded::default();
        self.tera.render_to(&address(file, &block), values.context(), &mut raw).map_err(|cause| {
            ReportProblem::Wording { template: file.to_owned(), sentence: name.to_owned(), cause: one_line(&cause) }
        })?;
        Ok(inline::read(&raw.into_text(), values.figures()))
    }

    /// The sentence for a code, or `None` where the wording has none that fits `values`: the caller then says it generically.
    pub fn by_code(&self, file: &str, code: &str, values: &Values) -> Option<Text> {
        self.sentence(file, code, values).ok().filter(|text| !text.is_empty())
    }

    /// Fixed words.
    pub fn label(&self, file: &str, name: &str) -> Result<Words, ReportProblem> {
        self.sentence(file, name, &Values::default()).map(|text| Words::new(&text.to_plain()))
    }
}

/// Name under which the engine keeps a sentence.
fn address(file: &str, block: &str) -> String {
    format!("{file}/{block}{}", embedded::SUFFIX)
}

/// A sentence never grows past this, whatever an overridden template loops over.
const LONGEST_SENTENCE: usize = 200_000;

#[derive(Default)]
struct Bounded(Vec<u8>);

impl Bounded {
    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_SENTENCE {
            return Err(io::Error::other("the sentence is longer than 200,000 bytes"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn one_line(cause: &tera::Error) -> String {
    cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
