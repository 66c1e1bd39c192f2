//! Frames on their way out through a socket that never makes the job wait.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use flopsmeter_core::facts::HookMessage;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::clock;
use crate::hook::frame::{FrameProblem, encode};

/// Bytes that may wait to be sent: a few descriptions of very large models.
const MAXIMUM_WAITING_BYTES: usize = 32 << 20;

/// What the meter says is shorter.
const PORTION_BYTES: usize = 512;

/// Pause between two attempts at a meter whose queue of connections is full.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Why a message cannot be sent any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendProblem {
    /// The message does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameProblem),
    /// The meter has stopped reading.
    #[error("the meter has not read {waiting} bytes that were sent to it")]
    NotRead {
        /// Bytes waiting.
        waiting: usize,
    },
    /// The socket is broken.
    #[error("the connection to the meter broke: {0}")]
    Socket(#[from] io::Error),
}

/// A connected, non-blocking socket and the bytes it has not taken yet.
#[derive(Debug)]
pub(super) struct Outbox {
    stream: UnixStream,
    waiting: VecDeque<u8>,
}

impl Outbox {
    /// Connects without ever blocking: on Linux an ordinary `connect` waits while the listener's queue is full.
    pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let address = UnixAddr::new(path)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let deadline = clock::now() + patience;
        let stream = UnixStream::from(descriptor);
        loop {
            match connect(stream.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self { stream, waiting: VecDeque::new() }),
                Err(Errno::EAGAIN | Errno::EINTR) if clock::now() < deadline => thread::sleep(RETRY_PAUSE),
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// Whether everything has been handed to the socket.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Appends a message and sends what the socket takes at once.
    pub(super) fn push(&mut self, message: &HookMessage) -> Result<(), SendProblem> {
        let frame = encode(message)?;
        let waiting = self.waiting.len();
        if waiting > 0 && waiting + frame.len() > MAXIMUM_WAITING_BYTES {
            return Err(SendProblem::NotRead { waiting });
        }
        self.waiting.extend(frame);
        Ok(self.write_without_waiting()?)
    }

    /// Sends what the socket takes at once; the rest stays, cut anywhere.
    pub(super) fn write_without_waiting(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let (next, _) = self.waiting.as_slices();
            match self.stream.write(next) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => drop(self.waiting.drain(..taken)),
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// Gives what has come from the meter, without waiting; nothing where it has gone.
    pub(super) fn read_without_waiting(&mut self, mut take: impl FnMut(&[u8])) {
        let mut portion = [0; PORTION_BYTES];
        while let Ok(read @ 1..) = self.stream.read(&mut portion) {
            take(portion.get(..read).unwrap_or_default());
        }
    }

    /// Sends everything, waiting at most `patience` for the other side to read.
    pub(super) fn write_within(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = clock::now() + patience;
        self.stream.set_nonblocking(false)?;
        while !self.waiting.is_empty() {
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the meter did not read the last message in time"));
            }
            self.stream.set_write_timeout(Some(left))?;
            // A write that timed out reads as "would block" and ends at the deadline above.
            self.write_without_waiting()?;
        }
        Ok(())
    }
}
