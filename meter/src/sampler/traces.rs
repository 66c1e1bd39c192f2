//! What the job's processes show of the devices they use: open files and environments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};

use super::SamplerOptions;
use crate::claim::GpuEnvironment;
use crate::claim::further::Traces;
use crate::device::Kernel;
use crate::device::accelerator::Accelerators;
use crate::device::elsewhere::{Launchers, other_nodes};
use crate::device::mig_access::{MigNodes, access_node};
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
    launchers: Launchers,
    /// Nothing is known yet of other nodes that nobody reads. A process that started its meter itself speaks for itself alone.
    one_node: bool,
    environment: GpuEnvironment,
    /// Choices that say nothing new: the wrapper's own, and the first one of a job that started its meter itself.
    known: BTreeSet<Choice>,
    /// A job that was not started by us: what its environment was when it started may be outdated since.
    embedding: Option<JobProcess>,
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
    /// Whether there is a new trace of NVIDIA's GPUs.
    pub(super) traced: bool,
}

impl Looked {
    pub(super) fn add(&mut self, later: Self) {
        self.unreadable.extend(later.unreadable);
        self.findings.extend(later.findings);
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
            launchers: Launchers::default(),
            one_node: !options.is_part && options.waiter.is_some(),
            known: own.into_iter().collect(),
            environment,
            embedding: options.waiter.is_none().then(|| options.job.clone()),
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

    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Looks at those processes of the job whose turn it is. `gpus`: whether traces of NVIDIA's GPUs are wanted.
    pub(super) fn look(&mut self, living: impl Iterator<Item = u32>, round: u64, gpus: bool) -> Looked {
        let mut looked = Looked::default();
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
            if gpus || self.one_node {
                self.look_at_environment(process, gpus, &mut looked);
            }
        }
        self.users.retain(|process| first_seen.contains_key(process));
        self.first_seen = first_seen;
        looked
    }

    fn look_at_files(&mut self, process: u32, gpus: bool, looked: &mut Looked) {
        let nodes = match open_nodes(&self.kernel, process) {
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
        looked.unreadable.extend(self.accelerators.newly_opened(&nodes));
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
        if self.one_node
            && let Some(nodes) = other_nodes(|| words(&self.kernel, process), |name| environment.value(name))
        {
            self.one_node = false;
            looked.unreadable.push(nodes);
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
mod tests {
    use super::*;
    use crate::clock::SessionClock;

    /// Processes of our own under a `/proc` of our own.
    struct Scene {
        folder: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs_err::create_dir_all(folder.path().join("dev")).unwrap();
            Self { folder }
        }

        fn process(&self, number: u32, environment: &str, nodes: &[&str]) {
            let process = self.folder.path().join(format!("proc/{number}"));
            fs_err::create_dir_all(process.join("fd")).unwrap();
            fs_err::write(process.join("environ"), environment.replace(' ', "\0")).unwrap();
            fs_err::write(process.join("comm"), "python\n").unwrap();
            for (place, node) in nodes.iter().enumerate() {
                fs_err::os::unix::fs::symlink(node, process.join(format!("fd/{place}"))).unwrap();
            }
        }

        fn reader(&self, waiter: Option<u32>) -> TraceReader {
            TraceReader::new(&self.options(waiter))
        }

        fn options(&self, waiter: Option<u32>) -> SamplerOptions {
            let job = JobProcess::default();
            job.set(7);
            let mut options = SamplerOptions::new(SessionClock::start(), job);
            options.kernel = Kernel::under(self.folder.path());
            options.waiter = waiter;
            options.environment.visible_devices = Some("0".to_owned());
            options
        }
    }

    #[test]
    fn a_process_with_another_choice_is_a_trace_and_one_with_the_same_is_none() {
        let scene = Scene::new();
        scene.process(7, "HOME=/ CUDA_VISIBLE_DEVICES=0 X=1", &["/dev/null"]);
        scene.process(8, "CUDA_VISIBLE_DEVICES=2,3 CUDA_DEVICE_ORDER=PCI_BUS_ID", &[]);
        scene.process(9, "XCUDA_VISIBLE_DEVICES=4", &[]);
        let mut reader = scene.reader(Some(1));
        assert!(reader.look([7, 8, 9].into_iter(), 1, true).traced);
        let key = ("2,3".to_owned(), Some("PCI_BUS_ID".to_owned()));
        assert_eq!(reader.traces().environments, BTreeMap::from([(key, "process 8 (python)".to_owned())]));
        assert!(!reader.look([7, 8, 9].into_iter(), 2, true).traced, "it is told once");
    }

    /// `os.environ` was changed before the meter was started: what the process began with is outdated.
    #[test]
    fn what_a_job_began_with_that_started_its_meter_itself_is_no_trace() {
        let scene = Scene::new();
        scene.process(7, "CUDA_VISIBLE_DEVICES=0,1,2,3", &[]);
        assert!(!scene.reader(None).look([7].into_iter(), 1, true).traced);
        assert!(scene.reader(Some(1)).look([7].into_iter(), 1, true).traced);
    }

    #[test]
    fn each_process_that_opens_a_gpu_is_a_trace() {
        let scene = Scene::new();
        scene.process(7, "", &["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"]);
        let mut reader = scene.reader(Some(1));
        assert!(!reader.look([7].into_iter(), 1, false).traced, "nobody asked");
        assert!(reader.look([7].into_iter(), 2, true).traced);
        assert!(!reader.look([7].into_iter(), 3, true).traced);
        scene.process(8, "", &["/dev/nvidia1"]);
        assert!(reader.look([7, 8].into_iter(), 4, true).traced);
        assert_eq!(reader.traces().open.keys().collect::<Vec<_>>(), [&Some(0), &Some(1)]);
        assert!(unread(reader.traces()).is_some_and(|device| matches!(device.facts, DeviceFacts::Unreadable { .. })));
    }

    #[test]
    fn a_process_that_has_ended_hides_nothing() {
        let scene = Scene::new();
        let kernel = Kernel::under(scene.folder.path());
        assert!(has_ended(&kernel, 7));
        scene.process(7, "", &[]);
        for (status, ended) in
            [("State:\tS (sleeping)\nVmSize:\t 8 kB\n", false), ("State:\tZ (zombie)\nThreads:\t1\n", true)]
        {
            fs_err::write(scene.folder.path().join("proc/7/status"), status).unwrap();
            assert_eq!(has_ended(&kernel, 7), ended, "{status}");
        }
    }

    #[test]
    fn a_process_that_hides_what_it_has_open_may_have_a_gpu_open() {
        assert_eq!(unread(&Traces::default()), None);
        let traces = Traces { unreadable: Some("process 7 (sudo)".to_owned()), ..Traces::default() };
        let Some(DeviceFacts::Unreadable { reason }) = unread(&traces).map(|device| device.facts) else { panic!() };
        assert!(reason.starts_with("process 7 (sudo) of the job may have a GPU open"), "{reason}");
    }

    #[test]
    fn an_open_access_node_is_a_trace_of_its_instance() {
        let scene = Scene::new();
        let caps = scene.folder.path().join("proc/driver/nvidia-caps");
        fs_err::create_dir_all(&caps).unwrap();
        fs_err::write(caps.join("mig-minors"), "config 1\ngpu0/gi2/access 21\ngpu0/gi2/ci0/access 22\n").unwrap();
        let node = |number: u32| format!("/dev/nvidia-caps/nvidia-cap{number}");
        scene.process(7, "", &["/dev/nvidiactl", &node(1), &node(21), &node(22), &node(99)]);
        let mut reader = scene.reader(Some(1));
        assert!(reader.look([7].into_iter(), 1, true).traced);
        assert!(!reader.look([7].into_iter(), 2, true).traced, "it is told once");
        let instances: Vec<_> =
            reader.traces().instances.keys().map(|it| (it.gpu, it.gpu_instance, it.compute_instance)).collect();
        assert_eq!(instances, [(0, 2, None), (0, 2, Some(0))]);
        assert!(!scene.reader(Some(1)).look([7].into_iter(), 1, false).traced, "nobody asked");
    }

    #[test]
    fn later_processes_are_looked_at_seldom() {
        let scene = Scene::new();
        scene.process(7, "", &[]);
        let mut reader = scene.reader(Some(1));
        for round in 1..=FIRST_ROUNDS {
            assert!(!reader.look([7].into_iter(), round, true).traced);
        }
        scene.process(7, "", &["/dev/nvidia0"]);
        assert!(!reader.look([7].into_iter(), FIRST_ROUNDS + 1, true).traced);
        assert!(reader.look([7].into_iter(), 10, true).traced);
    }

    #[test]
    fn ranks_on_other_nodes_are_told_once_unless_these_have_runs_of_their_own() {
        let scene = Scene::new();
        scene.process(7, "LOCAL_WORLD_SIZE=2 WORLD_SIZE=4", &[]);
        let mut reader = scene.reader(Some(1));
        let looked = reader.look([7].into_iter(), 1, false);
        assert_eq!(looked.unreadable.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["elsewhere:nodes"]);
        assert_eq!(reader.look([7].into_iter(), 2, false).unreadable, []);
        let part = SamplerOptions { is_part: true, ..scene.options(Some(1)) };
        assert_eq!(TraceReader::new(&part).look([7].into_iter(), 1, false).unreadable, []);
    }

    #[test]
    fn an_accelerator_is_told_whether_or_not_gpus_are_asked_for() {
        let scene = Scene::new();
        fs_err::write(scene.folder.path().join("dev/kfd"), "").unwrap();
        scene.process(7, "", &["/dev/kfd"]);
        let looked = scene.reader(Some(1)).look([7].into_iter(), 1, false);
        assert_eq!(looked.unreadable.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
    }
}
