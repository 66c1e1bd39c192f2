//! Taking the signals of this process, so that they can be passed on with knowledge of where they came from.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use libc::c_int;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::witness::Witness;

/// Signals that cannot be taken; the command can still be run by [`super::child::replace_with`].
#[derive(Debug, thiserror::Error)]
#[error("the signals of this process could not be taken ({cause}); the job would have to run without a meter")]
pub struct SignalsProblem {
    #[from]
    cause: nix::Error,
}

/// The signals of this process, taken from all its threads.
#[derive(Debug)]
pub struct Signals {
    pub(super) incoming: SignalFd,
    pub(super) witness: Option<Witness>,
    pub(super) caller: CallerSignals,
}

/// How the caller had set what we change; the command gets it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallerSignals {
    pub(super) mask: SigSet,
    pub(super) child_ignored: bool,
}

impl Signals {
    /// Takes every signal that can be passed on. To be called before this process has other threads: threads that exist keep
    /// their own mask, and a signal that reaches one of them would end the process.
    pub fn take() -> Result<Self, SignalsProblem> {
        let taken = passed_on();
        let mask = taken.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let caller = CallerSignals { mask, child_ignored: heed_children() };
        let incoming = SignalFd::with_flags(&taken, SfdFlags::SFD_CLOEXEC).inspect_err(|_| caller.restore())?;
        // Not vital: without it, orphans' time is missing from the sum at the end, which then says so.
        let _unsupported = prctl::set_child_subreaper(true);
        Ok(Self { incoming, witness: Witness::start(), caller })
    }
}

impl CallerSignals {
    /// Makes everything as it was found, in this process.
    pub(super) fn restore(&self) {
        let _cannot_fail = self.mask.thread_set_mask();
        if self.child_ignored {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
        }
    }
}

/// All but those that cannot be taken and those for which Rust's runtime has a use (it reports stack overflows). A fault or an
/// abort of our own still ends us: the kernel and `abort` do not heed the mask then.
fn passed_on() -> SigSet {
    const NOT_TAKEN: [c_int; 4] = [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS];
    // SAFETY: `sigfillset` makes a valid set of any memory, and the other calls work on that set.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigfillset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for signal in NOT_TAKEN {
            libc::sigdelset(&raw mut set, signal);
        }
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// A caller that ignores `SIGCHLD` hands that down, and the kernel would then throw the command's exit code away.
fn heed_children() -> bool {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL) == libc::SIG_IGN
}

/// Sets a signal's disposition and returns the former one. Safe to call between fork and exec.
pub(super) fn set_disposition(signal: c_int, disposition: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: only ever called with SIG_DFL or SIG_IGN, so no handler of ours can run.
    unsafe { libc::signal(signal, disposition) }
}

/// Lets the terminal's or pipe's other end see that we are no longer in the way: points standard input and output at `/dev/null`.
/// The command holds its own; a writer into its input, say, must get `SIGPIPE` as soon as the command closes it.
pub fn let_go_of_streams() -> io::Result<()> {
    let null: OwnedFd = fs_err::OpenOptions::new().read(true).write(true).open("/dev/null")?.into_parts().0.into();
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    Ok(())
}
