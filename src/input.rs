//! Files that the user names, or standard input as `-`: any path can be typed, so reading is bounded, and a failure says what
//! would do instead.

use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};

/// A configuration or a declaration is some kilobytes; more than this is something else.
const MAXIMUM_BYTES: u64 = 10 << 20;

/// The name of standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// The text of `path`, which should be `what`; `next_step` says what to do if it is not.
pub(crate) fn text(path: &Path, what: &str, next_step: &str) -> anyhow::Result<String> {
    let file = fs_err::File::open(path).with_context(|| unreadable(path, next_step))?;
    read(file, path, MAXIMUM_BYTES, what, next_step)
}

/// The same, where `-` is standard input and up to `most` bytes may stand.
pub(crate) fn text_or_standard_input(path: &Path, most: u64, what: &str, next_step: &str) -> anyhow::Result<String> {
    if path == Path::new(STANDARD_INPUT) {
        return read(io::stdin().lock(), Path::new("standard input"), most, what, next_step);
    }
    let file = fs_err::File::open(path).with_context(|| unreadable(path, next_step))?;
    read(file, path, most, what, next_step)
}

/// A configuration, where `-` is standard input.
pub(crate) fn configuration(path: &Path, what: &str, next_step: &str) -> anyhow::Result<String> {
    text_or_standard_input(path, MAXIMUM_BYTES, what, next_step)
}

fn unreadable(path: &Path, next_step: &str) -> String {
    format!("{} cannot be read; {next_step}", path.display())
}

fn read(source: impl io::Read, path: &Path, most: u64, what: &str, next_step: &str) -> anyhow::Result<String> {
    // Not the length that the file system tells: a device has none.
    let mut text = Vec::new();
    source.take(most + 1).read_to_end(&mut text).with_context(|| unreadable(path, next_step))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > most) {
        bail!("{} is larger than {} MiB, which is no {what}; {next_step}", path.display(), most >> 20);
    }
    String::from_utf8(text).with_context(|| format!("{} is no text; {next_step}", path.display()))
}
