//! One process of the job.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use flopsmeter_core::facts::{HookMessage, PROTOCOL};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::budget::{Budget, Held};
use super::line::Line;
use super::signs::{Ending, Orders, Rounds, Signs};
use super::{HookEvent, HookWhat, Lost};
use crate::hook::frame::FrameReader;

/// Time in which a process must say who it is, and in which room must be found for what it sends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between looks whether the queue has room again.
const BREATHER: Duration = Duration::from_millis(2);

const PORTION_BYTES: usize = 16 << 10;

/// A connection and what is known of it.
pub(super) struct Connection {
    line: Line,
    number: u32,
    events: SyncSender<HookEvent>,
    stopped: watch::Receiver<Option<Ending>>,
    orders: Option<watch::Receiver<Orders>>,
    rounds: watch::Receiver<Option<Rounds>>,
    budget: Budget,
    reader: FrameReader,
    held: Option<Held>,
    greeted: bool,
    parted: bool,
    /// Nothing was left to read.
    drained: bool,
    /// Once its time is over: what is still read of it.
    last_words_bytes: Option<usize>,
}

impl Connection {
    pub(super) fn new(
        stream: UnixStream,
        number: u32,
        events: SyncSender<HookEvent>,
        signs: Signs,
        budget: Budget,
    ) -> Self {
        let Signs { stopped, mut orders, rounds } = signs;
        // What was told before is passed on as well.
        orders.mark_changed();
        Self {
            line: Line::new(stream),
            number,
            events,
            stopped,
            orders: Some(orders),
            rounds,
            budget,
            reader: FrameReader::default(),
            held: None,
            greeted: false,
            parted: false,
            drained: false,
            last_words_bytes: None,
        }
    }

    /// Reads to the end and says why it ended, unless it ended as it should.
    pub(super) async fn serve(mut self) {
        let Err(lost) = self.read_all().await else { return };
        self.held = None;
        let _nobody_listens = self.deliver(HookWhat::Lost(lost), None).await;
    }

    async fn read_all(&mut self) -> Result<(), Lost> {
        let greeting_ends = Instant::now() + PATIENCE;
        loop {
            self.wait_for_room().await?;
            let if_empty = self.wait_for_bytes(greeting_ends).await?;
            let read = match self.read_portion() {
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => match if_empty {
                    Some(lost) => return Err(lost),
                    None => continue,
                },
                Err(cause) if cause.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(cause) => return Err(Lost::Unreadable(cause.to_string())),
            };
            if read == 0 {
                return self.judge_end();
            }
            self.last_words_bytes = self.last_words_bytes.map(|left| left.saturating_sub(read));
            self.take_messages().await?;
        }
    }

    async fn wait_for_room(&self) -> Result<(), Lost> {
        let begun = Instant::now();
        while self.budget.is_spent() {
            if Instant::now() > begun + PATIENCE || gives_up(&self.stopped, begun) {
                return Err(Lost::TooMuch);
            }
            sleep(BREATHER).await;
        }
        Ok(())
    }

    /// Until the socket is to be read, and can be or has ended. Gives why the connection is lost if nothing is in it, once nothing more
    /// is waited for.
    async fn wait_for_bytes(&mut self, greeting_ends: Instant) -> Result<Option<Lost>, Lost> {
        let unreadable = |cause: io::Error| Lost::Unreadable(cause.to_string());
        loop {
            // Looked at first, because a socket that is never empty would keep this going for ever.
            if let Some(lost) = self.overdue(greeting_ends) {
                // The socket itself is asked: whoever watches it may not have been told yet.
                self.line.be_watched(false).map_err(unreadable)?;
                let left = self.last_words().map_err(unreadable)?;
                return if left > 0 { Ok(Some(lost)) } else { Err(lost) };
            }
            self.last_words_bytes = None;
            let stops = self.stopped.borrow().map(|ending| ending.at);
            let round = self.next_round().filter(|_| stops.is_none());
            self.line.be_watched(round.is_none()).map_err(unreadable)?;
            let greeting_ends = (!self.greeted).then_some(greeting_ends);
            let ends = stops.into_iter().chain(greeting_ends).min();
            tokio::select! {
                ready = self.line.readable(), if round.is_none() => return ready.map(|()| None).map_err(unreadable),
                () = sleep_until(round.unwrap_or_else(Instant::now)), if round.is_some() => return Ok(None),
                () = sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {}
                changed = self.stopped.changed() => changed.map_err(|_| Lost::StillOpen)?,
                told = told(&mut self.orders) => self.tell(told),
            }
        }
    }

    /// Why the connection is given up, if its time is over.
    fn overdue(&self, greeting_ends: Instant) -> Option<Lost> {
        if self.stopped.borrow().is_some_and(Ending::has_come) {
            return Some(Lost::StillOpen);
        }
        (!self.greeted && Instant::now() >= greeting_ends).then_some(Lost::NoHello)
    }

    /// What lay in the socket when this thread first saw that the time was over, however late, was said in time. One more is asked for,
    /// to see the end behind it; only who goes on speaking is cut short.
    fn last_words(&mut self) -> io::Result<usize> {
        let left = match self.last_words_bytes {
            Some(left) => left,
            None => self.line.waiting_bytes()? + 1,
        };
        self.last_words_bytes = Some(left);
        Ok(left)
    }

    /// When to read again: at once while there may be more, before it is known who speaks, and at the end.
    fn next_round(&self) -> Option<Instant> {
        if self.drained && self.greeted { self.rounds.borrow().map(Rounds::next) } else { None }
    }

    /// Some bytes fit into any socket that nothing was written to; one that takes none is a process that never listens.
    fn tell(&self, order: Orders) {
        if let Some(frame) = order {
            let _deaf = self.line.try_write(&frame);
        }
    }

    /// The portion lies on the stack, so that a silent connection costs no buffer.
    fn read_portion(&mut self) -> io::Result<usize> {
        let mut portion = [0; PORTION_BYTES];
        let read = self.line.try_read(&mut portion);
        self.drained = !read.as_ref().is_ok_and(|read| *read == portion.len());
        let read = read?;
        self.reader.push(portion.get(..read).unwrap_or_default());
        Ok(read)
    }

    async fn take_messages(&mut self) -> Result<(), Lost> {
        loop {
            let before = self.reader.pending_bytes();
            let next = self.reader.next_message().map_err(|problem| Lost::Malformed(problem.to_string()))?;
            let Some(message) = next else {
                self.held = Some(self.budget.hold(self.reader.pending_bytes()));
                return Ok(());
            };
            self.check(&message)?;
            let held = self.budget.hold(before - self.reader.pending_bytes());
            if !self.deliver(HookWhat::Message(message), Some(held)).await {
                return Err(Lost::TooMuch);
            }
        }
    }

    fn check(&mut self, message: &HookMessage) -> Result<(), Lost> {
        match message {
            HookMessage::Hello { protocol: PROTOCOL, .. } => self.greeted = true,
            HookMessage::Hello { protocol, .. } => return Err(Lost::UnknownProtocol { protocol: *protocol }),
            _ if !self.greeted => return Err(Lost::NoHello),
            HookMessage::Goodbye => self.parted = true,
            _ => {}
        }
        Ok(())
    }

    fn judge_end(&self) -> Result<(), Lost> {
        if self.reader.is_cut() || (self.greeted && !self.parted) { Err(Lost::Cut) } else { Ok(()) }
    }

    async fn deliver(&self, what: HookWhat, held: Option<Held>) -> bool {
        deliver(&self.events, HookEvent { connection: self.number, what, _held: held }, &self.stopped).await
    }
}

/// The next word for every process; never where there is none to come.
async fn told(orders: &mut Option<watch::Receiver<Orders>>) -> Orders {
    if let Some(receiver) = orders {
        if receiver.changed().await.is_ok() {
            return receiver.borrow_and_update().clone();
        }
        *orders = None;
    }
    core::future::pending().await
}

/// Queues an event; while the queue is full nothing is read from the connection, so that its socket fills and the sender is slowed
/// down or drops by its own rule. After the stop nobody may be taking events any more: then the event is dropped, and `false` says so.
pub(super) async fn deliver(
    events: &SyncSender<HookEvent>,
    mut event: HookEvent,
    stopped: &watch::Receiver<Option<Ending>>,
) -> bool {
    let begun = Instant::now();
    loop {
        match events.try_send(event) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => event = back,
        }
        if gives_up(stopped, begun) {
            return false;
        }
        sleep(BREATHER).await;
    }
}

/// Whether the server stops, and what waits since `begun` for its owner has waited long enough.
pub(super) fn gives_up(stopped: &watch::Receiver<Option<Ending>>, begun: Instant) -> bool {
    stopped.borrow().is_some_and(|ending| ending.gives_up(begun))
}
