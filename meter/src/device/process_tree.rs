//! Processor time of a job's processes, as an upper bound that grows.
//!
//! `/proc/PID/stat` gives each process's own time and that of the children it has waited for. Summed over the living, that is
//! the job's time without counting any twice, as long as every process that ends is waited for by one of the job's own or by
//! us. Where a process may have ended without leaving its time to anyone, the interval is told as incomplete.

pub mod belonging;
mod stat;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::Kernel;
use crate::own_process;
pub(crate) use stat::Stat;
use stat::{is_hidden, is_thread};

/// `USER_HZ`: the unit of `/proc/PID/stat` on every architecture we build for (`include/asm-generic/param.h`).
const TICKS_PER_SECOND: u64 = 100;

/// Own and waited-for time come as user and system time, each cut to whole ticks.
const ROUNDED_FIGURES: u64 = 4;

/// Above so many new process numbers since the last reading, the whole of `/proc` is read instead of each number.
const NUMBERS_TO_TRY: u32 = 1024;

/// The job's first process: set by the session when it has started it, read by the sampler.
#[derive(Clone, Debug, Default)]
pub struct JobProcess {
    number: Arc<AtomicU32>,
}

impl JobProcess {
    /// The job has started as this process.
    pub fn set(&self, number: u32) {
        self.number.store(number, Ordering::Release);
    }

    /// Its number, once it has started.
    pub fn get(&self) -> Option<u32> {
        Some(self.number.load(Ordering::Acquire)).filter(|&number| number != 0)
    }
}

/// What the processes have spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTime {
    /// Upper bound since the job started.
    pub spent: Duration,
    /// Whether no process can have been missed since the reading before.
    pub complete: bool,
}

/// The processes of a job.
#[derive(Debug)]
pub struct ProcessTree {
    kernel: Kernel,
    job: JobProcess,
    /// The process that waits for the job's first one, and for orphans if it is a subreaper: every child of it is the job's.
    waiter: Option<Waiter>,
    living: HashMap<u32, Stat>,
    /// The first process is there, and the kernel shows nothing of it.
    hides_first: bool,
    last_number: Option<u32>,
    ticks: u64,
    most_living: u64,
    bound: Duration,
}

#[derive(Debug)]
struct Waiter {
    number: u32,
    reaped: u64,
}

impl ProcessTree {
    /// The processes under `job`. `waiter` is the process that started it, if we are that: its other children are then the
    /// job's too, and what it waits for is counted.
    pub fn new(kernel: Kernel, job: JobProcess, waiter: Option<u32>) -> Self {
        let read = |number| Some(Waiter { number, reaped: Stat::read(&kernel, number)?.reaped });
        let waiter = waiter.and_then(read);
        let last_number = stat::last_number(&kernel);
        Self {
            kernel,
            job,
            waiter,
            living: HashMap::new(),
            hides_first: false,
            last_number,
            ticks: 0,
            most_living: 0,
            bound: Duration::ZERO,
        }
    }

    /// The processes that were alive at the last reading.
    pub fn living(&self) -> impl Iterator<Item = u32> + '_ {
        self.living.keys().copied()
    }

    /// Whether one of them was still at work at the last reading.
    pub fn is_running(&self) -> bool {
        self.living.values().any(|process| !process.has_ended)
    }

    /// The job's first process, where the kernel hides it (`hidepid`, and it is another user's): nothing is known of it, nor of
    /// those it started.
    pub fn hidden_first(&self) -> Option<u32> {
        self.job.get().filter(|_| self.hides_first)
    }

    /// Reads all processes. `usage` is what the kernel told of the job's first process and all it waited for when it ended.
    pub fn read(&mut self, usage: Option<Duration>) -> ProcessorTime {
        let Some(root) = self.job.get() else {
            return ProcessorTime { spent: self.bound, complete: true };
        };
        // Before the processes: one that is forked after this line has a number that the next reading tries.
        let last_number = stat::last_number(&self.kernel);
        let before = std::mem::take(&mut self.living);
        let mut delta = Delta::default();
        for (&number, old) in &before {
            if let Some(new) = Stat::read(&self.kernel, number).filter(|new| new.started == old.started) {
                delta.risen += new.total().saturating_sub(old.total());
                self.living.insert(number, new);
            }
        }
        let mut inherited: HashMap<u32, u64> = HashMap::new();
        for (&number, new) in &self.living {
            let old = before.get(&number).map_or(0, |old| old.reaped);
            inherited.insert(number, new.reaped.saturating_sub(old));
        }
        self.read_waiter(&mut delta, &mut inherited);
        delta.risen += self.find_new(root, &before, last_number);
        self.hides_first |= usage.is_none() && !self.living.contains_key(&root) && is_hidden(&self.kernel, root);
        let forked = last_number.is_none() || last_number != self.last_number;
        self.last_number = last_number;

        let missed_unseen = forked && self.living.values().any(|process| process.ignores_children);
        let lost = self.account_for_ended(&before, &inherited, usage, &mut delta);
        self.ticks += delta.risen.saturating_sub(delta.inherited);
        self.most_living = self.most_living.max(self.living.len() as u64 + 1);
        let rounded = self.ticks + ROUNDED_FIGURES * self.most_living;
        let read = Duration::from_millis(rounded.saturating_mul(1000 / TICKS_PER_SECOND));
        self.bound = self.bound.max(read).max(usage.unwrap_or_default());
        ProcessorTime { spent: self.bound, complete: !lost && !missed_unseen && !self.hides_first }
    }

    fn read_waiter(&mut self, delta: &mut Delta, inherited: &mut HashMap<u32, u64>) {
        let Some(waiter) = &mut self.waiter else { return };
        if let Some(new) = Stat::read(&self.kernel, waiter.number) {
            let rise = new.reaped.saturating_sub(waiter.reaped);
            waiter.reaped = new.reaped;
            delta.risen += rise;
            inherited.insert(waiter.number, rise);
        }
    }

    /// Adds processes that came since the last reading; gives their time so far.
    fn find_new(&mut self, root: u32, before: &HashMap<u32, Stat>, last_number: Option<u32>) -> u64 {
        let mut candidates: HashMap<u32, Stat> = HashMap::new();
        for number in self.new_numbers(root, before.is_empty(), last_number) {
            if !self.living.contains_key(&number)
                && let Some(stat) = Stat::read(&self.kernel, number)
            {
                candidates.insert(number, stat);
            }
        }
        let mut time = 0;
        loop {
            let waiter = self.waiter.as_ref().map(|waiter| waiter.number);
            let is_ours = |number: u32, stat: &Stat| {
                let adopted = Some(stat.parent) == waiter && !own_process::is_ours(number);
                number == root || adopted || self.living.contains_key(&stat.parent)
            };
            let found: Vec<u32> =
                candidates.iter().filter(|(number, stat)| is_ours(**number, stat)).map(|(&number, _)| number).collect();
            if found.is_empty() {
                return time;
            }
            for number in found {
                let Some(stat) = candidates.remove(&number) else { continue };
                if !is_thread(&self.kernel, number) {
                    time += stat.total();
                    self.living.insert(number, stat);
                }
            }
        }
    }

    /// Numbers that processes may have got since the last reading. The kernel gives them out in order, and starts again from
    /// the lowest free one at the end.
    fn new_numbers(&self, root: u32, first: bool, last_number: Option<u32>) -> Vec<u32> {
        let since =
            if first { self.last_number.map(|last| last.min(root.saturating_sub(1))) } else { self.last_number };
        match (since, last_number) {
            (Some(since), Some(last)) if last >= since && last - since <= NUMBERS_TO_TRY => {
                let mut numbers: Vec<u32> = (since + 1..=last).collect();
                if first {
                    numbers.push(root);
                }
                numbers
            }
            _ => self.kernel.names("proc").iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    /// Takes off what those that ended had been counted with, where the one that waited for them now has it. `true` if one
    /// ended whose time cannot be found again.
    fn account_for_ended(
        &self,
        before: &HashMap<u32, Stat>,
        inherited: &HashMap<u32, u64>,
        usage: Option<Duration>,
        delta: &mut Delta,
    ) -> bool {
        let mut left_to: HashMap<Option<u32>, u64> = HashMap::new();
        for (&number, old) in before {
            if !self.living.contains_key(&number) {
                *left_to.entry(self.heir(old.parent, before)).or_default() += old.total();
            }
        }
        let usage =
            usage.map_or(0, |usage| u64::try_from(usage.as_millis()).unwrap_or(u64::MAX) * TICKS_PER_SECOND / 1000);
        let mut lost = false;
        for (heir, left) in left_to {
            let found = heir.and_then(|heir| inherited.get(&heir)).copied().unwrap_or(0);
            if found >= left {
                delta.inherited += left;
            } else if heir.is_some() || usage < left {
                lost = true;
            }
        }
        lost
    }

    /// The nearest process above that is still there and was told apart before.
    fn heir(&self, parent: u32, before: &HashMap<u32, Stat>) -> Option<u32> {
        let mut number = parent;
        // A chain of parents is no longer than the number of processes.
        for _ in 0..=before.len() {
            let is_waiter = self.waiter.as_ref().is_some_and(|waiter| waiter.number == number);
            if is_waiter || self.living.contains_key(&number) {
                return Some(number);
            }
            number = before.get(&number)?.parent;
        }
        None
    }
}

/// Ticks of one reading.
#[derive(Debug, Default)]
struct Delta {
    risen: u64,
    inherited: u64,
}

#[cfg(test)]
mod tests;
