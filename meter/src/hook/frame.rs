//! Frames: four bytes of big-endian length, then that many bytes of JSON of one [`HookMessage`], or on the way back of one
//! [`MeterMessage`](flopsmeter_core::facts::MeterMessage).
//!
//! The version of the messages travels in the first of them ([`HookMessage::Hello`]); the frame itself never changes.

use flopsmeter_core::facts::HookMessage;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest body accepted; a configuration of a very large model is some hundred kilobytes.
pub const MAXIMUM_BODY_BYTES: usize = 16 << 20;

const HEADER_BYTES: usize = 4;

/// A frame that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameProblem {
    /// The body is longer than [`MAXIMUM_BODY_BYTES`].
    #[error("a hook message of {bytes} bytes is over the limit of {MAXIMUM_BODY_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The body is no message of this version.
    #[error("a hook message could not be understood (is the Python package of another version than the command?)")]
    Malformed(#[from] serde_json::Error),
}

/// The bytes to send for `message`.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameProblem> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAXIMUM_BODY_BYTES);
    let Some(length) = length else { return Err(FrameProblem::TooLong { bytes: body.len() }) };
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Puts messages together from bytes that arrive in any portions; holds at most one incomplete frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    pending: Vec<u8>,
}

impl FrameReader {
    /// Takes bytes as they were read from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes have come. After an error the stream is not to be read on.
    pub fn next_message(&mut self) -> Result<Option<HookMessage>, FrameProblem> {
        self.next_of()
    }

    /// The same of messages of any type.
    pub fn next_of<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameProblem> {
        let Some(header) = self.pending.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAXIMUM_BODY_BYTES {
            return Err(FrameProblem::TooLong { bytes: length });
        }
        let Some(body) = self.pending.get(HEADER_BYTES..HEADER_BYTES + length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.pending.drain(..HEADER_BYTES + length);
        Ok(Some(message))
    }

    /// Bytes that are held and not yet a message.
    pub const fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Whether bytes of an unfinished frame remain: at the end of a stream, a message was cut.
    pub fn is_cut(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut() {
        let frame = [encode(&HookMessage::Goodbye).unwrap(), encode(&HookMessage::Goodbye).unwrap()].concat();
        for cut in 0..frame.len() {
            let mut reader = FrameReader::default();
            let mut seen = 0;
            for part in [&frame[..cut], &frame[cut..]] {
                reader.push(part);
                while reader.next_message().unwrap().is_some() {
                    seen += 1;
                }
            }
            assert_eq!((seen, reader.is_cut()), (2, false), "cut at {cut}");
        }
    }

    #[test]
    fn an_absurd_length_is_refused_before_it_is_waited_for() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert!(matches!(reader.next_message(), Err(FrameProblem::TooLong { .. })));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let mut reader = FrameReader::default();
        reader.push(&3_u32.to_be_bytes());
        reader.push(b"\xff{}");
        assert!(matches!(reader.next_message(), Err(FrameProblem::Malformed(_))));
    }
}
