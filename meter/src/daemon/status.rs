//! How a run stands, as it tells the daemon for `/metrics`.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flopsmeter_core::assess::{Assessment, Verdict};
use flopsmeter_core::ledger::Digest;
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::unit::{Flops, Joules};
use serde::{Deserialize, Serialize};

use super::line::Request;
use super::trust::connect_to;

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStatus {
    /// Id of the run.
    pub run: String,
    /// The modification it belongs to, if any.
    pub modification: Option<String>,
    /// Names the ledger that has both, see [`ledger_name`].
    pub ledger: String,
    /// Model operations of the run.
    pub training: Option<Flops>,
    /// With recomputation and passes that train nothing.
    pub executed: Option<Flops>,
    /// Hardware ceiling of the run, as far as its devices could be bounded.
    pub ceiling: Option<Flops>,
    /// Whether that bounds everything that it can have done so far.
    pub ceiling_complete: bool,
    /// Energy of its devices.
    pub energy_joules: Option<Joules>,
    /// Devices that it holds.
    pub held_devices: usize,
    /// Stretches of time in which a device of it could not be read, or was read late.
    pub gaps: usize,
    /// Together, in seconds.
    pub gap_seconds: f64,
    /// Model operations of the modification, its other runs included.
    pub modification_training: Option<Flops>,
    /// The line for them.
    pub line: Option<Flops>,
    /// Share of the line that is spent, in per cent as a decimal string.
    pub share_of_line_percent: Option<String>,
    /// Where that puts the modification.
    pub verdict: Verdict,
    /// What is set aside of the line for other runs and not spent yet, where anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Flops>,
    /// Where it leads, if the run goes on like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<RunForecast>,
}

/// Where a run leads its modification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunForecast {
    /// Operations of the modification when the run's schedule ends, if it is as slow as at its slowest.
    pub low: Option<Flops>,
    /// The same at its fastest.
    pub high: Option<Flops>,
    /// When it crosses the line at the rate so far, in seconds since 1970.
    pub crosses: Option<i64>,
}

impl RunStatus {
    /// Of a run as summed up so far, and what follows for its modification; both are in `ledger`, by its [`ledger_name`].
    pub fn of(summary: &RunSummary, assessment: &Assessment, ledger: &str) -> Self {
        Self {
            run: summary.run.clone(),
            modification: summary.modification.clone(),
            ledger: ledger.to_owned(),
            training: summary.flops.map(|flops| flops.training),
            executed: summary.flops.map(|flops| flops.executed),
            ceiling: summary.ceiling.flop,
            ceiling_complete: summary.ceiling.complete,
            energy_joules: summary.energy_joules,
            held_devices: summary.ceiling.devices.len(),
            gaps: summary.gaps.len(),
            gap_seconds: summary.gaps.iter().map(|gap| gap.duration_seconds).sum(),
            modification_training: assessment.training_compute,
            line: assessment.line.as_ref().map(|line| line.flop),
            share_of_line_percent: assessment.share_of_line_percent.clone(),
            verdict: assessment.verdict,
            reserved: None,
            forecast: None,
        }
    }
}

/// A short name of the ledger at `path`: the same for everybody who means that file. The path itself is nobody else's business.
pub fn ledger_name(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().and_then(|folder| fs_err::canonicalize(folder).ok());
    let real = fs_err::canonicalize(&path).ok().or_else(|| Some(folder?.join(path.file_name()?)));
    Digest::of(real.unwrap_or(path).as_os_str().as_bytes()).to_string().chars().take(8).collect()
}

/// Tells the daemon how a run stands, every few seconds, if there is a daemon; never waits for it.
#[derive(Debug)]
pub struct StatusReporter {
    paths: Vec<PathBuf>,
    stream: Option<UnixStream>,
    next: Duration,
}

/// Between two lines: a page is read every fifteen seconds, as a rule.
const PERIOD: Duration = Duration::from_secs(5);

/// Between two looks whether there is a daemon.
const LOOKS_APART: Duration = Duration::from_secs(10);

impl StatusReporter {
    /// For a daemon that listens at one of `paths`.
    pub const fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, stream: None, next: Duration::ZERO }
    }

    /// Tells it, where that is due. `elapsed` is the session's time.
    pub fn report(&mut self, elapsed: Duration, status: impl FnOnce() -> RunStatus) {
        if elapsed < self.next || !self.is_connected(elapsed) {
            return;
        }
        self.next = elapsed.saturating_add(PERIOD);
        self.send(status());
    }

    /// Tells it for the last time.
    pub fn report_last(mut self, status: impl FnOnce() -> RunStatus) {
        if self.is_connected(Duration::ZERO) {
            self.send(status());
        }
    }

    fn is_connected(&mut self, elapsed: Duration) -> bool {
        if self.stream.is_none() {
            self.stream = self.paths.iter().find_map(|path| connect_to(path).ok());
            self.next = elapsed.saturating_add(LOOKS_APART);
        }
        self.stream.is_some()
    }

    fn send(&mut self, status: RunStatus) {
        let Ok(mut line) = serde_json::to_vec(&Request::Status(Box::new(status))) else { return };
        line.push(b'\n');
        // The socket does not block; half a line is the end of it.
        if self.stream.as_mut().is_some_and(|stream| stream.write_all(&line).is_err()) {
            self.stream = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_has_one_name_by_whatever_path_it_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let before = ledger_name(&path);
        fs_err::write(&path, "").unwrap();
        let link = folder.path().join("link");
        fs_err::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let roundabout = link.join("..").join(folder.path().file_name().unwrap()).join("ledger.sqlite");
        assert_eq!([ledger_name(&path), ledger_name(&link.join("ledger.sqlite"))], [before.clone(), before.clone()]);
        assert_eq!(ledger_name(&roundabout), before);
        assert_ne!(ledger_name(&folder.path().join("other.sqlite")), before);
        assert_eq!(before.len(), 8);
    }
}
