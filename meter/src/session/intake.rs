//! What comes in: events of hooks and devices, each of which becomes an entry of the run.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use flopsmeter_core::facts::HookMessage;
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{DevicesSeen, Hook, HookLost, Samples};
use flopsmeter_core::sample::Sample;

use super::{HOOK_PATIENCE, Session};
use crate::hook::server::{HookEvent, HookWhat};
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

    /// Reads both channels to their end, for a bounded time: that of hooks ends by itself, on a machine that stalls a little later, and
    /// that of devices may hang with the driver. What is not read by then leaves the record incomplete.
    pub(super) fn drain(&mut self) {
        if let Some(hooks) = self.hooks.take() {
            let deadline = self.clock.elapsed() + HOOK_PATIENCE * 20;
            while let Some(event) = self.next_before(deadline, &hooks) {
                self.hear(event);
            }
        }
        self.enter_gathered();
        let mut samples = Vec::new();
        if let Some(devices) = self.devices.take() {
            let deadline = self.clock.elapsed() + HOOK_PATIENCE * 4;
            while let Some(event) = self.next_before(deadline, &devices) {
                self.read(event, &mut samples);
            }
        }
        self.enter_samples(samples);
    }

    /// Of a channel that is never empty nothing more is taken when the time is over.
    fn next_before<E>(&self, deadline: Duration, receiver: &Receiver<E>) -> Option<E> {
        let left = deadline.checked_sub(self.clock.elapsed())?;
        receiver.recv_timeout(left).ok()
    }

    fn hear(&mut self, event: HookEvent) {
        let connection = event.connection;
        let finding = event.what.finding();
        let reason = match event.what {
            HookWhat::Message(message) => {
                self.fed = true;
                self.hear_message(connection, message);
                return;
            }
            HookWhat::Lost(lost) => lost.to_string(),
            // What the refused ones were fed is missing, which the loss of a connection says to whoever sums up.
            HookWhat::Overflow(_) => "refused: too many hooks were connected".to_owned(),
        };
        self.enter_gathered();
        self.enter(self.clock.now(), &Body::HookLost(HookLost { connection, reason }));
        if let Some(finding) = finding {
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
            SamplerEvent::Samples(read) => samples.extend(read),
        }
    }

    fn enter_samples(&mut self, samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.enter(self.clock.now(), &Body::Samples(Samples { samples }));
        }
    }
}
