//! GPUs that turn out to be the job's although the first choice left them out.
//!
//! A worker may set `CUDA_VISIBLE_DEVICES` for itself. What shows that it uses another GPU claims that one as well, from the job's
//! start on. The driver's process list is proof. An open device node alone is none, for CUDA opens the nodes of all GPUs that it
//! may see; it counts where the list cannot be had, also against what the user said.

use std::collections::{BTreeMap, BTreeSet};

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};

use super::visible::visible;
use super::{Basis, Claim, slice, whole};
use crate::device::mig_access::MigAccess;
use crate::device::nvml::ListedGpu;

/// What the driver's process list of one GPU or instance shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A process of the job.
    Job(String),
    /// None of the job.
    Others,
    /// Nothing that could be relied on, and why.
    Unclear(String),
}

/// What the job's processes show of themselves. Processes are told as words (`process 12 (python)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Open device nodes by number (`None`: a node that does not tell its GPU), and who opened each first.
    pub open: BTreeMap<Option<u32>, String>,
    /// Open access nodes of instances (MIG), and who opened each first.
    pub instances: BTreeMap<MigAccess, String>,
    /// `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` of processes that do not have the wrapper's, and who.
    pub environments: BTreeMap<(String, Option<String>), String>,
    /// A process whose open files cannot be read.
    pub unreadable: Option<String>,
}

/// GPUs and instances that are not claimed, as devices.
pub fn unclaimed(claim: &Claim, present: &[ListedGpu]) -> Vec<Device> {
    let is_claimed = |id: &str| claim.devices.iter().any(|device| device.id == id);
    let mut rest = Vec::new();
    for gpu in present.iter().filter(|gpu| !is_claimed(&gpu.uuid)) {
        if gpu.may_be_used_whole() {
            rest.push(whole(gpu));
        }
        rest.extend(gpu.instances.iter().map(|instance| slice(gpu, instance)).filter(|device| !is_claimed(&device.id)));
    }
    rest
}

/// Claims what the evidence asks for, and says why.
pub fn claim_further(
    claim: &mut Claim,
    present: &[ListedGpu],
    sights: &BTreeMap<String, Sight>,
    traces: &Traces,
) -> (Vec<Device>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut found: Vec<Device> = Vec::new();
    for device in unclaimed(claim, present) {
        // The whole of a GPU, which comes before its instances, bounds them too.
        if parent(&device).is_some_and(|whole| found.iter().any(|device| device.id == whole)) {
            continue;
        }
        let evidence = Evidence { claim, present, sight: sights.get(&device.id), traces, device: &device };
        match evidence.weigh() {
            Weight::None => {}
            Weight::Doubt(text) => findings.push(Finding { code: "gpu-use-unknown".to_owned(), text }),
            Weight::Enough(reason) => {
                let text = format!(
                    "{} {} is claimed as well, from the job's start on, its energy from now on: {reason} (the first choice was {})",
                    device.name, device.id, claim.rule
                );
                findings.push(Finding { code: "gpu-claimed-later".to_owned(), text });
                found.push(device);
            }
        }
    }
    for (device, text) in recut(claim, present, traces) {
        if !found.contains(&device) {
            findings.push(Finding { code: "gpu-claimed-later".to_owned(), text });
            found.push(device);
        }
    }
    found.extend(unlisted(claim, present, traces));
    claim.devices.extend(found.iter().cloned());
    (found, findings)
}

/// The driver lists other GPUs than before (`listed`: their UUIDs and those of their instances). What the job's choice names
/// now is claimed as well, from the job's start on: in each process CUDA counts anew. What the user said stays as it was said.
pub fn claim_again(claim: &mut Claim, choice: &Claim, listed: &BTreeSet<String>) -> (Vec<Device>, Vec<Finding>) {
    let is_claimed = |id: &str| claim.devices.iter().any(|device| device.id == id);
    let is_new = |device: &&Device| {
        listed.contains(&device.id) && !is_claimed(&device.id) && !parent(device).is_some_and(is_claimed)
    };
    let said = claim.basis == Basis::Said;
    let found: Vec<Device> = choice.devices.iter().filter(is_new).filter(|_| !said).cloned().collect();
    let finding = |device: &Device| {
        let text = format!(
            "{} {} is claimed as well, from the job's start on, its energy from now on: the driver lists other GPUs than at the start, of which the choice names this one now ({})",
            device.name, device.id, choice.rule
        );
        Finding { code: "gpu-claimed-later".to_owned(), text }
    };
    let findings = found.iter().map(finding).collect();
    claim.devices.extend(found.iter().cloned());
    (found, findings)
}

enum Weight {
    None,
    /// It may be the job's, but the user said that it is not, and nothing speaks against that.
    Doubt(String),
    Enough(String),
}

struct Evidence<'a> {
    claim: &'a Claim,
    present: &'a [ListedGpu],
    sight: Option<&'a Sight>,
    traces: &'a Traces,
    device: &'a Device,
}

impl Evidence<'_> {
    fn weigh(&self) -> Weight {
        if let Some(Sight::Job(process)) = self.sight {
            return Weight::Enough(format!("{process} of the job runs on it, says the driver"));
        }
        if let Some(reason) = self.named() {
            return Weight::Enough(reason);
        }
        if let Some(reason) = self.accessed() {
            return Weight::Enough(reason);
        }
        let Some(Sight::Unclear(unclear)) = self.sight else { return Weight::None };
        if let Some(instance) = self.recut_from() {
            return Weight::Enough(format!(
                "{instance} on the same GPU, which was the job's, is gone, and whether the job runs here since cannot be seen ({unclear})"
            ));
        }
        let opened = self.opened();
        let word_holds = self.claim.basis == Basis::Said && (opened.is_none() || self.shares_node());
        match (self.claim.basis, opened.or_else(|| self.perhaps_opened())) {
            (Basis::Word, None) => Weight::Enough(format!(
                "nothing keeps the job from it, and whether it runs there cannot be seen ({unclear})"
            )),
            (_, None) => Weight::None,
            (_, Some(opened)) if word_holds => Weight::Doubt(format!(
                "whether the job uses {} {} cannot be seen ({opened}, and {unclear}): --gpus is taken at its word",
                self.device.name, self.device.id
            )),
            (_, Some(opened)) => {
                Weight::Enough(format!("{opened}, and whether it runs there cannot be seen ({unclear})"))
            }
        }
    }

    /// By the environment of a process of the job.
    fn named(&self) -> Option<String> {
        self.traces.environments.iter().find_map(|((text, order), process)| {
            let devices = visible(text, order.as_deref(), self.present).devices;
            let names = devices
                .iter()
                .any(|device| device.id == self.device.id || parent(self.device) == Some(device.id.as_str()));
            names.then(|| format!("{process} of the job was started with CUDA_VISIBLE_DEVICES={text}"))
        })
    }

    /// By an open access node of the instance. That of its GPU instance alone means any compute instance in it, unless one of
    /// them is open as well.
    fn accessed(&self) -> Option<String> {
        let of = |gpu: &&ListedGpu| gpu.instances.iter().any(|instance| instance.uuid == self.device.id);
        let gpu = self.present.iter().find(of)?;
        let instance = gpu.instances.iter().find(|instance| instance.uuid == self.device.id)?;
        let (minor, gpu_instance) = (gpu.minor_number?, instance.gpu_instance?);
        let node = |compute_instance| {
            let access = MigAccess { gpu: minor, gpu_instance, compute_instance };
            self.traces.instances.get(&access)
        };
        let is_of = |access: &&MigAccess| access.gpu == minor && access.gpu_instance == gpu_instance;
        let parts = self.traces.instances.keys().filter(is_of).any(|access| access.compute_instance.is_some());
        let part = instance.compute_instance.and_then(|number| node(Some(number)));
        let whole = node(None).filter(|_| !parts || instance.compute_instance.is_none());
        let process = part.or(whole)?;
        Some(format!(
            "{process} of the job has the access node of GPU instance {gpu_instance} of /dev/nvidia{minor} open"
        ))
    }

    /// Whether the GPU's node has to be open for an instance that is claimed.
    fn shares_node(&self) -> bool {
        let id = parent(self.device).unwrap_or(&self.device.id);
        self.claim.devices.iter().any(|device| parent(device) == Some(id))
    }

    /// The job's instance that is gone, where this is what the GPU has become.
    fn recut_from(&self) -> Option<&str> {
        let id = parent(self.device).unwrap_or(&self.device.id);
        let gpu = self.present.iter().find(|gpu| gpu.uuid == id)?;
        let is_claimed = |id: &str| self.claim.devices.iter().any(|device| device.id == id);
        let mut gone = gpu.instances.iter().filter(|instance| instance.gone);
        if gone.clone().any(|instance| instance.uuid == self.device.id) {
            return None;
        }
        gone.find(|instance| is_claimed(&instance.uuid)).map(|instance| instance.uuid.as_str())
    }

    /// By the GPU's own node; where its number is not known, by one that is of no other GPU.
    fn opened(&self) -> Option<String> {
        let id = parent(self.device).unwrap_or(&self.device.id);
        let own = self.present.iter().find(|gpu| gpu.uuid == id).and_then(|gpu| gpu.minor_number);
        let is_own = |minor: u32| own.map_or_else(|| !is_listed(minor, self.present), |own| own == minor);
        let (minor, process) = numbered(self.traces).find(|(minor, _)| is_own(*minor))?;
        Some(format!("{process} of the job has /dev/nvidia{minor} open"))
    }

    /// What speaks against no user's word: a node that does not tell its GPU, and files that cannot be read.
    fn perhaps_opened(&self) -> Option<String> {
        if let Some(process) = self.traces.open.get(&None) {
            return Some(format!("{process} of the job has the driver open"));
        }
        let unreadable = self.traces.unreadable.as_ref()?;
        Some(format!("what {unreadable} of the job has open cannot be read"))
    }
}

fn parent(device: &Device) -> Option<&str> {
    let DeviceFacts::Gpu(facts) = &device.facts else { return None };
    match &facts.mig {
        flopsmeter_core::sample::Mig::Slice { parent, .. } => Some(parent),
        _ => None,
    }
}

/// Access nodes of instances that the driver did not list: the GPU was cut anew, and the whole of it is charged.
fn recut<'a>(
    claim: &'a Claim,
    present: &'a [ListedGpu],
    traces: &'a Traces,
) -> impl Iterator<Item = (Device, String)> + 'a {
    traces.instances.iter().filter_map(|(access, process)| {
        let gpu = present.iter().find(|gpu| gpu.minor_number == Some(access.gpu))?;
        let is_listed = gpu.instances.iter().any(|it| it.gpu_instance.is_none_or(|number| number == access.gpu_instance));
        if is_listed || claim.devices.iter().any(|device| device.id == gpu.uuid) {
            return None;
        }
        let text = format!(
            "{} {} is claimed as a whole, from the job's start on: {process} of the job has the access node of GPU instance {} of /dev/nvidia{} open, which the driver did not list (the first choice was {})",
            gpu.name, gpu.uuid, access.gpu_instance, access.gpu, claim.rule
        );
        Some((whole(gpu), text))
    })
}

/// Open nodes that belong to no GPU which the driver lists: nothing bounds what was computed there.
fn unlisted(claim: &Claim, present: &[ListedGpu], traces: &Traces) -> Vec<Device> {
    if present.iter().any(|gpu| gpu.minor_number.is_none()) {
        return Vec::new();
    }
    let strange = numbered(traces).filter(|(minor, _)| !is_listed(*minor, present));
    let strange = strange.map(|(minor, process)| unreadable_node(minor, process));
    strange.filter(|device| !claim.devices.contains(device)).collect()
}

/// Whether the job may have had a GPU open that the driver does not list.
pub fn may_have_opened_unlisted(present: &[ListedGpu], traces: &Traces) -> bool {
    numbered(traces).any(|(minor, _)| !is_listed(minor, present))
}

/// Open nodes that tell their GPU.
fn numbered(traces: &Traces) -> impl Iterator<Item = (u32, &String)> {
    traces.open.iter().filter_map(|(minor, process)| Some(((*minor)?, process)))
}

fn is_listed(minor: u32, present: &[ListedGpu]) -> bool {
    present.iter().any(|gpu| gpu.minor_number == Some(minor))
}

fn unreadable_node(minor: u32, process: &str) -> Device {
    let reason = format!(
        "{process} of the job has /dev/nvidia{minor} open, a GPU that the driver does not list for the meter: what was computed there is not bounded"
    );
    let facts = DeviceFacts::Unreadable { reason };
    Device { id: format!("node:/dev/nvidia{minor}"), name: "NVIDIA GPU".to_owned(), facts }
}

#[cfg(test)]
mod tests;
