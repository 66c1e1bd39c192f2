//! Which devices are the job's.
//!
//! What the user says comes first, then what CUDA would see in the job's environment, then what a batch system or a container
//! runtime says was given to it, then everything. Where it cannot be told which GPU is meant, more are claimed, never fewer; and
//! what the job turns out to use is claimed as well ([`further`]).

mod cgroup;
pub mod further;
mod request;
mod visible;
mod word;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, Mig};

use crate::device::nvml::{ListedGpu, ListedInstance};
pub use cgroup::OpenableNodes;
pub use request::{GpuEnvironment, GpuRequest, GpuRequestProblem};
use visible::visible;
use word::by_word;

/// The job's GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The devices.
    pub devices: Vec<Device>,
    /// By which rule they were chosen, for people.
    pub rule: String,
    /// How far that rule binds the job.
    pub basis: Basis,
    /// What a reader has to know of the choice.
    pub findings: Vec<Finding>,
}

/// How far a choice binds the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// The user said so.
    Said,
    /// CUDA obeys it, in every process that does not change it for itself.
    Cuda,
    /// A batch system or a container runtime said so; CUDA does not obey it.
    Word,
    /// There was no choice: all that can be used is claimed.
    #[default]
    All,
}

/// Chooses among the GPUs that the driver lists.
pub fn claim(request: &GpuRequest, environment: &GpuEnvironment, present: &[ListedGpu]) -> Claim {
    match (request, &environment.visible_devices) {
        (GpuRequest::None, _) => Claim { rule: "--gpus none".to_owned(), basis: Basis::Said, ..Claim::default() },
        (GpuRequest::All, _) => all(present, "--gpus all"),
        (GpuRequest::Listed(entries), _) => listed(entries, present),
        (GpuRequest::Unsaid, Some(text)) => visible(text, environment.device_order.as_deref(), present),
        (GpuRequest::Unsaid, None) => by_word(environment, present),
    }
}

/// Whether the job may use GPUs at all, before it is known whether there are any.
pub fn may_use_gpus(request: &GpuRequest, environment: &GpuEnvironment) -> bool {
    match (request, environment.visible_devices.as_deref()) {
        (GpuRequest::None, _) => false,
        (GpuRequest::Unsaid, Some(text)) => !visible::names_none(text),
        _ => true,
    }
}

fn all(present: &[ListedGpu], rule: &str) -> Claim {
    Claim { devices: present.iter().map(whole).collect(), rule: rule.to_owned(), ..Claim::default() }
}

/// An entry that names nothing leaves a device without a bound: the user said that the job has it.
fn listed(entries: &[String], present: &[ListedGpu]) -> Claim {
    let mut claim = Claim { rule: format!("--gpus {}", entries.join(",")), basis: Basis::Said, ..Claim::default() };
    for entry in entries {
        let by_index =
            entry.parse().ok().and_then(|index: u32| present.iter().find(|gpu| gpu.index == index)).map(whole);
        if let Some(device) = by_index.or_else(|| by_uuid(entry, present)) {
            add(&mut claim.devices, device);
            continue;
        }
        let reason = format!("`--gpus` names `{entry}`, which the driver does not list");
        claim.findings.push(Finding { code: "gpu-unknown".to_owned(), text: format!("{reason}; correct the list") });
        let facts = DeviceFacts::Unreadable { reason };
        add(&mut claim.devices, Device { id: format!("gpu:{entry}"), name: "unknown GPU".to_owned(), facts });
    }
    claim
}

fn add(devices: &mut Vec<Device>, device: Device) {
    if !devices.iter().any(|known| known.id == device.id) {
        devices.push(device);
    }
}

/// A GPU or an instance whose UUID begins so, if only one does.
fn by_uuid(beginning: &str, present: &[ListedGpu]) -> Option<Device> {
    let begins = |uuid: &str| uuid.starts_with(beginning);
    if beginning.starts_with("MIG-") {
        let mut found = present.iter().flat_map(|gpu| {
            gpu.instances.iter().filter(|instance| begins(&instance.uuid)).map(move |instance| (gpu, instance))
        });
        let (gpu, instance) = found.next()?;
        return found.next().is_none().then(|| slice(gpu, instance));
    }
    let mut found = present.iter().filter(|gpu| beginning.starts_with("GPU-") && begins(&gpu.uuid));
    let gpu = found.next()?;
    found.next().is_none().then(|| whole(gpu))
}

fn whole(gpu: &ListedGpu) -> Device {
    Device { id: gpu.uuid.clone(), name: gpu.name.clone(), facts: DeviceFacts::Gpu(gpu.facts.clone()) }
}

fn slice(gpu: &ListedGpu, instance: &ListedInstance) -> Device {
    let mut facts = gpu.facts.clone();
    facts.mig = Mig::Slice { parent: gpu.uuid.clone(), multiprocessors: instance.multiprocessors };
    Device { id: instance.uuid.clone(), name: gpu.name.clone(), facts: DeviceFacts::Gpu(facts) }
}

#[cfg(test)]
mod tests;
