//! Growing a stream.

use chrono::{DateTime, Utc};

use crate::ledger::digest::Digest;
use crate::ledger::entry::{self, Entry, Head};

/// The entry that follows `head` (`None`: the first of its stream).
///
/// ```
/// use chrono::DateTime;
/// use flopsmeter_core::ledger::chain;
///
/// let at = DateTime::from_timestamp_micros(1_750_000_000_000_000).unwrap();
/// let first = chain::append(None, "run/a", at, "run-opened", "{}");
/// let second = chain::append(Some(&first.head()), "run/a", at, "run-closed", "{}");
/// assert_eq!((second.sequence, second.previous), (1, first.digest));
/// ```
pub fn append(
    head: Option<&Head>,
    stream: impl Into<String>,
    at: DateTime<Utc>,
    kind: impl Into<String>,
    body: impl Into<String>,
) -> Entry {
    let mut entry = Entry {
        stream: stream.into(),
        sequence: head.map_or(0, |head| head.sequence.saturating_add(1)),
        at: DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at),
        kind: kind.into(),
        body: body.into(),
        previous: head.map_or(Digest::NONE, |head| head.digest),
        digest: Digest::NONE,
    };
    entry.digest = entry::digest(&entry);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> [Entry; 2] {
        let at = DateTime::from_timestamp_nanos(1_750_000_000_123_456_789);
        let first = append(None, "run/0191", at, "run-opened", r#"{"command":["true"],"note":"é"}"#);
        let second = append(Some(&first.head()), "run/0191", at, "run-closed", "{}");
        [first, second]
    }

    // Computed apart with Python's hashlib; see `digest` in entry.rs for the encoding:
    //   f = lambda *p: b"".join(len(x).to_bytes(8, "big") + x for x in p)
    //   n = lambda i: i.to_bytes(8, "big", signed=True)
    //   a = sha256(f(b"flopsmeter.ledger/1", b"run/0191", n(0), n(1750000000123456), b"run-opened", body.encode(), bytes(32)))
    #[test]
    fn digests_are_those_another_language_computes() {
        let [first, second] = golden();
        assert_eq!(first.digest.to_string(), "f05c63bbc3f20c1b8499218902f728f9d22558e01aae4e0d2daba874a3ba363a");
        assert_eq!(second.digest.to_string(), "9d4da0388f6951cee153471b9a9dfbc433f75a098233cf7399e18c41a2abe609");
    }

    #[test]
    fn time_is_cut_to_what_is_hashed() {
        let [first, _] = golden();
        assert_eq!(first.at.timestamp_subsec_nanos(), 123_456_000);
        assert!(first.is_intact());
    }

    #[test]
    fn fields_cannot_flow_into_each_other() {
        let at = DateTime::UNIX_EPOCH;
        assert_ne!(append(None, "ab", at, "c", "").digest, append(None, "a", at, "bc", "").digest);
        assert_ne!(append(None, "a", at, "b", "cd").digest, append(None, "a", at, "bc", "d").digest);
    }
}
