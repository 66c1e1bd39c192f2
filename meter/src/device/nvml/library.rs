//! Loading the library and listing what it knows.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use flopsmeter_core::sample::{ComputeCapability, GpuFacts, Mig};
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::{ListedGpu, ListedInstance, Listing};

/// As drivers install it; the name without a version comes with development packages only.
const LIBRARY_NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

/// Instances that one GPU is asked for at most; hardware has seven.
const MAX_INSTANCES: u32 = 64;

/// Loads the library and initialises it. The result is never dropped: dropping it calls `nvmlShutdown`, which panics where the
/// symbol is missing, and handles would have to end before it.
pub(super) fn load(path: Option<&Path>) -> Result<&'static Nvml, String> {
    let names: Vec<OsString> = match path {
        Some(path) => vec![path.as_os_str().to_owned()],
        None => LIBRARY_NAMES.map(OsString::from).to_vec(),
    };
    let mut reasons = Vec::new();
    for name in names {
        match Nvml::builder().lib_path(OsStr::new(&name)).init() {
            Ok(nvml) => return Ok(Box::leak(Box::new(nvml))),
            // This one names the file itself.
            Err(NvmlError::LibloadingError(problem)) => reasons.push(problem.to_string()),
            Err(problem) => reasons.push(format!("{}: {problem}", name.display())),
        }
    }
    // The other name is a second chance, not a second reason.
    Err(reasons.into_iter().next().unwrap_or_default())
}

/// The driver's GPUs, listed again and again: they may come and go.
pub(super) struct Census {
    nvml: &'static Nvml,
    /// How many the driver counted when they were listed last, those included that may not be opened here.
    counted: Option<u32>,
    /// UUIDs of all that were ever listed.
    known: BTreeSet<String>,
}

impl Census {
    pub(super) const fn new(nvml: &'static Nvml) -> Self {
        Self { nvml, counted: None, known: BTreeSet::new() }
    }

    /// The GPUs. One that does not answer stands in the first list by its place alone, so that nothing bounds it. Later it is left
    /// out if it is known, and one that nobody knows makes the list no list.
    pub(super) fn list(&mut self) -> Listing {
        let count = match self.nvml.device_count() {
            Ok(count) => count,
            Err(problem) => return Listing::Unavailable { reason: format!("cannot count the GPUs: {problem}") },
        };
        self.counted = Some(count);
        let driver_version = self.nvml.sys_driver_version().ok();
        let (mut gpus, mut silent) = (Vec::new(), Vec::new());
        for index in 0..count {
            match describe(self.nvml, index, driver_version.clone()) {
                Ok(gpu) => gpus.extend(gpu),
                Err(_) if self.known.is_empty() => gpus.push(nameless(index)),
                Err(reason) => silent.push(reason),
            }
        }
        let missing = self.known.iter().filter(|uuid| gpus.iter().all(|gpu: &ListedGpu| gpu.uuid != **uuid)).count();
        if silent.len() > missing
            && let Some(reason) = silent.pop()
        {
            return Listing::Unavailable { reason };
        }
        self.known.extend(gpus.iter().map(|gpu| gpu.uuid.clone()));
        Listing::Gpus(gpus)
    }

    /// The GPUs, where the driver counts more or fewer of them than when they were listed last: a cheap call.
    pub(super) fn changed(&mut self) -> Option<Listing> {
        let counted = self.nvml.device_count().ok()?;
        (Some(counted) != self.counted).then(|| self.list())
    }
}

/// A GPU that the driver counts and of which nothing can be learnt.
fn nameless(index: u32) -> ListedGpu {
    ListedGpu { index, uuid: format!("gpu:{index}"), name: "unknown GPU".to_owned(), ..ListedGpu::default() }
}

/// `None` for a GPU that this user or cgroup may not open: it is counted by the driver, and no job of ours can use it.
fn describe(nvml: &'static Nvml, index: u32, driver_version: Option<String>) -> Result<Option<ListedGpu>, String> {
    let cannot = |what: &str, problem: NvmlError| format!("cannot {what} GPU {index}: {problem}");
    let device = match nvml.device_by_index(index) {
        Err(NvmlError::NoPermission) => return Ok(None),
        device => device.map_err(|problem| cannot("open", problem))?,
    };
    let uuid = device.uuid().map_err(|problem| cannot("identify", problem))?;
    let pci = device.pci_info().ok();
    let instances = instances(nvml, &device);
    let cut = device.mig_mode().is_ok_and(|mode| mode.current == 1);
    let facts = GpuFacts {
        compute_capability: device.cuda_compute_capability().ok().and_then(|capability| {
            let (major, minor) = (u32::try_from(capability.major).ok()?, u32::try_from(capability.minor).ok()?);
            Some(ComputeCapability { major, minor })
        }),
        core_count: told(device.num_cores()),
        max_sm_clock_mhz: told(device.max_clock_info(Clock::SM)),
        pci_device_id: pci.as_ref().map(|pci| pci.pci_device_id),
        pci_subsystem_id: pci.as_ref().and_then(|pci| pci.pci_sub_system_id),
        pci_bus_id: pci.map(|pci| pci.bus_id),
        mig: if cut { Mig::Whole } else { Mig::Off },
        driver_version,
    };
    let name = device.name().unwrap_or_else(|_| "unknown GPU".to_owned());
    let minor_number = device.minor_number().ok();
    let instances = if cut { instances } else { Vec::new() };
    Ok(Some(ListedGpu { index, uuid, minor_number, name, facts, instances, was_uncut: false }))
}

/// Zero is how some boards say "not told".
fn told(answer: Result<u32, NvmlError>) -> Option<u32> {
    answer.ok().filter(|&value| value > 0)
}

fn instances(nvml: &'static Nvml, device: &Device<'static>) -> Vec<ListedInstance> {
    let count = device.mig_device_count().unwrap_or(0).min(MAX_INSTANCES);
    let open = (0..count).filter_map(|index| device.mig_device_by_index(index).ok());
    open.filter_map(|instance| {
        let multiprocessors = instance.attributes().ok().map(|attributes| attributes.multiprocessor_count);
        let (gpu_instance, compute_instance) = numbers(nvml, &instance);
        let uuid = instance.uuid().ok()?;
        Some(ListedInstance { uuid, multiprocessors, gpu_instance, compute_instance, granted: None, gone: false })
    })
    .collect()
}

/// Of an instance: of its GPU instance, and of its compute instance in that.
fn numbers(nvml: &'static Nvml, instance: &Device<'static>) -> (Option<u32>, Option<u32>) {
    let (mut gpu_instance, mut compute_instance) = (0, 0);
    let library = nvml.lib();
    // SAFETY: the handle is used during these calls alone, while the device that it is of lives; each writes one number.
    unsafe {
        let handle = instance.handle();
        let of_gpu = library.nvmlDeviceGetGpuInstanceId.as_ref().map(|call| call(handle, &raw mut gpu_instance));
        let compute =
            library.nvmlDeviceGetComputeInstanceId.as_ref().map(|call| call(handle, &raw mut compute_instance));
        let told = |code: Result<u32, _>, number| matches!(code, Ok(0)).then_some(number);
        (told(of_gpu, gpu_instance), told(compute, compute_instance))
    }
}
