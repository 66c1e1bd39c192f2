//! Files that the user names: any path can be typed, so reading is bounded, and a failure says what would do instead.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// A configuration or a declaration is some kilobytes; more than this is something else.
const MAXIMUM_BYTES: u64 = 10 << 20;

/// The text of `path`, which should be `what`; `next_step` says what to do if it is not.
pub(crate) fn text(path: &Path, what: &str, next_step: &str) -> anyhow::Result<String> {
    let unreadable = || format!("{} cannot be read; {next_step}", path.display());
    // Not the length that the file system tells: a device has none.
    let mut text = Vec::new();
    let file = fs_err::File::open(path).with_context(unreadable)?;
    file.take(MAXIMUM_BYTES + 1).read_to_end(&mut text).with_context(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAXIMUM_BYTES) {
        bail!("{} is larger than {} MiB, which is no {what}; {next_step}", path.display(), MAXIMUM_BYTES >> 20);
    }
    String::from_utf8(text).with_context(|| format!("{} is no text; {next_step}", path.display()))
}
