//! Commands under the wrapper, and a job that tells what reaches it.

use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The example beside this test's own binary; Cargo builds both for `cargo test` and `cargo nextest run`.
pub(super) fn wrapper() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let wrapper = test.parent().and_then(Path::parent).unwrap().join("examples/wrap");
    assert!(wrapper.exists(), "{} is missing: run `cargo build -p flopsmeter-meter --examples`", wrapper.display());
    wrapper
}

pub(super) fn file(name: &str) -> String {
    format!("{}/tests/wrap/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn wrapped(command: &[&str]) -> Command {
    let mut wrapped = Command::new(wrapper());
    wrapped.args(command);
    wrapped
}

pub(super) fn status_of(script: &str) -> ExitStatus {
    wrapped(&["sh", "-c", script]).status().unwrap()
}

/// `tests/wrap/job.py` under the wrapper, in a process group of its own.
pub(super) struct Job {
    pub(super) wrapper: Child,
    pub(super) lines: Lines<BufReader<ChildStdout>>,
    pub(super) pid: Pid,
}

impl Job {
    pub(super) fn start() -> Self {
        let mut command = wrapped(&["python3", &file("job.py")]);
        let mut wrapper = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(wrapper.stdout.take().unwrap()).lines();
        let ready = lines.next().unwrap().unwrap();
        let words: Vec<&str> = ready.split(' ').collect();
        assert_eq!((words[0], words[2], words[3]), ("ready", wrapper.id().to_string().as_str(), "yes"), "{ready}");
        Self { wrapper, lines, pid: Pid::from_raw(words[1].parse().unwrap()) }
    }

    pub(super) fn wrapper_pid(&self) -> Pid {
        Pid::from_raw(self.wrapper.id().try_into().unwrap())
    }

    /// Sends to the wrapper alone.
    pub(super) fn send(&self, signal: Signal) {
        kill(self.wrapper_pid(), signal).unwrap();
    }

    /// Sends to the whole group.
    pub(super) fn send_to_group(&self, signal: Signal) {
        killpg(self.wrapper_pid(), signal).unwrap();
    }

    pub(super) fn next_line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// What the job said until its end. The wrapper passes signals on in the order in which it has them, so nothing it might still
    /// have to pass on comes after the SIGUSR2 that ends the job.
    pub(super) fn rest(mut self) -> Vec<String> {
        self.send(Signal::SIGUSR2);
        let rest = self.lines.map(Result::unwrap).collect();
        assert_eq!(self.wrapper.wait().unwrap().code(), Some(0));
        rest
    }

    pub(super) fn wait_until_stopped(&self) {
        let status = waitpid(self.wrapper_pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
    }
}

/// State of a process as `/proc/PID/stat` has it: `S`, `T`, `Z` …
pub(super) fn state(pid: Pid) -> Option<char> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
