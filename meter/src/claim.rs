//! Which devices are the job's.
//!
//! What the user says comes first, then what CUDA would see in the job's environment, then everything. Where it cannot be told
//! which GPU is meant, more are claimed, never fewer.

mod visible;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, Mig};
use std::str::FromStr;

use crate::device::nvml::{ListedGpu, ListedInstance};
use visible::visible;

/// What the user asked for with `--gpus`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GpuRequest {
    /// Nothing: the environment decides.
    #[default]
    Unsaid,
    /// `all`
    All,
    /// `none`
    None,
    /// Indices in the driver's order, or UUIDs or beginnings of them.
    Listed(Vec<String>),
}

/// A `--gpus` value that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no list of GPUs; write `all`, `none`, or indices and UUIDs separated by commas")]
pub struct GpuRequestProblem(String);

impl FromStr for GpuRequest {
    type Err = GpuRequestProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            list => {
                let entries: Vec<String> = list.split(',').map(|entry| entry.trim().to_owned()).collect();
                let known = |entry: &String| {
                    let uuid = entry.starts_with("GPU-") || entry.starts_with("MIG-");
                    uuid || (!entry.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit()))
                };
                if entries.iter().all(known) {
                    Ok(Self::Listed(entries))
                } else {
                    Err(GpuRequestProblem(text.to_owned()))
                }
            }
        }
    }
}

/// What the job's environment says of GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuEnvironment {
    /// `CUDA_VISIBLE_DEVICES`
    pub visible_devices: Option<String>,
    /// `CUDA_DEVICE_ORDER`
    pub device_order: Option<String>,
}

/// The job's GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The devices.
    pub devices: Vec<Device>,
    /// By which rule they were chosen, for people.
    pub rule: String,
    /// What a reader has to know of the choice.
    pub findings: Vec<Finding>,
}

/// Chooses among the GPUs that the driver lists.
pub fn claim(request: &GpuRequest, environment: &GpuEnvironment, present: &[ListedGpu]) -> Claim {
    match (request, &environment.visible_devices) {
        (GpuRequest::None, _) => Claim { rule: "--gpus none".to_owned(), ..Claim::default() },
        (GpuRequest::All, _) => all(present, "--gpus all"),
        (GpuRequest::Listed(entries), _) => listed(entries, present),
        (GpuRequest::Unsaid, Some(text)) => visible(text, environment.device_order.as_deref(), present),
        (GpuRequest::Unsaid, None) => all(present, "no choice was made: all GPUs of the machine"),
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
    Claim { devices: present.iter().map(whole).collect(), rule: rule.to_owned(), findings: Vec::new() }
}

/// An entry that names nothing leaves a device without a bound: the user said that the job has it.
fn listed(entries: &[String], present: &[ListedGpu]) -> Claim {
    let mut claim = Claim { rule: format!("--gpus {}", entries.join(",")), ..Claim::default() };
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
