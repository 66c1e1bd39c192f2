//! `/proc/PID/stat` and its neighbours.

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
    fn this_process_can_be_read() {
        let kernel = Kernel::default();
        let number = std::process::id();
        assert!(Stat::read(&kernel, number).is_some());
        assert!(!is_thread(&kernel, number));
    }
}
