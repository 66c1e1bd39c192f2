//! The driver's side of a round: which GPUs are the job's, and what they said.
//!
//! The process that asks the driver may end or hang: then its time is missing, and another one is started after a while.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, GpuReading, Reading, Sample};

use super::source::Source;
use super::{Message, SamplerOptions};
use crate::claim::further::unclaimed;
use crate::claim::{Claim, GpuEnvironment, GpuRequest, OpenableNodes, claim, may_use_gpus};
use crate::clock::{SessionClock, monotonic_nanoseconds};
use crate::daemon::DaemonConnection;
use crate::device::Kernel;
use crate::device::cpu::nanoseconds;
use crate::device::nvml::process::{DriverProcess, Heard, ReaderCommand};
use crate::device::nvml::reader::Order;
use crate::device::nvml::{ListedGpu, Listing};

/// A reading that takes longer than this will not come: the process is given up.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// Between the end of a process and the start of the next one: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A daemon that has not pushed for so many periods is asked.
const PUSHES_MISSED: u32 = 5;

/// What was pushed longer ago has another clock.
const OLDEST_PUSHED: Duration = Duration::from_hours(1);

const ENDED: &str = "the process that asks the NVIDIA driver ended, as when the driver's library crashes";
const DAEMON_ENDED: &str = "the daemon that read the GPUs ended or did not answer";
const HANGS: &str = "the NVIDIA driver does not answer: the process that asks it was given up";
const ASK_NVIDIA_SMI: &str = "see whether `nvidia-smi` works";
const LATE: &str = "the NVIDIA driver did not answer in time";

pub(super) struct Driver {
    clock: SessionClock,
    kernel: Kernel,
    gpus: GpuRequest,
    environment: GpuEnvironment,
    listing_patience: Duration,
    period: Duration,
    ordered_at: Duration,
    command: Option<ReaderCommand>,
    library: Option<PathBuf>,
    answers: Sender<Message>,
    /// Where a daemon may listen; empty once it was tried.
    daemons: Vec<PathBuf>,
    process: Option<Source>,
    /// Our own process and its turn, while a daemon reads: it is asked for processes, and takes over where the daemon ends.
    own: Option<(u32, Source)>,
    /// When the daemon last pushed readings without being asked.
    pushed_at: Option<Duration>,
    /// What has to be told besides the claim.
    notes: Vec<Finding>,
    /// Counts the processes: what an earlier one still says is not heard.
    turn: u32,
    pause: Duration,
    state: State,
    /// Whether nobody has asked the driver because the job is to use no GPU, and somebody could.
    asleep: bool,
    /// When the driver was asked for its GPUs.
    asked_at: Duration,
    /// The GPUs that it has listed and that may be opened here.
    present: Vec<ListedGpu>,
    /// UUIDs in the order of readings.
    watched: Vec<String>,
    told_until: Duration,
}

#[derive(Debug)]
enum State {
    /// The GPUs are not known yet.
    Listing,
    /// They are, and have to be told.
    Claimed(Claim),
    /// A daemon is asked whether it reads them.
    Joining {
        since: Duration,
    },
    Idle,
    /// A reading was ordered and has not come.
    Reading,
    /// The process is gone; the next one is started at this time.
    Lost {
        reason: &'static str,
        again_at: Duration,
    },
    /// The next one has not listed its GPUs yet.
    Returning {
        reason: &'static str,
    },
    /// There is nothing to read, or nobody to ask.
    Over,
}

impl Driver {
    pub(super) fn start(options: &SamplerOptions, answers: Sender<Message>) -> Self {
        let mut driver = Self {
            clock: options.clock,
            kernel: options.kernel.clone(),
            gpus: options.gpus.clone(),
            environment: options.environment.clone(),
            listing_patience: options.listing_patience,
            period: options.period,
            ordered_at: Duration::ZERO,
            command: options.reader.clone(),
            library: options.nvml_library.clone(),
            answers,
            daemons: options.daemons.clone(),
            process: None,
            pushed_at: None,
            notes: Vec::new(),
            own: None,
            turn: 0,
            pause: FIRST_PAUSE,
            state: State::Listing,
            asleep: false,
            asked_at: Duration::ZERO,
            present: Vec::new(),
            watched: Vec::new(),
            told_until: Duration::ZERO,
        };
        let plays_trace = driver.command.as_ref().is_some_and(|command| command.plays_trace);
        if driver.command.is_none() {
            driver.state = State::Claimed(Claim::default());
        } else if !may_use_gpus(&options.gpus, &options.environment) {
            driver.state = State::Claimed(claim(&options.gpus, &options.environment, &[]));
            driver.asleep = !plays_trace && (driver.library.is_some() || driver.has_nodes(|_| true));
        } else if driver.library.is_none() && !plays_trace && !driver.has_nodes(|_| true) {
            let reason = "there is no device node of one";
            driver.state = State::Claimed(driver.without_driver(reason));
        } else if let Err(reason) = driver.start_process() {
            driver.state = State::Claimed(driver.without_driver(&reason));
        }
        driver
    }

    fn start_process(&mut self) -> Result<(), String> {
        let Some(command) = &self.command else { return Err("nobody is to be asked".to_owned()) };
        self.turn = self.turn.wrapping_add(1);
        let hear = self.hear(self.turn);
        match DriverProcess::start(command, self.library.as_deref(), hear) {
            Ok(process) => self.process = Some(Source::Process(process)),
            Err(problem) => {
                return Err(format!("{} cannot be started to ask it: {problem}", command.program.display()));
            }
        }
        Ok(())
    }

    fn hear(&self, turn: u32) -> impl Fn(Heard) + Send + use<> {
        let answers = self.answers.clone();
        move |heard| {
            // If the sampler has stopped, nobody wants to know.
            let _ = answers.send(Message::Driver(turn, heard));
        }
    }

    /// Whether this process is the present one.
    pub(super) fn is_turn(&self, turn: u32) -> bool {
        self.process.is_some() && self.turn == turn
    }

    fn order_process(&mut self, order: &Order) -> bool {
        self.process.as_mut().is_some_and(|process| process.order(order))
    }

    /// Asks a daemon, if there is one. Which GPUs are the job's was asked by a process of ours, since a container or a scheduler
    /// may leave it others than the daemon sees, under the same numbers; UUIDs are the same everywhere. Tried once: whoever has
    /// lost a daemon does not look for another one.
    fn join(&mut self) -> bool {
        let turn = self.turn.wrapping_add(1);
        let Some(daemon) = DaemonConnection::open(&std::mem::take(&mut self.daemons), self.hear(turn)) else {
            return false;
        };
        self.own = self.process.replace(Source::Daemon(daemon)).map(|process| (self.turn, process));
        self.turn = turn;
        self.state = State::Joining { since: self.clock.elapsed() };
        true
    }

    fn watches_only(&self, present: &[ListedGpu]) -> bool {
        let instances = present.iter().flat_map(|gpu| &gpu.instances).map(|instance| &instance.uuid);
        let known: BTreeSet<&String> = present.iter().map(|gpu| &gpu.uuid).chain(instances).collect();
        self.watched.iter().all(|device| known.contains(device))
    }

    /// The daemon reads from here on.
    fn settle(&mut self, now: Duration) {
        self.notes.extend(self.process.as_ref().and_then(Source::daemon).map(DaemonConnection::told));
        self.watch_again(DAEMON_ENDED, now);
    }

    /// Our own process does.
    fn stay(&mut self, now: Duration) {
        if let Some((turn, process)) = self.own.take() {
            self.turn = turn;
            self.process = Some(process);
        }
        self.watch_again(ENDED, now);
    }

    /// What has to be told besides the claim.
    pub(super) fn take_notes(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.notes)
    }

    /// The driver has listed its GPUs, or cannot.
    pub(super) fn listed(&mut self, listing: Listing, now: Duration) {
        match (&self.state, listing) {
            (State::Listing, Listing::Gpus(listed)) => {
                self.present = OpenableNodes::narrow(&self.kernel, listed);
                self.state = State::Claimed(claim(&self.gpus, &self.environment, &self.present));
            }
            (State::Listing, Listing::Unavailable { reason }) => {
                self.state = State::Claimed(self.without_driver(&reason));
            }
            (State::Joining { .. }, Listing::Gpus(present)) if self.watches_only(&present) => self.settle(now),
            (State::Joining { .. }, _) => self.stay(now),
            (&State::Returning { reason }, Listing::Gpus(_)) => self.watch_again(reason, now),
            (&State::Returning { reason }, Listing::Unavailable { .. }) => self.lose(reason, now),
            _ => {}
        }
    }

    fn watch_again(&mut self, reason: &'static str, now: Duration) {
        if self.order_process(&Order::Watch(self.watched.clone())) {
            self.state = State::Idle;
        } else {
            self.lose(reason, now);
        }
    }

    /// The process has ended.
    pub(super) fn ended(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Joining { .. } => {
                self.stay(now);
                Vec::new()
            }
            State::Listing => {
                self.process = None;
                self.state = State::Claimed(self.without_driver(ENDED));
                Vec::new()
            }
            State::Claimed(_) | State::Over => {
                self.process = None;
                Vec::new()
            }
            State::Idle | State::Reading | State::Lost { .. } | State::Returning { .. } => {
                self.lose_and_miss(ENDED, now)
            }
        }
    }

    fn lose(&mut self, reason: &'static str, now: Duration) {
        if let Some(Source::Daemon(daemon)) = self.process.take() {
            self.notes.push(daemon.lost());
            return self.stay(now);
        }
        self.own = None;
        self.state = State::Lost { reason, again_at: now.saturating_add(self.pause) };
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// The time since the last reading of whoever is gone is missing.
    fn lose_and_miss(&mut self, reason: &'static str, now: Duration) -> Vec<Sample> {
        let missing = self.miss_because(now, if self.is_daemon() { DAEMON_ENDED } else { reason });
        self.lose(reason, now);
        missing
    }

    fn is_daemon(&self) -> bool {
        self.process.as_ref().and_then(Source::daemon).is_some()
    }

    /// Whether this process is our own while a daemon reads.
    pub(super) fn is_own(&self, turn: u32) -> bool {
        self.own.as_ref().is_some_and(|(own, _)| *own == turn)
    }

    /// Our own process has ended while a daemon read: whoever is started next is asked for everything.
    pub(super) fn own_ended(&mut self, now: Duration) -> Vec<Sample> {
        self.process = None;
        self.lose_and_miss(ENDED, now)
    }

    /// Past its patience, GPUs that are not known are told as unreadable: the ceiling has no bound then.
    pub(super) fn give_up_listing(&mut self, now: Duration) {
        if matches!(self.state, State::Listing) && now >= self.asked_at.saturating_add(self.listing_patience) {
            self.process = None;
            let reason = "the NVIDIA driver did not say in time which GPUs there are";
            self.state = State::Claimed(unreadable(reason, ASK_NVIDIA_SMI));
        }
    }

    fn has_nodes(&self, further: impl Fn(&str) -> bool) -> bool {
        // `dxg` is Windows' own under WSL; Jetson boards name their nodes in two other ways.
        let nvidia = |name: &String| {
            ["nvidia", "nvhost", "nvgpu", "dxg"].iter().any(|start| name.starts_with(start)) && further(name)
        };
        self.kernel.names("dev").iter().any(nvidia)
    }

    /// A machine without a driver has no NVIDIA GPU that a job could use, unless it shows device nodes or the user names GPUs.
    fn without_driver(&self, reason: &str) -> Claim {
        // The driver's own nodes (`nvidiactl`, `nvidia-uvm`) are there without a GPU, too.
        let is_gpu = |name: &str| name.strip_prefix("nvidia").is_none_or(|number| number.parse::<u32>().is_ok());
        let shown = self.has_nodes(is_gpu);
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
    pub(super) fn take_claim(&mut self) -> Option<(Vec<ListedGpu>, Claim)> {
        let State::Claimed(claim) = &mut self.state else { return None };
        let mut claim = std::mem::take(claim);
        let readable = claim.devices.iter().filter(|device| matches!(device.facts, DeviceFacts::Gpu(_)));
        self.watched = readable.map(|device| device.id.clone()).collect();
        if self.watched.is_empty() && unclaimed(&claim, &self.present).is_empty() {
            self.process = None;
            self.state = State::Over;
        } else if !self.join() {
            self.watch_again(ENDED, self.clock.elapsed());
        }
        if !claim.rule.is_empty() {
            let text = format!("{} claimed, by this rule: {}", count(claim.devices.len()), claim.rule);
            claim.findings.push(Finding { code: "gpus-claimed".to_owned(), text });
        }
        Some((self.present.clone(), claim))
    }

    /// Whether nobody has asked the driver because the job is to use no GPU, and somebody could.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Whether there may be GPUs, and nobody to ask about them.
    pub(super) fn is_refused(&self) -> bool {
        self.command.is_none() && self.has_nodes(|_| true)
    }

    /// The job uses GPUs all the same: the driver is asked.
    pub(super) fn wake(&mut self, now: Duration) {
        (self.asleep, self.asked_at) = (false, now);
        self.state = match self.start_process() {
            Ok(()) => State::Listing,
            Err(reason) => State::Claimed(self.without_driver(&reason)),
        };
    }

    /// The GPUs of the job have become more.
    pub(super) fn watch_also(&mut self, devices: &[Device], now: Duration) {
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

    /// Which process is asked for processes, by its turn.
    pub(super) fn turn(&self) -> u32 {
        self.own.as_ref().map_or(self.turn, |(own, _)| *own)
    }

    /// Asks for processes. `false` if nobody can be asked now.
    pub(super) fn list_processes(&mut self, devices: Vec<String>) -> bool {
        let order = Order::Processes(devices);
        matches!(self.state, State::Idle | State::Reading)
            && match &mut self.own {
                Some((_, process)) => process.order(&order),
                None => self.order_process(&order),
            }
    }

    /// Whether an answer is outstanding.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Listing | State::Joining { .. } | State::Reading)
    }

    /// Orders a reading, unless a daemon pushes them. Where one that was ordered a round before has not come, that time is missing.
    pub(super) fn order(&mut self, now: Duration) -> Vec<Sample> {
        let pushed = |at| now.saturating_sub(at) < self.period.saturating_mul(PUSHES_MISSED);
        if matches!(self.state, State::Idle) && self.pushed_at.is_some_and(pushed) {
            return Vec::new();
        }
        self.order_now(now)
    }

    /// The same, whoever pushes: the last reading has to be made after the job's end.
    pub(super) fn order_now(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Idle if self.watched.is_empty() => Vec::new(),
            State::Idle => {
                if self.order_process(&Order::Read) {
                    self.state = State::Reading;
                    self.ordered_at = now;
                    return Vec::new();
                }
                self.lose_and_miss(ENDED, now)
            }
            State::Joining { since } => {
                if now.saturating_sub(since) >= self.period {
                    self.stay(now);
                }
                Vec::new()
            }
            State::Reading => self.wait_on(now),
            State::Lost { reason, again_at } => {
                if now >= again_at {
                    self.state = State::Returning { reason };
                    self.ordered_at = now;
                    if self.start_process().is_err() {
                        self.lose(reason, now);
                    }
                }
                self.miss_because(now, reason)
            }
            State::Returning { reason } => {
                if now.saturating_sub(self.ordered_at) >= HANGS_AFTER {
                    self.lose(reason, now);
                }
                self.miss_because(now, reason)
            }
            State::Listing | State::Claimed(_) | State::Over => Vec::new(),
        }
    }

    fn wait_on(&mut self, now: Duration) -> Vec<Sample> {
        let waited = now.saturating_sub(self.ordered_at);
        if waited >= HANGS_AFTER {
            return self.lose_and_miss(HANGS, now);
        }
        if waited < self.period / 2 { Vec::new() } else { self.miss(now) }
    }

    /// The time since the last answer is missing, if one is outstanding.
    pub(super) fn miss(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Reading | State::Joining { .. } => self.miss_because(now, LATE),
            State::Lost { reason, .. } | State::Returning { reason } => self.miss_because(now, reason),
            _ => Vec::new(),
        }
    }

    fn miss_because(&mut self, now: Duration, reason: &str) -> Vec<Sample> {
        let missing = (0..self.watched.len()).map(|_| Err(reason.to_owned())).collect();
        self.samples(missing, now)
    }

    /// Readings have come. One that comes late covers the time that was not yet told as missing; what it proves idle is no less
    /// proven.
    pub(super) fn taken(&mut self, readings: Vec<Result<GpuReading, String>>, now: Duration) -> Vec<Sample> {
        if !matches!(self.state, State::Reading) {
            return Vec::new();
        }
        self.state = State::Idle;
        self.pause = FIRST_PAUSE;
        self.samples(readings, now)
    }

    /// A daemon has pushed readings, which were made by then and after it did so before. However late they are taken, they cover
    /// just that time; where that was told as missing meanwhile they are of no more use.
    pub(super) fn pushed(
        &mut self,
        readings: Vec<Result<GpuReading, String>>,
        at_nanoseconds: u64,
        now: Duration,
    ) -> Vec<Sample> {
        let age = Duration::from_nanos(monotonic_nanoseconds().saturating_sub(at_nanoseconds));
        let until = now.saturating_sub(age);
        // A clock that is not ours, as in a time namespace, makes readings that have to be ordered.
        if !matches!(self.state, State::Idle | State::Reading) || age > OLDEST_PUSHED {
            return Vec::new();
        }
        self.pushed_at = Some(now);
        if until <= self.told_until { Vec::new() } else { self.samples(readings, until) }
    }

    fn samples(&mut self, readings: Vec<Result<GpuReading, String>>, until: Duration) -> Vec<Sample> {
        let started = self.clock.at(self.told_until);
        let duration_nanoseconds = nanoseconds(until.saturating_sub(self.told_until));
        self.told_until = self.told_until.max(until);
        let named = self.watched.iter().zip(readings);
        let sample = |(device, reading): (&String, Result<GpuReading, String>)| Sample {
            device: device.clone(),
            started,
            duration_nanoseconds,
            reading: reading.map_or_else(|reason| Reading::Missing { reason }, Reading::Gpu),
        };
        named.map(sample).collect()
    }
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
