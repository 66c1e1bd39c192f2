//! The meter's end of the hook channel: a Unix socket on which the job's processes talk, and are told when to stop.
//!
//! Whatever comes in, the job is unharmed and the meter stays small: at most [`MAXIMUM_CONNECTIONS`] speak at once, at most
//! [`QUEUE_MESSAGES`] messages and some [`HELD_LIMIT_BYTES`] wait to be taken. A sender that is faster than the meter is read
//! later (its socket fills), one that is not understood is closed, and both show up as events.

mod budget;
mod connection;
mod line;
mod signs;

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, io};

use flopsmeter_core::facts::{HookMessage, MeterMessage};
use flopsmeter_core::run::Finding;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use budget::{Budget, Held};
use connection::Connection;
use signs::{Ending, Orders, Rounds, Signs};

use super::frame::{FrameProblem, encode};
use crate::clock::SessionClock;

/// Connections that are served at once; more are closed at once.
pub const MAXIMUM_CONNECTIONS: usize = 512;

/// Messages that wait to be taken.
pub const QUEUE_MESSAGES: usize = 1024;

/// Bytes of messages, whole or in part, that are held at about most.
pub const HELD_LIMIT_BYTES: usize = 64 << 20;

/// After the stop: how long an event waits for the owner to take it, and the owner for the next event, at most.
pub const LAST_CALL: Duration = Duration::from_secs(10);

/// What the system lets wait to be accepted, unless it was told to let more wait.
const BACKLOG_CONNECTIONS: usize = 4096;

/// Longest path that `connect` takes everywhere: `sun_path` is 108 bytes with its final zero.
const MAXIMUM_PATH_BYTES: usize = 107;

/// A socket that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no socket for hooks could be made ({causes}); set TMPDIR to a short path that can be written")]
pub struct ServerProblem {
    causes: String,
}

/// Something that came over the socket.
#[derive(Debug)]
pub struct HookEvent {
    /// Number of the connection, from 0 in the order of arrival.
    pub connection: u32,
    /// What came.
    pub what: HookWhat,
    /// Counts against the limit until the event is dropped.
    _held: Option<Held>,
}

/// What came over a connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HookWhat {
    /// A message; the first of a connection is always a `Hello` of a known protocol.
    Message(HookMessage),
    /// The connection ended before its time or was closed by us.
    Lost(Lost),
    /// Connections were refused because too many were open; how many so far.
    Overflow(u64),
}

/// Why a connection ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// Another version of the messages.
    #[error("a hook speaks protocol {protocol}, this command knows {known}: install the Python package of the same version", known = flopsmeter_core::facts::PROTOCOL)]
    UnknownProtocol {
        /// What it speaks.
        protocol: u16,
    },
    /// It said nothing in time, or something else than who it is.
    #[error("a process connected to the hook socket without saying who it is: nothing of it is counted")]
    NoHello,
    /// Bytes that are no message.
    #[error("{0}")]
    Malformed(String),
    /// The process ended or closed without a goodbye: the last of what it was fed may be missing.
    #[error(
        "a hook's connection ended without a goodbye (was the process killed?): the last of what it was fed may be missing"
    )]
    Cut,
    /// It sent more than the meter could take.
    #[error("a hook sent more than the meter could take: what followed is missing")]
    TooMuch,
    /// It was still open when the job had ended.
    #[error("a process of the job still held its hook connection when the command had ended: what followed is missing")]
    StillOpen,
    /// The system failed.
    #[error("a hook's connection could not be read ({0}): what followed is missing")]
    Unreadable(String),
}

impl Lost {
    /// A stable short name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownProtocol { .. } => "hook-unknown-protocol",
            Self::NoHello => "hook-no-hello",
            Self::Malformed(_) => "hook-malformed",
            Self::Cut => "hook-cut",
            Self::TooMuch => "hook-too-much",
            Self::StillOpen => "hook-still-open",
            Self::Unreadable(_) => "hook-unreadable",
        }
    }
}

impl HookWhat {
    /// What a reader of the run has to know of it; `None` for a message.
    pub fn finding(&self) -> Option<Finding> {
        match self {
            Self::Message(_) => None,
            Self::Lost(lost) => Some(Finding { code: lost.code().to_owned(), text: lost.to_string() }),
            Self::Overflow(refused) => Some(Finding {
                code: "hook-overflow".to_owned(),
                text: format!(
                    "{refused} hook connections were refused because {MAXIMUM_CONNECTIONS} were open: what they were fed is missing"
                ),
            }),
        }
    }
}

/// The server. Dropping it closes the socket and removes its folder.
#[derive(Debug)]
pub struct HookServer {
    folder: PathBuf,
    path: PathBuf,
    stop: watch::Sender<Option<Ending>>,
    orders: watch::Sender<Orders>,
    rounds: watch::Sender<Option<Rounds>>,
    thread: Option<JoinHandle<()>>,
}

impl HookServer {
    /// Listens on a socket in a folder of its own (for this user alone) inside the first of `parents` where that is possible and
    /// the path is short enough. The channel ends when the server has stopped.
    pub fn start(parents: &[PathBuf]) -> Result<(Self, Receiver<HookEvent>), ServerProblem> {
        let (folder, path, listener) = listen_in_first(parents)?;
        let (events, receiver) = sync_channel(QUEUE_MESSAGES);
        let (stop, stopped) = watch::channel(None);
        let (orders, told) = watch::channel(Orders::default());
        let (rounds, gathered) = watch::channel(None);
        let mut server = Self { folder, path, stop, orders, rounds, thread: None };
        let failed = |cause: io::Error| ServerProblem { causes: cause.to_string() };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let serve =
            move || runtime.block_on(serve(listener, events, Signs { stopped, orders: told, rounds: gathered }));
        server.thread = Some(std::thread::Builder::new().name("hooks".to_owned()).spawn(serve).map_err(failed)?);
        Ok((server, receiver))
    }

    /// Where hooks connect, for [`crate::hook::SOCKET_VARIABLE`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells every process that is connected, or will be; a later word takes an earlier one's place.
    pub fn tell(&self, message: &MeterMessage) -> Result<(), FrameProblem> {
        self.orders.send_replace(Some(encode(message)?.into()));
        Ok(())
    }

    /// From now on reads what processes say once a second, when the devices of the session with this clock are read as well: each
    /// message by itself would wake a processor several times a second for each process. Before the first such moment, and where this
    /// is never called, everything is read as it comes.
    pub fn gather(&self, clock: SessionClock) {
        self.rounds.send_replace(Some(Rounds::of(clock)));
    }

    /// Asks it to stop: what has arrived is still delivered, however late this process comes to read it; connections that are open after
    /// `patience` are given up. Returns at once. The events' channel ends when it has stopped, so take events until then; a server that
    /// is dropped waits for nobody.
    pub fn stop(&self, patience: Duration) {
        self.end(patience, LAST_CALL);
    }

    fn end(&self, patience: Duration, last_call: Duration) {
        self.stop.send_replace(Some(Ending { at: Instant::now() + patience, last_call }));
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.end(Duration::ZERO, Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        let _gone = fs_err::remove_file(&self.path);
        let _gone = fs::remove_dir(&self.folder);
    }
}

fn listen_in_first(parents: &[PathBuf]) -> Result<(PathBuf, PathBuf, UnixListener), ServerProblem> {
    let mut causes = Vec::new();
    for parent in parents {
        match listen_in(parent) {
            Ok(listening) => return Ok(listening),
            Err(cause) => causes.push(format!("{}: {cause}", parent.display())),
        }
    }
    Err(ServerProblem { causes: causes.join("; ") })
}

fn listen_in(parent: &Path) -> io::Result<(PathBuf, PathBuf, UnixListener)> {
    let folder = private_folder(parent)?;
    let listen = || {
        let path = folder.join("hook");
        if path.as_os_str().len() > MAXIMUM_PATH_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, "the path is too long for a socket"));
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((folder.clone(), path, listener))
    };
    listen().inspect_err(|_| {
        let _gone = fs::remove_dir(&folder);
    })
}

/// A new folder: `mkdir` neither follows links nor takes over what somebody else laid there.
fn private_folder(parent: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let folder = parent.join(format!("flopsmeter-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(cause) => return Err(cause),
        }
    }
}

async fn serve(listener: UnixListener, events: SyncSender<HookEvent>, signs: Signs) {
    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
    let mut stopped = signs.stopped.clone();
    let mut desk = Desk { events, signs, budget: Budget::default(), open: JoinSet::new(), next: 0, refused: 0 };
    while stopped.borrow().is_none() {
        tokio::select! {
            accepted = listener.accept() => desk.take(accepted.map(|(stream, _)| stream)).await,
            Some(_) = desk.open.join_next() => {}
            changed = stopped.changed() => if changed.is_err() { break },
        }
    }
    if let Ok(listener) = listener.into_std() {
        desk.take_backlog(&listener).await;
    }
    // Each gives up by itself when its time is over.
    while desk.open.join_next().await.is_some() {}
    desk.tell_of_refused().await;
}

fn watched(stream: std::os::unix::net::UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Where connections arrive.
struct Desk {
    events: SyncSender<HookEvent>,
    signs: Signs,
    budget: Budget,
    open: JoinSet<()>,
    next: u32,
    refused: u64,
}

impl Desk {
    async fn take(&mut self, accepted: io::Result<tokio::net::UnixStream>) {
        /// No more files to be had: some will be closed soon.
        const BREATHER: Duration = Duration::from_millis(50);
        let Ok(stream) = accepted else { return tokio::time::sleep(BREATHER).await };
        if self.open.len() >= MAXIMUM_CONNECTIONS {
            self.refused += 1;
            if self.refused == 1 {
                self.tell_of_refused().await;
            }
            return;
        }
        let connection = self.next;
        self.next = self.next.saturating_add(1);
        let served = Connection::new(stream, connection, self.events.clone(), self.signs.clone(), self.budget.clone());
        self.open.spawn(served.serve());
    }

    /// Processes that came and went before they were accepted have their messages in the backlog. Who comes after those has come too
    /// late.
    async fn take_backlog(&mut self, listener: &UnixListener) {
        let begun = Instant::now();
        for _ in 0..BACKLOG_CONNECTIONS {
            let accepted = match listener.accept() {
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return,
                accepted => accepted.and_then(|(stream, _)| watched(stream)),
            };
            self.take(accepted).await;
            if connection::gives_up(&self.signs.stopped, begun) {
                break;
            }
            // Those who have ended make room.
            tokio::task::yield_now().await;
        }
        self.refused += 1;
    }

    async fn tell_of_refused(&self) {
        if self.refused > 0 {
            let event = HookEvent { connection: self.next, what: HookWhat::Overflow(self.refused), _held: None };
            let _nobody_listens = connection::deliver(&self.events, event, &self.signs.stopped).await;
        }
    }
}
