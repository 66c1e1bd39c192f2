//! The process in which all driver calls are made, seen from outside ([`super::reader`] is its inside).

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use super::reader::{Answer, Order};
use crate::own_process;

/// Bytes that one answer may have; a node full of GPUs takes a hundredth of it.
const MAX_LINE: u64 = 4 << 20;

/// How the process is started: a program and its arguments, which end up in [`super::reader::serve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether it plays a trace ([`crate::device::trace`]): then it has something to say without a driver, too.
    pub plays_trace: bool,
}

impl ReaderCommand {
    /// A command that asks the driver.
    pub const fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments, plays_trace: false }
    }

    /// The same, but that it plays a trace.
    #[must_use]
    pub fn of_trace(self) -> Self {
        Self { plays_trace: true, ..self }
    }
}

/// What is heard of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It answered.
    Answer(Answer),
    /// It ended; nothing more will come.
    Ended,
}

/// The running process. Dropping it ends the process, without waiting for it.
#[derive(Debug)]
pub struct DriverProcess {
    orders: ChildStdin,
    number: u32,
}

impl DriverProcess {
    /// Starts the process, which loads the driver's library (`library` in place of the system's, if given) and lists the GPUs.
    /// What it says goes to `hear`.
    pub fn start(
        command: &ReaderCommand,
        library: Option<&Path>,
        hear: impl Fn(Heard) + Send + 'static,
    ) -> io::Result<Self> {
        let mut prepared = Command::new(&command.program);
        prepared.args(&command.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(library) = library {
            prepared.env(super::NVML_LIBRARY_VARIABLE, library);
        }
        // Keys and signals that are meant for the job's group must not reach it.
        prepared.process_group(0);
        let mut child = own_process::start(&mut prepared)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        let number = child.id();
        thread::Builder::new().name("flopsmeter-nvml".to_owned()).spawn(move || {
            pass_on(answers, &hear);
            // The wrapper's own thread may have waited for it before.
            let _status = child.wait();
            own_process::forget(child.id());
            hear(Heard::Ended);
        })?;
        Ok(Self { orders, number })
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.number
    }

    /// Gives an order. `false` if the process has ended. Never waits: no more than a few lines are ever unread, which fit into any
    /// pipe.
    pub fn order(&mut self, order: &Order) -> bool {
        serde_json::to_vec(order).is_ok_and(|mut line| {
            line.push(b'\n');
            self.orders.write_all(&line).is_ok()
        })
    }
}

impl Drop for DriverProcess {
    fn drop(&mut self) {
        own_process::leave_behind(self.number);
    }
}

/// Until the process ends or says what cannot be read.
fn pass_on(answers: ChildStdout, hear: &impl Fn(Heard)) {
    let mut answers = BufReader::new(answers);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = answers.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            return;
        }
        let Ok(answer) = serde_json::from_slice(&line) else { return };
        hear(Heard::Answer(answer));
    }
}
