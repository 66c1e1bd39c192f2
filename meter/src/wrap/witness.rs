//! Telling a signal to the whole process group from a signal to the wrapper alone.
//!
//! Both look the same to the receiver: `SI_USER` and the sender's id. But the group's signals also reach a third process that is in
//! the group for nothing else. The witness is a fork of the wrapper that holds no files, blocks all signals, and when asked says
//! which ones have come since. If it is gone, a signal from another process counts as meant for the wrapper alone.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use libc::{c_int, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::reap;

/// `kill` reaches the members of a group one by one; by then it has reached the last one.
pub(super) const ALL_REACHED: Duration = Duration::from_millis(10);

/// A witness that does not answer for so long is stopped or gone.
const ANSWER_MILLISECONDS: u8 = 100;

/// The other process.
#[derive(Debug)]
pub(super) struct Witness {
    pid: pid_t,
    channel: OwnedFd,
}

impl Witness {
    /// Starts one; `None` if the system has no room for it.
    pub(super) fn start() -> Option<Self> {
        let (channel, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).ok()?;
        // SAFETY: the child makes system calls alone, none of which allocates or takes a lock, and never returns.
        match unsafe { libc::fork() } {
            0 => testify(far.as_raw_fd()),
            -1 => None,
            pid => Some(Self { pid, channel }),
        }
    }

    /// Whether `pid` is the witness.
    pub(super) const fn is(&self, pid: pid_t) -> bool {
        self.pid == pid
    }

    /// Whether `signal` has reached the group since the last call. Forgets all others as well.
    pub(super) fn has_seen(&self, signal: c_int) -> bool {
        if self.ask(signal) {
            return true;
        }
        std::thread::sleep(ALL_REACHED);
        self.ask(signal)
    }

    /// Forgets what has come, for signals of which it is known otherwise that the whole group had them.
    pub(super) fn forget(&self) {
        std::thread::sleep(ALL_REACHED);
        self.ask(0);
    }

    fn ask(&self, signal: c_int) -> bool {
        let answer = || -> nix::Result<u64> {
            send(self.channel.as_raw_fd(), &[0], MsgFlags::MSG_NOSIGNAL)?;
            let mut ready = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(ANSWER_MILLISECONDS))? == 0 {
                return Err(nix::Error::ETIMEDOUT);
            }
            let mut seen = [0; 8];
            recv(self.channel.as_raw_fd(), &mut seen, MsgFlags::MSG_DONTWAIT)?;
            Ok(u64::from_ne_bytes(seen))
        };
        answer().is_ok_and(|seen| seen & bit(signal) != 0)
    }

    /// Ends it.
    pub(super) fn dismiss(self) {
        // SAFETY: a plain system call; the id is our child's and was not waited for, so it is nobody else's.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        reap::wait_for(self.pid);
    }
}

const fn bit(signal: c_int) -> u64 {
    if signal < 1 || signal > 64 { 0 } else { 1 << (signal - 1) }
}

/// The witness's life. Ends when the wrapper's end of the channel is closed, by whatever death.
fn testify(channel: c_int) -> ! {
    // SAFETY: system calls on memory of this stack; no allocation, no lock, no return.
    unsafe {
        // No file of the job's may be held open by us.
        if libc::dup2(channel, 0) == -1 || libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) == -1 {
            libc::_exit(1);
        }
        libc::prctl(libc::PR_SET_NAME, c"flopsmeter-sig".as_ptr());
        let mut all: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, core::ptr::null_mut());
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut question = 0_u8;
        while libc::read(0, (&raw mut question).cast(), 1) == 1 {
            let mut seen = 0_u64;
            loop {
                let signal = libc::sigtimedwait(&raw const all, core::ptr::null_mut(), &raw const at_once);
                if signal < 1 {
                    break;
                }
                seen |= bit(signal);
            }
            if libc::write(0, (&raw const seen).cast(), 8) != 8 {
                break;
            }
        }
        libc::_exit(0)
    }
}
