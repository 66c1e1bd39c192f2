//! Formats: one file each behind one trait.

mod html;
mod json;
mod markdown;
mod pdf;

use core::str::FromStr;

use crate::document::{Document, Words};
use crate::problem::ReportProblem;

/// Writes a document in one format. Same document, same bytes.
trait Renderer {
    /// The whole file.
    fn render(&self, document: &Document) -> Result<Vec<u8>, ReportProblem>;
}

/// A file format.
///
/// ```
/// use flopsmeter_reporter::Format;
/// assert_eq!(Format::parse("PDF").unwrap().extension(), "pdf");
/// assert!(Format::parse("odt").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Portable Document Format, for the file.
    Pdf,
    /// One self-contained page.
    Html,
    /// Plain text with mark-up.
    Markdown,
    /// The typed document and everything it was composed from.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Pdf, Self::Html, Self::Markdown, Self::Json];

    /// Reads `pdf`, `html`, `md` (or `markdown`), `json`, in any case.
    pub fn parse(text: &str) -> Result<Self, ReportProblem> {
        match text.trim().to_ascii_lowercase().as_str() {
            "pdf" => Ok(Self::Pdf),
            "html" => Ok(Self::Html),
            "md" | "markdown" => Ok(Self::Markdown),
            "json" => Ok(Self::Json),
            _ => Err(ReportProblem::Format { format: Words::new(text).to_string() }),
        }
    }

    /// File extension without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Markdown => "md",
            Self::Json => "json",
        }
    }

    fn renderer(self) -> &'static dyn Renderer {
        match self {
            Self::Pdf => &pdf::Pdf,
            Self::Html => &html::Html,
            Self::Markdown => &markdown::Markdown,
            Self::Json => &json::Json,
        }
    }

    /// The document as the bytes of a file in this format.
    pub fn render(self, document: &Document) -> Result<Vec<u8>, ReportProblem> {
        self.renderer().render(document)
    }
}

impl FromStr for Format {
    type Err = ReportProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
