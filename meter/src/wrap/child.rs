//! The command: start it, pass signals on to it, see it end.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use flopsmeter_core::run::Exit;
use libc::{c_int, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::caller;
use super::end;
use super::reap::{self, Change};
use super::signals::{CallerSignals, Signals, set_disposition};
use super::witness::{ALL_REACHED, Witness};
use crate::own_process;

/// A command that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnProblem {
    /// There is no such file.
    #[error("`{command}` was not found; check its name and PATH")]
    NotFound {
        /// The command's name.
        command: String,
    },
    /// It is there, but cannot be executed.
    #[error("`{command}` cannot be executed ({cause}); check its permissions and first line")]
    CannotExecute {
        /// The command's name.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no room for the thread that takes signals and waits for the command.
    #[error("`{command}` cannot be metered ({cause}); check the limit on processes (ulimit -u)")]
    NoThread {
        /// The command's name.
        command: String,
        /// What the system said.
        cause: io::Error,
    },
    /// No command was given.
    #[error("no command was given; put it after `--`")]
    Empty,
}

impl SpawnProblem {
    /// What a shell would end with: 127 for what is not there, 126 for what cannot be executed.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::CannotExecute { .. } | Self::NoThread { .. } => 126,
            Self::Empty => 2,
        }
    }

    fn of(command: &OsString, cause: io::Error) -> Self {
        let command = command.to_string_lossy().into_owned();
        match cause.kind() {
            io::ErrorKind::NotFound => Self::NotFound { command },
            _ => Self::CannotExecute { command, cause },
        }
    }
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    /// Processor time, user and system, of the command and of all its descendants that have ended by then, in nanoseconds. A
    /// process whose parent ignored `SIGCHLD` is not in it: the kernel keeps no account of those.
    pub children_cpu_time_nanoseconds: u64,
    /// Whether descendants outlived the command; their time is not in the figure.
    pub left_running: bool,
}

/// A running command. One for each process: the wrapper waits for all children of the process, and takes all its signals.
#[derive(Debug)]
pub struct Child {
    shared: Arc<Shared>,
    id: u32,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Not there yet.
    Starting,
    /// Running, or ended and not yet waited for: the process id is its own.
    Running(pid_t),
    /// Waited for: the process id may be somebody else's by now.
    Reaped,
    /// Accounted for as well.
    Ended(Ended),
}

impl State {
    const fn ended(self) -> Option<Ended> {
        match self {
            Self::Ended(ended) => Some(ended),
            Self::Starting | Self::Running(_) | Self::Reaped => None,
        }
    }
}

impl Child {
    /// Starts `command` (its first element is looked up in `PATH`) with `extra_environment` set besides ours.
    ///
    /// After [`SpawnProblem::NoThread`] the command can still be run by [`replace_with`].
    pub fn spawn(
        signals: Signals,
        command: &[OsString],
        extra_environment: &[(OsString, OsString)],
    ) -> Result<Self, SpawnProblem> {
        let caller_signals = signals.caller;
        let (name, mut prepared) =
            prepare(command, extra_environment, caller_signals).inspect_err(|_| caller_signals.restore())?;
        let shared = Arc::new(Shared { state: Mutex::new(State::Starting), changed: Condvar::new() });
        let guard = Guard { shared: Arc::clone(&shared), signals };
        let (started, start) = mpsc::channel();
        // Before the command, so that nothing can fail once it runs.
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || guard.run(&start));
        if let Err(cause) = thread {
            caller_signals.restore();
            return Err(SpawnProblem::NoThread { command: name.to_string_lossy().into_owned(), cause });
        }
        // Dropping the standard library's handle neither ends nor waits for the command; the thread does that.
        let child = prepared.spawn().map_err(|cause| {
            caller_signals.restore();
            SpawnProblem::of(name, cause)
        })?;
        let id = child.id();
        // Linux process ids are below 2^22.
        let pid = pid_t::try_from(id).unwrap_or(pid_t::MAX);
        *shared.lock() = State::Running(pid);
        // The thread is there: it waits for exactly this.
        let _received = started.send(pid);
        Ok(Self { shared, id })
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the command has ended.
    pub fn wait(&self) -> Ended {
        loop {
            if let Some(ended) = self.wait_timeout(Duration::from_hours(1)) {
                return ended;
            }
        }
    }

    /// Waits until the command has ended, but at most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Ended> {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, timeout, |state| state.ended().is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.ended()
    }

    /// Asks the command to end (SIGTERM); nothing happens if it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(libc::SIGTERM)
    }

    /// Sends a signal to the command; nothing happens if it has ended.
    pub fn send_signal(&self, signal: c_int) -> io::Result<()> {
        self.shared.send(signal, None)
    }
}

/// Becomes the command, without a meter: for when not even [`Signals::take`] works. Returns only if that fails.
pub fn replace_with(command: &[OsString]) -> SpawnProblem {
    let Some((name, arguments)) = command.split_first() else { return SpawnProblem::Empty };
    SpawnProblem::of(name, Command::new(name).args(arguments).exec())
}

fn prepare<'a>(
    command: &'a [OsString],
    extra_environment: &[(OsString, OsString)],
    caller_signals: CallerSignals,
) -> Result<(&'a OsString, Command), SpawnProblem> {
    let (name, arguments) = command.split_first().ok_or(SpawnProblem::Empty)?;
    let mut prepared = Command::new(name);
    prepared.args(arguments).envs(extra_environment.iter().map(|(name, value)| (name, value)));
    let pipe_was_ignored = caller::pipe_was_ignored();
    // SAFETY: what runs between fork and exec makes system calls alone: no allocation, no lock.
    unsafe {
        prepared.pre_exec(move || {
            // The standard library has set SIGPIPE to its default just before.
            if pipe_was_ignored {
                set_disposition(libc::SIGPIPE, libc::SIG_IGN);
            }
            for stream in (0..3).filter(|stream| caller::was_closed(*stream)) {
                libc::close(stream);
            }
            caller_signals.restore();
            Ok(())
        });
    }
    Ok((name, prepared))
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is a plain value that is always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next change of any child; if it is the end of the command, nobody can signal it any more.
    fn reap(&self, command: pid_t) -> Change {
        let mut state = self.lock();
        let change = reap::next_change();
        if matches!(change, Change::Ended(pid, _) if pid == command) {
            *state = State::Reaped;
        }
        change
    }

    /// Holds the lock while sending, so that the process id cannot become somebody else's meanwhile.
    fn send(&self, signal: c_int, value: Option<libc::sigval>) -> io::Result<()> {
        let state = self.lock();
        let State::Running(pid) = *state else { return Ok(()) };
        // SAFETY: plain system calls.
        let sent = unsafe { value.map_or_else(|| libc::kill(pid, signal), |value| libc::sigqueue(pid, signal, value)) };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The shell that looks after us must see that its job stopped.
fn stop_too(signal: c_int) {
    // By then the signal that stopped the command has reached us as well, if it went to the whole group.
    std::thread::sleep(ALL_REACHED);
    end::stop_by(signal);
}

fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// The thread that takes signals and waits for children.
struct Guard {
    shared: Arc<Shared>,
    signals: Signals,
}

impl Guard {
    fn run(mut self, start: &mpsc::Receiver<pid_t>) {
        // Signals that come before wait in the signalfd.
        let Ok(pid) = start.recv() else { return self.signals.witness.map_or((), Witness::dismiss) };
        while !self.take_next(pid) {}
        self.see_out();
    }

    /// Waits for the next signal and deals with it. Returns whether the command has ended.
    fn take_next(&mut self, pid: pid_t) -> bool {
        self.listen_to_witness();
        match self.signals.incoming.read_signal() {
            Ok(Some(info)) if c_int::try_from(info.ssi_signo) == Ok(libc::SIGCHLD) => self.see_children(pid),
            Ok(Some(info)) => {
                self.pass_on(&info);
                false
            }
            Ok(None) | Err(nix::Error::EINTR) => false,
            Err(_) => {
                // Cannot happen with an open signalfd; the job's end must be seen all the same.
                let exit = reap::wait_for(pid);
                self.conclude(exit.unwrap_or(Exit::Code(1)));
                true
            }
        }
    }

    /// Until there is a signal of our own, so that what the witness says is heard when it is said.
    fn listen_to_witness(&mut self) {
        while let Some(witness) = &mut self.signals.witness {
            let own = PollFd::new(self.signals.incoming.as_fd(), PollFlags::POLLIN);
            let mut ready = [own, PollFd::new(witness.channel(), PollFlags::POLLIN)];
            let polled = poll(&mut ready, PollTimeout::NONE);
            let [own, said] = ready.map(|ready| ready.any().unwrap_or(true));
            if polled.is_ok() && said && witness.listen().is_err() {
                // Killed, or never able to work: SIGCHLD follows, but a gone witness would be heard again and again.
                if let Some(witness) = self.signals.witness.take() {
                    witness.dismiss();
                }
            }
            if own {
                return;
            }
        }
    }

    /// Whether the command has ended.
    fn see_children(&mut self, pid: pid_t) -> bool {
        loop {
            match self.shared.reap(pid) {
                Change::Ended(ended, exit) if ended == pid => {
                    self.conclude(exit);
                    return true;
                }
                Change::Ended(ended, _) => self.forget_witness(ended),
                Change::Stopped(stopped, signal) if stopped == pid => stop_too(signal),
                Change::Stopped(..) => {}
                Change::Nothing | Change::Childless => return false,
            }
        }
    }

    fn forget_witness(&mut self, pid: pid_t) {
        if self.signals.witness.as_ref().is_some_and(|witness| witness.is(pid)) {
            self.signals.witness = None;
        }
    }

    fn conclude(&mut self, exit: Exit) {
        if let Some(witness) = self.signals.witness.take() {
            witness.dismiss();
        }
        let left_running = loop {
            match reap::next_change() {
                Change::Ended(..) | Change::Stopped(..) => {}
                Change::Nothing => break own_process::has_others(),
                Change::Childless => break false,
            }
        };
        let children_cpu_time_nanoseconds = reap::children_time_nanoseconds();
        *self.shared.lock() = State::Ended(Ended { exit, children_cpu_time_nanoseconds, left_running });
        self.shared.changed.notify_all();
    }

    fn pass_on(&mut self, info: &libc::signalfd_siginfo) {
        let Ok(signal) = c_int::try_from(info.ssi_signo) else { return };
        let witness = self.signals.witness.as_mut();
        let witnessed = witness.map(|witness| witness.has_seen(signal));
        // The kernel's own: keys go to the whole group; limits and timers are about this very process. Only a terminal that hangs
        // up tells the leader of its session alone.
        let from_kernel = matches!(info.ssi_code, libc::SI_KERNEL | libc::SI_TIMER);
        let hangs_up = matches!(signal, libc::SIGHUP | libc::SIGCONT) && leads_session();
        if witnessed == Some(true) || (from_kernel && !hangs_up) || (signal == libc::SIGCONT && end::is_to_stop()) {
            return;
        }
        let value = (info.ssi_code == libc::SI_QUEUE).then(|| libc::sigval {
            sival_ptr: core::ptr::without_provenance_mut(usize::try_from(info.ssi_ptr).unwrap_or(0)),
        });
        // It may have ended meanwhile, or have become another user's: as without us, nothing happens then.
        let _not_ours = self.shared.send(signal, value);
    }

    /// After the end, while records are completed: the first request to end has probably ended the command as well, the second
    /// one is meant for us.
    fn see_out(self) {
        let mut requests = 0;
        while let Ok(info) = self.signals.incoming.read_signal() {
            let signal = info.and_then(|info| c_int::try_from(info.ssi_signo).ok());
            if let Some(signal @ (libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)) = signal {
                requests += 1;
                if requests > 1 {
                    end::die_of(signal);
                }
            }
        }
    }
}
