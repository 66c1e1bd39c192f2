//! NVIDIA GPUs through the driver's management library, which is loaded at run time: the same binary starts on any machine.

mod busy;
mod library;
mod read;
pub mod worker;

use flopsmeter_core::sample::GpuFacts;

/// A GPU that the driver lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedGpu {
    /// Index in the driver's order, which is that of PCI addresses.
    pub index: u32,
    /// `GPU-…`
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// What the driver says of it.
    pub facts: GpuFacts,
    /// Its instances, where it is cut into such.
    pub instances: Vec<ListedInstance>,
}

/// An instance of a GPU that is cut (MIG).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedInstance {
    /// `MIG-…`
    pub uuid: String,
    /// Its streaming multiprocessors, if the driver tells.
    pub multiprocessors: Option<u32>,
}

/// What became of loading the library and listing GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// The driver answered.
    Gpus(Vec<ListedGpu>),
    /// It did not.
    Unavailable {
        /// Why, as a fragment.
        reason: String,
    },
}
