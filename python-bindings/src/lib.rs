//! The hook inside the training process, as the extension module `_flopsmeter`.
//!
//! Only what must be fast or must not fail stands here; what reads live models is Python (`python/flopsmeter`).

mod count;
mod recorder;

#[pyo3::pymodule(gil_used = false)]
mod _flopsmeter {
    #[pymodule_export]
    use crate::count::{count, known};
    #[pymodule_export]
    use crate::recorder::Recorder;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
