//! Telling a signal to the whole process group from a signal to the wrapper alone.
//!
//! Both look the same to the receiver: `SI_USER` and the sender's id. But the group's signals also reach a third process that is in
//! the group for nothing else. The witness is a fork of the wrapper that holds no files, blocks all signals, and sends the number
//! of each one that it gets. If it is gone, a signal from another process counts as meant for the wrapper alone.
//!
//! A signal counts as the group's if the witness had the same one at about the same time. (Counting one by one would not do: the
//! kernel merges equal signals that are waiting, and may merge them for one process and not for another. The price: a signal to the
//! wrapper alone that follows the same one to the group within a tenth of a second is merged with it as well.)
//!
//! The witness goes by another name, and without arguments: `pkill -f flopsmeter` must not reach it as well as the wrapper, which
//! would look as if it had reached the job, too.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

use super::reap;
use crate::{clock, own_process};

/// `kill` reaches the members of a group one by one; by then it has reached the last one, and the witness has said so.
pub(super) const ALL_REACHED: Duration = Duration::from_millis(25);

/// A signal that the witness had so long ago or less is taken to be the one that the wrapper has.
const SAME: Duration = Duration::from_millis(100);

/// Signals have numbers from 1 to 64.
const SIGNALS: usize = 65;

/// Files that an old kernel is asked to close one by one at most.
const MOST_FILES: c_int = 1 << 16;

/// The other process.
#[derive(Debug)]
pub(super) struct Witness {
    pid: pid_t,
    channel: OwnedFd,
    /// When it last had each signal.
    seen: [Option<Instant>; SIGNALS],
}

impl Witness {
    /// Starts one; `None` if the system has no room for it.
    pub(super) fn start() -> Option<Self> {
        let (channel, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).ok()?;
        let memory = Memory::of_this_process();
        // SAFETY: the child makes system calls alone, none of which allocates or takes a lock, and never returns.
        match unsafe { libc::fork() } {
            0 => testify(far.as_raw_fd(), memory),
            -1 => None,
            pid => {
                number(pid).into_iter().for_each(own_process::add);
                Some(Self { pid, channel, seen: [None; SIGNALS] })
            }
        }
    }

    /// Whether `pid` is the witness.
    pub(super) const fn is(&self, pid: pid_t) -> bool {
        self.pid == pid
    }

    /// Can be read when the witness has had a signal; then [`Witness::listen`].
    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes what the witness has said. An error means that it is gone.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        loop {
            let mut signal = [0_u8];
            match recv(self.channel.as_raw_fd(), &mut signal, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    if let Some(seen) = self.seen.get_mut(usize::from(signal[0])) {
                        *seen = Some(clock::monotonic());
                    }
                }
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// Whether `signal`, which the wrapper has just had, has reached the group.
    pub(super) fn has_seen(&mut self, signal: c_int) -> bool {
        let ends = clock::monotonic() + ALL_REACHED;
        loop {
            let gone = self.listen().is_err();
            let last = usize::try_from(signal).ok().and_then(|signal| *self.seen.get(signal)?);
            let now = clock::monotonic();
            if last.is_some_and(|last| now.saturating_duration_since(last) <= SAME) {
                return true;
            }
            if gone || now >= ends {
                return false;
            }
            let left = PollTimeout::try_from(ends - now).unwrap_or(PollTimeout::ZERO);
            let _looked_at_above = poll(&mut [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)], left);
        }
    }

    /// Ends it.
    pub(super) fn dismiss(self) {
        // SAFETY: a plain system call; the id is our child's and was not waited for, so it is nobody else's.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        reap::wait_for(self.pid);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        number(self.pid).into_iter().for_each(own_process::forget);
    }
}

fn number(pid: pid_t) -> Option<u32> {
    u32::try_from(pid).ok()
}

/// Where the kernel laid what the witness does not need of this process.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// Start and length of the arguments.
    arguments: Option<(usize, usize)>,
    /// Start of the heap.
    heap: Option<usize>,
}

impl Memory {
    /// Fields 47 to 49 of `/proc/self/stat`, see proc(5).
    fn of_this_process() -> Self {
        fs_err::read_to_string("/proc/self/stat").ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.rsplit_once(") ")?.1.split(' ').skip(47 - 3).map(|field| field.trim().parse::<usize>());
        // Zero where the kernel does not tell us.
        let mut next = || rest.next()?.ok().filter(|&address| address != 0);
        let heap = next();
        let (start, end) = (next(), next());
        // The limit is the kernel's own for all arguments together.
        let length = |(start, end): (usize, usize)| end.checked_sub(start).filter(|bytes| (1..6 << 20).contains(bytes));
        let arguments = start.zip(end).and_then(|both| Some((both.0, length(both)?)));
        Some(Self { arguments, heap })
    }
}

/// The witness's life. Ends when the wrapper's end of the channel is closed, by whatever death.
fn testify(channel: c_int, memory: Memory) -> ! {
    // SAFETY: system calls on memory of this stack; no allocation, no lock, no return. The arguments lie where the kernel says, in
    // writable memory at the end of the stack, and this copy of the process reads them no more. Nor does it use the heap.
    unsafe {
        let mut all: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, core::ptr::null_mut());
        hold_nothing_but(channel);
        libc::prctl(libc::PR_SET_NAME, c"signal-witness".as_ptr());
        if let Some((start, bytes)) = memory.arguments {
            core::ptr::with_exposed_provenance_mut::<u8>(start).write_bytes(0, bytes);
        }
        let_go_of_heap(memory.heap);
        let signals = libc::signalfd(-1, &raw const all, 0);
        let mut ready = [0, signals].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        while libc::poll(ready.as_mut_ptr(), 2, -1) >= 0 && ready[0].revents == 0 {
            let mut info: libc::signalfd_siginfo = core::mem::zeroed();
            let bytes = size_of::<libc::signalfd_siginfo>();
            if libc::read(signals, (&raw mut info).cast(), bytes) < 1 {
                break;
            }
            let signal = info.ssi_signo.to_le_bytes()[0];
            if libc::write(0, (&raw const signal).cast(), 1) != 1 {
                break;
            }
        }
        libc::_exit(0)
    }
}

/// The wrapper's heap would be kept twice: here as it was at the fork.
///
/// # Safety
///
/// For a process of its own that allocates nothing and reads nothing that was allocated. `start` is where its heap starts.
unsafe fn let_go_of_heap(start: Option<usize>) {
    // SAFETY: system calls; by the promise above nobody misses what was in the heap.
    unsafe {
        let end = libc::sbrk(0).addr();
        if let Some((start, bytes)) = start.and_then(|start| Some((start, end.checked_sub(start)?))) {
            let _best_effort = libc::madvise(core::ptr::without_provenance_mut(start), bytes, libc::MADV_DONTNEED);
        }
    }
}

/// No file of the job's may be kept open by the witness; its channel becomes file 0.
///
/// # Safety
///
/// For a process of its own that uses no file but these.
unsafe fn hold_nothing_but(channel: c_int) {
    // SAFETY: plain system calls, by the promise above.
    unsafe {
        if libc::dup2(channel, 0) == -1 {
            libc::_exit(1);
        }
        if libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) == -1 {
            // Kernels before 5.9.
            let most = c_int::try_from(libc::sysconf(libc::_SC_OPEN_MAX)).unwrap_or(MOST_FILES);
            for file in 1..most.min(MOST_FILES) {
                libc::close(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_where_heap_and_arguments_lie() {
        let text = |fields: &str| format!("12 (a) b) S {}{fields} 0 0\n", "0 ".repeat(43));
        let told = |fields| Memory::parse(&text(fields)).map(|memory| (memory.heap, memory.arguments)).unwrap();
        assert_eq!(told("4096 8192 8200"), (Some(4096), Some((8192, 8))));
        assert_eq!(told("0 0 0"), (None, None), "it does not tell everybody");
        assert_eq!(told("0 8192 8192"), (None, None));
        let own = Memory::of_this_process();
        let on_heap = Box::new(7_u8);
        assert!(
            own.heap.is_some_and(|start| start <= core::ptr::from_ref(&*on_heap).addr()) && own.arguments.is_some()
        );
    }
}
