//! Which GPUs there are, and which of them are the job's.

use std::collections::BTreeSet;
use std::time::Duration;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};

use super::process::ENDED;
use super::recount::{Loaded, Relisted};
use super::{Driver, State};
use crate::claim::further::unclaimed;
use crate::claim::{Claim, GpuRequest, OpenableNodes, claim};
use crate::device::nvml::reader::Order;
use crate::device::nvml::{ListedGpu, Listing};
use crate::sampler::source::Source;

const ASK_NVIDIA_SMI: &str = "see whether `nvidia-smi` works";

impl Driver {
    fn watches_only(&self, present: &[ListedGpu]) -> bool {
        let known: BTreeSet<&str> = present.iter().flat_map(ListedGpu::uuids).collect();
        self.watched.iter().all(|device| known.contains(device.as_str()))
    }

    /// The driver has listed its GPUs, or cannot. Gives what it says once the job's GPUs were chosen.
    pub(in crate::sampler) fn listed(&mut self, listing: Listing, now: Duration) -> Option<Relisted> {
        match (&self.state, listing) {
            (State::Listing, Listing::Gpus(listed)) => {
                self.look_for_strange_nodes(&listed);
                self.present = self.narrow(listed);
                self.counted(now);
                self.state = State::Claimed(claim(&self.gpus, &self.environment, &self.present));
            }
            (State::Listing, Listing::Unavailable { reason }) => {
                self.process = None;
                self.state = State::Claimed(self.without_driver(&reason));
            }
            (State::Joining { .. }, Listing::Gpus(present)) if self.watches_only(&present) => {
                self.told_by_daemon(present);
                self.settle(now);
            }
            (State::Idle | State::Reading, Listing::Gpus(present)) if self.is_daemon() => self.told_by_daemon(present),
            (State::Joining { .. }, _) => self.stay(now),
            (&State::Returning { reason }, listing @ Listing::Gpus(_)) => {
                self.watch_again(reason, now);
                return Some(self.relisted(listing, Loaded::Now, now));
            }
            (&State::Returning { reason }, Listing::Unavailable { .. }) => self.lose(reason, now),
            (State::Idle | State::Reading, listing) if !self.is_daemon() => {
                return Some(self.relisted(listing, Loaded::Before, now));
            }
            _ => {}
        }
        None
    }

    /// Whether it is still to be told which GPUs there are.
    pub(in crate::sampler) const fn is_listing(&self) -> bool {
        matches!(self.state, State::Listing | State::Claimed(_))
    }

    /// Past its patience, GPUs that are not known are told as unreadable: the ceiling has no bound then.
    pub(in crate::sampler) fn give_up_listing(&mut self, now: Duration) {
        if matches!(self.state, State::Listing) && now >= self.asked_at.saturating_add(self.listing_patience) {
            self.process = None;
            let reason = "the NVIDIA driver did not say in time which GPUs there are";
            self.state = State::Claimed(unreadable(reason, ASK_NVIDIA_SMI));
        }
    }

    /// Those that the job may open, by its own control group: this meter's, or that of a daemon which reads for it, may be another.
    pub(super) fn narrow(&mut self, listed: Vec<ListedGpu>) -> Vec<ListedGpu> {
        let of = |process| OpenableNodes::of(&self.kernel, process);
        let seen = self.job.get().and_then(of).or_else(|| self.openable.take()).or_else(|| of(std::process::id()));
        self.openable = seen;
        match &self.openable {
            Some(nodes) => nodes.narrow(listed),
            None => listed,
        }
    }

    /// Whether there is a node of the driver's.
    pub(super) fn has_nodes(&self) -> bool {
        self.kernel.names("dev").iter().any(|name| is_node(name))
    }

    /// Readings are worth what their source is: another library than the system's is named in the record.
    fn named_library(&self) -> String {
        let library = self.library.as_ref().filter(|_| self.process.is_some());
        library.map_or_else(String::new, |path| format!("; the driver was asked through {}", path.display()))
    }

    /// The nodes that stand for GPUs: the driver's own (`nvidiactl`, `nvidia-uvm`) are there without one, too.
    pub(super) fn gpu_nodes(&self) -> BTreeSet<String> {
        let is_gpu = |name: &str| name.strip_prefix("nvidia").is_none_or(|number| number.parse::<u32>().is_ok());
        self.kernel.names("dev").into_iter().filter(|name| is_node(name) && is_gpu(name)).collect()
    }

    /// A machine without a driver has no NVIDIA GPU that a job could use, unless it shows device nodes or the user names GPUs.
    pub(super) fn without_driver(&self, reason: &str) -> Claim {
        let shown = !self.gpu_nodes().is_empty();
        if self.command.as_ref().is_some_and(|command| command.plays_trace) {
            return unreadable(reason, "name another trace");
        }
        let named = matches!(self.gpus, GpuRequest::All | GpuRequest::Listed(_));
        if shown || named {
            return unreadable(&format!("the NVIDIA driver cannot be asked ({reason})"), ASK_NVIDIA_SMI);
        }
        let text = format!("no NVIDIA driver is here, so only the processor is metered ({reason})");
        let findings = vec![Finding { code: "nvml-unavailable".to_owned(), text }];
        Claim { findings, ..Claim::default() }
    }

    /// The job's GPUs, once, with those that were to choose from.
    pub(in crate::sampler) fn take_claim(&mut self) -> Option<(Vec<ListedGpu>, Claim)> {
        let State::Claimed(claim) = &mut self.state else { return None };
        let mut claim = std::mem::take(claim);
        let readable = claim.devices.iter().filter(|device| matches!(device.facts, DeviceFacts::Gpu(_)));
        self.watched = readable.map(|device| device.id.clone()).collect();
        let has_none = self.watched.is_empty() && unclaimed(&claim, &self.present).is_empty();
        if self.process.is_none() {
            self.state = State::Over;
        } else if has_none || !self.join() {
            // A driver without GPUs is asked again now and then: there may be some later.
            self.watch_again(ENDED, self.clock.elapsed());
        }
        if !claim.rule.is_empty() {
            let text =
                format!("{} claimed, by this rule: {}{}", count(claim.devices.len()), claim.rule, self.named_library());
            claim.findings.push(Finding { code: "gpus-claimed".to_owned(), text });
        }
        Some((self.present.clone(), claim))
    }

    /// Whether nobody has asked the driver because the job is to use no GPU, and somebody could.
    pub(in crate::sampler) fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Whether there may be GPUs, and nobody to ask about them.
    pub(in crate::sampler) fn is_refused(&self) -> bool {
        self.command.is_none() && self.has_nodes()
    }

    /// The job uses GPUs all the same: the driver is asked.
    pub(in crate::sampler) fn wake(&mut self, now: Duration) {
        (self.asleep, self.asked_at) = (false, now);
        self.state = match self.start_process() {
            Ok(()) => State::Listing,
            Err(reason) => State::Claimed(self.without_driver(&reason)),
        };
    }

    /// The GPUs of the job have become more.
    pub(in crate::sampler) fn watch_also(&mut self, devices: &[Device], now: Duration) {
        if self.watched.is_empty() {
            self.told_until = now;
        }
        let readable = devices.iter().filter(|device| matches!(device.facts, DeviceFacts::Gpu(_)));
        self.watched.extend(readable.map(|device| device.id.clone()));
        // A process that comes back is told of all.
        if matches!(self.state, State::Idle | State::Reading)
            && !self.order_process(&Order::Watch(self.watched.clone()))
        {
            self.lose(ENDED, now);
        }
    }

    /// Asks for processes. `false` if nobody can be asked now.
    pub(in crate::sampler) fn list_processes(&mut self, devices: Vec<String>) -> bool {
        let order = Order::Processes(devices);
        matches!(self.state, State::Idle | State::Reading)
            && match self.own.as_mut().filter(|_| !self.process.as_ref().is_some_and(Source::lists_processes)) {
                Some((_, process)) => process.order(&order),
                None => self.order_process(&order),
            }
    }
}

/// `dxg` is Windows' own under WSL; Jetson boards name their nodes in two other ways.
fn is_node(name: &str) -> bool {
    ["nvidia", "nvhost", "nvgpu", "dxg"].iter().any(|start| name.starts_with(start))
}

fn count(gpus: usize) -> String {
    match gpus {
        0 => "no GPU is".to_owned(),
        1 => "1 GPU is".to_owned(),
        more => format!("{more} GPUs are"),
    }
}

fn unreadable(reason: &str, next_step: &str) -> Claim {
    let facts = DeviceFacts::Unreadable { reason: format!("{reason}: what its GPUs did is not bounded") };
    let device = Device { id: "gpu:unknown".to_owned(), name: "NVIDIA GPUs".to_owned(), facts };
    let text = format!("{reason}, so that the hardware ceiling is missing; {next_step}");
    let findings = vec![Finding { code: "gpus-unreadable".to_owned(), text }];
    Claim { devices: vec![device], findings, ..Claim::default() }
}
