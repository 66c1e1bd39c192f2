//! What the sampler reads, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::claim::{GpuEnvironment, GpuRequest};
use crate::clock::SessionClock;
use crate::device::Kernel;
use crate::device::nvml::process::ReaderCommand;
use crate::device::process_tree::JobProcess;

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct SamplerOptions {
    /// The session's clock: the first interval of each device begins at its start.
    pub clock: SessionClock,
    /// The job's first process, once it runs.
    pub job: JobProcess,
    /// The process that waits for the job and for its orphans: this one, in the wrapper.
    pub waiter: Option<u32>,
    /// Time between readings.
    pub period: Duration,
    /// How long an answer of the driver is waited for when the job has ended.
    pub driver_patience: Duration,
    /// How long the driver may take to list its GPUs before they are told as unreadable.
    pub listing_patience: Duration,
    /// `--gpus`
    pub gpus: GpuRequest,
    /// What the job's environment says of GPUs.
    pub environment: GpuEnvironment,
    /// What launchers told the meter itself ([`crate::device::launch::VARIABLES`]).
    pub launch_environment: BTreeMap<String, String>,
    /// How the process that asks NVIDIA's driver is started; `None` to ask nobody.
    pub reader: Option<ReaderCommand>,
    /// NVML library to load in place of the system's.
    pub nvml_library: Option<PathBuf>,
    /// Where a daemon may listen that reads the GPUs for all jobs of this machine; the first one that answers is asked in place
    /// of `reader`.
    pub daemons: Vec<PathBuf>,
    /// Where the kernel shows itself.
    pub kernel: Kernel,
}

impl SamplerOptions {
    /// The usual options: one reading a second, of the processor. The environment is the session's to read, and so is whom to
    /// ask about GPUs.
    pub fn new(clock: SessionClock, job: JobProcess) -> Self {
        Self {
            clock,
            job,
            waiter: Some(std::process::id()),
            period: Duration::from_secs(1),
            driver_patience: Duration::from_secs(1),
            listing_patience: Duration::from_mins(1),
            gpus: GpuRequest::Unsaid,
            environment: GpuEnvironment::default(),
            launch_environment: BTreeMap::new(),
            reader: None,
            nvml_library: None,
            daemons: Vec::new(),
            kernel: Kernel::default(),
        }
    }
}
