//! A stand-in for NVIDIA's management library: the same C symbols, scripted by a JSON file.
//!
//! The file is the one named in `FLOPSMETER_FAKE_NVML`, else the one beside the library with `.json` added to its name. Time
//! starts at the first `nvmlInit`, of this process or of any, or a file tells it. See [`scenario`] for what can be scripted.
//! Third-party programs can read it too, under the name `libnvidia-ml.so.1`.

mod bystander;
mod counters;
mod device;
mod gpm;
pub mod layout;
mod mig;
mod processes;
pub mod scenario;
mod state;
mod system;
mod time;
mod write;
