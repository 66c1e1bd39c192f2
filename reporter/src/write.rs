//! Puts a rendered document into a folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::document::Document;
use crate::problem::ReportProblem;
use crate::render::Format;

/// Writes `document` as `<kind>.<extension>` into `folder`, which is made if need be, and returns the file's path.
///
/// The file appears whole or not at all: it is written under another name in the same folder, synced and renamed.
pub fn write(document: &Document, format: Format, folder: &Path) -> Result<PathBuf, ReportProblem> {
    let bytes = format.render(document)?;
    let name = format!("{}.{}", document.kind.file_stem(), format.extension());
    let path = folder.join(&name);
    let beside = folder.join(format!(".{name}.{}.partial", std::process::id()));
    put(&bytes, folder, &beside, &path).map_err(|source| {
        // What could not be finished is no use to anyone; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
        ReportProblem::Write { path: path.clone(), source }
    })?;
    Ok(path)
}

fn put(bytes: &[u8], folder: &Path, beside: &Path, path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = fs::File::create(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(beside, path)
}
