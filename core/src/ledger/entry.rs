//! One entry of the ledger and the bytes its digest covers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ledger::digest::Digest;

/// First field of what is hashed; another encoding gets another number here.
pub const FORMAT: &str = "flopsmeter.ledger/1";

/// One recorded fact.
///
/// `at` has whole microseconds (what is stored and hashed); [`crate::ledger::chain::append`] cuts off the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The stream it belongs to.
    pub stream: String,
    /// Its place in the stream, from 0 without holes.
    pub sequence: u64,
    /// When it was recorded, by the recorder's wall clock.
    pub at: DateTime<Utc>,
    /// What sort of fact, see [`crate::ledger::body::Body::kind`].
    pub kind: String,
    /// The fact as JSON text; these very bytes are hashed.
    pub body: String,
    /// Digest of the entry before, [`Digest::NONE`] for the first.
    pub previous: Digest,
    /// Digest of this entry, see [`digest`].
    pub digest: Digest,
}

/// The end of a stream: stands for the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Sequence number of the last entry.
    pub sequence: u64,
    /// Digest of the last entry.
    pub digest: Digest,
}

impl Entry {
    /// The head of a stream that ends with this entry.
    pub const fn head(&self) -> Head {
        Head { sequence: self.sequence, digest: self.digest }
    }

    /// Whether the digest it carries is the digest of what it says.
    pub fn is_intact(&self) -> bool {
        // Fractions of a microsecond and leap seconds are not hashed, so they must not be there.
        let hashed = DateTime::from_timestamp_micros(self.at.timestamp_micros());
        hashed == Some(self.at) && self.digest == digest(self)
    }
}

/// SHA-256 over these fields of `entry` in this order, each one preceded by its length in bytes as a big-endian 64-bit number:
/// [`FORMAT`]; stream; sequence (8 bytes, big-endian); `at` (microseconds since 1970, 8 bytes, big-endian two's complement);
/// kind; body; previous (32 bytes). The entry's own `digest` is not read.
///
/// The lengths make the encoding unambiguous: no two different entries give the same bytes.
pub fn digest(entry: &Entry) -> Digest {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        // A length is at most isize::MAX, so it fits.
        hasher.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(bytes);
    };
    field(FORMAT.as_bytes());
    field(entry.stream.as_bytes());
    field(&entry.sequence.to_be_bytes());
    field(&entry.at.timestamp_micros().to_be_bytes());
    field(entry.kind.as_bytes());
    field(entry.body.as_bytes());
    field(&entry.previous.0);
    Digest(hasher.finalize().into())
}
