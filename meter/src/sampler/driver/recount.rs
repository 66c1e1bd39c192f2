//! GPUs that come and go while the job runs.
//!
//! The process that asks the driver compares their number at each reading and lists them again where it has changed. What that
//! leaves out is asked for here, now and then and at the job's end: one GPU in the place of another, instances of a GPU that was
//! cut anew, and a driver that is there only now.

use std::collections::BTreeSet;
use std::time::Duration;

use flopsmeter_core::sample::GpuReading;

use super::{Driver, State};
use crate::claim::{Claim, claim, may_use_gpus};
use crate::device::nvml::reader::Order;
use crate::device::nvml::{ListedGpu, Listing};

/// Listing them takes the driver some milliseconds.
const BETWEEN_LISTINGS: Duration = Duration::from_secs(30);

/// Where it takes a process that has to load the driver's library first.
const BETWEEN_STARTS: Duration = Duration::from_mins(5);

/// GPUs that a daemon may tell of between two looks: each is as many bytes as the daemon likes.
const MOST_COME: usize = 256;

/// UUIDs that are remembered of what a daemon has listed; one that is not counts as new each time.
const MOST_TOLD: usize = 4096;

/// How UUIDs of instances begin.
const INSTANCE: &str = "MIG-";

/// A library that was loaded before a GPU came need not know of it.
const RELOADED: &str = "the NVIDIA driver's library is loaded again, because a GPU has come that it does not list";

/// What is known of the GPUs' number.
#[derive(Debug, Default)]
pub(super) struct Recount {
    next_at: Duration,
    /// Turn of the process that has been told to list the GPUs and has not.
    asked: Option<u32>,
    /// Device nodes of GPUs when they were listed last.
    pub(super) nodes: BTreeSet<String>,
    /// Whether one of them is of no GPU that was listed, and the job's control group lets it be opened.
    has_strange_node: bool,
    /// UUIDs that the daemon has listed so far, and those of its GPUs that have come since it was asked first and that our own process
    /// has not been asked about.
    by_daemon: BTreeSet<String>,
    come: Vec<ListedGpu>,
    /// Watched instances that could not be read once.
    lost: BTreeSet<String>,
}

/// The GPUs that there are now, and which of them the job's choice would name now; or why that cannot be said.
pub(in crate::sampler) type Relisted = Result<(Vec<ListedGpu>, Claim), String>;

/// When the library that lists the GPUs was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sampler) enum Loaded {
    /// For this list.
    Now,
    /// For an earlier one.
    Before,
}

fn minor(node: &str) -> Option<u32> {
    node.strip_prefix("nvidia")?.parse().ok()
}

/// Whether a device node is of no GPU that is listed.
fn is_strange(node: &str, listed: &[ListedGpu]) -> bool {
    let Some(minor) = minor(node) else { return false };
    listed.iter().all(|gpu| gpu.minor_number.is_some_and(|known| known != minor))
}

impl Driver {
    /// Whether it is time for [`Driver::recount`].
    pub(in crate::sampler) fn is_recount_due(&self, now: Duration) -> bool {
        now >= self.recount.next_at
    }

    /// Asks the driver for its GPUs again; wakes one that was not there before.
    pub(in crate::sampler) fn recount(&mut self, now: Duration) {
        self.recount.next_at = now.saturating_add(BETWEEN_LISTINGS);
        match self.state {
            // A daemon may see others than this run does: a process of our own is started for the list that it begins with.
            State::Idle | State::Reading if self.is_daemon() && self.own.is_none() => {
                self.recount.next_at = now.saturating_add(BETWEEN_STARTS);
                self.own = self.launch().ok();
                self.recount.asked = self.own.as_ref().map(|(turn, _)| *turn);
            }
            State::Idle | State::Reading => {
                let (turn, listed) = match &mut self.own {
                    Some((turn, process)) => (*turn, process.order(&Order::List)),
                    None => (self.turn, self.order_process(&Order::List)),
                };
                self.recount.asked = listed.then_some(turn);
            }
            State::Over if self.command.is_some() && self.has_new_node() => self.find(now),
            _ => {}
        }
    }

    /// A GPU that is cut anew, or no more, is counted as before: an instance that can no longer be read tells of it. Each has the GPUs
    /// listed once, for it may have failed for another reason.
    pub(super) fn look_for_lost_instances(&mut self, readings: &[Result<GpuReading, String>]) {
        let failed = self.watched.iter().zip(readings).filter(|(_, reading)| reading.is_err());
        for (device, _) in failed.filter(|(device, _)| device.starts_with(INSTANCE)) {
            if self.recount.lost.insert(device.clone()) {
                self.recount.next_at = Duration::ZERO;
            }
        }
    }

    /// The driver has listed its GPUs for the first time.
    pub(super) fn counted(&mut self, now: Duration) {
        let next_at = now.saturating_add(BETWEEN_LISTINGS);
        let nodes = self.gpu_nodes();
        self.recount = Recount { next_at, asked: None, nodes, ..std::mem::take(&mut self.recount) };
    }

    /// The daemon has listed its GPUs, first when it was joined and then whenever they change. It may see others than this run does; but
    /// where they change, our own process is asked at once, and what has come and is gone by then counts as listed.
    pub(super) fn told_by_daemon(&mut self, listed: Vec<ListedGpu>) {
        let is_first = self.recount.by_daemon.is_empty();
        if !is_first {
            self.recount.next_at = Duration::ZERO;
        }
        for gpu in listed {
            let is_new = gpu.uuids().any(|uuid| !self.recount.by_daemon.contains(uuid));
            if self.recount.by_daemon.len() < MOST_TOLD {
                self.recount.by_daemon.extend(gpu.uuids().map(str::to_owned));
            }
            if is_new && !is_first && self.recount.come.len() < MOST_COME {
                self.recount.come.push(gpu);
            }
        }
    }

    /// With those that came and went between two looks of our own process, as far as the job can have opened them.
    fn with_passed(&mut self, mut listed: Vec<ListedGpu>) -> Vec<ListedGpu> {
        let known: BTreeSet<String> = listed.iter().flat_map(ListedGpu::uuids).map(str::to_owned).collect();
        for gpu in std::mem::take(&mut self.recount.come) {
            let is_here = self.library.is_some() || gpu.minor_number.is_none_or(|minor| self.has_gpu_node(minor));
            if !is_here || gpu.uuids().all(|uuid| known.contains(uuid)) {
                continue;
            }
            match listed.iter_mut().find(|now| now.uuid == gpu.uuid) {
                Some(now) => now.instances.extend(gpu.instances.into_iter().filter(|it| !known.contains(&it.uuid))),
                None => listed.push(gpu),
            }
        }
        listed
    }

    fn has_gpu_node(&self, minor: u32) -> bool {
        let node = format!("nvidia{minor}");
        self.recount.nodes.contains(&node) || self.gpu_nodes().contains(&node)
    }

    /// There is a driver now, and nobody has asked it.
    fn find(&mut self, now: Duration) {
        if may_use_gpus(&self.gpus, &self.environment) {
            self.recount.nodes = self.gpu_nodes();
            self.wake(now);
        } else {
            self.asleep = true;
        }
    }

    fn has_new_node(&self) -> bool {
        self.gpu_nodes().iter().any(|node| !self.recount.nodes.contains(node))
    }

    /// Whoever was asked is gone.
    pub(super) const fn forget_recount(&mut self) {
        self.recount.asked = None;
    }

    /// Whether the driver has not yet answered [`Driver::recount`].
    pub(super) fn is_recounting(&self) -> bool {
        self.recount.asked.is_some_and(|turn| self.is_own(turn) || self.is_turn(turn))
    }

    /// When the library of our own process was loaded that lists GPUs beside a daemon.
    pub(in crate::sampler) fn own_loaded(&self) -> Loaded {
        if self.daemon_lists_processes() { Loaded::Now } else { Loaded::Before }
    }

    /// The driver has listed its GPUs again, through a library that was `loaded` just now or long ago. A new device node that
    /// belongs to none of them has the library loaded again; what a new one does not list either may not be opened here.
    pub(in crate::sampler) fn relisted(&mut self, listing: Listing, loaded: Loaded, now: Duration) -> Relisted {
        self.recount.asked = None;
        self.rest();
        match listing {
            Listing::Gpus(listed) => {
                let nodes = self.gpu_nodes();
                if loaded == Loaded::Before
                    && nodes.difference(&self.recount.nodes).any(|node| is_strange(node, &listed))
                {
                    self.process = None;
                    self.lose(RELOADED, now);
                } else {
                    self.recount.nodes = nodes;
                }
                self.look_for_strange_nodes(&listed);
                let listed = self.with_passed(listed);
                let present = self.narrow(listed);
                let choice = claim(&self.gpus, &self.environment, &present);
                Ok((present, choice))
            }
            Listing::Unavailable { reason } => Err(reason),
        }
    }

    /// Whether there is a GPU that the driver does not list: the meter may not open it, which says nothing of a process of the job
    /// that has other rights.
    pub(in crate::sampler) const fn has_strange_node(&self) -> bool {
        self.recount.has_strange_node
    }

    pub(super) fn look_for_strange_nodes(&mut self, listed: &[ListedGpu]) {
        let nodes = self.gpu_nodes();
        let strange = nodes.iter().filter(|node| is_strange(node, listed)).filter_map(|node| minor(node));
        let strange = strange.map(|minor| ListedGpu { minor_number: Some(minor), ..ListedGpu::default() }).collect();
        self.recount.has_strange_node = !self.narrow(strange).is_empty();
    }

    /// Why there may be GPUs at the job's end of which nobody knows.
    pub(in crate::sampler) fn unlisted(&self) -> Option<String> {
        if !self.recount.come.is_empty() {
            return Some("one has come that the daemon alone has listed".to_owned());
        }
        // Of a library that is not the system's no device node need tell.
        if self.library.is_some() && matches!(self.state, State::Lost { .. } | State::Returning { .. }) {
            return Some("the driver could not be asked for its GPUs when the job ended".to_owned());
        }
        let is_unknown = !matches!(self.state, State::Over) && self.has_new_node();
        is_unknown.then(|| "a device node has appeared and the driver has not said of which GPU".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::clock::SessionClock;
    use crate::device::Kernel;
    use crate::device::nvml::ListedInstance;
    use crate::device::process_tree::JobProcess;
    use crate::sampler::SamplerOptions;

    /// A process in a control group of its own, whose list of devices is this.
    fn group(folder: &std::path::Path, process: u32, list: &str) {
        let (group, process) =
            (folder.join(format!("sys/fs/cgroup/devices/{process}")), folder.join(format!("proc/{process}")));
        fs_err::create_dir_all(&group).unwrap();
        fs_err::create_dir_all(&process).unwrap();
        let name = process.file_name().unwrap().to_string_lossy().into_owned();
        fs_err::write(process.join("cgroup"), format!("9:devices:/{name}\n")).unwrap();
        fs_err::write(group.join("devices.list"), list).unwrap();
    }

    /// Whoever reads for the job, here as in a daemon: what the meter itself may open is not asked.
    #[test]
    fn gpus_are_those_that_the_jobs_process_may_open() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        group(folder.path(), std::process::id(), "c 195:* rwm\n");
        group(folder.path(), 7, "c 195:1 rwm\n");
        fs_err::create_dir_all(folder.path().join("dev")).unwrap();
        fs_err::write(folder.path().join("dev/nvidia2"), "").unwrap();
        let job = JobProcess::default();
        let mut options = SamplerOptions::new(SessionClock::start(), job.clone());
        options.kernel = kernel;
        let mut driver = Driver::start(&options, channel().0);
        let gpu =
            |minor: u32| ListedGpu { uuid: format!("GPU-{minor}"), minor_number: Some(minor), ..ListedGpu::default() };
        let mut listed = || {
            let listing = Listing::Gpus(vec![gpu(0), gpu(1)]);
            let (present, choice) = driver.relisted(listing, Loaded::Before, Duration::ZERO).unwrap();
            assert_eq!(choice.devices.len(), present.len());
            present.into_iter().map(|gpu| gpu.uuid).collect::<Vec<_>>()
        };
        assert_eq!(listed(), ["GPU-0", "GPU-1"], "there is no job yet: more, never fewer");
        job.set(7);
        assert_eq!(listed(), ["GPU-1"]);
        fs_err::remove_dir_all(folder.path().join("proc/7")).unwrap();
        assert_eq!(listed(), ["GPU-1"], "it has ended: what it could open is known");
        assert!(!driver.has_strange_node(), "what the job may not open either is no GPU of its own");
    }

    /// Neither the number of GPUs nor a device node tells of it.
    #[test]
    fn an_instance_that_is_gone_has_the_gpus_listed_at_once() {
        let started = || {
            let options = SamplerOptions::new(SessionClock::start(), JobProcess::default());
            let mut driver = Driver::start(&options, channel().0);
            driver.counted(Duration::ZERO);
            (driver.state, driver.watched) = (State::Idle, vec!["GPU-0".to_owned(), "MIG-a".to_owned()]);
            driver
        };
        let mut driver = started();
        let mut read = |gpu: bool, instance: bool| {
            driver.recount.next_at = BETWEEN_LISTINGS;
            let reading = |is_read: bool| is_read.then(GpuReading::default).ok_or_else(String::new);
            driver.look_for_lost_instances(&[reading(gpu), reading(instance)]);
            driver.is_recount_due(Duration::ZERO)
        };
        assert!(!read(true, true) && !read(false, true), "a GPU is counted");
        assert!(read(true, false));
        assert!(!read(true, false), "once");

        let mut driver = started();
        let cut = ListedInstance { uuid: "MIG-a".to_owned(), ..ListedInstance::default() };
        let gpu = |instances| ListedGpu { uuid: "GPU-0".to_owned(), instances, ..ListedGpu::default() };
        driver.told_by_daemon(vec![gpu(vec![cut])]);
        assert!(!driver.is_recount_due(Duration::ZERO));
        driver.told_by_daemon(vec![gpu(Vec::new())]);
        assert!(driver.is_recount_due(Duration::ZERO));
    }

    #[test]
    fn a_new_node_that_the_driver_does_not_list_has_its_library_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = |name: &str| {
            fs_err::create_dir_all(folder.path().join("dev")).unwrap();
            fs_err::write(folder.path().join("dev").join(name), "").unwrap();
        };
        node("nvidia0");
        let mut options = SamplerOptions::new(SessionClock::start(), JobProcess::default());
        options.kernel = Kernel::under(folder.path());
        let mut driver = Driver::start(&options, channel().0);
        let listing = || Listing::Gpus(vec![ListedGpu { minor_number: Some(0), ..ListedGpu::default() }]);
        let mut listed = |loaded| {
            driver.state = State::Idle;
            assert_eq!(driver.relisted(listing(), loaded, Duration::ZERO).unwrap().0.len(), 1);
            (matches!(driver.state, State::Lost { .. }), driver.unlisted().is_some())
        };
        assert_eq!(listed(Loaded::Before), (false, false));
        node("nvidia1");
        assert_eq!(listed(Loaded::Before), (true, true), "were the job to end now, its ceiling would be missing");
        // The new library does not list it either: like one that was there from the start on and may not be opened.
        assert_eq!(listed(Loaded::Now), (false, false));
        assert_eq!(listed(Loaded::Before), (false, false));
        // A process of the job with other rights may: it is still looked for.
        assert!(driver.has_strange_node());
    }
}
