//! Sending without waiting.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, TrySendError};

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::body::LaunchSeen;
use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, Reading, Sample};

use super::SamplerEvent;

/// Why a sample is missing that was read and could not be handed on.
const OVERFLOW: &str = "the meter could not keep up: its queue was full";

/// The way to whoever listens. Samples that do not fit are told as missing later; devices and launches are kept until they fit.
#[derive(Debug)]
pub(super) struct Outbox {
    events: SyncSender<SamplerEvent>,
    devices: Vec<Device>,
    findings: Vec<Finding>,
    launches: Vec<LaunchSeen>,
    announced: bool,
    /// Start and end of what did not fit, by device.
    dropped: BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
}

impl Outbox {
    pub(super) fn new(events: SyncSender<SamplerEvent>) -> Self {
        let (devices, findings, launches) = (Vec::new(), Vec::new(), Vec::new());
        Self { events, devices, findings, launches, announced: false, dropped: BTreeMap::new() }
    }

    /// Whether devices have been told, so that samples may follow.
    pub(super) fn is_open(&self) -> bool {
        self.announced
    }

    pub(super) fn announce(&mut self, devices: Vec<Device>, findings: Vec<Finding>) {
        self.announced |= !devices.is_empty();
        self.devices.extend(devices);
        self.findings.extend(findings);
        self.flush();
    }

    pub(super) fn tell(&mut self, launches: Vec<LaunchSeen>) {
        if !launches.is_empty() {
            self.launches.extend(launches);
            self.flush();
        }
    }

    pub(super) fn send(&mut self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        if !self.flush() {
            return self.drop(samples);
        }
        let mut all = self.missing();
        all.extend(samples);
        match self.try_send(SamplerEvent::Samples(all)) {
            Ok(()) => self.dropped.clear(),
            Err(SamplerEvent::Samples(all)) => self.drop(all),
            Err(_) => {}
        }
    }

    /// Sends what has to come before samples. `false` if it does not fit.
    fn flush(&mut self) -> bool {
        self.flush_devices() && self.flush_launches()
    }

    fn flush_devices(&mut self) -> bool {
        if self.devices.is_empty() && self.findings.is_empty() {
            return true;
        }
        let event = SamplerEvent::Devices(std::mem::take(&mut self.devices), std::mem::take(&mut self.findings));
        let Err(unsent) = self.try_send(event) else { return true };
        if let SamplerEvent::Devices(devices, findings) = unsent {
            (self.devices, self.findings) = (devices, findings);
        }
        false
    }

    fn flush_launches(&mut self) -> bool {
        if self.launches.is_empty() {
            return true;
        }
        let event = SamplerEvent::Launches(std::mem::take(&mut self.launches));
        let Err(unsent) = self.try_send(event) else { return true };
        if let SamplerEvent::Launches(launches) = unsent {
            self.launches = launches;
        }
        false
    }

    fn try_send(&self, event: SamplerEvent) -> Result<(), SamplerEvent> {
        self.events.try_send(event).map_err(|problem| match problem {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }

    fn drop(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            let ended = sample.ended().unwrap_or(sample.started);
            let (from, until) = self.dropped.entry(sample.device).or_insert((sample.started, ended));
            *from = sample.started.min(*from);
            *until = ended.max(*until);
        }
    }

    fn missing(&self) -> Vec<Sample> {
        let sample = |(device, (from, until)): (&String, &(DateTime<Utc>, DateTime<Utc>))| Sample {
            device: device.clone(),
            started: *from,
            duration_nanoseconds: (*until - *from)
                .num_nanoseconds()
                .and_then(|length| length.try_into().ok())
                .unwrap_or(0),
            reading: Reading::Missing { reason: OVERFLOW.to_owned() },
        };
        self.dropped.iter().map(sample).collect()
    }

    /// What was never sent.
    pub(super) fn into_unsent(mut self) -> Vec<SamplerEvent> {
        let mut unsent = Vec::new();
        if !self.devices.is_empty() || !self.findings.is_empty() {
            unsent.push(SamplerEvent::Devices(std::mem::take(&mut self.devices), std::mem::take(&mut self.findings)));
        }
        if !self.launches.is_empty() {
            unsent.push(SamplerEvent::Launches(std::mem::take(&mut self.launches)));
        }
        let missing = self.missing();
        if !missing.is_empty() {
            unsent.push(SamplerEvent::Samples(missing));
        }
        unsent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use flopsmeter_core::sample::DeviceFacts;

    use super::*;

    fn sample(second: i64) -> Sample {
        Sample {
            device: "GPU-1".to_owned(),
            started: DateTime::from_timestamp(second, 0).unwrap(),
            duration_nanoseconds: 1_000_000_000,
            reading: Reading::Cpu { cpu_time_nanoseconds: 1, complete: true, package_energy_microjoules: None },
        }
    }

    fn device() -> Device {
        let facts = DeviceFacts::Unreadable { reason: "test".to_owned() };
        Device { id: "GPU-1".to_owned(), name: "GPU".to_owned(), facts }
    }

    #[test]
    fn what_does_not_fit_is_told_as_missing_when_there_is_room() {
        let (sender, receiver) = sync_channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.announce(vec![device()], Vec::new());
        outbox.send(vec![sample(0)]);
        outbox.send(vec![sample(1)]);
        assert!(matches!(receiver.recv().unwrap(), SamplerEvent::Devices(..)));
        outbox.send(vec![sample(2)]);
        let SamplerEvent::Samples(samples) = receiver.recv().unwrap() else { panic!("samples") };
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].reading, Reading::Missing { reason: OVERFLOW.to_owned() });
        assert_eq!((samples[0].started, samples[0].duration_nanoseconds), (sample(0).started, 2_000_000_000));
        assert_eq!(samples[1], sample(2));
        assert!(outbox.into_unsent().is_empty());
    }

    #[test]
    fn devices_are_kept_until_they_fit() {
        let (sender, receiver) = sync_channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.announce(vec![device()], Vec::new());
        outbox.announce(vec![device()], Vec::new());
        assert!(outbox.is_open());
        outbox.tell(vec![LaunchSeen::default()]);
        drop(receiver);
        outbox.send(vec![sample(0)]);
        let unsent = outbox.into_unsent();
        assert!(matches!(unsent[0], SamplerEvent::Devices(..)));
        assert!(matches!(&unsent[1], SamplerEvent::Launches(launches) if launches.len() == 1));
        assert!(matches!(&unsent[2], SamplerEvent::Samples(samples) if samples.len() == 1));
    }
}
