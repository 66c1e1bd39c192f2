//! Whose a process is that the driver lists.

use std::collections::BTreeMap;

use super::{ProcessTree, Stat};
use crate::device::Kernel;
use crate::device::node_names::NodeNames;
use crate::device::open_files::{nvidia_node, open_nodes};
use crate::own_process;

/// The kernel's number for the first PID namespace (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Parents that are asked for at most; no real tree is as deep.
const DEEPEST: usize = 4096;

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// The job's; its number as we see it.
    Job(u32),
    /// Somebody else's.
    Neighbour,
    /// It has a number of a PID namespace that we do not see.
    Unknown,
}

/// The numbers of the job's processes in all PID namespaces, at one time.
#[derive(Debug)]
pub struct Numbers<'tree> {
    tree: &'tree ProcessTree,
    /// Our number of each, by any of its numbers.
    processes: BTreeMap<u32, u32>,
    sees_all: bool,
}

impl<'tree> Numbers<'tree> {
    /// Of the processes that were alive at the last reading.
    pub fn of(tree: &'tree ProcessTree) -> Self {
        let mut processes = BTreeMap::new();
        for process in tree.living() {
            for number in inner_numbers(&tree.kernel, process) {
                processes.insert(number, process);
            }
        }
        for process in tree.living() {
            processes.insert(process, process);
        }
        let namespace = fs_err::read_link(tree.kernel.path("proc/self/ns/pid"));
        let sees_all = namespace.is_ok_and(|namespace| namespace.as_os_str() == FIRST_NAMESPACE);
        Self { tree, processes, sees_all }
    }

    /// Whether we see the numbers that the driver counts by: those of the machine, not of a container.
    pub fn sees_all(&self) -> bool {
        self.sees_all
    }

    /// Whose the process is that somebody calls by this number. Inside a container the driver may call it by its number outside:
    /// a number counts as a neighbour's only where that process can be seen to use a GPU.
    pub fn belonging(&self, number: u32) -> Belonging {
        if let Some(&process) = self.processes.get(&number) {
            return Belonging::Job(process);
        }
        if self.tree.includes(number) {
            return Belonging::Job(number);
        }
        let uses_gpu = || {
            let nodes = open_nodes(&self.tree.kernel, &mut NodeNames::default(), number).unwrap_or_default();
            nodes.iter().any(|node| nvidia_node(node).is_some())
        };
        if self.sees_all || uses_gpu() { Belonging::Neighbour } else { Belonging::Unknown }
    }
}

/// `NSpid` of the process: its numbers from the namespace that we see inward.
fn inner_numbers(kernel: &Kernel, process: u32) -> Vec<u32> {
    let status = kernel.text(&format!("proc/{process}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.unwrap_or_default().split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether two processes have the numbers by which we see them from one and the same namespace: neither has one of a namespace
/// further in. Where the kernel does not tell, they do not.
pub(crate) fn are_numbered_alike(kernel: &Kernel, one: u32, other: u32) -> bool {
    [one, other].iter().all(|&process| inner_numbers(kernel, process).len() == 1)
}

impl ProcessTree {
    /// Whether a process that came after the last reading is the job's: one of those above it is.
    fn includes(&self, process: u32) -> bool {
        let mut number = process;
        for _ in 0..DEEPEST {
            if self.living.contains_key(&number) || self.job.get() == Some(number) {
                return true;
            }
            let Some(stat) = Stat::read(&self.kernel, number) else { return false };
            let adopted = self.waiter.as_ref().is_some_and(|waiter| waiter.number == stat.parent);
            if adopted {
                return !own_process::is_ours(number);
            }
            number = stat.parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::process_tree::JobProcess;

    /// A `/proc` with a job of two processes, the second in a namespace of its own, and a neighbour.
    fn tree(namespace: &str) -> (tempfile::TempDir, ProcessTree) {
        let folder = tempfile::tempdir().unwrap();
        for (number, parent, inner) in [(20, 1, "20"), (21, 20, "21\t1007"), (30, 1, "30"), (31, 1, "31")] {
            let process = folder.path().join(format!("proc/{number}"));
            fs_err::create_dir_all(process.join("fd")).unwrap();
            let stat = format!(
                "{number} (x) S {parent} 1 1 0 -1 0 0 0 0 0 1 0 1 0 20 0 1 0 {number} 0 0 0 0 0 0 0 0 0 0 0 0\n"
            );
            fs_err::write(process.join("stat"), stat).unwrap();
            fs_err::write(process.join("status"), format!("Tgid:\t{number}\nNSpid:\t{inner}\n")).unwrap();
        }
        fs_err::os::unix::fs::symlink("/dev/nvidia0", folder.path().join("proc/31/fd/9")).unwrap();
        fs_err::create_dir_all(folder.path().join("proc/self/ns")).unwrap();
        fs_err::os::unix::fs::symlink(namespace, folder.path().join("proc/self/ns/pid")).unwrap();
        let job = JobProcess::default();
        job.set(20);
        let mut tree = ProcessTree::new(Kernel::under(folder.path()), job, None);
        tree.read(None);
        (folder, tree)
    }

    #[test]
    fn a_process_is_known_by_its_number_inside_its_own_namespace() {
        let (_folder, tree) = tree(FIRST_NAMESPACE);
        let numbers = Numbers::of(&tree);
        assert_eq!(numbers.belonging(21), Belonging::Job(21));
        assert_eq!(numbers.belonging(1007), Belonging::Job(21));
        assert_eq!(numbers.belonging(30), Belonging::Neighbour);
        assert_eq!(numbers.belonging(999), Belonging::Neighbour);
    }

    #[test]
    fn inside_a_container_a_number_from_outside_is_nobodys() {
        let (_folder, tree) = tree("pid:[4026532999]");
        let numbers = Numbers::of(&tree);
        assert_eq!(numbers.belonging(999), Belonging::Unknown);
        assert_eq!(numbers.belonging(30), Belonging::Unknown, "a number that happens to be given out here as well");
        assert_eq!(numbers.belonging(31), Belonging::Neighbour, "it is seen to use a GPU");
    }

    #[test]
    fn a_process_of_a_namespace_further_in_is_numbered_otherwise() {
        let (folder, _tree) = tree(FIRST_NAMESPACE);
        let kernel = Kernel::under(folder.path());
        assert!(are_numbered_alike(&kernel, 20, 30));
        assert!(!are_numbered_alike(&kernel, 20, 21));
        assert!(!are_numbered_alike(&kernel, 20, 99));
    }

    #[test]
    fn a_process_that_came_meanwhile_is_known_by_those_above_it() {
        let (folder, tree) = tree(FIRST_NAMESPACE);
        let process = folder.path().join("proc/40");
        fs_err::create_dir_all(&process).unwrap();
        fs_err::write(process.join("stat"), "40 (x) S 21 1 1 0 -1 0 0 0 0 0 1 0 1 0 20 0 1 0 40 0 0\n").unwrap();
        assert_eq!(Numbers::of(&tree).belonging(40), Belonging::Job(40));
    }
}
