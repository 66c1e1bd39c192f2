//! The driver's side of a round: which GPUs are the job's, and what they said.

use std::sync::mpsc::Sender;
use std::time::Duration;

use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, GpuReading, Reading, Sample};

use super::{Message, SamplerOptions};
use crate::claim::{Claim, GpuEnvironment, GpuRequest, claim, may_use_gpus};
use crate::clock::SessionClock;
use crate::device::Kernel;
use crate::device::cpu::nanoseconds;
use crate::device::nvml::Listing;
use crate::device::nvml::worker::DriverThread;

pub(super) struct Driver {
    clock: SessionClock,
    kernel: Kernel,
    gpus: GpuRequest,
    environment: GpuEnvironment,
    listing_patience: Duration,
    period: Duration,
    ordered_at: Duration,
    thread: Option<DriverThread>,
    state: State,
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
    Idle,
    /// A reading was ordered and has not come.
    Reading,
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
            thread: None,
            state: State::Listing,
            watched: Vec::new(),
            told_until: Duration::ZERO,
        };
        if !options.ask_driver {
            driver.state = State::Claimed(Claim::default());
            return driver;
        }
        if !may_use_gpus(&options.gpus, &options.environment) {
            driver.listed(Listing::Gpus(Vec::new()));
            return driver;
        }
        let answer = move |answer| {
            // If the sampler has stopped, nobody wants to know.
            let _ = answers.send(Message::Driver(answer));
        };
        match DriverThread::start(options.nvml_library.clone(), answer) {
            Ok(thread) => driver.thread = Some(thread),
            Err(problem) => driver.listed(Listing::Unavailable { reason: problem.to_string() }),
        }
        driver
    }

    /// The driver has listed its GPUs, or cannot.
    pub(super) fn listed(&mut self, listing: Listing) {
        if !matches!(self.state, State::Listing) {
            return;
        }
        self.state = State::Claimed(match listing {
            Listing::Gpus(present) => claim(&self.gpus, &self.environment, &present),
            Listing::Unavailable { reason } => self.without_driver(&reason),
        });
    }

    /// Past its patience, GPUs that are not known are told as unreadable: the ceiling has no bound then.
    pub(super) fn give_up_listing(&mut self, now: Duration) {
        if matches!(self.state, State::Listing) && now >= self.listing_patience {
            let reason = "the NVIDIA driver did not say in time which GPUs there are";
            self.state = State::Claimed(unreadable(reason));
        }
    }

    /// A machine without a driver has no NVIDIA GPU that a job could use, unless it shows device nodes or the user names GPUs.
    fn without_driver(&self, reason: &str) -> Claim {
        let numbered = |name: &String| {
            name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok()) || name == "dxg"
        };
        let shown = self.kernel.names("dev").iter().any(numbered);
        let named = matches!(self.gpus, GpuRequest::All | GpuRequest::Listed(_));
        if shown || named {
            return unreadable(&format!("the NVIDIA driver cannot be asked ({reason})"));
        }
        let text = format!("no NVIDIA driver is here, so only the processor is metered ({reason})");
        let findings = vec![Finding { code: "nvml-unavailable".to_owned(), text }];
        Claim { findings, ..Claim::default() }
    }

    /// The job's GPUs, once.
    pub(super) fn take_claim(&mut self) -> Option<(Vec<Device>, Vec<Finding>)> {
        let State::Claimed(claim) = &mut self.state else { return None };
        let claim = std::mem::take(claim);
        let readable = claim.devices.iter().filter(|device| matches!(device.facts, DeviceFacts::Gpu(_)));
        self.watched = readable.map(|device| device.id.clone()).collect();
        let watches = self.thread.as_ref().is_some_and(|thread| thread.watch(self.watched.clone()));
        self.state = if self.watched.is_empty() || !watches { State::Over } else { State::Idle };
        let mut findings = claim.findings;
        if !claim.rule.is_empty() {
            let text = format!("{} claimed, by this rule: {}", count(claim.devices.len()), claim.rule);
            findings.push(Finding { code: "gpus-claimed".to_owned(), text });
        }
        Some((claim.devices, findings))
    }

    /// Whether an answer is outstanding.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Listing | State::Reading)
    }

    /// Orders a reading. Where one that was ordered a round before has not come, that time is missing.
    pub(super) fn order(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Idle if self.thread.as_ref().is_some_and(DriverThread::read) => {
                self.state = State::Reading;
                self.ordered_at = now;
                Vec::new()
            }
            State::Idle => {
                self.state = State::Over;
                self.miss_because(now, "the thread that asks the NVIDIA driver has ended")
            }
            State::Reading if now.saturating_sub(self.ordered_at) < self.period / 2 => Vec::new(),
            State::Reading => self.miss(now),
            State::Over => self.miss_because(now, "the NVIDIA driver is not asked any more"),
            State::Listing | State::Claimed(_) => Vec::new(),
        }
    }

    /// The time since the last answer is missing, if one is outstanding.
    pub(super) fn miss(&mut self, now: Duration) -> Vec<Sample> {
        if !matches!(self.state, State::Reading) {
            return Vec::new();
        }
        self.miss_because(now, "the NVIDIA driver did not answer in time")
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
        self.samples(readings, now)
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

fn unreadable(reason: &str) -> Claim {
    let facts = DeviceFacts::Unreadable { reason: format!("{reason}: what its GPUs did is not bounded") };
    let device = Device { id: "gpu:unknown".to_owned(), name: "NVIDIA GPUs".to_owned(), facts };
    let text = format!("{reason}, so that the hardware ceiling is missing; see whether `nvidia-smi` works");
    let findings = vec![Finding { code: "gpus-unreadable".to_owned(), text }];
    Claim { devices: vec![device], rule: String::new(), findings }
}
