//! A run that two meters wrote at the same time: the entries of one of them as a run of their own, so that nobody's are lost.
//!
//! What both have, the *stem*, stays with the run that the ledger has. The other one begins with what has to be known of the stem to
//! read what follows (whose run it is, which devices and models were met), says where it comes from, and goes on with its own entries.
//! Nothing of the stem that is added up is repeated, so that the two together come to what was done.

use std::collections::BTreeMap;

use crate::facts::HookMessage;
use crate::ledger::body::{Body, RunForked};
use crate::ledger::chain;
use crate::ledger::digest::Digest;
use crate::ledger::entry::{Entry, Head};
use crate::ledger::{RUN_PREFIX, run_stream};

/// What has to be known of a stem. Which entries these are must stay so: the same fork, brought in twice, has to give the same run.
#[derive(Debug, Default)]
pub struct Stem {
    opened: Option<Entry>,
    base: Option<Entry>,
    /// Those of the segment that is open at its end.
    segment: Vec<Entry>,
    /// Where a trainer stands, by the hook's connection.
    progress: BTreeMap<u32, Entry>,
    last: Option<Entry>,
}

/// A fork as a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its id: the same whenever the same fork is brought in.
    pub run: String,
    /// The run that it is of.
    pub of: String,
    /// The first place for which there were two entries.
    pub sequence: u64,
    /// Its whole stream.
    pub entries: Vec<Entry>,
}

impl Stem {
    /// Takes the next entry that both have.
    pub fn read(&mut self, entry: Entry) {
        match Body::read(&entry.kind, &entry.body) {
            Body::RunOpened(_) => self.opened = Some(entry.clone()),
            Body::BaseBound(_) => self.base = Some(entry.clone()),
            Body::SegmentOpened(_) => {
                self.leave_segment();
                self.segment.push(entry.clone());
            }
            Body::SegmentClosed(_) => self.leave_segment(),
            Body::Hook(hook) => match hook.message {
                HookMessage::Hello { .. }
                | HookMessage::Model(_)
                | HookMessage::Goodbye
                | HookMessage::Finding(_)
                | HookMessage::Traced(_) => self.segment.push(entry.clone()),
                HookMessage::Progress(_) => {
                    self.progress.insert(hook.connection, entry.clone());
                }
                HookMessage::Fed(_) => {}
            },
            // A finding may say that the devices were no real ones, or that a count lacks something: what holds of the segment holds of
            // what its other meter did.
            Body::DevicesSeen(_) | Body::LaunchSeen(_) | Body::HookLost(_) | Body::Finding(_) => {
                self.segment.push(entry.clone());
            }
            _ => {}
        }
        self.last = Some(entry);
    }

    fn leave_segment(&mut self) {
        self.segment.clear();
        self.progress.clear();
    }

    /// The run of `own`, entries that were to continue this stem and are whole and chained ([`first_flaw`]). `None` where they do not, or
    /// are of no run.
    pub fn grow(self, own: &[Entry]) -> Option<Fork> {
        let first = own.first()?;
        let of = first.stream.strip_prefix(RUN_PREFIX)?.to_owned();
        let (next, previous) = after(self.last.as_ref().map(Entry::head).as_ref());
        if (first.sequence, first.previous) != (next, previous) {
            return None;
        }
        let forked = Body::RunForked(RunForked {
            run: of.clone(),
            sequence: first.sequence,
            previous: first.previous,
            first: first.digest,
        });
        let run = id(first);
        let mut stream = Stream { name: run_stream(&run), entries: Vec::new() };
        // What was known at the fork was known when it happened, and devices were held from then on.
        if let Some(at) = self.last.as_ref().map(|last| last.at) {
            let known = self.opened.iter().chain(&self.base).chain(&self.segment).chain(self.progress.values());
            for entry in known {
                stream.push(at, &entry.kind, &entry.body);
            }
        }
        let (text, mut own) = (forked.to_text().ok()?, own.iter());
        // A run begins with the entry that opens it, which is the fork's own where nothing was before.
        if stream.entries.is_empty() {
            stream.extend(own.by_ref().take(1));
        }
        stream.push(first.at, forked.kind(), &text);
        stream.extend(own);
        Some(Fork { run, of, sequence: first.sequence, entries: stream.entries })
    }
}

/// A stream that grows.
struct Stream {
    name: String,
    entries: Vec<Entry>,
}

impl Stream {
    fn push(&mut self, at: chrono::DateTime<chrono::Utc>, kind: &str, body: &str) {
        let head = self.entries.last().map(Entry::head);
        self.entries.push(chain::append(head.as_ref(), self.name.as_str(), at, kind, body));
    }

    fn extend<'entry>(&mut self, entries: impl Iterator<Item = &'entry Entry>) {
        for entry in entries {
            self.push(entry.at, &entry.kind, &entry.body);
        }
    }
}

/// The number of the first of these entries that is not what its digest was made of, or does not continue the one before it: it was
/// changed since it was written, and chained anew the change would not show any more.
pub fn first_flaw(entries: &[Entry]) -> Option<u64> {
    let pairs = entries.iter().zip(entries.iter().skip(1));
    let unchained = |(one, next): &(&Entry, &Entry)| {
        one.stream != next.stream || (next.sequence, next.previous) != after(Some(&one.head()))
    };
    let edited = entries.iter().find(|entry| !entry.is_intact());
    edited.into_iter().chain(pairs.clone().find(unchained).map(|(_, next)| next)).map(|entry| entry.sequence).min()
}

fn after(head: Option<&Head>) -> (u64, Digest) {
    head.map_or((0, Digest::NONE), |head| (head.sequence.saturating_add(1), head.digest))
}

/// Whether a run's id is one that forks are given: those of runs that were recorded as such are of another version.
pub fn is_fork(run: &str) -> bool {
    run.len() == 36 && run.as_bytes().get(14) == Some(&b'8')
}

/// A UUID of version 8 (RFC 9562): the time of the first entry, so that runs sort by their beginning, and the first bits of its digest.
fn id(first: &Entry) -> String {
    let milliseconds = u128::try_from(first.at.timestamp_millis()).unwrap_or_default();
    let digest = first.digest.0.first_chunk::<16>().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    let bits = (milliseconds << 80) | (digest & ((1 << 80) - 1));
    let bits = (bits & !(0xF << 76) & !(0b11 << 62)) | (8 << 76) | (0b10 << 62);
    let part = |from: u32, digits: u32| (bits >> from) & ((1 << (4 * digits)) - 1);
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12))
}

#[cfg(test)]
mod tests;
