//! NVIDIA GPUs through the driver's management library, which is loaded at run time: the same binary starts on any machine.
//! It is loaded in a process of its own ([`reader`]), so that no fault of the driver's reaches the job or the meter.

mod board;
pub(crate) mod busy;
pub(crate) mod chain;
pub mod constants;
mod gpm;
mod library;
pub(crate) mod orders;
pub mod probe;
pub mod process;
mod processes;
mod read;
pub mod reader;
pub mod survey;

use flopsmeter_core::sample::{GpuFacts, Mig};
use serde::{Deserialize, Serialize};

/// Environment variable that names another NVML library, for tests.
pub const NVML_LIBRARY_VARIABLE: &str = "FLOPSMETER_NVML_LIBRARY";

/// A GPU that the driver lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGpu {
    /// Index in the driver's order, which is that of PCI addresses.
    pub index: u32,
    /// `GPU-…`
    pub uuid: String,
    /// Number of its device node: 3 for `/dev/nvidia3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_number: Option<u32>,
    /// Product name.
    pub name: String,
    /// What the driver says of it.
    pub facts: GpuFacts,
    /// Its instances, where it is cut into such.
    pub instances: Vec<ListedInstance>,
    /// Whether it was listed uncut before, in the same run: a job may have had the whole of it.
    #[serde(skip)]
    pub was_uncut: bool,
}

impl ListedGpu {
    /// Its own UUID and those of its instances.
    pub fn uuids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.uuid.as_str()).chain(self.instances.iter().map(|instance| instance.uuid.as_str()))
    }

    /// Whether a job may have had the whole of it: instances that are gone leave it uncut.
    pub fn may_be_used_whole(&self) -> bool {
        self.was_uncut || self.facts.mig == Mig::Off || self.instances.iter().all(|instance| instance.gone)
    }
}

/// An instance of a GPU that is cut (MIG).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedInstance {
    /// `MIG-…`
    pub uuid: String,
    /// Its streaming multiprocessors, if the driver tells.
    pub multiprocessors: Option<u32>,
    /// Number of the GPU instance that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
    /// Number of the compute instance in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_instance: Option<u32>,
    /// Whether the job's control group lets it in; `None` where that is not told or it bars none.
    #[serde(skip)]
    pub granted: Option<bool>,
    /// Whether it is no longer listed while its GPU is: that was cut anew, or is cut no more.
    #[serde(skip)]
    pub gone: bool,
}

/// A process with a context on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its number, in whichever PID namespace the driver counts.
    pub pid: u32,
    /// Share of the multiprocessors that the driver ascribes to it, in whole per cent: an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_percent: Option<u32>,
}

/// What became of loading the library and listing GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// The driver answered.
    Gpus(Vec<ListedGpu>),
    /// It did not.
    Unavailable {
        /// Why, as a fragment.
        reason: String,
    },
}

impl Listing {
    /// UUIDs of all GPUs and instances, in the order of the list.
    pub fn uuids(&self) -> impl Iterator<Item = &str> {
        let gpus = match self {
            Self::Gpus(gpus) => gpus.as_slice(),
            Self::Unavailable { .. } => &[],
        };
        gpus.iter().flat_map(ListedGpu::uuids)
    }
}
