//! Exit codes, in one place: tools depend on them.

use flopsmeter_core::assess::Verdict;
use flopsmeter_core::run::Exit;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// 0: what was asked was done.
    Done,
    /// 1: it could not be done.
    Failed,
    /// 2: it was not asked for in a way that can be understood.
    Usage,
    /// 10: a gate met the verdict `near`.
    GateNear,
    /// 11: a gate met the verdict `exceeds`.
    GateExceeds,
    /// 12: a gate met the verdict `undetermined`.
    GateUndetermined,
    /// 20: `verify` found evidence that was changed.
    BrokenEvidence,
    /// 125: `run --require-meter` could not meter.
    MeteringFailed,
    /// 126: the job's command cannot be executed.
    NotExecutable,
    /// 127: the job's command was not found.
    NotFound,
    /// The job's own end, handed through.
    External(Exit),
}

impl ExitStatus {
    /// How a command ends that a gate stopped at this verdict; `None` for one that no gate stops.
    pub(crate) const fn of_gate(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Below => None,
            Verdict::Near => Some(Self::GateNear),
            Verdict::Exceeds => Some(Self::GateExceeds),
            Verdict::Undetermined => Some(Self::GateUndetermined),
        }
    }

    /// The code, as shells give it: 128 plus the number of a signal.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::GateNear => 10,
            Self::GateExceeds => 11,
            Self::GateUndetermined => 12,
            Self::BrokenEvidence => 20,
            Self::MeteringFailed => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::External(Exit::Code(code)) => u8::try_from(code & 0xff).unwrap_or(1),
            Self::External(Exit::Signal(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(1),
        }
    }
}

/// The wrong words, as opposed to the wrong world: ends with [`ExitStatus::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageProblem(pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jobs_end_is_handed_through() {
        assert_eq!(ExitStatus::External(Exit::Code(37)).code(), 37);
        assert_eq!(ExitStatus::External(Exit::Signal(9)).code(), 137);
    }
}
