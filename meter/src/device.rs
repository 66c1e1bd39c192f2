//! Devices: what they are and what they say.

pub mod accelerator;
pub mod cpu;
pub mod elsewhere;
pub mod launch;
pub mod mig_access;
pub mod node_names;
pub mod nvml;
pub mod open_files;
pub mod package_energy;
pub mod process_tree;
pub mod trace;

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use fs_err::File;

/// Files of the kernel's are read whole in one call, as a rule, and have no length that could be asked for first.
const USUAL_BYTES: usize = 4096;

/// No file of the kernel's that we read is longer: the list of a thousand processors has a quarter of it.
const MAXIMUM_BYTES: u64 = 8 << 20;

/// Where the kernel shows itself. Tests point it at a folder of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    root: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl Kernel {
    /// A kernel whose `/proc`, `/sys` and `/dev` lie under `root`.
    pub fn under(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file of it, for example `proc/loadavg`.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file of it, if it can be read. Names in it are whatever bytes somebody gave them, and the kernel cuts some in
    /// the middle of a character: what is no text is replaced.
    pub fn text(&self, relative: &str) -> Option<String> {
        let mut file = File::open(self.path(relative)).ok()?.take(MAXIMUM_BYTES);
        // On the stack: a few short files are read each second, and the heap is only asked for what they hold.
        let mut beginning = [0; USUAL_BYTES];
        let mut length = 0;
        while let Some(rest) = beginning.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => return Some(String::from_utf8_lossy(beginning.get(..length)?).into_owned()),
                Ok(read) => length += read,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let mut bytes = beginning.to_vec();
        file.read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Names in a folder of it, in alphabetical order; none if it cannot be read.
    pub fn names(&self, relative: &str) -> Vec<String> {
        let entries = fs_err::read_dir(self.path(relative)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        for length in [0, 1, USUAL_BYTES - 1, USUAL_BYTES, USUAL_BYTES + 1, 3 * USUAL_BYTES] {
            let text = "x".repeat(length);
            fs_err::write(kernel.path("file"), &text).unwrap();
            assert_eq!(kernel.text("file"), Some(text));
        }
        fs_err::write(kernel.path("file"), [b'x', 0xff]).unwrap();
        assert_eq!((kernel.text("file").as_deref(), kernel.text("absent")), (Some("x\u{fffd}"), None));
    }
}
