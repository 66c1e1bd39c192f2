//! `CUDA_VISIBLE_DEVICES`, read as CUDA reads it.

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::Device;

use super::{Basis, Claim, add, all, by_uuid, whole};
use crate::device::nvml::ListedGpu;

/// Whether the variable hides all GPUs.
pub(super) fn names_none(text: &str) -> bool {
    let first = text.split(',').next().unwrap_or_default().trim();
    first.is_empty() || first.starts_with('-') || first == "NoDevFiles"
}

/// Entries are indices, beginnings of `GPU-` UUIDs, or `MIG-` UUIDs, and CUDA stops at the first one that names nothing. (It
/// refuses a list that names one twice; here that one is claimed once.)
pub(super) fn visible(text: &str, order: Option<&str>, present: &[ListedGpu]) -> Claim {
    let rule = format!("CUDA_VISIBLE_DEVICES={text}");
    let mut devices = Vec::new();
    let mut stopped_at = None;
    for entry in text.split(',').map(str::trim) {
        let named = match leading_index(entry) {
            Some(index) if order_is_known(order, present) => at(index, present).map(whole),
            Some(index) if at(index, present).is_some() => {
                return unordered(present, &rule);
            }
            Some(_) => None,
            None => by_uuid(entry, present),
        };
        let Some(device) = named else {
            stopped_at = Some(entry);
            break;
        };
        add(&mut devices, device);
    }
    // A negative number ends the list on purpose, as CUDA's manual has it.
    let stopped = stopped_at.filter(|entry| !names_none(text) && !entry.starts_with('-'));
    let findings = stopped.map(|entry| cut_short(entry, &devices)).into_iter().collect();
    Claim { devices, rule, basis: Basis::Cuda, findings }
}

/// CUDA numbers the GPUs that it can open from 0 on, whatever index the driver gives them.
fn at(index: u32, present: &[ListedGpu]) -> Option<&ListedGpu> {
    present.get(usize::try_from(index).ok()?)
}

/// CUDA reads an index as C does: digits in front count, whatever follows them.
fn leading_index(entry: &str) -> Option<u32> {
    let digits = entry.trim_start_matches('+');
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// The driver lists by PCI address, CUDA by speed unless told otherwise: on GPUs of one kind that is the same.
fn order_is_known(order: Option<&str>, present: &[ListedGpu]) -> bool {
    order == Some("PCI_BUS_ID") || present.iter().all(|gpu| Some(&gpu.name) == present.first().map(|first| &first.name))
}

fn unordered(present: &[ListedGpu], rule: &str) -> Claim {
    let mut claim = all(present, rule);
    claim.rule.push_str(", whose indices are ambiguous here: all GPUs of the machine");
    claim.findings.push(Finding {
        code: "gpu-order-ambiguous".to_owned(),
        text: "the machine has GPUs of several kinds, which CUDA numbers by speed and the driver by address, so that all are claimed; set CUDA_DEVICE_ORDER=PCI_BUS_ID or name the GPUs by UUID".to_owned(),
    });
    claim
}

fn cut_short(entry: &str, devices: &[Device]) -> Finding {
    Finding {
        code: "gpu-list-cut".to_owned(),
        text: format!(
            "CUDA_VISIBLE_DEVICES names `{entry}`, which the driver does not list: CUDA stops there, {} claimed; correct the variable or use --gpus",
            match devices.len() {
                0 => "no GPU is".to_owned(),
                1 => "1 GPU is".to_owned(),
                count => format!("{count} GPUs are"),
            }
        ),
    }
}
