//! JSON: the typed document and everything it was composed from.

use serde::Serialize;

use super::Renderer;
use crate::document::Document;
use crate::problem::ReportProblem;

pub(super) struct Json;

#[derive(Serialize)]
struct File<'a> {
    schema: &'static str,
    document: &'a Document,
    #[serde(flatten)]
    data: &'a serde_json::Value,
}

impl Renderer for Json {
    fn render(&self, document: &Document) -> Result<Vec<u8>, ReportProblem> {
        let file = File { schema: document.kind.schema(), document, data: &document.data };
        let mut bytes =
            serde_json::to_vec_pretty(&file).map_err(|source| ReportProblem::Json { what: "the document", source })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
