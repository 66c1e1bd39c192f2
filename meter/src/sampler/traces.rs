//! What the job's processes show of the devices they use: open files and environments.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};

use crate::claim::GpuEnvironment;
use crate::claim::further::Traces;
use crate::device::Kernel;
use crate::device::accelerator::Accelerators;
use crate::device::open_files::{NvidiaNode, nvidia_node, open_nodes};

/// A process is looked at in each of its first rounds, when it opens its devices, and then in every so-many-th round.
const FIRST_ROUNDS: u64 = 5;
const EVERY_ROUNDS: u64 = 10;

/// Different choices of GPUs that are remembered; a node has fewer GPUs.
const MAXIMUM_ENVIRONMENTS: usize = 256;

/// Looks at processes in turns.
pub(super) struct TraceReader {
    kernel: Kernel,
    accelerators: Accelerators,
    /// The wrapper's own: a process that has the same says nothing new.
    environment: GpuEnvironment,
    /// In which round each living process was first seen.
    first_seen: BTreeMap<u32, u64>,
    traces: Traces,
}

/// What one turn has shown.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Devices that cannot be read and that the job has opened.
    pub(super) unreadable: Vec<Device>,
    /// Whether there is a new trace of NVIDIA's GPUs.
    pub(super) traced: bool,
}

impl TraceReader {
    pub(super) fn new(kernel: Kernel, environment: GpuEnvironment) -> Self {
        let accelerators = Accelerators::of(&kernel);
        Self { kernel, accelerators, environment, first_seen: BTreeMap::new(), traces: Traces::default() }
    }

    /// Variables that choose AMD GPUs say nothing of which the job uses, but that somebody thought of them.
    pub(super) fn amd_sign(&self) -> Option<Finding> {
        let variable = self.environment.amd_devices.as_ref()?;
        let text = format!(
            "{variable} is set and this machine has AMD GPUs, which cannot be read: if the job opens one, its ceiling is missing"
        );
        let has_them = self.kernel.path("dev/kfd").exists();
        has_them.then(|| Finding { code: "amd-gpus-unread".to_owned(), text })
    }

    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Looks at those processes of the job whose turn it is. `gpus`: whether traces of NVIDIA's GPUs are wanted.
    pub(super) fn look(&mut self, living: impl Iterator<Item = u32>, round: u64, gpus: bool) -> Looked {
        let mut looked = Looked::default();
        if !gpus && !self.accelerators.exist() {
            return looked;
        }
        let mut first_seen = BTreeMap::new();
        for process in living {
            let first = self.first_seen.get(&process).copied().unwrap_or(round);
            first_seen.insert(process, first);
            if round - first < FIRST_ROUNDS || round.is_multiple_of(EVERY_ROUNDS) {
                self.look_at_files(process, gpus, &mut looked);
                if gpus {
                    looked.traced |= self.look_at_environment(process);
                }
            }
        }
        self.first_seen = first_seen;
        looked
    }

    fn look_at_files(&mut self, process: u32, gpus: bool, looked: &mut Looked) {
        let nodes = match open_nodes(&self.kernel, process) {
            Ok(nodes) => nodes,
            Err(problem) if problem.kind() == ErrorKind::PermissionDenied => {
                if gpus && self.traces.unreadable.is_none() {
                    self.traces.unreadable = Some(words(&self.kernel, process));
                    looked.traced = true;
                }
                looked.unreadable.extend(self.accelerators.may_have_been_opened(&words(&self.kernel, process)));
                return;
            }
            Err(_) => return,
        };
        looked.unreadable.extend(self.accelerators.newly_opened(&nodes));
        for node in nodes.iter().filter_map(|node| nvidia_node(node)).filter(|_| gpus) {
            let minor = match node {
                NvidiaNode::Gpu(minor) => Some(minor),
                NvidiaNode::Any => None,
            };
            if !self.traces.open.contains_key(&minor) {
                self.traces.open.insert(minor, words(&self.kernel, process));
                looked.traced = true;
            }
        }
    }

    /// `true` if the process was started with another choice of GPUs than the wrapper.
    fn look_at_environment(&mut self, process: u32) -> bool {
        let Ok(bytes) = fs_err::read(self.kernel.path(&format!("proc/{process}/environ"))) else { return false };
        let text = |name: &str| {
            let value = bytes.split(|&byte| byte == 0).find_map(|variable| variable.strip_prefix(name.as_bytes()))?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let Some(visible) = text("CUDA_VISIBLE_DEVICES=") else { return false };
        let order = text("CUDA_DEVICE_ORDER=");
        let is_ours =
            Some(&visible) == self.environment.visible_devices.as_ref() && order == self.environment.device_order;
        if is_ours || self.traces.environments.len() >= MAXIMUM_ENVIRONMENTS {
            return false;
        }
        let key = (visible, order);
        if self.traces.environments.contains_key(&key) {
            return false;
        }
        self.traces.environments.insert(key, words(&self.kernel, process));
        true
    }
}

/// `process 12 (python)`
pub(super) fn words(kernel: &Kernel, process: u32) -> String {
    match kernel.text(&format!("proc/{process}/comm")) {
        Some(name) => format!("process {process} ({})", name.trim_end()),
        None => format!("process {process}"),
    }
}

/// What stands for the job's use of a GPU that nobody was asked to read.
pub(super) fn unread(traces: &Traces) -> Option<Device> {
    let (node, process) = traces.open.iter().next()?;
    let node = node.map_or_else(|| "the NVIDIA driver".to_owned(), |minor| format!("/dev/nvidia{minor}"));
    let reason = format!(
        "{process} of the job has {node} open, which is not read under `--device cpu`: what was computed there is not bounded"
    );
    Some(Device {
        id: "gpu:unread".to_owned(),
        name: "NVIDIA GPU".to_owned(),
        facts: DeviceFacts::Unreadable { reason },
    })
}
