//! Checking a stream. What this proves and what it cannot is said in [`crate::ledger`].

use core::fmt;

use serde::Serialize;

use crate::ledger::body::{RUN_CLOSED, RUN_OPENED};
use crate::ledger::digest::Digest;
use crate::ledger::entry::{Entry, Head};

/// Problems that are listed; further ones are only counted.
pub const MAXIMUM_LISTED: usize = 100;

/// What a check of one stream found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// Name of the stream.
    pub stream: String,
    /// Entries that were read.
    pub entries: u64,
    /// The last entry that was read; `None` for an empty stream.
    pub head: Option<Head>,
    /// Whether the stream says itself that it ended.
    pub state: StreamState,
    /// What is wrong, in the order of reading, at most [`MAXIMUM_LISTED`].
    pub problems: Vec<Problem>,
    /// All that is wrong, those not listed included.
    pub problem_count: u64,
}

impl StreamReport {
    /// Whether nothing was found wrong; an open stream can be sound.
    pub const fn is_sound(&self) -> bool {
        self.problem_count == 0
    }
}

/// Whether a stream says itself that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamState {
    /// No: entries may follow, and entries may have been cut off at the end. A modification's stream is always open.
    Open,
    /// Its last entry closes the run. A resumed run opens again by entries that follow.
    Closed,
}

/// One thing that is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The content is not what the entry's digest was computed from.
    Edited {
        /// The entry.
        sequence: u64,
    },
    /// Entries are missing.
    Removed {
        /// The first that is not there.
        from: u64,
        /// The last that is not there.
        until: u64,
    },
    /// An entry stands where its number does not belong: moved, repeated or inserted.
    Reordered {
        /// Its number.
        sequence: u64,
        /// The number that belongs here.
        expected: u64,
    },
    /// The entry does not continue the one that stands before it: one of the two was replaced.
    Unchained {
        /// The later one.
        sequence: u64,
    },
    /// An entry of another stream.
    Foreign {
        /// The entry.
        sequence: u64,
        /// The stream it names.
        stream: String,
    },
    /// A run does not begin with its opening entry.
    NotOpened,
    /// A head that was noted elsewhere is not in the stream: it was cut off or written anew.
    AnchorMissing {
        /// The head that was noted.
        anchor: Head,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { sequence } => write!(formatter, "entry {sequence} was edited"),
            Self::Removed { from, until } if from == until => write!(formatter, "entry {from} was removed"),
            Self::Removed { from, until } => write!(formatter, "entries {from} to {until} were removed"),
            Self::Reordered { sequence, expected } => {
                write!(formatter, "entry {sequence} stands where entry {expected} belongs")
            }
            Self::Unchained { sequence } => {
                write!(formatter, "entry {sequence} does not continue the entry before it: one of them was replaced")
            }
            Self::Foreign { sequence, stream } => write!(formatter, "entry {sequence} belongs to `{stream}`"),
            Self::NotOpened => write!(formatter, "the first entry does not open the run"),
            Self::AnchorMissing { anchor } => write!(
                formatter,
                "entry {} with digest {}, noted elsewhere, is not there: the stream was cut off or written anew",
                anchor.sequence, anchor.digest
            ),
        }
    }
}

/// Checks `entries`, which claim to be the whole of `stream` in order. Every one of `anchors`, heads of this stream that were
/// noted elsewhere, must be among them.
pub fn stream<'entry, I>(stream: &str, entries: I, anchors: &[Head]) -> StreamReport
where
    I: IntoIterator<Item = &'entry Entry>,
{
    let mut check = Check::new(stream, anchors);
    for entry in entries {
        check.read(entry);
    }
    check.finish()
}

/// The same entry by entry, for streams that do not fit into memory.
#[derive(Debug)]
pub struct Check {
    report: StreamReport,
    anchors: Vec<Head>,
}

impl Check {
    /// Begins a check, see [`stream`].
    pub fn new(stream: &str, anchors: &[Head]) -> Self {
        Self {
            report: StreamReport {
                stream: stream.to_owned(),
                entries: 0,
                head: None,
                state: StreamState::Open,
                problems: Vec::new(),
                problem_count: 0,
            },
            anchors: anchors.to_vec(),
        }
    }

    /// Takes the next entry.
    pub fn read(&mut self, entry: &Entry) {
        let sequence = entry.sequence;
        if entry.stream != self.report.stream {
            self.found(Problem::Foreign { sequence, stream: entry.stream.clone() });
        }
        if !entry.is_intact() {
            self.found(Problem::Edited { sequence });
        }
        self.check_place(entry);
        self.report.entries += 1;
        self.report.state = if entry.kind == RUN_CLOSED { StreamState::Closed } else { StreamState::Open };
        self.anchors.retain(|anchor| *anchor != entry.head());
        self.report.head = Some(entry.head());
    }

    /// Ends the check.
    pub fn finish(mut self) -> StreamReport {
        for anchor in core::mem::take(&mut self.anchors) {
            self.found(Problem::AnchorMissing { anchor });
        }
        self.report
    }

    fn check_place(&mut self, entry: &Entry) {
        let sequence = entry.sequence;
        let (expected, previous) = match &self.report.head {
            Some(head) => (head.sequence.saturating_add(1), head.digest),
            None => (0, Digest::NONE),
        };
        if self.report.head.is_none()
            && self.report.stream.starts_with(crate::ledger::RUN_PREFIX)
            && entry.kind != RUN_OPENED
        {
            self.found(Problem::NotOpened);
        }
        if sequence > expected {
            self.found(Problem::Removed { from: expected, until: sequence - 1 });
        } else if sequence < expected {
            self.found(Problem::Reordered { sequence, expected });
        } else if entry.previous != previous {
            self.found(Problem::Unchained { sequence });
        }
    }

    fn found(&mut self, problem: Problem) {
        self.report.problem_count += 1;
        if self.report.problems.len() < MAXIMUM_LISTED {
            self.report.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests;
