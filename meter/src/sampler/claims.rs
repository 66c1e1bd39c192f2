//! The claim while the job runs: what the driver's process lists and the job's own traces add to the first choice, and who else
//! uses the job's GPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, Mig};

use super::driver::Relisted;
use super::neighbours::Neighbours;
use super::traces::words;
use crate::claim::further::{Sight, Traces, claim_again, claim_further, may_have_opened_unlisted, unclaimed};
use crate::claim::{Basis, Claim};
use crate::device::Kernel;
use crate::device::nvml::{GpuProcess, ListedGpu, ListedInstance};
use crate::device::process_tree::ProcessTree;
use crate::device::process_tree::belonging::{Belonging, Numbers};

/// Lists are asked for in each of the first rounds, when jobs start to use their GPUs.
const FIRST_LISTS: u32 = 5;
/// Then this often: they take milliseconds, in which the driver serves nobody else.
const BETWEEN_LISTS: Duration = Duration::from_secs(10);
/// This often where all GPUs are claimed, so that lists only show neighbours.
const BETWEEN_NEIGHBOURS: Duration = Duration::from_secs(30);
/// A list that is older shows nothing of the present.
const OUTDATED: Duration = Duration::from_mins(1);
/// In a container, lists in which no process of the job is seen mean nothing; from this one on that is taken as lasting.
const LISTS_TO_BE_SEEN: u32 = FIRST_LISTS;
/// So often the process that asks the driver may be lost while it lists processes: then lists are the likely cause.
const MAXIMUM_LOSSES: u32 = 2;

const NEVER_SEEN: &str =
    "in this PID namespace the driver has not listed a process of the job on any GPU, so that its lists show nothing";

/// What the sampler knows of whose GPUs are whose.
#[derive(Debug)]
pub(super) struct Claims {
    kernel: Kernel,
    present: Vec<ListedGpu>,
    claim: Claim,
    begun: bool,
    sights: BTreeMap<String, Sight>,
    /// Whether the driver's numbers are seen to be ours: then a list without the job shows that it is not there.
    recognised: bool,
    neighbours: Neighbours,
    /// The lists that were asked for: of which process that asks the driver, and of which GPUs.
    asked: Option<(u32, Vec<String>)>,
    lists: u32,
    next_at: Duration,
    listed_at: Option<Duration>,
    losses: u32,
    told: BTreeSet<Finding>,
    /// GPUs and instances that the driver no longer lists.
    gone: BTreeSet<String>,
    /// Why the driver's last list may lack a GPU.
    incomplete: Option<String>,
}

/// Devices to add, and what is to be said.
pub(super) type Further = (Vec<Device>, Vec<Finding>);

impl Claims {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            present: Vec::new(),
            claim: Claim::default(),
            begun: false,
            sights: BTreeMap::new(),
            recognised: false,
            neighbours: Neighbours::default(),
            asked: None,
            lists: 0,
            next_at: Duration::ZERO,
            listed_at: None,
            losses: 0,
            told: BTreeSet::new(),
            gone: BTreeSet::new(),
            incomplete: None,
        }
    }

    /// The driver has listed its GPUs and the first choice was made.
    pub(super) fn begin(&mut self, present: Vec<ListedGpu>, claim: Claim) {
        (self.present, self.claim, self.begun) = (present, claim, true);
    }

    /// Whether there are GPUs that the job might use besides those that are claimed.
    pub(super) fn are_open(&self) -> bool {
        self.begun && !unclaimed(&self.claim, &self.present).is_empty()
    }

    /// Whether the user named the GPUs: what the job has open is looked at then even where there are no others, for one may come that
    /// the driver does not tell of.
    pub(super) fn rest_on_word(&self) -> bool {
        self.begun && self.claim.basis == Basis::Said
    }

    /// The GPUs whose processes are to be listed now, if it is time. `traced`: the job has left a new trace.
    pub(super) fn due(&mut self, now: Duration, traced: bool, turn: u32) -> Option<Vec<String>> {
        if self.present.is_empty() || self.losses >= MAXIMUM_LOSSES {
            return None;
        }
        match &self.asked {
            Some((asked, _)) if *asked == turn => return None,
            Some(_) => {
                self.losses += 1;
                self.asked = None;
            }
            None => {}
        }
        let is_first = self.lists == 0 || (self.lists < FIRST_LISTS && self.are_open());
        let is_time = is_first || traced || now >= self.next_at;
        is_time.then(|| self.devices())
    }

    /// All GPUs that are there, those that are cut by their instances.
    fn devices(&self) -> Vec<String> {
        let rest = unclaimed(&self.claim, &self.present);
        let known = ids(&self.present);
        let claimed = self.claim.devices.iter().filter(|device| known.contains(&device.id));
        let all = rest.iter().chain(claimed).map(|device| &device.id);
        all.filter(|id| !self.gone.contains(*id)).cloned().collect()
    }

    /// The driver has listed its GPUs again. Those that came are claimed if the job's choice names them, and watched if not;
    /// those that went are charged on, and what was not seen of them is held against the job.
    pub(super) fn relist(&mut self, relisted: Relisted, traces: &Traces) -> Further {
        let (present, choice) = match relisted {
            Ok(relisted) => relisted,
            Err(reason) => {
                self.incomplete = Some(reason);
                return Further::default();
            }
        };
        self.incomplete = None;
        if !self.begun {
            return Further::default();
        }
        let (before, now) = (ids(&self.present), ids(&present));
        let present = together(present, &self.present);
        let mut gone: BTreeSet<String> = before.difference(&now).cloned().collect();
        gone.extend(self.cut_anew(&present));
        if gone == self.gone && now.is_subset(&before) {
            return Further::default();
        }
        let mut findings = self.lose(&gone);
        self.gone = gone;
        self.present = present;
        let (devices, claimed) = claim_again(&mut self.claim, &choice, &now);
        findings.extend(claimed);
        findings.extend(self.appeared(&before));
        // Who uses them is asked at once.
        (self.lists, self.next_at) = (0, Duration::ZERO);
        let (further, more) = self.judge(traces);
        findings.extend(more);
        (devices.into_iter().chain(further).collect(), findings)
    }

    /// GPUs that may have been the job's as a whole and are cut now: the driver lists processes by instance alone, as if the whole
    /// were gone.
    fn cut_anew(&self, present: &[ListedGpu]) -> Vec<String> {
        let is_claimed = |id: &str| self.claim.devices.iter().any(|device| device.id == id);
        let cut = present.iter().filter(|gpu| gpu.facts.mig == Mig::Whole && gpu.was_uncut && !is_claimed(&gpu.uuid));
        cut.map(|gpu| gpu.uuid.clone()).collect()
    }

    fn lose(&mut self, gone: &BTreeSet<String>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for id in gone.difference(&self.gone) {
            let reason = "it vanished or was cut before the driver had listed its processes".to_owned();
            self.sights.entry(id.clone()).or_insert(Sight::Unclear(reason));
            let Some(device) = self.claim.devices.iter().find(|device| device.id == *id) else { continue };
            let text = format!(
                "{} {id} vanished from the driver's list while the job ran: it is charged in full for the time it is gone",
                device.name
            );
            findings.push(Finding { code: "gpu-vanished".to_owned(), text });
        }
        findings
    }

    /// GPUs that came and that the job's choice does not name.
    fn appeared(&self, before: &BTreeSet<String>) -> Vec<Finding> {
        let new = unclaimed(&self.claim, &self.present).into_iter().filter(|device| !before.contains(&device.id));
        let finding = |device: Device| {
            let text = format!(
                "{} {} came while the job ran, and its choice of GPUs ({}) does not name it: it is claimed if the job turns out to use it",
                device.name, device.id, self.claim.rule
            );
            Finding { code: "gpu-appeared".to_owned(), text }
        };
        new.map(finding).collect()
    }

    /// They were asked for.
    pub(super) fn asked(&mut self, devices: Vec<String>, now: Duration, turn: u32) {
        self.lists = self.lists.saturating_add(1);
        self.next_at = now + if self.are_open() { BETWEEN_LISTS } else { BETWEEN_NEIGHBOURS };
        self.asked = Some((turn, devices));
    }

    /// Whether lists are outstanding.
    pub(super) fn are_awaited(&self, turn: u32) -> bool {
        self.asked.as_ref().is_some_and(|(asked, _)| *asked == turn)
    }

    /// The lists have come.
    pub(super) fn take(
        &mut self,
        lists: Vec<Result<Vec<GpuProcess>, String>>,
        tree: &ProcessTree,
        traces: &Traces,
        now: Duration,
    ) -> Further {
        let Some((_, devices)) = self.asked.take() else { return Further::default() };
        self.listed_at = Some(now);
        let numbers = Numbers::of(tree);
        let mut findings = Vec::new();
        self.recognised |=
            numbers.sees_all() || lists.iter().flatten().flatten().any(|process| is_jobs(process, &numbers));
        for (device, list) in devices.into_iter().zip(lists) {
            if let (Ok(list), Some(claimed)) = (&list, self.claim.devices.iter().find(|claimed| claimed.id == device)) {
                findings.extend(self.neighbours.see(claimed, list, &numbers, &self.kernel));
            }
            match sight(&list, &numbers, &self.kernel) {
                Sight::Others if !self.recognised => self.doubt(device),
                sight => {
                    self.sights.insert(device, sight);
                }
            }
        }
        let (devices, more) = self.judge(traces);
        findings.extend(more);
        findings.extend(self.in_the_dark());
        (devices, findings)
    }

    /// No process of the job is in the list, nor was one ever in any: perhaps it has not begun, perhaps the driver hides it.
    fn doubt(&mut self, device: String) {
        if self.lists >= LISTS_TO_BE_SEEN {
            self.sights.insert(device, Sight::Unclear(NEVER_SEEN.to_owned()));
        } else {
            self.sights.remove(&device);
        }
    }

    /// GPUs that may be the job's and whose processes cannot be told.
    fn in_the_dark(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.claim.basis == Basis::Said {
            return findings;
        }
        for device in unclaimed(&self.claim, &self.present) {
            let Some(Sight::Unclear(reason)) = self.sights.get(&device.id) else { continue };
            let text = format!(
                "whether the job runs on {} {} cannot be told ({reason}): it is claimed if a process of the job opens it",
                device.name, device.id
            );
            findings.push(Finding { code: "gpu-processes-unknown".to_owned(), text });
        }
        findings.retain(|finding| self.told.insert(finding.clone()));
        findings
    }

    /// Claims what is known to be used by now.
    pub(super) fn judge(&mut self, traces: &Traces) -> Further {
        if !self.begun {
            return Further::default();
        }
        let (devices, mut findings) = claim_further(&mut self.claim, &self.present, &self.sights, traces);
        findings.retain(|finding| self.told.insert(finding.clone()));
        (devices, findings)
    }

    /// The job has ended: where no list has come for long, nothing shows that it did not use the other GPUs. `unlisted` is why
    /// there may be some that nobody knows.
    pub(super) fn end(&mut self, unlisted: Option<String>, traces: &Traces, now: Duration) -> Further {
        for device in unclaimed(&self.claim, &self.present) {
            self.sights.entry(device.id).or_insert_with(|| Sight::Unclear(NEVER_SEEN.to_owned()));
        }
        if self.listed_at.is_none_or(|listed| now.saturating_sub(listed) > OUTDATED) {
            for device in unclaimed(&self.claim, &self.present) {
                let reason = "the driver has not listed its processes".to_owned();
                self.sights.insert(device.id, Sight::Unclear(reason));
            }
        }
        let (mut devices, mut findings) = self.judge(traces);
        findings.extend(self.neighbours.last_words());
        let is_open = self.claim.basis != Basis::Said || may_have_opened_unlisted(&self.present, traces);
        let unlisted = self.incomplete.take().or(unlisted).filter(|_| is_open);
        devices.extend(unlisted.map(|reason| unknown(&reason)));
        (devices, findings)
    }
}

/// What stands for a GPU that came while the job ran and that cannot be told: nothing bounds it.
fn unknown(reason: &str) -> Device {
    let reason =
        format!("a GPU may have come while the job ran, and cannot be told ({reason}): what it did is not bounded");
    Device { id: "gpu:unlisted".to_owned(), name: "NVIDIA GPU".to_owned(), facts: DeviceFacts::Unreadable { reason } }
}

/// UUIDs of GPUs and of their instances.
fn ids(gpus: &[ListedGpu]) -> BTreeSet<String> {
    gpus.iter().flat_map(ListedGpu::uuids).map(str::to_owned).collect()
}

/// Those that are there in their order, and behind them those that were: the job may have used them. A GPU keeps its former
/// instances, and whether it was uncut.
fn together(mut present: Vec<ListedGpu>, before: &[ListedGpu]) -> Vec<ListedGpu> {
    for gpu in before {
        match present.iter_mut().find(|now| now.uuid == gpu.uuid) {
            Some(now) => {
                let known = ids(std::slice::from_ref(now));
                let former = gpu.instances.iter().filter(|instance| !known.contains(&instance.uuid));
                now.instances.extend(former.map(|instance| ListedInstance { gone: true, ..instance.clone() }));
                now.was_uncut = gpu.was_uncut || gpu.facts.mig == Mig::Off;
            }
            None => present.push(gpu.clone()),
        }
    }
    present
}

fn is_jobs(process: &GpuProcess, numbers: &Numbers<'_>) -> bool {
    matches!(numbers.belonging(process.pid), Belonging::Job(_))
}

fn sight(list: &Result<Vec<GpuProcess>, String>, numbers: &Numbers<'_>, kernel: &Kernel) -> Sight {
    let list = match list {
        Ok(list) => list,
        Err(problem) => return Sight::Unclear(format!("the driver does not list its processes: {problem}")),
    };
    let mut unknown = None;
    for process in list {
        match numbers.belonging(process.pid) {
            Belonging::Job(number) => return Sight::Job(words(kernel, number)),
            Belonging::Neighbour => {}
            Belonging::Unknown => unknown = Some(process.pid),
        }
    }
    unknown.map_or(Sight::Others, |pid| {
        Sight::Unclear(format!("the driver lists process {pid}, a number that means nothing in this PID namespace"))
    })
}

#[cfg(test)]
mod tests;
