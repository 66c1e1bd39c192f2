//! PDF: the layout layer sets the pages, a writer draws them.

mod printpdf;
mod subset;

use super::Renderer;
use crate::document::Document;
use crate::layout::{Fonts, Pages, set};
use crate::problem::ReportProblem;

pub(super) struct Pdf;

/// Draws set pages into a file. One writer today; one for archival PDF can stand beside it.
trait PageWriter {
    fn write(&self, pages: &Pages, document: &Document, fonts: &Fonts) -> Result<Vec<u8>, ReportProblem>;
}

impl Renderer for Pdf {
    fn render(&self, document: &Document) -> Result<Vec<u8>, ReportProblem> {
        let fonts = Fonts::embedded()?;
        let pages = set(document, &fonts);
        printpdf::Writer.write(&pages, document, &fonts)
    }
}
