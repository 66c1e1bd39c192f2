//! What the job's processes show of the devices they use: open files and environments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use flopsmeter_core::ledger::body::LaunchSeen;
use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};

use super::SamplerOptions;
use crate::claim::GpuEnvironment;
use crate::claim::further::Traces;
use crate::device::Kernel;
use crate::device::accelerator::Accelerators;
use crate::device::elsewhere::Launchers;
use crate::device::launch::Launches;
use crate::device::mig_access::{MigNodes, access_node};
use crate::device::node_names::NodeNames;
use crate::device::open_files::{NvidiaNode, nvidia_node, open_nodes};
use crate::device::process_tree::JobProcess;

/// A process is looked at in each of its first rounds, when it becomes another program and opens its devices, and then in every
/// so-many-th round.
const FIRST_ROUNDS: u64 = 8;
const EVERY_ROUNDS: u64 = 10;

/// Different choices of GPUs that are remembered; a node has fewer GPUs.
const MAXIMUM_ENVIRONMENTS: usize = 256;

/// Looks at processes in turns.
pub(super) struct TraceReader {
    kernel: Kernel,
    accelerators: Accelerators,
    names: NodeNames,
    launchers: Launchers,
    /// What launchers told. A process that started its meter itself speaks for itself alone.
    launches: Option<Launches>,
    environment: GpuEnvironment,
    /// Choices that say nothing new: the wrapper's own, and the first one of a job that started its meter itself.
    known: BTreeSet<Choice>,
    /// A job that was not started by us: what its environment was when it started may be outdated since.
    embedding: Option<JobProcess>,
    /// Said that nothing is seen of the job's processes.
    told_hidden: bool,
    /// In which round each living process was first seen.
    first_seen: BTreeMap<u32, u64>,
    /// Processes that have a GPU's node open.
    users: BTreeSet<u32>,
    traces: Traces,
}

/// `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER`.
type Choice = (String, Option<String>);

/// What one turn has shown.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Devices that cannot be read and that the job has opened, or has others use.
    pub(super) unreadable: Vec<Device>,
    /// What could not be seen.
    pub(super) findings: Vec<Finding>,
    /// How much of what was launched is on this node.
    pub(super) launches: Vec<LaunchSeen>,
    /// Whether there is a new trace of NVIDIA's GPUs.
    pub(super) traced: bool,
}

impl Looked {
    pub(super) fn add(&mut self, later: Self) {
        self.unreadable.extend(later.unreadable);
        self.findings.extend(later.findings);
        self.launches.extend(later.launches);
        self.traced |= later.traced;
    }
}

impl TraceReader {
    pub(super) fn new(options: &SamplerOptions) -> Self {
        let environment = options.environment.clone();
        let own = environment.visible_devices.clone().map(|visible| (visible, environment.device_order.clone()));
        Self {
            accelerators: Accelerators::of(&options.kernel),
            kernel: options.kernel.clone(),
            names: NodeNames::default(),
            launchers: Launchers::default(),
            launches: options.waiter.map(|_| Launches::begin(|name| options.launch_environment.get(name).cloned())),
            known: own.into_iter().collect(),
            environment,
            embedding: options.waiter.is_none().then(|| options.job.clone()),
            told_hidden: false,
            first_seen: BTreeMap::new(),
            users: BTreeSet::new(),
            traces: Traces::default(),
        }
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

    /// What stands for all that a job's first process and those it started may use, where the kernel hides them. Once.
    pub(super) fn hidden(&mut self, first: Option<u32>) -> Option<Device> {
        let process = first.filter(|_| !self.told_hidden)?;
        self.told_hidden = true;
        let reason = format!(
            "the kernel hides process {process}, the job's first (it is another user's, and /proc is mounted with hidepid): what it and those \
             it starts use is not seen; run flopsmeter as that user"
        );
        let facts = DeviceFacts::Unreadable { reason };
        Some(Device { id: "processes:hidden".to_owned(), name: "processes of the job".to_owned(), facts })
    }

    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Looks at those processes of the job whose turn it is. `gpus`: whether traces of NVIDIA's GPUs are wanted.
    pub(super) fn look(&mut self, living: impl Iterator<Item = u32>, round: u64, gpus: bool) -> Looked {
        let mut looked = Looked::default();
        if round.is_multiple_of(EVERY_ROUNDS) {
            self.accelerators.renew(&self.kernel);
            self.names.renew();
        }
        if let Some(job) = self.embedding.take_if(|job| job.get().is_some()) {
            self.known.extend(job.get().and_then(|job| Environment::of(&self.kernel, job)?.choice()));
        }
        let mut first_seen = BTreeMap::new();
        for process in living {
            let first = self.first_seen.get(&process).copied().unwrap_or(round);
            first_seen.insert(process, first);
            if round - first >= FIRST_ROUNDS && !round.is_multiple_of(EVERY_ROUNDS) {
                continue;
            }
            looked.unreadable.extend(self.launchers.look(&self.kernel, process));
            if gpus || self.accelerators.exist() {
                self.look_at_files(process, gpus, &mut looked);
            }
            if gpus || self.launches.is_some() {
                self.look_at_environment(process, gpus, &mut looked);
            }
        }
        looked.launches = self.launches.as_mut().map(Launches::take_news).unwrap_or_default();
        self.users.retain(|process| first_seen.contains_key(process));
        self.first_seen = first_seen;
        looked
    }

    fn look_at_files(&mut self, process: u32, gpus: bool, looked: &mut Looked) {
        let nodes = match open_nodes(&self.kernel, &mut self.names, process) {
            Ok(nodes) => nodes,
            Err(problem) if problem.kind() == ErrorKind::PermissionDenied && !has_ended(&self.kernel, process) => {
                if gpus && self.traces.unreadable.is_none() {
                    let process = words(&self.kernel, process);
                    looked.findings.push(hidden(&process));
                    self.traces.unreadable = Some(process);
                    looked.traced = true;
                }
                looked.unreadable.extend(self.accelerators.may_have_been_opened(&words(&self.kernel, process)));
                return;
            }
            Err(_) => return,
        };
        looked.unreadable.extend(self.accelerators.newly_opened(&self.kernel, &nodes));
        if gpus {
            looked.traced |= self.look_at_instances(process, &nodes);
        }
        for node in nodes.iter().filter_map(|node| nvidia_node(node)).filter(|_| gpus) {
            let minor = match node {
                NvidiaNode::Gpu(minor) => Some(minor),
                NvidiaNode::Any => None,
            };
            looked.traced |= self.users.insert(process);
            if !self.traces.open.contains_key(&minor) {
                self.traces.open.insert(minor, words(&self.kernel, process));
                looked.traced = true;
            }
        }
    }

    /// `true` if the process has opened an instance that none of the job had open before.
    fn look_at_instances(&mut self, process: u32, nodes: &[String]) -> bool {
        let mut minors = nodes.iter().filter_map(|node| access_node(node)).peekable();
        if minors.peek().is_none() {
            return false;
        }
        // Instances come and go: the driver is asked each time.
        let known = MigNodes::read(&self.kernel);
        let mut is_new = false;
        for access in minors.filter_map(|minor| known.access(minor)) {
            if !self.traces.instances.contains_key(&access) {
                self.traces.instances.insert(access, words(&self.kernel, process));
                is_new = true;
            }
        }
        is_new
    }

    fn look_at_environment(&mut self, process: u32, gpus: bool, looked: &mut Looked) {
        let Some(environment) = Environment::of(&self.kernel, process) else { return };
        if let Some(launches) = &mut self.launches {
            launches.look(|name| environment.value(name));
        }
        // Whether it was started with another choice of GPUs than the wrapper.
        let Some(choice) = environment.choice().filter(|choice| gpus && !self.known.contains(choice)) else { return };
        if !self.traces.environments.contains_key(&choice) && self.traces.environments.len() < MAXIMUM_ENVIRONMENTS {
            self.traces.environments.insert(choice, words(&self.kernel, process));
            looked.traced = true;
        }
    }
}

/// What a process was started with.
struct Environment(Vec<u8>);

impl Environment {
    fn of(kernel: &Kernel, process: u32) -> Option<Self> {
        fs_err::read(kernel.path(&format!("proc/{process}/environ"))).ok().map(Self)
    }

    fn value(&self, name: &str) -> Option<String> {
        let mut variables = self.0.split(|&byte| byte == 0);
        let value = variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn choice(&self) -> Option<Choice> {
        Some((self.value("CUDA_VISIBLE_DEVICES")?, self.value("CUDA_DEVICE_ORDER")))
    }
}

/// Without memory of its own: a process that has ended and was not waited for has nothing open, and what it had is root's to see.
fn has_ended(kernel: &Kernel, process: u32) -> bool {
    kernel.text(&format!("proc/{process}/status")).is_none_or(|status| !status.contains("VmSize:"))
}

fn hidden(process: &str) -> Finding {
    let text = format!(
        "what {process} of the job has open cannot be read (it is another user's): the GPUs it uses are known from the driver's process lists alone"
    );
    Finding { code: "job-files-unreadable".to_owned(), text }
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
    let open = traces.open.iter().next().map(|(node, process)| {
        let node = node.map_or_else(|| "the NVIDIA driver".to_owned(), |minor| format!("/dev/nvidia{minor}"));
        format!("{process} of the job has {node} open")
    });
    let hidden =
        || Some(format!("{} of the job may have a GPU open (it is another user's)", traces.unreadable.as_ref()?));
    let reason = format!(
        "{}, which is not read under `--device cpu`: what was computed there is not bounded",
        open.or_else(hidden)?
    );
    Some(Device {
        id: "gpu:unread".to_owned(),
        name: "NVIDIA GPU".to_owned(),
        facts: DeviceFacts::Unreadable { reason },
    })
}

#[cfg(test)]
mod tests;
