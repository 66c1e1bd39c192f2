//! What a driver said during a run, in a file: recorded on a machine with GPUs, played on one without.
//!
//! One line of JSON each: a head that says what was recorded where, then what the driver answered and when. A trace is played
//! through the same orders and answers as a driver ([`super::nvml::reader`]), at the speed at which it was recorded.

mod play;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};
use flopsmeter_core::sample::GpuReading;
use fs_err::{File, OpenOptions};
use serde::{Deserialize, Serialize};

use super::nvml::Listing;
use crate::clock::monotonic;

pub use play::serve;

/// What the first line's `schema` says.
pub const SCHEMA: &str = "flopsmeter.trace/1";

/// A head is shorter, its note included; of what is longer nothing is a trace's.
const MAXIMUM_HEAD_BYTES: u64 = 64 << 10;

/// So is any other line: a node's GPUs at one time.
const MAXIMUM_LINE_BYTES: u64 = 4 << 20;

/// First line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`SCHEMA`].
    pub schema: String,
    /// When it was recorded.
    pub recorded: DateTime<Utc>,
    /// What the numbers are: `measured` on real hardware, or `synthetic` where a stand-in answered.
    pub origin: Origin,
    /// What was run, and whatever else a reader has to know.
    pub note: String,
}

/// Where the numbers of a trace come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A driver answered for a real GPU.
    Measured,
    /// A stand-in for the driver's library answered.
    Synthetic,
}

/// Any further line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Milliseconds since recording began.
    pub at_milliseconds: u64,
    /// What was answered.
    #[serde(flatten)]
    pub said: Said,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Which GPUs there are: in the first line, and again when others had come or gone.
    Listed(Listing),
    /// What each watched GPU said, by UUID.
    Read(BTreeMap<String, Result<GpuReading, String>>),
}

/// Writes a trace while it happens. A file that cannot be written ends the recording and nothing else.
#[derive(Debug)]
pub struct Recorder {
    file: Option<File>,
    began: Instant,
    /// Milliseconds from the beginning of the trace to that of this recorder.
    before: u64,
    watched: Vec<String>,
    listed: Option<Listing>,
}

impl Recorder {
    /// Begins a trace, or goes on with one that is there: the process that records is started anew when a driver has taken it down.
    /// A file that holds something else is an error and stays as it is.
    pub fn begin(path: &Path, head: &Head) -> io::Result<Self> {
        // What a process wrote last may be cut; it is not lost before it is known whose file this is.
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let begun = if file.metadata()?.is_file() { go_on(&mut file)? } else { None };
        let since = begun.as_ref().map_or(0, |begun| (head.recorded - begun.recorded).num_milliseconds());
        let mut recorder = Self {
            file: Some(file),
            began: monotonic(),
            before: u64::try_from(since).unwrap_or(0),
            watched: Vec::new(),
            listed: None,
        };
        if begun.is_none() {
            recorder.write(head);
        }
        Ok(recorder)
    }

    /// These are watched from now on.
    pub fn watch(&mut self, uuids: &[String]) {
        self.watched = uuids.to_vec();
    }

    /// The GPUs were listed. What was listed before is not written again.
    pub fn list(&mut self, listing: &Listing) {
        if self.listed.as_ref() != Some(listing) {
            self.listed = Some(listing.clone());
            self.say(Said::Listed(listing.clone()));
        }
    }

    /// The watched GPUs were read.
    pub fn read(&mut self, readings: &[Result<GpuReading, String>]) {
        self.say(Said::Read(self.watched.iter().cloned().zip(readings.iter().cloned()).collect()));
    }

    fn say(&mut self, said: Said) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at_milliseconds = self.before.saturating_add(elapsed);
        self.write(&Line { at_milliseconds, said });
    }

    fn write(&mut self, line: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            file.write_all(&text)
        });
        if written.is_err() {
            self.file = None;
        }
    }
}

/// Makes ready to write behind what is there, and gives its head.
fn go_on(file: &mut File) -> io::Result<Option<Head>> {
    let begun = head_of(file)?;
    let whole = whole_lines(file)?;
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(begun)
}

/// The head of the trace in a file; `None` if nothing is in it. What is no whole head is an error: it may be anything's.
fn head_of(file: &File) -> io::Result<Option<Head>> {
    let mut line = String::new();
    BufReader::new(file.take(MAXIMUM_HEAD_BYTES)).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let head: Head = serde_json::from_str(&line).map_err(io::Error::from)?;
    Ok(Some(head))
}

/// Bytes of the file up to the end of its last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAXIMUM_LINE_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(MAXIMUM_LINE_BYTES).read_to_end(&mut end)?;
    let cut = end.iter().rev().position(|&byte| byte == b'\n').unwrap_or(end.len());
    Ok(length - cut as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seconds: i64) -> Head {
        let recorded = DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap();
        Head { schema: SCHEMA.to_owned(), recorded, origin: Origin::Synthetic, note: String::new() }
    }

    #[test]
    fn a_trace_goes_on_where_its_recorder_was_taken_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        Recorder::begin(&path, &head(0)).unwrap().list(&Listing::Gpus(Vec::new()));
        let first = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, format!("{first}{{\"at_millis")).unwrap();
        Recorder::begin(&path, &head(7)).unwrap().read(&[]);
        let text = fs_err::read_to_string(&path).unwrap();
        let line: Line = serde_json::from_str(text.strip_prefix(&first).unwrap()).unwrap();
        assert!((7000..60_000).contains(&line.at_milliseconds), "{line:?}");
        assert!(play::Trace::read(&path).is_ok(), "{text}");
    }

    #[test]
    fn nothing_else_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["my notes\n", "{\"schema\": \"flop"] {
            fs_err::write(&path, text).unwrap();
            assert!(Recorder::begin(&path, &head(0)).is_err());
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        }
    }
}
