//! The process in which the driver is asked, as a program of its own: what a program that embeds the sampler has to offer.

use std::path::PathBuf;

use flopsmeter_meter::device::nvml::NVML_LIBRARY_VARIABLE;
use flopsmeter_meter::device::nvml::reader;

fn main() -> std::io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the program's own place to read its environment")]
    let library = std::env::var_os(NVML_LIBRARY_VARIABLE).map(PathBuf::from);
    reader::serve(library.as_deref(), None)
}
