//! Who is asked: a process of the run's own, or the daemon of this machine; and what becomes of it when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flopsmeter_core::sample::Sample;

use super::{Driver, LONGEST_PAUSE, State};
use crate::daemon::DaemonConnection;
use crate::device::nvml::process::{DriverProcess, Heard};
use crate::device::nvml::reader::{Answer, Order};
use crate::sampler::Message;
use crate::sampler::source::Source;

pub(super) const ENDED: &str = "the process that asks the NVIDIA driver ended, as when the driver's library crashes";
const DAEMON_ENDED: &str = "the daemon that read the GPUs ended or did not answer";

/// Readings that a daemon has pushed and nobody has taken: a minute of them.
const MOST_WAITING_PUSHES: u32 = 64;

const fn is_push(heard: &Heard) -> bool {
    matches!(heard, Heard::Answer(Answer::Pushed { .. }))
}

impl Driver {
    pub(super) fn start_process(&mut self) -> Result<(), String> {
        let (turn, process) = self.launch()?;
        self.turn = turn;
        self.process = Some(process);
        Ok(())
    }

    /// A process of our own and its turn. The first thing that it says is which GPUs there are.
    pub(super) fn launch(&mut self) -> Result<(u32, Source), String> {
        let turn = self.next_turn();
        let hear = self.hear(turn);
        let Some(command) = &self.command else { return Err("nobody is to be asked".to_owned()) };
        match DriverProcess::start(command, self.library.as_deref(), hear) {
            Ok(process) => Ok((turn, Source::Process(process))),
            Err(problem) => Err(format!("{} cannot be started to ask it: {problem}", command.program.display())),
        }
    }

    const fn next_turn(&mut self) -> u32 {
        self.started = self.started.wrapping_add(1);
        self.started
    }

    fn hear(&self, turn: u32) -> impl Fn(Heard) + Send + use<> {
        let (answers, waiting) = (self.answers.clone(), Arc::clone(&self.waiting_pushes));
        move |heard| {
            // Nobody orders these, so that they come whether or not somebody takes them. The next one covers the time of one that is
            // thrown away, and what only that one proved idle is charged.
            if is_push(&heard) && waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING_PUSHES {
                waiting.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            // If the sampler has stopped, nobody wants to know.
            let _ = answers.send(Message::Driver(turn, heard));
        }
    }

    /// Something that was heard is looked at now.
    pub(in crate::sampler) fn taken_up(&self, heard: &Heard) {
        if is_push(heard) {
            self.waiting_pushes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether this process is the present one.
    pub(in crate::sampler) fn is_turn(&self, turn: u32) -> bool {
        self.process.is_some() && self.turn == turn
    }

    pub(super) fn order_process(&mut self, order: &Order) -> bool {
        self.process.as_mut().is_some_and(|process| process.order(order))
    }

    /// Asks a daemon, if there is one. Which GPUs are the job's was asked by a process of ours, since a container or a scheduler
    /// may leave it others than the daemon sees, under the same numbers; UUIDs are the same everywhere. Tried once: whoever has
    /// lost a daemon does not look for another one.
    pub(super) fn join(&mut self) -> bool {
        let turn = self.next_turn();
        let Some(daemon) = DaemonConnection::open(&std::mem::take(&mut self.daemons), &self.kernel, self.hear(turn))
        else {
            return false;
        };
        self.own = self.process.replace(Source::Daemon(daemon)).map(|process| (self.turn, process));
        self.turn = turn;
        self.state = State::Joining { since: self.clock.elapsed() };
        true
    }

    /// The daemon reads from here on.
    pub(super) fn settle(&mut self, now: Duration) {
        self.notes.extend(self.process.as_ref().and_then(Source::daemon).map(DaemonConnection::told));
        self.rest();
        self.watch_again(DAEMON_ENDED, now);
    }

    /// Where the daemon lists processes as well, our own process has nothing more to do and ends.
    pub(super) fn rest(&mut self) {
        if self.daemon_lists_processes() {
            self.own = None;
        }
    }

    pub(super) fn daemon_lists_processes(&self) -> bool {
        self.process.as_ref().is_some_and(Source::lists_processes)
    }

    /// Our own process does; it is started again if it has ended.
    pub(super) fn stay(&mut self, now: Duration) {
        let Some((turn, process)) = self.own.take() else { return self.start_again(DAEMON_ENDED, now) };
        self.turn = turn;
        self.process = Some(process);
        self.watch_again(ENDED, now);
    }

    pub(super) fn start_again(&mut self, reason: &'static str, now: Duration) {
        self.state = State::Returning { reason };
        self.ordered_at = now;
        if self.start_process().is_err() {
            self.lose(reason, now);
        }
    }

    pub(super) fn watch_again(&mut self, reason: &'static str, now: Duration) {
        if self.order_process(&Order::Watch(self.watched.clone())) {
            self.state = State::Idle;
        } else {
            self.lose(reason, now);
        }
    }

    /// The process has ended.
    pub(in crate::sampler) fn ended(&mut self, now: Duration) -> Vec<Sample> {
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

    pub(super) fn lose(&mut self, reason: &'static str, now: Duration) {
        if let Some(Source::Daemon(daemon)) = self.process.take() {
            self.notes.push(daemon.lost());
            return self.stay(now);
        }
        self.own = None;
        self.forget_recount();
        self.state = State::Lost { reason, again_at: now.saturating_add(self.pause) };
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// The time since the last reading of whoever is gone is missing.
    pub(super) fn lose_and_miss(&mut self, reason: &'static str, now: Duration) -> Vec<Sample> {
        let missing = self.miss_because(now, if self.is_daemon() { DAEMON_ENDED } else { reason });
        self.lose(reason, now);
        missing
    }

    pub(super) fn is_daemon(&self) -> bool {
        self.process.as_ref().and_then(Source::daemon).is_some()
    }

    /// Whether this process is our own while a daemon reads.
    pub(in crate::sampler) fn is_own(&self, turn: u32) -> bool {
        self.own.as_ref().is_some_and(|(own, _)| *own == turn)
    }

    /// Our own process has ended while a daemon read: whoever is started next is asked for everything.
    pub(in crate::sampler) fn own_ended(&mut self, now: Duration) -> Vec<Sample> {
        self.process = None;
        self.lose_and_miss(ENDED, now)
    }

    /// Who is asked for processes, by its turn. Not a process of our own that was started for a list of the GPUs alone: it ends with it.
    pub(in crate::sampler) fn turn(&self) -> u32 {
        let own = self.own.as_ref().filter(|_| !self.daemon_lists_processes());
        own.map_or(self.turn, |(own, _)| *own)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::clock::SessionClock;
    use crate::device::nvml::process::ReaderCommand;
    use crate::device::process_tree::JobProcess;
    use crate::sampler::SamplerOptions;

    #[test]
    fn what_a_daemon_pushes_and_nobody_takes_is_bounded() {
        let (answers, heard) = channel();
        let options = SamplerOptions::new(SessionClock::start(), JobProcess::default());
        let driver = Driver::start(&options, answers);
        let hear = driver.hear(7);
        let push = || Heard::Answer(Answer::Pushed { at_nanoseconds: 1, readings: Vec::new() });
        for _ in 0..1000 {
            hear(push());
        }
        hear(Heard::Ended);
        let waiting: Vec<Message> = heard.try_iter().collect();
        assert_eq!(waiting.len(), 65, "an end is never thrown away");
        for message in &waiting {
            let Message::Driver(7, heard) = message else { panic!("of another process") };
            driver.taken_up(heard);
        }
        hear(push());
        assert_eq!(heard.try_iter().count(), 1);
    }

    /// It ends with its list, and an answer that it owes would be counted as lost.
    #[test]
    fn a_process_that_is_started_for_the_gpus_is_not_asked_for_processes() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("daemon.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let mut options = SamplerOptions::new(SessionClock::start(), JobProcess::default());
        options.daemons = vec![socket];
        options.reader = Some(ReaderCommand::new("/bin/cat".into(), Vec::new()));
        let mut driver = Driver::start(&options, channel().0);
        assert!(driver.join() && driver.daemon_lists_processes());
        driver.state = State::Idle;
        (driver.own, driver.watched) = (None, vec!["GPU-0".to_owned()]);
        let daemon = driver.turn();
        driver.recount(Duration::ZERO);
        assert!(driver.own.is_some() && driver.is_recounting());
        assert_eq!(driver.turn(), daemon);
        assert!(driver.list_processes(vec!["GPU-0".to_owned()]));
    }
}
