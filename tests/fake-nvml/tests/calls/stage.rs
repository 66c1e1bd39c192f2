//! A copy of the library that plays one scenario, at the times that a test sets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nvml_wrapper::{Device, Nvml, error::NvmlError};
use serde_json::{Value, json};

pub(crate) struct Stage {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Stage {
    /// The scenario, whose time stands at zero.
    pub(crate) fn new(mut scenario: Value) -> Self {
        scenario["time_file"] = json!("time");
        let folder = tempfile::tempdir().unwrap();
        // Cargo builds the library beside this test, as a dependency of it.
        let built = std::env::current_exe().unwrap().with_file_name("libnvidia_ml.so");
        let library = folder.path().join("libnvidia-ml.so.1");
        fs_err::copy(built, &library).unwrap();
        fs_err::write(folder.path().join("libnvidia-ml.so.1.json"), scenario.to_string()).unwrap();
        let stage = Self { folder, library };
        stage.at(0);
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets the scenario's time, in milliseconds. A reader never finds half a number.
    pub(crate) fn at(&self, milliseconds: u64) {
        let next = self.path("next");
        fs_err::write(&next, milliseconds.to_string()).unwrap();
        fs_err::rename(next, self.path("time")).unwrap();
    }

    pub(crate) fn open(&self) -> Result<Nvml, NvmlError> {
        open(&self.library)
    }
}

pub(crate) fn open(library: &Path) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(OsStr::new(library)).init()
}

pub(crate) fn first(nvml: &Nvml) -> Device<'_> {
    nvml.device_by_index(0).unwrap()
}
