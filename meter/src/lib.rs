//! Everything of flopsmeter that touches a machine.
//!
//! With the feature `hook` alone this is what the Python extension needs inside a training process: no NVML, no SQLite, no
//! threads of its own. The feature `machine` adds devices, the wrapper and the store.

#[cfg(feature = "machine")]
pub mod alert;
#[cfg(feature = "machine")]
pub mod binding;
#[cfg(feature = "machine")]
pub mod budget;
#[cfg(feature = "machine")]
pub mod claim;
#[cfg(feature = "machine")]
pub mod clock;
#[cfg(feature = "machine")]
pub mod daemon;
#[cfg(feature = "machine")]
pub mod device;
pub mod hook;
#[cfg(feature = "machine")]
pub mod own_memory;
#[cfg(feature = "machine")]
mod own_process;
#[cfg(feature = "machine")]
pub mod parent;
#[cfg(feature = "machine")]
pub mod records;
#[cfg(feature = "machine")]
pub mod sampler;
#[cfg(feature = "machine")]
pub mod session;
#[cfg(feature = "machine")]
pub mod store;
#[cfg(feature = "machine")]
pub mod wrap;
