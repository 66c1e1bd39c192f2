//! Which GPUs the kernel lets a process open: the device lists of control groups (version 1).
//!
//! Version 2 keeps such limits in programs that cannot be read. There, and for the meter's own group, the driver shows them: it
//! lists no GPU whose node may not be opened.

use std::collections::BTreeSet;

use crate::device::Kernel;
use crate::device::mig_access::{MigAccess, MigNodes, access_major};
use crate::device::nvml::{ListedGpu, ListedInstance};

/// Major number of `/dev/nvidia0` and its like.
const NVIDIA_MAJOR: u32 = 195;

/// The nodes of GPUs and of their instances that a process may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenableNodes {
    gpus: Minors,
    access: Minors,
    instances: MigNodes,
}

/// Minor numbers under one major; `None` for all.
type Minors = Option<BTreeSet<u32>>;

impl OpenableNodes {
    /// Of a process: the job's, where it runs, for it may be in another group than the meter. `None` where the kernel does not
    /// tell.
    pub fn of(kernel: &Kernel, process: u32) -> Option<Self> {
        let groups = kernel.text(&format!("proc/{process}/cgroup"))?;
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|controller| controller == "devices").then_some(path)
        })?;
        // In a container without a namespace of its own for groups the path is the host's, and the mount begins at its end.
        let at = |path: &str| kernel.text(&format!("sys/fs/cgroup/devices{path}/devices.list"));
        let list = at(path.trim_end_matches('/')).or_else(|| at(""))?;
        let access = access_major(kernel).and_then(|major| minors(&list, major));
        Some(Self { gpus: minors(&list, NVIDIA_MAJOR), access, instances: MigNodes::read(kernel) })
    }

    /// The GPUs whose nodes may be opened, with what is said of their instances.
    pub fn narrow(&self, mut gpus: Vec<ListedGpu>) -> Vec<ListedGpu> {
        gpus.retain(|gpu| self.allow(gpu.minor_number));
        for gpu in &mut gpus {
            for instance in &mut gpu.instances {
                instance.granted = gpu.minor_number.and_then(|minor| self.grants(minor, instance));
            }
        }
        gpus
    }

    /// Whether the node of this minor number may be opened. One whose number is unknown may.
    pub fn allow(&self, minor: Option<u32>) -> bool {
        match (&self.gpus, minor) {
            (Some(minors), Some(minor)) => minors.contains(&minor),
            _ => true,
        }
    }

    /// Whether both access nodes of an instance may be opened, where some may and others not.
    fn grants(&self, gpu: u32, instance: &ListedInstance) -> Option<bool> {
        let openable = self.access.as_ref()?;
        let (gpu_instance, compute_instance) = (instance.gpu_instance?, instance.compute_instance);
        let node = |compute_instance| self.instances.minor(MigAccess { gpu, gpu_instance, compute_instance });
        let (whole, part) = (node(None)?, node(Some(compute_instance?))?);
        Some(openable.contains(&whole) && openable.contains(&part))
    }
}

/// Of lines as `c 195:0 rwm` and `a *:* rwm`; what is not listed may not be opened.
fn minors(list: &str, major: u32) -> Minors {
    let mut minors = BTreeSet::new();
    for line in list.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(kind @ ("a" | "c")), Some(numbers), Some(access)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Some((of_major, minor)) = numbers.split_once(':') else { continue };
        let concerns = kind == "a" || of_major == "*" || of_major.parse() == Ok(major);
        if !concerns || !access.contains('r') {
            continue;
        }
        match minor.parse() {
            Ok(minor) if kind == "c" => drop(minors.insert(minor)),
            _ => return None,
        }
    }
    Some(minors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(groups: &str, path: &str, list: &str) -> (tempfile::TempDir, Kernel) {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join(format!("sys/fs/cgroup/devices{path}"));
        fs_err::create_dir_all(&group).unwrap();
        fs_err::create_dir_all(folder.path().join("proc/7")).unwrap();
        fs_err::write(folder.path().join("proc/7/cgroup"), groups).unwrap();
        fs_err::write(group.join("devices.list"), list).unwrap();
        let kernel = Kernel::under(folder.path());
        (folder, kernel)
    }

    #[test]
    fn a_slurm_job_may_open_the_nodes_that_its_group_lists() {
        let list = "c 1:3 rwm\nc 195:2 rw\nc 195:255 rw\nb 195:1 rwm\nc 195:3 m\n";
        let (_folder, kernel) = kernel("9:devices:/slurm/job_1\n1:name=x:/\n", "/slurm/job_1", list);
        let nodes = OpenableNodes::of(&kernel, 7).unwrap();
        let allowed: Vec<u32> = (0..5).filter(|&minor| nodes.allow(Some(minor))).collect();
        assert_eq!(allowed, [2]);
        assert!(nodes.allow(None), "an unknown node may be openable");
    }

    #[test]
    fn wild_cards_allow_all_and_version_two_tells_nothing() {
        for list in ["a *:* rwm\n", "c 195:* rwm\n", "c *:* rwm\n"] {
            let (_folder, kernel) = kernel("3:cpu,devices:/\n", "", list);
            assert!(OpenableNodes::of(&kernel, 7).unwrap().allow(Some(4)), "{list}");
        }
        let (_folder, kernel) = kernel("0::/user.slice\n", "", "");
        assert_eq!(OpenableNodes::of(&kernel, 7), None);
        assert_eq!(OpenableNodes::of(&kernel, 8), None);
    }

    #[test]
    fn in_a_container_the_mount_begins_at_its_group() {
        let (_folder, kernel) = kernel("3:devices:/docker/77\n", "", "c 195:1 rwm\n");
        let nodes = OpenableNodes::of(&kernel, 7).unwrap();
        assert!(nodes.allow(Some(1)) && !nodes.allow(Some(0)));
    }

    /// As Slurm writes a group for a step that was given one of two instances of a GPU.
    #[test]
    fn instances_are_granted_by_their_access_nodes() {
        let list = "c 195:0 rwm\nc 195:255 rwm\nc 508:102 rwm\nc 508:103 rwm\nc 508:105 rwm\n";
        let (folder, kernel) = kernel("9:devices:/slurm/job_1\n", "/slurm/job_1", list);
        let instance = |uuid: &str, gpu_instance| ListedInstance {
            uuid: uuid.to_owned(),
            gpu_instance: Some(gpu_instance),
            compute_instance: Some(0),
            ..ListedInstance::default()
        };
        let instances = vec![instance("MIG-a", 11), instance("MIG-b", 12), instance("MIG-c", 13)];
        let gpu = ListedGpu { minor_number: Some(0), instances, ..ListedGpu::default() };
        let granted = || {
            let gpus = OpenableNodes::of(&kernel, 7).unwrap().narrow(vec![gpu.clone()]);
            gpus[0].instances.iter().map(|instance| instance.granted).collect::<Vec<_>>()
        };
        assert_eq!(granted(), [None, None, None], "the nodes' numbers are not told");
        fs_err::create_dir_all(folder.path().join("proc/driver/nvidia-caps")).unwrap();
        fs_err::write(folder.path().join("proc/devices"), "Character devices:\n195 nvidia\n508 nvidia-caps\n").unwrap();
        let told = "gpu0/gi11/access 102\ngpu0/gi11/ci0/access 103\ngpu0/gi12/access 105\ngpu0/gi12/ci0/access 106\n";
        fs_err::write(folder.path().join("proc/driver/nvidia-caps/mig-minors"), told).unwrap();
        assert_eq!(granted(), [Some(true), Some(false), None]);
    }

    #[test]
    fn a_group_that_bars_no_instance_grants_none_in_particular() {
        let (folder, kernel) = kernel("3:devices:/\n", "", "c 195:0 rwm\nc 508:* rwm\n");
        fs_err::write(folder.path().join("proc/devices"), "508 nvidia-caps\n").unwrap();
        assert_eq!(OpenableNodes::of(&kernel, 7).unwrap().access, None);
    }

    /// The daemon, or a meter that was started elsewhere, may open more than the job.
    #[test]
    fn each_process_has_the_nodes_of_its_own_group() {
        let (folder, kernel) = kernel("9:devices:/job\n", "/job", "c 195:2 rw\n");
        fs_err::create_dir_all(folder.path().join("proc/8")).unwrap();
        fs_err::write(folder.path().join("proc/8/cgroup"), "9:devices:/\n").unwrap();
        fs_err::write(folder.path().join("sys/fs/cgroup/devices/devices.list"), "a *:* rwm\n").unwrap();
        let gpu = |minor| ListedGpu { minor_number: Some(minor), ..ListedGpu::default() };
        let openable = |process| OpenableNodes::of(&kernel, process).unwrap().narrow(vec![gpu(1), gpu(2)]).len();
        assert_eq!((openable(7), openable(8)), (1, 2));
    }
}
