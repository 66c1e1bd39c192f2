//! What batch systems and container runtimes say was given to the job.
//!
//! CUDA does not obey these variables: where the other GPUs can be opened all the same, the job may use them. So they narrow the
//! choice only as long as the driver's process lists show that it does not ([`super::Basis::Word`]).

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::Device;

use super::{Basis, Claim, GpuEnvironment, add, all, by_uuid, slice, whole};
use crate::device::nvml::ListedGpu;

/// Numbers that one range may span; no machine has as many GPUs.
const LONGEST_RANGE: u32 = 64;

/// By `SLURM_STEP_GPUS` or `SLURM_JOB_GPUS`, and by `NVIDIA_VISIBLE_DEVICES`: what either names. All, if neither names any.
pub(super) fn by_word(environment: &GpuEnvironment, present: &[ListedGpu]) -> Claim {
    let GpuEnvironment { container_devices, slurm_step_gpus, slurm_job_gpus, .. } = environment;
    let step = slurm_step_gpus.as_deref().map(|text| ("SLURM_STEP_GPUS", text));
    let job = slurm_job_gpus.as_deref().map(|text| ("SLURM_JOB_GPUS", text));
    let container = container_devices.as_deref().map(|text| ("NVIDIA_VISIBLE_DEVICES", text));
    // The step is what runs; the job may have more.
    let words: Vec<(&str, &str)> =
        [step.or(job), container].into_iter().flatten().filter(|word| names_some(word.1)).collect();
    if words.is_empty() {
        return granted(present).unwrap_or_else(|| all(present, "no choice was made: all GPUs that the driver lists"));
    }
    let rule = words.iter().map(|(variable, text)| format!("{variable}={text}")).collect::<Vec<_>>().join(" and ");
    let mut devices = Vec::new();
    for (variable, text) in words {
        for entry in text.split(',').map(str::trim) {
            let named = named(entry, present);
            if named.is_empty() {
                return unmatched(variable, entry, &rule, present);
            }
            for device in named {
                add(&mut devices, device);
            }
        }
    }
    Claim { devices, rule, basis: Basis::Word, findings: Vec::new() }
}

/// By the job's control group, where it lets the job into some instances of a GPU that is cut and not into others. A process
/// with `CAP_SYS_ADMIN` is let in all the same, so that this too holds only as long as nothing else is seen.
fn granted(present: &[ListedGpu]) -> Option<Claim> {
    let is_told = |gpu: &ListedGpu| gpu.instances.iter().all(|instance| instance.granted.is_some());
    let instances = |gpu: &ListedGpu| {
        let granted = gpu.instances.iter().filter(|instance| instance.granted == Some(true));
        granted.map(|instance| slice(gpu, instance)).collect::<Vec<_>>()
    };
    let devices = present.iter().flat_map(|gpu| {
        let is_cut = !gpu.instances.is_empty() && is_told(gpu);
        if is_cut { instances(gpu) } else { vec![whole(gpu)] }
    });
    let lets_in = present.iter().any(|gpu| is_told(gpu) && !instances(gpu).is_empty());
    let rule = "the access nodes of instances that the job's control group lets it open".to_owned();
    lets_in.then(|| Claim { devices: devices.collect(), rule, basis: Basis::Word, findings: Vec::new() })
}

/// `void` and nothing mean that GPUs come in by another way (CDI), `none` that the runtime adds none, `all` all: the driver knows.
fn names_some(text: &str) -> bool {
    !matches!(text.trim(), "" | "all" | "none" | "void" | "(null)" | "NoDevFiles")
}

/// A number may be an index or that of a device node, and inside a container the two differ: both are taken.
fn named(entry: &str, present: &[ListedGpu]) -> Vec<Device> {
    if let Some((gpu, instance)) = entry.split_once(':') {
        let place = || Some((number(gpu)?, usize::try_from(number(instance)?).ok()?));
        let Some((gpu, instance)) = place() else { return Vec::new() };
        let of_gpu = present.iter().filter(|listed| listed.index == gpu || listed.minor_number == Some(gpu));
        return of_gpu.filter_map(|listed| Some(slice(listed, listed.instances.get(instance)?))).collect();
    }
    if let Some(range) = range(entry) {
        let in_range = |listed: &&ListedGpu| {
            range.contains(&listed.index) || listed.minor_number.is_some_and(|minor| range.contains(&minor))
        };
        let complete = range
            .clone()
            .all(|number| present.iter().any(|listed| listed.index == number || listed.minor_number == Some(number)));
        return if complete { present.iter().filter(in_range).map(whole).collect() } else { Vec::new() };
    }
    by_uuid(entry, present).into_iter().collect()
}

fn range(entry: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last - first < LONGEST_RANGE).then_some(first..=last)
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn unmatched(variable: &str, entry: &str, rule: &str, present: &[ListedGpu]) -> Claim {
    let mut claim =
        all(present, &format!("{rule}, of which not all can be found here: all GPUs that the driver lists"));
    let text = format!(
        "{variable} names `{entry}`, which the driver does not list by that index, node or UUID, so that all GPUs it lists are claimed; --gpus narrows them"
    );
    claim.findings.push(Finding { code: "gpu-list-unmatched".to_owned(), text });
    claim
}
