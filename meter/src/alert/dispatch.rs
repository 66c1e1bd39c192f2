//! Gives alerts to sinks, each in a thread of its own, and gathers what became of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Channel, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use flopsmeter_core::run::{Alert, Finding};

use super::config::Secret;
use super::message::{Message, Sender};
use super::{NotDelivered, Sink, chat, command, mail, webhook};
use crate::clock;

/// How long the end of a run waits for alerts that are on their way.
pub const FINISH_PATIENCE: Duration = Duration::from_secs(3);

/// Alerts that may wait for one sink; a run has a handful in all.
const QUEUE: usize = 32;

/// Pauses before further attempts.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// What became of one alert at one sink.
struct Report {
    sink: usize,
    outcome: Result<(), NotDelivered>,
}

/// A sink and its thread, which is started with the first alert.
struct Lane {
    sink: Sink,
    queue: Option<SyncSender<Arc<Message>>>,
    /// Ids of alerts, in the order in which they are delivered.
    on_its_way: VecDeque<String>,
}

/// An alert that a sink did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Id of the alert.
    pub id: String,
    /// Key of the sink, as in [`Dispatcher::sinks`].
    pub sink: String,
    /// What is to be said of it.
    pub finding: Finding,
}

/// An alert that a sink took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Id of the alert.
    pub id: String,
    /// Key of the sink, as in [`Dispatcher::sinks`].
    pub sink: String,
}

/// What became of alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Taken.
    pub heard: Vec<Heard>,
    /// Not taken.
    pub missed: Vec<Missed>,
}

/// Gives alerts to sinks.
pub struct Dispatcher {
    sender: Sender,
    lanes: Vec<Lane>,
    reports: Receiver<Report>,
    report: Channel<Report>,
}

impl Dispatcher {
    /// For these sinks. Nothing is started yet.
    pub fn new(sinks: Vec<Sink>, sender: Sender) -> Self {
        let (report, reports) = channel();
        let lanes = sinks.into_iter().map(|sink| Lane { sink, queue: None, on_its_way: VecDeque::new() }).collect();
        Self { sender, lanes, reports, report }
    }

    /// Keys of the sinks: the same for the same place in every run.
    pub fn sinks(&self) -> BTreeSet<String> {
        self.lanes.iter().map(|lane| lane.sink.key()).collect()
    }

    /// Gives an alert to each of these sinks, or to all, without waiting. Returns what cannot even be tried.
    pub fn give(&mut self, alert: &Alert, only: Option<&BTreeSet<String>>) -> Vec<Missed> {
        let message = Arc::new(Message::new(&self.sender, alert));
        let is_told = |lane: &Lane| only.is_none_or(|only| only.contains(&lane.sink.key()));
        let mut missed = Vec::new();
        for (number, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| is_told(lane)) {
            match lane.give(number, Arc::clone(&message), &self.report) {
                Ok(()) => lane.on_its_way.push_back(message.id.clone()),
                Err(cause) => missed.push(lane.missed(number, message.id.clone(), &cause)),
            }
        }
        missed
    }

    /// What has become of them since this was last asked.
    pub fn outcomes(&mut self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        while let Ok(report) = self.reports.try_recv() {
            self.take(report, &mut outcomes);
        }
        outcomes
    }

    /// Waits until everything is delivered or has failed, at most for `patience`; what is still on its way then is lost.
    pub fn finish(&mut self, patience: Duration) -> Outcomes {
        let deadline = clock::monotonic() + patience;
        let mut outcomes = Outcomes::default();
        while self.lanes.iter().any(|lane| !lane.on_its_way.is_empty()) {
            match self.reports.recv_timeout(deadline.saturating_duration_since(clock::monotonic())) {
                Ok(report) => self.take(report, &mut outcomes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let late = core::mem::take(&mut lane.on_its_way);
            let why = "it had not taken it when the job had ended";
            outcomes.missed.extend(late.into_iter().map(|id| lane.missed(number, id, why)));
        }
        outcomes
    }

    fn take(&mut self, report: Report, outcomes: &mut Outcomes) {
        let Some(lane) = self.lanes.get_mut(report.sink) else { return };
        let id = lane.on_its_way.pop_front().unwrap_or_default();
        match report.outcome {
            Ok(()) => outcomes.heard.push(Heard { id, sink: lane.sink.key() }),
            Err(problem) => outcomes.missed.push(lane.missed(report.sink, id, &problem.text)),
        }
    }
}

impl core::fmt::Debug for Dispatcher {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_list().entries(self.lanes.iter().map(|lane| lane.sink.name())).finish()
    }
}

fn finding(number: usize, sink: &Sink, cause: &str) -> Finding {
    let text = format!(
        "an alert did not reach sink {} ({}): {cause}; the ledger has the alert, check the sink's row",
        number + 1,
        sink.name()
    );
    Finding { code: "alert-not-delivered".to_owned(), text }
}

impl Lane {
    fn missed(&self, number: usize, id: String, cause: &str) -> Missed {
        Missed { id, sink: self.sink.key(), finding: finding(number, &self.sink, cause) }
    }

    fn give(&mut self, number: usize, message: Arc<Message>, report: &Channel<Report>) -> Result<(), String> {
        if self.queue.is_none() {
            self.queue = Some(start(self.sink.clone(), number, report.clone()).map_err(|cause| cause.to_string())?);
        }
        let Some(queue) = &self.queue else { return Ok(()) };
        queue.try_send(message).map_err(|problem| match problem {
            TrySendError::Full(_) => format!("{QUEUE} alerts are waiting for it"),
            TrySendError::Disconnected(_) => "its thread has ended".to_owned(),
        })
    }
}

fn start(sink: Sink, number: usize, report: Channel<Report>) -> std::io::Result<SyncSender<Arc<Message>>> {
    let (queue, messages) = sync_channel::<Arc<Message>>(QUEUE);
    let attend = move || {
        for message in messages {
            let outcome = deliver_patiently(&sink, &message, thread::sleep);
            if report.send(Report { sink: number, outcome }).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("alert-sink".to_owned()).spawn(attend)?;
    Ok(queue)
}

fn deliver_patiently(sink: &Sink, message: &Message, pause: impl Fn(Duration)) -> Result<(), NotDelivered> {
    let mut outcome = deliver(sink, message);
    for length in PAUSES {
        match &outcome {
            Err(problem) if problem.may_pass => pause(length),
            _ => return outcome,
        }
        outcome = deliver(sink, message);
    }
    outcome
}

fn deliver(sink: &Sink, message: &Message) -> Result<(), NotDelivered> {
    match sink {
        Sink::Command { command, patience } => command::deliver(command, *patience, message),
        Sink::Webhook { endpoint, secret } => webhook::deliver(endpoint, secret.as_ref().map(Secret::expose), message),
        Sink::Slack { endpoint } => endpoint.post(&chat::slack(message).to_string(), &[]),
        Sink::Teams { endpoint } => endpoint.post(&chat::teams(message).to_string(), &[]),
        Sink::Mail(route) => mail::deliver(route, message),
    }
}

#[cfg(test)]
mod tests;
