//! What the caller had set before Rust's runtime changed it: the runtime ignores `SIGPIPE` and opens `/dev/null` on standard
//! streams that were closed, both before `main`. systemd, for one, starts its services with `SIGPIPE` ignored.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Runs before the runtime's own start.
// SAFETY: `.init_array` holds pointers to C functions that the C library calls once, before `main`, after its own start.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: both calls only read, into a value of the right type that lives on this stack.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        let known = libc::sigaction(libc::SIGPIPE, core::ptr::null(), &raw mut action) == 0;
        PIPE_IGNORED.store(known && action.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
        for (stream, closed) in (0..).zip(&CLOSED) {
            closed.store(libc::fcntl(stream, libc::F_GETFD) == -1, Ordering::Relaxed);
        }
    }
}

/// Whether the caller ignored `SIGPIPE`.
pub fn pipe_was_ignored() -> bool {
    PIPE_IGNORED.load(Ordering::Relaxed)
}

/// Whether the caller had closed a standard stream (0, 1 or 2).
pub fn was_closed(stream: RawFd) -> bool {
    usize::try_from(stream)
        .ok()
        .and_then(|index| CLOSED.get(index))
        .is_some_and(|closed| closed.load(Ordering::Relaxed))
}
