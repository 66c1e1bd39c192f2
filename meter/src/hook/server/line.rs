//! The socket of one process, which is watched for bytes or left alone between two looks.

use std::ffi::c_int;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use tokio::net::UnixStream;

/// Never waits, whichever it is.
#[derive(Debug)]
pub(super) struct Line(State);

#[derive(Debug)]
enum State {
    /// Whatever arrives wakes the thread, even where nobody reads it yet.
    Watched(UnixStream),
    /// Nothing does.
    LeftAlone(std::os::unix::net::UnixStream),
    /// It could not be changed from one to the other.
    Gone,
}

impl Line {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self(State::Watched(stream))
    }

    /// Has it watched from now on, or left alone.
    pub(super) fn be_watched(&mut self, watched: bool) -> io::Result<()> {
        self.0 = match (core::mem::replace(&mut self.0, State::Gone), watched) {
            (State::Watched(stream), false) => State::LeftAlone(stream.into_std()?),
            (State::LeftAlone(stream), true) => State::Watched(UnixStream::from_std(stream)?),
            (state, _) => state,
        };
        Ok(())
    }

    /// Until there is something to read; at once where nobody watches.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            State::Watched(stream) => stream.readable().await,
            State::LeftAlone(_) | State::Gone => Ok(()),
        }
    }

    pub(super) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            State::Watched(stream) => stream.try_read(bytes),
            State::LeftAlone(stream) => (&mut &*stream).read(bytes),
            State::Gone => Ok(0),
        }
    }

    /// What has come and was not read.
    pub(super) fn waiting_bytes(&self) -> io::Result<usize> {
        match &self.0 {
            State::Watched(stream) => waiting_bytes(stream.as_fd()),
            State::LeftAlone(stream) => waiting_bytes(stream.as_fd()),
            State::Gone => Ok(0),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            State::Watched(stream) => stream.try_write(bytes),
            State::LeftAlone(stream) => (&mut &*stream).write(bytes),
            State::Gone => Ok(0),
        }
    }
}

/// `FIONREAD` of unix(7).
fn waiting_bytes(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: the descriptor is borrowed, so it is open, and the call writes this one number.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    nix::errno::Errno::result(code)?;
    usize::try_from(count).map_err(io::Error::other)
}
