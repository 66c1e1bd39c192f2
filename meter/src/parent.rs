//! A process that is not our child: watched until it ends.

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock::SessionClock;
use crate::device::Kernel;
use crate::device::process_tree::Stat;

/// A process that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("process {number} cannot be watched ({cause}); name a running process of this user with --parent")]
pub struct ParentProblem {
    number: i32,
    cause: io::Error,
}

/// A running process, held by a descriptor so that its number cannot come to mean another one.
#[derive(Debug)]
pub struct Parent {
    number: u32,
    descriptor: OwnedFd,
}

impl Parent {
    /// Takes hold of process `number`.
    pub fn watch(number: i32) -> Result<Self, ParentProblem> {
        let problem = |cause| ParentProblem { number, cause };
        let id = u32::try_from(number).map_err(|_| problem(io::Error::from_raw_os_error(libc::EINVAL)))?;
        // SAFETY: takes a number and no flags; gives a new descriptor, or -1.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        let descriptor = i32::try_from(descriptor).unwrap_or(-1);
        if descriptor < 0 {
            return Err(problem(io::Error::last_os_error()));
        }
        // SAFETY: the system call just gave it to us alone.
        Ok(Self { number: id, descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.number
    }

    /// Its command line as the kernel shows it.
    pub fn command_line(&self) -> Vec<String> {
        let bytes = fs_err::read(format!("/proc/{}/cmdline", self.number)).unwrap_or_default();
        let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        words.filter(|word| !word.is_empty()).collect()
    }

    /// When it began. `None` where the kernel does not tell, or tells what cannot be.
    pub fn began(&self, clock: &SessionClock) -> Option<DateTime<Utc>> {
        clock.before(Stat::read(&Kernel::default(), self.number)?.started())
    }

    /// Waits until it has ended, at most for `timeout`.
    pub fn has_ended_within(&self, timeout: Duration) -> bool {
        // Whole milliseconds, upwards: who waits for a moment would otherwise ask again and again just before it.
        let timeout = PollTimeout::try_from(timeout + Duration::from_nanos(999_999)).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, timeout).is_ok_and(|ready| ready > 0)
    }
}

/// Goes on as a process that is nobody's child, in a session of its own: one that waits for all its children would wait for its
/// meter for ever, and the Ctrl-C that ends it must not end its meter first. Call it before this process has threads.
pub fn detach() -> io::Result<()> {
    // SAFETY: there is no other thread, so the copy is whole; the first process ends at once and runs nothing of ours.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Fails only for the leader of a group, which a process that was just forked is not.
            let _cannot_fail = nix::unistd::setsid();
            Ok(())
        }
        // SAFETY: ends this process, without the destructors that are the copy's to run.
        _ => unsafe { libc::_exit(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let parent = Parent::watch(i32::try_from(process.id()).unwrap()).unwrap();
        assert!(!parent.has_ended_within(Duration::from_millis(10)));
        assert_eq!(parent.command_line(), ["sleep", "60"]);
        process.kill().unwrap();
        assert!(parent.has_ended_within(Duration::from_secs(10)));
        process.wait().unwrap();
    }

    #[test]
    fn the_beginning_of_a_process_is_told_at_its_earliest() {
        let before = SessionClock::start();
        let mut process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let clock = SessionClock::start();
        let parent = Parent::watch(i32::try_from(process.id()).unwrap()).unwrap();
        let began = parent.began(&clock).unwrap();
        assert!(clock.started() - began >= chrono::TimeDelta::milliseconds(50), "{began}");
        assert!(
            before.started() - began <= chrono::TimeDelta::seconds(5),
            "no more than a tick, and what the machine may stall between two readings of its clocks, before it was started"
        );
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(parent.began(&clock), None, "it is gone");
    }

    #[test]
    fn a_number_that_is_nobodys_is_refused() {
        assert!(Parent::watch(-1).is_err());
        assert!(Parent::watch(i32::MAX).is_err());
    }
}
