//! Lists that a driver gives inside a container, and outside.

use std::collections::BTreeMap;

use super::*;
use crate::claim::{GpuEnvironment, GpuRequest, claim};
use crate::device::process_tree::JobProcess;

const SECOND: Duration = Duration::from_secs(1);
const HOST: &str = "pid:[4026531836]";
const CONTAINER: &str = "pid:[4026532999]";

/// A job, process 20, on a machine with two GPUs of which the first is claimed.
struct Scene {
    _folder: tempfile::TempDir,
    tree: ProcessTree,
    claims: Claims,
    traces: Traces,
    now: Duration,
}

impl Scene {
    fn new(namespace: &str, environment: &GpuEnvironment) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("proc/20");
        fs_err::create_dir_all(process.join("fd")).unwrap();
        fs_err::write(process.join("stat"), "20 (x) S 1 1 1 0 -1 0 0 0 0 0 1 0 1 0 20 0 1 0 20 0 0\n").unwrap();
        fs_err::create_dir_all(folder.path().join("proc/self/ns")).unwrap();
        fs_err::os::unix::fs::symlink(namespace, folder.path().join("proc/self/ns/pid")).unwrap();
        let kernel = Kernel::under(folder.path());
        let job = JobProcess::default();
        job.set(20);
        let mut tree = ProcessTree::new(kernel.clone(), job, None);
        tree.read(None);
        let gpu = |index: u32| ListedGpu {
            index,
            uuid: format!("GPU-{index}"),
            minor_number: Some(index),
            ..ListedGpu::default()
        };
        let present = vec![gpu(0), gpu(1)];
        let mut claims = Claims::new(kernel);
        let first = claim(&GpuRequest::Unsaid, environment, &present);
        claims.begin(present, first);
        Self { _folder: folder, tree, claims, traces: Traces::default(), now: Duration::ZERO }
    }

    /// The job has opened the nodes of both GPUs, as CUDA does.
    fn opens_nodes(&mut self) {
        self.traces.open =
            BTreeMap::from([(Some(0), "process 20 (x)".to_owned()), (Some(1), "process 20 (x)".to_owned())]);
    }

    /// Processes on the first GPU; there are none on the other one. Gives what is claimed besides.
    fn list(&mut self, pids: &[u32]) -> Vec<String> {
        self.now += SECOND * 10;
        let devices = self.claims.due(self.now, true, 1).unwrap();
        let process = |&pid: &u32| GpuProcess { pid, sm_percent: None };
        let of = |device: &String| Ok(if device == "GPU-0" { pids.iter().map(process).collect() } else { Vec::new() });
        let lists = devices.iter().map(of).collect();
        self.claims.asked(devices, self.now, 1);
        let (devices, _) = self.claims.take(lists, &self.tree, &self.traces, self.now);
        ids(devices)
    }

    fn end(&mut self) -> Vec<String> {
        ids(self.claims.end(None, &self.traces, self.now).0)
    }
}

fn ids(devices: Vec<Device>) -> Vec<String> {
    devices.into_iter().map(|device| device.id).collect()
}

fn by_cuda() -> GpuEnvironment {
    GpuEnvironment { visible_devices: Some("0".to_owned()), ..GpuEnvironment::default() }
}

fn by_slurm() -> GpuEnvironment {
    GpuEnvironment { slurm_job_gpus: Some("0".to_owned()), ..GpuEnvironment::default() }
}

#[test]
fn a_list_without_the_job_is_proof_where_its_numbers_are_ours() {
    let mut scene = Scene::new(HOST, &by_slurm());
    scene.opens_nodes();
    for _ in 0..10 {
        assert!(scene.list(&[]).is_empty());
    }
    assert!(scene.end().is_empty());
}

#[test]
fn in_a_container_it_is_none_as_long_as_the_job_is_in_no_list() {
    let mut scene = Scene::new(CONTAINER, &by_cuda());
    scene.opens_nodes();
    // The job may not have begun yet.
    for _ in 1..LISTS_TO_BE_SEEN {
        assert!(scene.list(&[]).is_empty());
    }
    assert_eq!(scene.list(&[]), ["GPU-1"]);
}

#[test]
fn a_job_that_ends_unseen_in_a_container_has_shown_nothing() {
    let mut scene = Scene::new(CONTAINER, &by_slurm());
    assert!(scene.list(&[]).is_empty());
    assert_eq!(scene.end(), ["GPU-1"]);
}

#[test]
fn a_job_that_is_seen_once_in_a_container_proves_the_lists() {
    let mut scene = Scene::new(CONTAINER, &by_cuda());
    scene.opens_nodes();
    assert!(scene.list(&[]).is_empty());
    assert!(scene.list(&[20]).is_empty());
    for _ in 0..10 {
        assert!(scene.list(&[]).is_empty());
    }
    assert!(scene.end().is_empty());
}

/// Two instances of one GPU that is cut, of which the job was given the first.
fn cut() -> (Scene, ListedGpu) {
    let mut scene = Scene::new(HOST, &by_cuda());
    let instance =
        |uuid: &str| ListedInstance { uuid: uuid.to_owned(), multiprocessors: Some(16), ..ListedInstance::default() };
    let mut gpu = ListedGpu { uuid: "GPU-0".to_owned(), minor_number: Some(0), ..ListedGpu::default() };
    let uncut = gpu.clone();
    gpu.facts.mig = Mig::Whole;
    gpu.instances = vec![instance("MIG-a"), instance("MIG-b")];
    let environment = GpuEnvironment { visible_devices: Some("MIG-a".to_owned()), ..GpuEnvironment::default() };
    let first = claim(&GpuRequest::Unsaid, &environment, std::slice::from_ref(&gpu));
    scene.claims.begin(vec![gpu], first);
    (scene, uncut)
}

impl Scene {
    /// The driver lists these GPUs now, of which the job's choice names none. Gives what is claimed besides.
    fn relist(&mut self, present: Vec<ListedGpu>) -> Vec<String> {
        ids(self.claims.relist(Ok((present, Claim::default())), &self.traces).0)
    }
}

#[test]
fn a_gpu_that_is_cut_no_more_is_watched_as_a_whole() {
    let (mut scene, uncut) = cut();
    assert!(scene.list(&[]).is_empty());
    assert!(scene.relist(vec![uncut]).is_empty());
    assert_eq!(scene.claims.devices(), ["GPU-0"], "former instances cannot be asked for");
    assert!(scene.list(&[]).is_empty(), "the list shows that the job is not there");
    assert_eq!(scene.list(&[20]), ["GPU-0"]);
    assert!(scene.end().is_empty(), "claimed once");
}

#[test]
fn what_became_of_the_jobs_instance_is_claimed_where_nothing_can_be_seen() {
    let (mut scene, uncut) = cut();
    assert!(scene.relist(vec![uncut]).is_empty());
    assert_eq!(scene.end(), ["GPU-0"], "the job ended before its processes were listed");

    let (mut scene, mut anew) = cut();
    anew.facts.mig = Mig::Whole;
    anew.instances = vec![ListedInstance { uuid: "MIG-c".to_owned(), ..ListedInstance::default() }];
    assert!(scene.list(&[]).is_empty());
    assert!(scene.relist(vec![anew]).is_empty());
    assert_eq!(scene.end(), ["MIG-c"]);
}

#[test]
fn a_gpu_that_is_claimed_as_a_whole_stays_so_when_it_is_cut() {
    let (_, uncut) = cut();
    let mut scene = Scene::new(HOST, &by_cuda());
    let first = claim(&GpuRequest::Unsaid, &GpuEnvironment::default(), std::slice::from_ref(&uncut));
    scene.claims.begin(vec![uncut.clone()], first);
    let mut anew = uncut;
    anew.facts.mig = Mig::Whole;
    anew.instances = vec![ListedInstance { uuid: "MIG-c".to_owned(), ..ListedInstance::default() }];
    assert!(scene.relist(vec![anew]).is_empty());
    assert_eq!(scene.claims.devices(), ["GPU-0"]);
    assert!(scene.list(&[20]).is_empty() && scene.end().is_empty(), "the whole bounds its instances");
}

/// The job had its node open, and the driver had not said who used it when it was cut.
#[test]
fn a_gpu_that_was_open_as_a_whole_is_claimed_so_although_it_is_cut_now() {
    let mut scene = Scene::new(HOST, &by_cuda());
    scene.opens_nodes();
    let gpu = |index: u32| ListedGpu {
        index,
        uuid: format!("GPU-{index}"),
        minor_number: Some(index),
        ..ListedGpu::default()
    };
    let mut anew = gpu(1);
    anew.facts.mig = Mig::Whole;
    anew.instances = vec![ListedInstance { uuid: "MIG-c".to_owned(), ..ListedInstance::default() }];
    assert_eq!(scene.relist(vec![gpu(0), anew.clone()]), ["GPU-1"]);

    let mut scene = Scene::new(HOST, &by_cuda());
    scene.opens_nodes();
    assert!(scene.list(&[]).is_empty());
    assert!(scene.relist(vec![gpu(0), anew]).is_empty(), "a list had shown that the job was not there");
    assert_eq!(scene.claims.devices(), ["MIG-c", "GPU-0"]);
}
