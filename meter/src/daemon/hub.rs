//! All state of the daemon, and what follows from each event. It never waits; time is given to it.

mod asked;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flopsmeter_core::sample::GpuReading;
use tokio::sync::{mpsc, oneshot};

use super::lists::{Asked, ProcessLists, shared_out};
use super::metrics::figures::{Dropped, Figures};
use super::proof::Watch;
use super::reader::Reader;
use super::runs::Runs;
use crate::device::nvml::process::Heard;
use crate::device::nvml::reader::{Answer, Order};
use crate::device::nvml::{GpuProcess, Listing};

/// An answer that takes longer than this will not come: the process is given up.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// Between the end of a process and the start of the next one: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Between two readings at least, however many clients ask for one.
const LEAST_APART: Duration = Duration::from_millis(100);

/// Readings that are made at once because one client asks; a second brings one more. Whoever asks for more waits for the next second:
/// each reading is told to all, and what one client asks for makes the records of the others grow. A run asks at its start and its end.
const ASKED_READINGS: u32 = 4;

/// UUIDs that are remembered: more than any machine has, were it cut anew each day.
const MAX_KNOWN: usize = 4096;

/// A listing of the GPUs holds so long: who connects again and again does not keep the driver busy.
const FRESH: Duration = Duration::from_millis(250);

const ENDED: &str = "the daemon's process that asks the NVIDIA driver ended, as when the driver's library crashes";
const HANGS: &str = "the NVIDIA driver does not answer: the daemon gave up the process that asks it";

/// Somebody who is connected.
#[derive(Debug)]
pub(super) struct Client {
    lines: mpsc::Sender<Vec<u8>>,
    /// Its connection ends when this is dropped.
    _held: oneshot::Sender<()>,
    wants_listing: bool,
    watch: Option<Watch>,
    /// Whose it is.
    user: String,
    /// Readings that may yet be made because it asks.
    asks_left: u32,
    /// Whether the reading that it asks for is to be made before the next second's.
    is_urgent: bool,
}

impl Client {
    pub(super) const fn new(lines: mpsc::Sender<Vec<u8>>, held: oneshot::Sender<()>, user: String) -> Self {
        Self { lines, _held: held, wants_listing: true, watch: None, user, asks_left: ASKED_READINGS, is_urgent: false }
    }
}

/// What the process that asks the driver is doing.
#[derive(Debug)]
enum State {
    /// It is gone; the next one is started at this time.
    Away { reason: String, again_at: Duration },
    /// It was told to list the GPUs.
    Listing { since: Duration },
    /// It was told to read these.
    Reading { since: Duration, gpus: Vec<String> },
    /// It was told to list the processes on these.
    Processes { since: Duration, gpus: Vec<String>, asked: Asked },
    /// Nothing.
    Ready,
}

/// The owner of all state.
#[derive(Debug)]
pub(super) struct Hub<R> {
    reader: R,
    /// [`crate::clock::nanoseconds_since_boot`] at the moment from which times are counted, later by what the machine was suspended since.
    origin_nanoseconds: u64,
    turn: u32,
    state: State,
    pause: Duration,
    listing: Option<Listing>,
    listed_at: Option<Duration>,
    wants_listing: bool,
    wants_reading: bool,
    ordered_at: Duration,
    /// All that were ever listed: a GPU that has gone may come back, and who watches it has done nothing wrong.
    known: BTreeSet<String>,
    /// What the process watches.
    watched: Vec<String>,
    clients: BTreeMap<u64, Client>,
    processes: ProcessLists,
    runs: Runs,
    figures: Figures,
}

impl<R: Reader> Hub<R> {
    /// `origin_nanoseconds` is [`crate::clock::nanoseconds_since_boot`] at the moment from which times are counted.
    pub(super) fn new(reader: R, origin_nanoseconds: u64) -> Self {
        Self {
            reader,
            origin_nanoseconds,
            turn: 0,
            state: State::Away { reason: "the daemon has just started".to_owned(), again_at: Duration::ZERO },
            pause: FIRST_PAUSE,
            listing: None,
            listed_at: None,
            wants_listing: false,
            wants_reading: false,
            ordered_at: Duration::ZERO,
            known: BTreeSet::new(),
            watched: Vec::new(),
            clients: BTreeMap::new(),
            processes: ProcessLists::default(),
            runs: Runs::default(),
            figures: Figures::default(),
        }
    }

    /// It is so late by the clock that clients go by, which runs on while the machine is suspended and `now` does not.
    pub(super) fn keep_time(&mut self, now: Duration, nanoseconds_since_boot: u64) {
        let passed = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.origin_nanoseconds = nanoseconds_since_boot.saturating_sub(passed);
    }

    pub(super) const fn reader(&self) -> &R {
        &self.reader
    }

    pub(super) const fn runs(&self) -> &Runs {
        &self.runs
    }

    pub(super) const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Clients that are connected, and those of them that watch GPUs.
    pub(super) fn client_counts(&self) -> (usize, usize) {
        (self.clients.len(), self.clients.values().filter(|client| client.watch.is_some()).count())
    }

    /// Once a second.
    pub(super) fn tick(&mut self, now: Duration) {
        self.runs.expire(now);
        match &self.state {
            State::Away { again_at, .. } if now >= *again_at => self.start(now),
            State::Listing { since } | State::Reading { since, .. } | State::Processes { since, .. }
                if now.saturating_sub(*since) >= HANGS_AFTER =>
            {
                self.lose(HANGS, now);
            }
            _ => {}
        }
        if let State::Away { reason, .. } = &self.state {
            let reason = reason.clone();
            let at = self.nanoseconds(now);
            self.tell_watchers(|watch| Some(watch.miss(&reason, at)), now);
        }
        self.wants_reading |= self.clients.values().any(|client| client.watch.is_some());
        for client in self.clients.values_mut() {
            client.asks_left = ASKED_READINGS.min(client.asks_left.saturating_add(1));
        }
        self.advance(now);
    }

    /// When [`Hub::advance`] has to be called, if before the next tick.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        if !matches!(self.state, State::Ready) {
            return None;
        }
        let reading = self.wants_reading.then(|| self.ordered_at.saturating_add(LEAST_APART));
        reading.into_iter().chain(self.processes.due_at()).min()
    }

    /// Gives the next order, if there is one and the process has answered the one before.
    pub(super) fn advance(&mut self, now: Duration) {
        if !matches!(self.state, State::Ready) {
            return;
        }
        if std::mem::take(&mut self.wants_listing) {
            self.state = State::Listing { since: now };
            return self.order(&Order::List, now);
        }
        if self.wants_reading && (self.watched.is_empty() || now >= self.ordered_at.saturating_add(LEAST_APART)) {
            self.order_reading(now);
        }
        // Readings come first: of lists, a job needs one in ten seconds at most.
        if matches!(self.state, State::Ready)
            && let Some((asked, gpus)) = self.processes.take_due(now)
        {
            let order = Order::Processes(gpus.clone());
            self.state = State::Processes { since: now, gpus, asked };
            self.order(&order, now);
        }
    }

    fn order_reading(&mut self, now: Duration) {
        self.wants_reading = false;
        let gpus = self.wanted();
        if gpus.is_empty() {
            return;
        }
        if gpus != self.watched {
            self.watched.clone_from(&gpus);
            self.order(&Order::Watch(gpus.clone()), now);
        }
        if matches!(self.state, State::Ready) {
            self.state = State::Reading { since: now, gpus };
            self.ordered_at = now;
            self.order(&Order::Read, now);
        }
    }

    fn nanoseconds(&self, now: Duration) -> u64 {
        self.origin_nanoseconds.saturating_add(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    fn order(&mut self, order: &Order, now: Duration) {
        if !self.reader.order(order) {
            self.lose(ENDED, now);
        }
    }

    fn wanted(&self) -> Vec<String> {
        let watches = self.clients.values().filter_map(|client| client.watch.as_ref());
        let gpus: BTreeSet<&String> = watches.flat_map(Watch::gpus).collect();
        gpus.into_iter().cloned().collect()
    }

    fn start(&mut self, now: Duration) {
        self.turn = self.turn.wrapping_add(1);
        if self.turn > 1 {
            self.figures.driver_restarts.inc();
        }
        match self.reader.start(self.turn) {
            Ok(()) => self.state = State::Listing { since: now },
            Err(reason) => self.lose(&reason, now),
        }
    }

    fn lose(&mut self, reason: &str, now: Duration) {
        self.reader.end();
        let away = State::Away { reason: reason.to_owned(), again_at: now.saturating_add(self.pause) };
        let asked = match std::mem::replace(&mut self.state, away) {
            State::Processes { asked, .. } => Some(asked),
            _ => None,
        };
        let refused = self.processes.lose(asked, reason, now);
        self.tell_all(&refused, now);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        self.watched.clear();
        self.wants_listing = false;
        // What the driver said of itself is still the best answer to who asks.
        if !matches!(self.listing, Some(Listing::Unavailable { .. })) {
            self.listing = None;
            self.listed_at = None;
        }
        self.tell_listing(now);
    }

    /// The process said something, or ended.
    pub(super) fn heard(&mut self, turn: u32, heard: Heard, now: Duration) {
        if turn != self.turn || matches!(self.state, State::Away { .. }) {
            return;
        }
        match heard {
            Heard::Answer(Answer::Listed(listing)) => self.list(listing, now),
            Heard::Answer(Answer::Read(readings)) => self.read(&readings, now),
            Heard::Answer(Answer::Processes(lists)) => self.take_lists(&lists, now),
            Heard::Answer(Answer::Pushed { .. } | Answer::Probed(_)) => {}
            Heard::Ended => self.lose(ENDED, now),
        }
        self.advance(now);
    }

    /// Whoever watches is told what has changed, as a process of its own would tell it.
    fn list(&mut self, listing: Listing, now: Duration) {
        let gpus: BTreeSet<String> = listing.uuids().map(str::to_owned).collect();
        let has_changed = self.listing.as_ref().is_none_or(|before| before.uuids().ne(listing.uuids()));
        if self.known.len() < MAX_KNOWN {
            self.known.extend(gpus);
        }
        self.listing = Some(listing);
        self.listed_at = Some(now);
        if matches!(self.state, State::Listing { .. }) {
            self.state = State::Ready;
        }
        if has_changed {
            let watchers = self.clients.values_mut().filter(|client| client.watch.is_some());
            watchers.for_each(|client| client.wants_listing = true);
        }
        self.tell_listing(now);
    }

    fn read(&mut self, readings: &[Result<GpuReading, String>], now: Duration) {
        let State::Reading { since, gpus } = std::mem::replace(&mut self.state, State::Ready) else { return };
        self.pause = FIRST_PAUSE;
        self.figures.read(now.saturating_sub(since), readings);
        let at = self.nanoseconds(now);
        self.tell_watchers(|watch| watch.take(&gpus, readings, since, at), now);
        // Whoever asked meanwhile wants one that is made from now on.
        let is_waiting = |client: &Client| client.is_urgent && client.watch.as_ref().is_some_and(Watch::is_asking);
        self.wants_reading |= self.clients.values().any(is_waiting);
    }

    fn take_lists(&mut self, lists: &[Result<Vec<GpuProcess>, String>], now: Duration) {
        let State::Processes { gpus, asked, .. } = std::mem::replace(&mut self.state, State::Ready) else { return };
        self.processes.succeed();
        self.tell_all(&shared_out(asked, &gpus, lists), now);
    }

    /// Somebody has connected.
    pub(super) fn joined(&mut self, number: u64, client: Client, now: Duration) {
        self.clients.insert(number, client);
        let fresh = self.listed_at.is_some_and(|at| now.saturating_sub(at) < FRESH);
        if fresh || matches!(self.state, State::Away { .. }) {
            return self.tell_listing(now);
        }
        // GPUs come and go, and are cut: each client is told how it is now.
        self.wants_listing = true;
        self.advance(now);
    }

    /// Somebody has left.
    pub(super) fn left(&mut self, number: u64, now: Duration) {
        self.clients.remove(&number);
        self.processes.left(number);
        self.runs.left(number, now);
    }

    /// Somebody is shown out.
    pub(super) fn drop_client(&mut self, number: u64, why: Dropped, now: Duration) {
        if self.clients.contains_key(&number) {
            self.figures.drop(why);
            self.left(number, now);
        }
    }

    /// Somebody was turned away, because too many are connected.
    pub(super) fn refused(&mut self) {
        self.figures.drop(Dropped::Refused);
    }
}

#[cfg(test)]
mod tests;
