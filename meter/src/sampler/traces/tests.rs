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
fn what_launchers_tell_is_told_once_and_not_by_a_process_that_started_its_meter_itself() {
    let scene = Scene::new();
    scene.process(7, "LOCAL_WORLD_SIZE=2 WORLD_SIZE=4", &[]);
    let mut reader = scene.reader(Some(1));
    let seen = LaunchSeen { variable: "WORLD_SIZE".to_owned(), all: 4, here: Some(2), numbers: Vec::new() };
    assert_eq!(reader.look([7].into_iter(), 1, false).launches, [seen]);
    assert_eq!(reader.look([7].into_iter(), 2, false).launches, []);
    assert_eq!(scene.reader(None).look([7].into_iter(), 1, true).launches, []);
}

#[test]
fn an_accelerator_is_told_whether_or_not_gpus_are_asked_for() {
    let scene = Scene::new();
    fs_err::write(scene.folder.path().join("dev/kfd"), "").unwrap();
    scene.process(7, "", &["/dev/kfd"]);
    let looked = scene.reader(Some(1)).look([7].into_iter(), 1, false);
    assert_eq!(looked.unreadable.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
}

/// `/dev/zero` stands for the node under the root folder that the process has chosen.
#[test]
fn an_accelerator_under_another_root_folder_is_told() {
    let scene = Scene::new();
    fs_err::write(scene.folder.path().join("dev/kfd"), "").unwrap();
    for folder in ["x/dev", "sys/dev/char/1:5"] {
        fs_err::create_dir_all(scene.folder.path().join(folder)).unwrap();
    }
    let node = scene.folder.path().join("x/dev/kfd");
    fs_err::os::unix::fs::symlink("/dev/zero", &node).unwrap();
    fs_err::write(scene.folder.path().join("sys/dev/char/1:5/uevent"), "DEVNAME=kfd\n").unwrap();
    scene.process(7, "", &[node.to_str().unwrap()]);
    let looked = scene.reader(Some(1)).look([7].into_iter(), 1, false);
    assert_eq!(looked.unreadable.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
}

#[test]
fn an_accelerator_that_comes_while_the_job_runs_is_told() {
    let scene = Scene::new();
    let mut reader = scene.reader(Some(1));
    scene.process(7, "", &["/dev/kfd"]);
    assert_eq!(
        reader.look([7].into_iter(), 1, false).unreadable,
        [],
        "there is no such device, and no file is looked at"
    );
    fs_err::write(scene.folder.path().join("dev/kfd"), "").unwrap();
    let unreadable = reader.look([7].into_iter(), EVERY_ROUNDS, false).unreadable;
    assert_eq!(unreadable.iter().map(|device| device.id.as_str()).collect::<Vec<_>>(), ["node:/dev/kfd"]);
}
