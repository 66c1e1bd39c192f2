//! What comes in: events of hooks and devices, each of which becomes an entry of the run.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};

use flopsmeter_core::facts::HookMessage;
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{DevicesSeen, Hook, HookLost, Samples};
use flopsmeter_core::sample::Sample;

use super::{HOOK_PATIENCE, Session};
use crate::hook::server::{HookEvent, HookWhat, LAST_CALL, Lost};
use crate::sampler::SamplerEvent;

/// Events taken in one go, so that committing and progress are never put off for long.
const EVENTS_AT_ONCE: usize = 4096;

impl Session<'_> {
    /// Takes events that the sampler could not send before it stopped.
    pub fn absorb(&mut self, events: Vec<SamplerEvent>) {
        self.take_device_events();
        let mut samples = Vec::new();
        for event in events {
            self.read(event, &mut samples);
        }
        self.enter_samples(samples);
    }

    pub(super) fn take_hook_events(&mut self) {
        for _ in 0..EVENTS_AT_ONCE {
            let Some(receiver) = &self.hooks else { break };
            match receiver.try_recv() {
                Ok(event) => self.hear(event),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.hooks = None,
            }
        }
        self.enter_gathered();
    }

    pub(super) fn take_device_events(&mut self) {
        let mut samples = Vec::new();
        for _ in 0..EVENTS_AT_ONCE {
            let Some(receiver) = &self.devices else { break };
            match receiver.try_recv() {
                Ok(event) => self.read(event, &mut samples),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.devices = None,
            }
        }
        self.enter_samples(samples);
    }

    /// Reads both channels to their end. That of hooks ends by itself, on a machine that stalls a little later, if its thread still
    /// lives; that of devices may hang with the driver, and what is not read in time leaves the ceiling incomplete.
    pub(super) fn drain(&mut self) {
        if let Some(hooks) = self.hooks.take() {
            let silent = loop {
                match hooks.recv_timeout(LAST_CALL) {
                    Ok(event) => self.hear(event),
                    Err(end) => break end == RecvTimeoutError::Timeout,
                }
            };
            if silent {
                self.lose(u32::MAX, &HookWhat::Lost(Lost::TooMuch));
            }
        }
        self.enter_gathered();
        if let Some(devices) = self.devices.take() {
            let deadline = self.clock.elapsed() + HOOK_PATIENCE * 4;
            let mut samples = Vec::new();
            while let Some(left) = deadline.checked_sub(self.clock.elapsed())
                && let Ok(event) = devices.recv_timeout(left)
            {
                self.read(event, &mut samples);
            }
            self.enter_samples(samples);
            self.devices = Some(devices);
        }
        // What lies there when the time is over, and no more.
        self.take_device_events();
        self.devices = None;
    }

    fn hear(&mut self, event: HookEvent) {
        if let HookWhat::Message(message) = event.what {
            self.fed = true;
            self.hear_message(event.connection, message);
        } else {
            self.lose(event.connection, &event.what);
        }
    }

    fn lose(&mut self, connection: u32, what: &HookWhat) {
        let reason = match what {
            HookWhat::Lost(lost) => lost.to_string(),
            // What the refused ones were fed is missing, which the loss of a connection says to whoever sums up.
            _ => "refused: too many hooks were connected".to_owned(),
        };
        self.enter_gathered();
        self.enter(self.clock.now(), &Body::HookLost(HookLost { connection, reason }));
        if let Some(finding) = what.finding() {
            self.find(finding);
        }
    }

    /// What was fed is gathered until everything that has come is taken. What else is said keeps its place among it.
    fn hear_message(&mut self, connection: u32, message: HookMessage) {
        let Some(message) = self.gathered.take_in(connection, message) else { return };
        self.enter_gathered();
        if let Some(message) = self.gathered.take_in(connection, message) {
            self.enter(self.clock.now(), &Body::Hook(Hook { connection, message }));
        }
    }

    fn enter_gathered(&mut self) {
        for (connection, message) in self.gathered.give_out() {
            self.enter(self.clock.now(), &Body::Hook(Hook { connection, message }));
        }
    }

    /// Samples are entered together, behind the devices that they are of.
    fn read(&mut self, event: SamplerEvent, samples: &mut Vec<Sample>) {
        match event {
            SamplerEvent::Devices(devices, findings) => {
                self.enter_samples(core::mem::take(samples));
                if !devices.is_empty() {
                    self.enter(self.clock.now(), &Body::DevicesSeen(DevicesSeen { devices }));
                }
                for finding in findings {
                    self.find(finding);
                }
            }
            SamplerEvent::Launches(launches) => {
                for seen in launches {
                    self.enter(self.clock.now(), &Body::LaunchSeen(seen));
                }
            }
            SamplerEvent::Samples(read) => samples.extend(read),
        }
    }

    fn enter_samples(&mut self, samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.enter(self.clock.now(), &Body::Samples(Samples { samples }));
        }
    }
}
