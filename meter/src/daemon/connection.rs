//! A meter's connection to the daemon: what [`crate::device::nvml::process::DriverProcess`] is to a process of its own.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use flopsmeter_core::run::Finding;

use super::trust::{connect_to, numbers_alike};
use crate::device::Kernel;
use crate::device::nvml::process::Heard;
use crate::device::nvml::reader::{Answer, Order};

/// Bytes that one line of the daemon may have.
const MAX_LINE: u64 = 4 << 20;

/// The first line has to come within this time, else the meter asks the driver itself.
const PATIENCE: Duration = Duration::from_millis(200);

/// The connection. Dropping it ends it.
#[derive(Debug)]
pub struct DaemonConnection {
    stream: UnixStream,
    path: PathBuf,
    lists_processes: bool,
}

impl DaemonConnection {
    /// Connects to the first of `paths` where a daemon listens that may be believed. What it says goes to `hear`; that it ended,
    /// too, and that its first line did not come in time. Never waits.
    pub fn open(paths: &[PathBuf], kernel: &Kernel, hear: impl Fn(Heard) + Send + 'static) -> Option<Self> {
        let (stream, path) = paths.iter().find_map(|path| Some((connect_to(path).ok()?, path)))?;
        let answers = stream.try_clone().ok()?;
        let connection = Self { lists_processes: numbers_alike(&stream, kernel), stream, path: path.clone() };
        thread::Builder::new()
            .name("flopsmeter-daemon".to_owned())
            .spawn(move || {
                let _ended = pass_on(&answers, &hear);
                hear(Heard::Ended);
            })
            .ok()?;
        Some(connection)
    }

    /// Whether it may be asked for processes: in another PID namespace it has other numbers for them.
    pub(crate) const fn lists_processes(&self) -> bool {
        self.lists_processes
    }

    /// Gives an order. `false` if the daemon is gone. Never waits: what it does not take is an end.
    pub fn order(&mut self, order: &Order) -> bool {
        serde_json::to_vec(order).is_ok_and(|mut line| {
            line.push(b'\n');
            self.stream.write_all(&line).is_ok()
        })
    }

    /// That it reads.
    pub(crate) fn told(&self) -> Finding {
        let text = format!("the GPUs are read by the daemon at {}", self.path.display());
        Finding { code: "gpus-read-by-daemon".to_owned(), text }
    }

    /// That it does no more.
    pub(crate) fn lost(&self) -> Finding {
        let path = self.path.display();
        let text = format!(
            "the daemon at {path} ended or did not answer: this run's own process reads the GPUs from here on; see the daemon's log"
        );
        Finding { code: "daemon-lost".to_owned(), text }
    }
}

impl Drop for DaemonConnection {
    fn drop(&mut self) {
        // Ends the thread that listens, too.
        let _gone = self.stream.shutdown(Shutdown::Both);
    }
}

/// Until the daemon ends or says what cannot be read. The socket does not block, so that no order ever does: lines are waited
/// for by polling.
fn pass_on(stream: &UnixStream, hear: &impl Fn(Heard)) -> io::Result<()> {
    let mut lines = BufReader::new(Waiting { stream, patience: Some(PATIENCE) });
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        lines.get_mut().patience = None;
        hear(Heard::Answer(serde_json::from_slice::<Answer>(&line)?));
    }
}

/// Reads from a socket that does not block.
struct Waiting<'stream> {
    stream: &'stream UnixStream,
    patience: Option<Duration>,
}

impl io::Read for Waiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::fd::AsFd as _;

        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

        let timeout = self
            .patience
            .map_or(PollTimeout::NONE, |patience| PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX));
        let mut watched = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, timeout)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.read(buffer)
    }
}
