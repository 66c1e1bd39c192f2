//! The sending side of the channel, inside the training process.
//!
//! The job comes first: nothing here waits for the meter except the two calls that say so ([`HookClient::connect`] and
//! [`HookClient::close`]), and both are bounded. A meter that reads slowly makes rows pile up in the histogram, which
//! grows with the number of distinct forms of passes and not with time; a meter that is gone makes every call a no-op.

mod clock;
mod outbox;
pub(crate) mod tally;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use flopsmeter_core::facts::{
    Fed, HookFinding, HookMessage, MeterMessage, ModelFacts, PROTOCOL, Passes, Process, Progress, TracedStep,
};

use self::outbox::Outbox;
use self::tally::{Room, Tally};
use crate::hook::frame::FrameReader;

/// Shortest time between two messages of [`HookClient::flush_if_due`].
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// Longest time to wait for a meter that does not accept connections.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// Most findings a process reports; more would say the same again.
const MAXIMUM_FINDINGS: usize = 64;

/// One process's connection to its meter.
///
/// In a child that was forked from this process every call is a no-op: what the child does is not what the parent did,
/// and two writers would tear each other's frames.
#[derive(Debug)]
pub struct HookClient {
    pid: u32,
    link: Link,
    tally: Tally,
    progress: Option<Progress>,
    findings: Vec<HookFinding>,
    findings_sent: usize,
    flushed: Option<Instant>,
    heard: FrameReader,
    world_size: u32,
    stop_after: Option<u64>,
    /// The order came when this rank was beyond its step.
    is_late: bool,
}

/// The state of the connection.
#[derive(Debug)]
enum Link {
    Open(Outbox),
    /// Lost, with the reason until somebody has taken it.
    Lost(Option<String>),
    Closed,
}

impl HookClient {
    /// Connects to the meter's socket and says who speaks; waits one second at most.
    pub fn connect(path: &Path, process: Process) -> io::Result<Self> {
        let outbox = Outbox::connect(path, CONNECT_PATIENCE)?;
        let mut client = Self {
            pid: std::process::id(),
            link: Link::Open(outbox),
            tally: Tally::default(),
            progress: None,
            findings: Vec::new(),
            findings_sent: 0,
            flushed: None,
            heard: FrameReader::default(),
            world_size: process.world_size,
            stop_after: None,
            is_late: false,
        };
        client.send(&HookMessage::Hello { protocol: PROTOCOL, process });
        Ok(client)
    }

    /// Whether what is recorded still reaches somebody.
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_)) && !self.is_in_fork()
    }

    /// Why the connection was lost, the first time this is asked after the loss.
    pub fn take_loss(&mut self) -> Option<String> {
        match &mut self.link {
            Link::Lost(reason) => reason.take(),
            Link::Open(_) | Link::Closed => None,
        }
    }

    /// Tells of a model, or of the same model again after a change; what was recorded before is sent first, so that it
    /// stays with the facts it was recorded under.
    pub fn describe(&mut self, facts: ModelFacts) {
        if !self.is_open() {
            return;
        }
        self.send_tally();
        self.send(&HookMessage::Model(Box::new(facts)));
    }

    /// Adds forward passes of one form to the histogram. No system call but `getpid`.
    pub fn record(&mut self, model: u32, passes: Passes) {
        if !self.is_open() {
            return;
        }
        let (code, text) = match self.tally.add(model, passes) {
            Room::Enough => return,
            Room::WithoutSizes => (
                "sizes-overflow",
                format!(
                    "sequences or images of more than {} different sizes piled up because the meter did not read; packed rows \
                     beyond are counted as one sequence each",
                    tally::MAXIMUM_SIZES
                ),
            ),
            Room::None => (
                "hook-overflow",
                format!(
                    "passes of more than {} different forms piled up because the meter did not read; those beyond are not counted",
                    tally::MAXIMUM_ROWS
                ),
            ),
        };
        self.find(HookFinding { code: code.to_owned(), text });
    }

    /// Tells of a traced step.
    pub fn trace(&mut self, step: TracedStep) {
        if self.is_open() {
            self.send(&HookMessage::Traced(Box::new(step)));
        }
    }

    /// Keeps where the trainer stands for the next flush.
    pub fn progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Keeps a finding for the next flush; the same code is told once, and a bounded number in all.
    pub fn find(&mut self, finding: HookFinding) {
        let known = self.findings.iter().any(|earlier| earlier.code == finding.code);
        if !known && self.findings.len() < MAXIMUM_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Whether to save and stop now that `step` steps are done, as the meter's gate asks of every rank. Takes what has arrived, and
    /// never waits: one system call, to be made after each step.
    ///
    /// A rank that hears of a step that it is already beyond says so and goes on, since the others were to stop before: the meter then
    /// names a later one. Where there is only one rank, it is never too late.
    pub fn should_stop(&mut self, step: u64) -> bool {
        if let Some(after_step) = self.take_order() {
            self.is_late = step > after_step && self.world_size > 1;
            self.stop_after = Some(after_step);
            if self.is_late {
                let text = format!(
                    "a rank heard after step {step} that it should have stopped after step {after_step}, and goes on until the gate \
                     names a later one"
                );
                self.find(HookFinding { code: "gate-heard-late".to_owned(), text });
            }
        }
        !self.is_late && self.stop_after.is_some_and(|after| step >= after)
    }

    /// The last of the orders that have arrived since the last time.
    fn take_order(&mut self) -> Option<u64> {
        if !self.is_open() {
            return None;
        }
        let (Link::Open(outbox), heard) = (&mut self.link, &mut self.heard) else { return None };
        outbox.read_without_waiting(|bytes| heard.push(bytes));
        let mut order = None;
        // Words of a later version are not for this one.
        while let Ok(Some(MeterMessage::Stop { after_step })) = heard.next_of() {
            order = Some(after_step);
        }
        order
    }

    /// [`Self::flush`], unless the last one was less than [`FLUSH_INTERVAL`] ago.
    pub fn flush_if_due(&mut self) {
        let now = clock::now();
        let due = self.flushed.is_none_or(|last| now.duration_since(last) >= FLUSH_INTERVAL);
        if due {
            self.flushed = Some(now);
            self.flush();
        }
    }

    /// Hands over what was recorded since the last time, as far as the socket takes it without waiting.
    pub fn flush(&mut self) {
        if !self.is_open() {
            return;
        }
        let Link::Open(outbox) = &mut self.link else { return };
        if let Err(problem) = outbox.write_without_waiting() {
            self.lose(&problem.to_string());
            return;
        }
        // While the meter lags behind, rows stay in the histogram, where they merge.
        if outbox.is_empty() {
            self.send_pending();
        }
    }

    /// Hands over everything, says goodbye and waits at most `patience` for the socket to take it.
    pub fn close(&mut self, patience: Duration) {
        if !self.is_open() {
            return;
        }
        self.send_pending();
        self.send(&HookMessage::Goodbye);
        let Link::Open(outbox) = &mut self.link else { return };
        match outbox.write_within(patience) {
            Ok(()) => self.link = Link::Closed,
            Err(problem) => self.lose(&problem.to_string()),
        }
    }

    /// Closes this process's copy of the socket without a word: what a forked child does with its parent's connection,
    /// which would otherwise not end before the child does.
    pub fn abandon(&mut self) {
        self.link = Link::Closed;
    }

    fn is_in_fork(&self) -> bool {
        self.pid != std::process::id()
    }

    fn send_pending(&mut self) {
        self.send_tally();
        if let Some(progress) = self.progress.take() {
            self.send(&HookMessage::Progress(progress));
        }
        while let Some(finding) = self.findings.get(self.findings_sent).cloned() {
            self.findings_sent += 1;
            self.send(&HookMessage::Finding(finding));
        }
    }

    fn send_tally(&mut self) {
        for (model, passes) in self.tally.take() {
            self.send(&HookMessage::Fed(Fed { model, passes }));
        }
    }

    fn send(&mut self, message: &HookMessage) {
        let Link::Open(outbox) = &mut self.link else { return };
        if let Err(problem) = outbox.push(message) {
            self.lose(&problem.to_string());
        }
    }

    fn lose(&mut self, reason: &str) {
        self.link = Link::Lost(Some(reason.to_owned()));
        self.tally = Tally::default();
    }
}

#[cfg(test)]
mod tests;
