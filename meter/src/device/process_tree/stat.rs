//! `/proc/PID/stat` and its neighbours.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::device::Kernel;

/// What is needed of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    /// Start of the process in ticks since boot: tells a number that was given out again.
    pub(super) started: u64,
    /// Its own user and system time, all threads, in ticks.
    own: u64,
    /// The same of the children it has waited for, and of theirs.
    pub(super) reaped: u64,
    /// It has ended and nobody has waited for it yet.
    pub(super) has_ended: bool,
    /// Children that end leave no time behind (`SIGCHLD` is ignored).
    pub(super) ignores_children: bool,
}

impl Stat {
    pub(crate) fn read(kernel: &Kernel, number: u32) -> Option<Self> {
        Self::parse(&kernel.text(&format!("proc/{number}/stat"))?)
    }

    /// Fields by number as proc(5) counts them: 3 state, 4 parent, 14 to 17 times, 22 start, 33 ignored signals.
    fn parse(text: &str) -> Option<Self> {
        // The command may hold anything, closing parentheses too; nothing behind the last one does.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        // Times of waited-for children are signed in the format.
        let time = |number| field(number).unwrap_or(0);
        let child_signal = 1_u64 << (libc::SIGCHLD - 1);
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            started: field(22)?,
            own: time(14).saturating_add(time(15)),
            reaped: time(16).saturating_add(time(17)),
            has_ended: matches!(fields.first(), Some(&("Z" | "X"))),
            ignores_children: field(33).is_some_and(|ignored| ignored & child_signal != 0),
        })
    }

    /// When it was started, in time since boot, cut down to a whole tick.
    pub(crate) fn started(&self) -> Duration {
        Duration::from_millis(self.started.saturating_mul(1000 / super::TICKS_PER_SECOND))
    }

    pub(super) fn total(&self) -> u64 {
        self.own.saturating_add(self.reaped)
    }
}

/// The number that was given out last, to a process or a thread (`/proc/loadavg`). `None` where the kernel does not tell.
pub(super) fn last_number(kernel: &Kernel) -> Option<u32> {
    let text = kernel.text("proc/loadavg")?;
    text.split_ascii_whitespace().nth(4)?.parse().ok().filter(|&number| number != 0)
}

/// Threads answer under their own number too, with the times of their whole process.
pub(super) fn is_thread(kernel: &Kernel, number: u32) -> bool {
    let status = kernel.text(&format!("proc/{number}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse::<u32>().ok());
    group.is_some_and(|group| group != number)
}

/// Whether there is such a process and the kernel shows nothing of it: another user's, where `/proc` is mounted with `hidepid`.
pub(super) fn is_hidden(kernel: &Kernel, number: u32) -> bool {
    let Ok(process) = i32::try_from(number).map(Pid::from_raw) else { return false };
    // The signal 0 is not sent; the kernel only says whether it could be.
    let is_there = !matches!(kill(process, None), Err(Errno::ESRCH));
    // Asked once more: it may have come since it was looked for.
    is_there && Stat::read(kernel, number).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_command() {
        let text =
            "12 (a) b) S 7 1 1 0 -1 4194304 1 2 3 4 50 6 700 8 20 0 1 0 9999 1 1 1 1 1 1 1 1 0 0 65536 0 0 0 0 17 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.started, stat.own, stat.reaped), (7, 9999, 56, 708));
        assert!(stat.ignores_children);
        assert_eq!(Stat::parse("12 (a"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_command_that_is_cut_inside_a_character_hides_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = Kernel::under(folder.path());
        fs_err::create_dir_all(kernel.path("proc/12")).unwrap();
        let behind = b") S 7 1 1 0 -1 4194304 1 2 3 4 50 6 700 8 20 0 1 0 9999 1";
        let text = [&b"12 (run_"[..], &"训练脚本".as_bytes()[..11], behind].concat();
        fs_err::write(kernel.path("proc/12/stat"), text).unwrap();
        assert_eq!(Stat::read(&kernel, 12).unwrap().parent, 7);
    }

    #[test]
    fn a_process_is_hidden_only_while_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(is_hidden(&Kernel::under(folder.path()), child.id()));
        assert!(!is_hidden(&Kernel::default(), child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_hidden(&Kernel::under(folder.path()), child.id()));
        assert!(!is_hidden(&Kernel::under(folder.path()), u32::MAX));
    }

    #[test]
    fn this_process_can_be_read() {
        let kernel = Kernel::default();
        let number = std::process::id();
        assert!(Stat::read(&kernel, number).is_some());
        assert!(!is_thread(&kernel, number));
    }
}
