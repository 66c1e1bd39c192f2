//! What a driver said during a run, in a file: recorded on a machine with GPUs, played on one without.
//!
//! One line of JSON each: a head that says what was recorded where, then what the driver answered and when. A trace is played
//! through the same orders and answers as a driver ([`super::nvml::reader`]), at the speed at which it was recorded.

mod play;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};
use flopsmeter_core::sample::GpuReading;
use fs_err::File;
use serde::{Deserialize, Serialize};

use super::nvml::Listing;
use crate::clock::monotonic;

pub use play::serve;

/// What the first line's `schema` says.
pub const SCHEMA: &str = "flopsmeter.trace/1";

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
    watched: Vec<String>,
    listed: Option<Listing>,
}

impl Recorder {
    /// Begins a trace in a new file.
    pub fn begin(path: &Path, head: &Head) -> io::Result<Self> {
        let mut recorder =
            Self { file: Some(File::create(path)?), began: monotonic(), watched: Vec::new(), listed: None };
        recorder.write(head);
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
        let at_milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
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
