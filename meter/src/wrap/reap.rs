//! Waiting for processes. `nix` has no words for a process that a real-time signal ended, so the calls here are the C library's.

use flopsmeter_core::run::Exit;
use libc::{c_int, pid_t};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// What became of some child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It ended.
    Ended(pid_t, Exit),
    /// It was stopped by this signal.
    Stopped(pid_t, c_int),
    /// Nothing new; children remain.
    Nothing,
    /// There are no children.
    Childless,
}

/// The next change of any child, without waiting.
pub(super) fn next_change() -> Change {
    let mut status = 0;
    // SAFETY: writes one integer of this stack.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    match pid {
        0 => Change::Nothing,
        // With these arguments the only failure is to have no children.
        -1 => Change::Childless,
        pid if libc::WIFSTOPPED(status) => Change::Stopped(pid, libc::WSTOPSIG(status)),
        pid => Change::Ended(pid, exit_of(status)),
    }
}

/// Waits until one child ends; `None` if it is no child of ours.
pub(super) fn wait_for(pid: pid_t) -> Option<Exit> {
    loop {
        let mut status = 0;
        // SAFETY: writes one integer of this stack.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            return Some(exit_of(status));
        }
        if nix::Error::last() != nix::Error::EINTR {
            return None;
        }
    }
}

/// Processor time, user and system, of all descendants that ended and were waited for, in nanoseconds.
pub(super) fn children_time_nanoseconds() -> u64 {
    let nanoseconds = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_or(0, |usage| usage.user_time().num_nanoseconds().saturating_add(usage.system_time().num_nanoseconds()));
    u64::try_from(nanoseconds).unwrap_or(0)
}

const fn exit_of(status: c_int) -> Exit {
    if libc::WIFSIGNALED(status) { Exit::Signal(libc::WTERMSIG(status)) } else { Exit::Code(libc::WEXITSTATUS(status)) }
}
