//! What can go wrong between an assessment and its file.

use std::path::PathBuf;

/// A document that could not be composed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportProblem {
    /// A format nobody writes.
    #[error("`{format}` is no report format; choose from pdf, html, md, json")]
    Format {
        /// What was asked for.
        format: String,
    },
    /// A language without wording.
    #[error("there is no wording in `{language}`; choose from en")]
    Language {
        /// What was asked for.
        language: String,
    },
    /// A template that does not parse, lacks a sentence, or names a value that is not there.
    #[error("the wording `{sentence}` of {template} cannot be used: {cause}; mend the template or remove the override")]
    Wording {
        /// The template file.
        template: String,
        /// The block in it.
        sentence: String,
        /// What the template engine said.
        cause: String,
    },
    /// The PDF writer failed.
    #[error("cannot set the PDF: {cause}; write another format and report this as a defect of flopsmeter")]
    Pdf {
        /// What failed.
        cause: String,
    },
    /// A value that has no JSON form.
    #[error("cannot write {what} as JSON: {source}; report this as a defect of flopsmeter")]
    Json {
        /// What was written.
        what: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// The file system refused.
    #[error("cannot write the report to {}: {source}; choose a folder you may write to with --out", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
