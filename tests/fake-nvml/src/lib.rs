//! A stand-in for NVIDIA's management library: the same C symbols, scripted by a JSON file.
//!
//! The file is the one named in `FLOPSMETER_FAKE_NVML`, else the one beside the library with `.json` added to its name. Time
//! starts at the first `nvmlInit`. See [`scenario`] for what can be scripted. Third-party programs can read it too, under the
//! name `libnvidia-ml.so.1`.

mod device;
pub mod layout;
mod mig;
pub mod scenario;
mod state;
mod system;
mod write;
