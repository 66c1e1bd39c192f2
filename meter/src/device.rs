//! Devices: what they are and what they say.

pub mod accelerator;
pub mod cpu;
pub mod elsewhere;
pub mod mig_access;
pub mod nvml;
pub mod open_files;
pub mod package_energy;
pub mod process_tree;
pub mod trace;

use std::io::Read as _;
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

    /// The text of a file of it, if it can be read.
    pub fn text(&self, relative: &str) -> Option<String> {
        let mut text = String::with_capacity(USUAL_BYTES);
        File::open(self.path(relative)).ok()?.take(MAXIMUM_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Names in a folder of it, in alphabetical order; none if it cannot be read.
    pub fn names(&self, relative: &str) -> Vec<String> {
        let entries = fs_err::read_dir(self.path(relative)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}
