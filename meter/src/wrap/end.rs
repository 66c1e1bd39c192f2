//! Ending as the command ended.

use flopsmeter_core::run::Exit;
use libc::c_int;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use super::signals::set_disposition;

/// Ends this process by the signal that ended the command, or returns the exit code to end with.
///
/// Leaves no core file of its own. As process 1 of a container no signal with its default action ends us; then 128 plus the
/// signal's number is returned, as a shell would.
pub fn end_like(exit: Exit) -> u8 {
    let signal = match exit {
        Exit::Code(code) => return u8::try_from(code & 0xff).unwrap_or(1),
        Exit::Signal(signal) => signal,
    };
    die_of(signal);
    u8::try_from(signal.saturating_add(128)).unwrap_or(1)
}

/// Returns only if `signal` does not end this process.
pub(super) fn die_of(signal: c_int) {
    // Both, because a core that goes to a program (systemd-coredump) does not heed the limit.
    let _best_effort = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _best_effort = prctl::set_dumpable(false);
    set_disposition(signal, libc::SIG_DFL);
    // SAFETY: a set on this stack; raising may end the process, which is the purpose.
    unsafe {
        let mut set: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, core::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Whether a signal of job control waits for this process: it was sent after any `SIGCONT` that was taken before, as the kernel throws
/// away those that still wait when a stop is sent. To continue the command then would undo that stop.
pub(super) fn is_to_stop() -> bool {
    let waits = waiting();
    [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].into_iter().any(|signal| contains(&waits, signal))
}

/// Signals that have come to this thread or process and are blocked.
fn waiting() -> libc::sigset_t {
    // SAFETY: sets on this stack.
    unsafe {
        let mut waits: libc::sigset_t = core::mem::zeroed();
        libc::sigpending(&raw mut waits);
        waits
    }
}

fn contains(signals: &libc::sigset_t, signal: c_int) -> bool {
    // SAFETY: reads a valid set.
    unsafe { libc::sigismember(signals, signal) == 1 }
}

/// Stops this process by `signal` until somebody continues it, unless somebody just has. Without a shell that could continue us (an orphaned process
/// group) the kernel ignores the three signals of job control, and this returns at once.
pub(super) fn stop_by(signal: c_int) {
    let signal = match signal {
        libc::SIGTTIN | libc::SIGTTOU => signal,
        // SIGSTOP, too: it would stop us where nobody is there to continue us.
        _ => libc::SIGTSTP,
    };
    if contains(&waiting(), libc::SIGCONT) {
        return;
    }
    // SAFETY: sets on this stack; the signal is blocked again when this thread goes on.
    unsafe {
        let mut set: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        // The group's own signal may wait for us; with it we would stop twice.
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        libc::sigtimedwait(&raw const set, core::ptr::null_mut(), &raw const at_once);
        let mut before: libc::sigset_t = core::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, &raw mut before);
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigSet, Signal};

    use super::*;

    #[test]
    fn a_stop_that_waits_is_newer_than_a_continuation() {
        let mut stops = SigSet::empty();
        stops.add(Signal::SIGTSTP);
        stops.thread_block().unwrap();
        assert!(!is_to_stop());
        // To this thread alone: that is how `raise` works where there are several.
        nix::sys::signal::raise(Signal::SIGTSTP).unwrap();
        assert!(is_to_stop());
        assert_eq!(stops.wait(), Ok(Signal::SIGTSTP));
        assert!(!is_to_stop());
    }
}
