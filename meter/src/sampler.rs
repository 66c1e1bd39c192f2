//! The thread that reads the job's devices while it runs.
//!
//! It never waits for the driver: readings are ordered from the process that asks it and taken when they come. What does not
//! come in time is told as missing. It never waits for whoever listens either: a full queue turns into a gap.

mod claims;
mod driver;
mod neighbours;
mod options;
mod outbox;
mod processors;
mod source;
mod traces;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use flopsmeter_core::ledger::body::LaunchSeen;
use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts, Sample};

use crate::clock::SessionClock;
use crate::device::nvml::GpuProcess;
use crate::device::nvml::process::Heard;
use crate::device::nvml::reader::Answer;
use claims::{Claims, Further};
use driver::{Driver, Relisted};
use outbox::Outbox;
use processors::Processors;
use traces::{Looked, TraceReader};

pub use options::SamplerOptions;

/// What the sampler says.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplerEvent {
    /// The job's devices. The first such event comes before any sample and names all devices that are known; a later one adds
    /// to it (an accelerator that the job opened meanwhile).
    Devices(Vec<Device>, Vec<Finding>),
    /// How much of what was launched is on this node.
    Launches(Vec<LaunchSeen>),
    /// Readings.
    Samples(Vec<Sample>),
}

/// After the session's start: what ends within its first second is looked at as well.
const EARLY_LOOKS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(400)];

/// Readings of the processors that wait for the driver to list its GPUs: two minutes of them, more than it is given.
const MOST_EARLY: usize = 120;

/// Beyond the driver's patience: a file of `/proc` that does not come back (its process is stuck in the kernel) keeps the last
/// reading, and not the job's end.
const LAST_READING_PATIENCE: Duration = Duration::from_secs(3);

/// The running sampler.
#[derive(Debug)]
pub struct Sampler {
    inbox: Sender<Message>,
    patience: Duration,
    last_words: Receiver<LastWords>,
}

/// What the sampler leaves behind.
#[derive(Debug)]
pub struct LastWords {
    /// Events that have not been sent.
    pub unsent: Vec<SamplerEvent>,
    /// Whether a process of the job was still there at the last reading, or may have been.
    pub left_running: bool,
}

enum Message {
    /// From the so-many-th process that asks the driver.
    Driver(u32, Heard),
    Stop(Option<Duration>),
}

impl Sampler {
    /// Starts reading. Events go to `events`, which is never waited for.
    pub fn start(options: SamplerOptions, events: SyncSender<SamplerEvent>) -> std::io::Result<Self> {
        let (inbox, messages) = channel();
        let (last, last_words) = sync_channel(1);
        let answers = inbox.clone();
        let patience = options.driver_patience + LAST_READING_PATIENCE;
        thread::Builder::new().name("flopsmeter-sampler".to_owned()).spawn(move || {
            // Nobody listens any more if the session went on without us.
            let _ = last.send(Round::new(&options, events, answers).run(&messages));
        })?;
        Ok(Self { inbox, patience, last_words })
    }

    /// Reads once more and stops. `usage` is the user and system time that the kernel told when the job's first process was
    /// waited for. A thread that does not end in time is left behind, and what it would have said is a gap.
    pub fn stop(self, usage: Option<Duration>) -> LastWords {
        // If the thread is gone there is nothing to stop, and its last words are lost.
        let _ = self.inbox.send(Message::Stop(usage));
        self.last_words.recv_timeout(self.patience).unwrap_or_else(|_| LastWords {
            unsent: vec![SamplerEvent::Devices(vec![unwatched()], Vec::new())],
            left_running: true,
        })
    }
}

/// What stands for the devices that nobody looked at.
fn unwatched() -> Device {
    let reason =
        "the reader of the devices ended or hung before the job did: what else the job used by then is not known";
    let facts = DeviceFacts::Unreadable { reason: reason.to_owned() };
    Device { id: "unwatched".to_owned(), name: "whatever the job used besides".to_owned(), facts }
}

/// The thread's state.
struct Round {
    clock: SessionClock,
    period: Duration,
    patience: Duration,
    processors: Processors,
    driver: Driver,
    claims: Claims,
    traces: TraceReader,
    /// What they showed before the devices could be told.
    held: Looked,
    /// Readings of the processors from that time.
    early: Vec<Sample>,
    /// For how long the machine was suspended so far.
    suspended: Duration,
    /// There may be GPUs, and nobody is asked about them.
    unread: bool,
    outbox: Outbox,
}

impl Round {
    fn new(options: &SamplerOptions, events: SyncSender<SamplerEvent>, answers: Sender<Message>) -> Self {
        let driver = Driver::start(options, answers);
        Self {
            clock: options.clock,
            unread: driver.is_refused(),
            period: options.period.max(Duration::from_millis(1)),
            patience: options.driver_patience,
            driver,
            processors: Processors::new(options),
            claims: Claims::new(options.kernel.clone()),
            traces: TraceReader::new(options),
            held: Looked::default(),
            early: Vec::new(),
            suspended: Duration::ZERO,
            outbox: Outbox::new(events),
        }
    }

    fn run(mut self, messages: &Receiver<Message>) -> LastWords {
        let usage = self.until_stopped(messages);
        self.last_reading(messages, usage);
        let left_running = self.processors.tree().is_running();
        LastWords { unsent: self.outbox.into_unsent(), left_running }
    }

    /// Reads at whole periods after the session's start; a late round skips those it missed.
    fn until_stopped(&mut self, messages: &Receiver<Message>) -> Option<Duration> {
        let mut next = Duration::ZERO;
        let mut early = EARLY_LOOKS.into_iter().peekable();
        loop {
            self.forgive_suspension();
            let now = self.clock.elapsed();
            if early.next_if(|&due| now >= due).is_some() {
                self.look_early();
            }
            if now >= next {
                self.read();
                let passed = now.as_nanos() / self.period.as_nanos();
                next = u32::try_from(passed).map_or(Duration::MAX, |passed| self.period.saturating_mul(passed + 1));
            }
            let due = early.peek().map_or(next, |&early| next.min(early));
            match messages.recv_timeout(due.saturating_sub(self.clock.elapsed())) {
                Ok(Message::Driver(turn, heard)) => self.hear(turn, heard),
                Ok(Message::Stop(usage)) => return usage,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Between two readings: which processes there are, and what they show.
    fn look_early(&mut self) {
        self.processors.read(None);
        let traced = self.look();
        self.ask_for_processes(traced);
    }

    fn read(&mut self) {
        self.driver.give_up_listing(self.clock.elapsed());
        self.announce();
        self.outbox.announce(Vec::new(), self.driver.take_notes());
        self.processors.read(None);
        if !self.outbox.is_open() {
            // The readings were on time, however long the driver takes to list its GPUs.
            if self.early.len() < MOST_EARLY {
                self.early.extend(self.processors.take());
            }
            self.look();
            return;
        }
        if self.driver.is_recount_due(self.clock.elapsed()) {
            self.recount();
        }
        self.send_processors();
        self.outbox.send(self.driver.order(self.clock.elapsed()));
        let traced = self.look();
        self.ask_for_processes(traced);
    }

    fn send_processors(&mut self) {
        let mut samples = std::mem::take(&mut self.early);
        samples.extend(self.processors.take());
        self.outbox.send(samples);
    }

    /// Whoever was asked could not answer while the machine was suspended.
    fn forgive_suspension(&mut self) {
        let suspended = self.clock.suspended();
        let longer = suspended.saturating_sub(self.suspended);
        if longer >= Duration::from_secs(1) {
            self.suspended = suspended;
            self.driver.forgive(longer);
        }
    }

    fn recount(&mut self) {
        self.driver.recount(self.clock.elapsed());
        self.unread |= self.driver.is_refused();
    }

    /// Tells the devices as soon as it is known which GPUs there are.
    fn announce(&mut self) {
        let Some((present, claim)) = self.driver.take_claim() else { return };
        let processor = (!self.outbox.is_open()).then(|| self.processors.device().clone());
        let devices = processor.into_iter().chain(claim.devices.iter().cloned()).collect();
        let findings = claim.findings.iter().cloned().chain(self.traces.amd_sign()).collect();
        self.outbox.announce(devices, findings);
        self.claims.begin(present, claim);
        let held = std::mem::take(&mut self.held);
        self.tell(held);
        self.judge();
    }

    /// Claims what the job's processes have shown. Not while the driver is asked for its GPUs: of no node can be said yet that it
    /// lists none for it.
    fn judge(&mut self) {
        if self.driver.is_listing() {
            return;
        }
        let further = self.claims.judge(self.traces.traces());
        self.extend(further);
    }

    /// Looks at what the job's processes show. `true` if something is new of NVIDIA's GPUs. Nothing is told before the devices
    /// are, but a process may be gone by then.
    fn look(&mut self) -> bool {
        let is_open = self.outbox.is_open();
        let strange = self.driver.has_strange_node();
        let watched = self.claims.are_open() || self.claims.rest_on_word();
        let gpus = !is_open || watched || strange || self.driver.is_asleep() || self.unread;
        let mut looked = self.traces.look(self.processors.tree().living(), self.processors.rounds(), gpus);
        looked.unreadable.extend(self.traces.hidden(self.processors.tree().hidden_first()));
        if is_open {
            return self.tell(looked);
        }
        self.held.add(looked);
        false
    }

    fn tell(&mut self, looked: Looked) -> bool {
        if !looked.unreadable.is_empty() || !looked.findings.is_empty() {
            self.outbox.announce(looked.unreadable, looked.findings);
        }
        self.outbox.tell(looked.launches);
        if !looked.traced {
            return false;
        }
        if self.unread {
            self.outbox.announce(traces::unread(self.traces.traces()).into_iter().collect(), Vec::new());
        } else if self.driver.is_asleep() {
            self.driver.wake(self.clock.elapsed());
        }
        self.judge();
        true
    }

    fn ask_for_processes(&mut self, traced: bool) {
        let (now, turn) = (self.clock.elapsed(), self.driver.turn());
        if let Some(devices) = self.claims.due(now, traced, turn)
            && self.driver.list_processes(devices.clone())
        {
            self.claims.asked(devices, now, turn);
        }
    }

    /// Devices that turned out to be the job's.
    fn extend(&mut self, (devices, findings): Further) {
        if !devices.is_empty() {
            self.driver.watch_also(&devices, self.clock.elapsed());
        }
        if !devices.is_empty() || !findings.is_empty() {
            self.outbox.announce(devices, findings);
        }
    }

    fn hear_processes(&mut self, lists: Vec<Result<Vec<GpuProcess>, String>>, now: Duration) {
        let further = self.claims.take(lists, self.processors.tree(), self.traces.traces(), now);
        self.extend(further);
    }

    /// The driver may list other GPUs than before.
    fn relist(&mut self, relisted: Relisted) {
        let further = self.claims.relist(relisted, self.traces.traces());
        self.extend(further);
    }

    /// Our own process, while a daemon reads.
    fn hear_own(&mut self, heard: Heard, now: Duration) {
        match heard {
            Heard::Answer(Answer::Processes(lists)) => self.hear_processes(lists, now),
            Heard::Answer(Answer::Listed(listing)) => {
                let relisted = self.driver.relisted(listing, self.driver.own_loaded(), now);
                self.relist(relisted);
            }
            Heard::Answer(_) => {}
            Heard::Ended => self.outbox.send(self.driver.own_ended(now)),
        }
    }

    fn hear(&mut self, turn: u32, heard: Heard) {
        let now = self.clock.elapsed();
        self.driver.taken_up(&heard);
        if self.driver.is_own(turn) {
            return self.hear_own(heard, now);
        }
        if !self.driver.is_turn(turn) {
            return;
        }
        match heard {
            Heard::Answer(Answer::Listed(listing)) => {
                let is_reading = self.driver.is_reading();
                let relisted = self.driver.listed(listing, now);
                self.announce();
                if let Some(relisted) = relisted {
                    self.relist(relisted);
                }
                // At once: counters are differences from the first reading.
                if !is_reading {
                    self.outbox.send(self.driver.order(self.clock.elapsed()));
                }
            }
            Heard::Answer(Answer::Read(readings)) => {
                self.outbox.send(self.driver.taken(readings, now));
            }
            Heard::Answer(Answer::Pushed { at_nanoseconds, readings }) => {
                self.outbox.send(self.driver.pushed(readings, at_nanoseconds, now));
            }
            Heard::Answer(Answer::Processes(lists)) => self.hear_processes(lists, now),
            Heard::Answer(Answer::Probed(_)) => {}
            Heard::Ended => {
                self.outbox.send(self.driver.ended(now));
                self.announce();
            }
        }
    }

    fn last_reading(&mut self, messages: &Receiver<Message>, usage: Option<Duration>) {
        let deadline = self.clock.elapsed() + self.patience;
        self.recount();
        self.wait_for_driver(messages, deadline);
        self.driver.give_up_listing(Duration::MAX);
        self.announce();
        self.processors.read(usage);
        self.send_processors();
        self.look();
        self.outbox.send(self.driver.order_now(self.clock.elapsed()));
        // What the job left running is still there; what has ended is in no list.
        if self.claims.are_open() && self.processors.tree().living().next().is_some() {
            self.ask_for_processes(true);
        }
        self.wait_for_driver(messages, deadline);
        // One that was woken by the last look and has not answered.
        self.driver.give_up_listing(Duration::MAX);
        self.announce();
        let unlisted = self.driver.unlisted();
        let further = self.claims.end(unlisted, self.traces.traces(), self.clock.elapsed());
        self.extend(further);
        self.outbox.send(self.driver.miss(self.clock.elapsed()));
        self.outbox.announce(Vec::new(), self.driver.take_notes());
    }

    /// Until the driver has answered what it was asked, or the deadline.
    fn wait_for_driver(&mut self, messages: &Receiver<Message>, deadline: Duration) {
        while self.driver.is_awaited() || self.claims.are_awaited(self.driver.turn()) {
            let left = deadline.saturating_sub(self.clock.elapsed());
            match messages.recv_timeout(left) {
                Ok(Message::Driver(turn, heard)) => self.hear(turn, heard),
                Ok(Message::Stop(_)) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_lost_leaves_the_ceiling_missing() {
        let (last, last_words) = sync_channel(1);
        drop(last);
        let sampler = Sampler { inbox: channel().0, patience: Duration::ZERO, last_words };
        let LastWords { unsent, left_running } = sampler.stop(None);
        let [SamplerEvent::Devices(devices, _)] = unsent.as_slice() else { panic!("{unsent:?}") };
        assert!(matches!(devices[0].facts, DeviceFacts::Unreadable { .. }), "{devices:?}");
        assert!(left_running);
    }
}
