//! The documents of flopsmeter: read-only views of assessments and evidence, composed once and written in several formats.
#![forbid(unsafe_code)]

pub mod document;
pub mod layout;
pub mod problem;
pub mod render;
pub mod threshold;
pub mod wording;
mod write;

pub use problem::ReportProblem;
pub use render::Format;
pub use threshold::{BaseDescription, ThresholdInput, compose};
pub use wording::Wording;
pub use write::write;
