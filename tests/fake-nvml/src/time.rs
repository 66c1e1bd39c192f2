//! The scenario's time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub(crate) enum Time {
    /// This process's own, since the first `nvmlInit`.
    Own { started: Instant, started_unix_microseconds: u64 },
    /// All processes' together, since the moment that a file tells: the first `nvmlInit` of any of them, unless a test has
    /// written or writes another. Before it, the time is zero.
    Shared { file: PathBuf },
    /// A file tells it.
    Told { file: PathBuf, started_unix_microseconds: u64 },
}

#[expect(clippy::disallowed_methods, reason = "a stand-in for a driver has no other way to its clock")]
impl Time {
    pub(crate) fn own() -> Result<Self, String> {
        Ok(Self::Own { started: Instant::now(), started_unix_microseconds: unix_microseconds()? })
    }

    pub(crate) fn shared(file: PathBuf) -> Result<Self, String> {
        propose_origin(&file)?;
        Ok(Self::Shared { file })
    }

    pub(crate) fn told(file: PathBuf) -> Result<Self, String> {
        Ok(Self::Told { file, started_unix_microseconds: unix_microseconds()? })
    }

    /// Milliseconds since the scenario began. Zero while a file that should tell it does not.
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Own { started, .. } => u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Shared { .. } => {
                unix_microseconds().map_or(0, |now| now.saturating_sub(self.started_unix_microseconds()) / 1000)
            }
            Self::Told { file, .. } => read_number(file).unwrap_or(0),
        }
    }

    /// Sleeps until a moment, or for good while a file that tells the time does not come to it.
    pub(crate) fn sleep_until(&self, until: u64) {
        while self.now() < until {
            // A file may tell another time at any moment.
            let left = until.saturating_sub(self.now());
            std::thread::sleep(Duration::from_millis(if matches!(self, Self::Own { .. }) { left } else { 1 }));
        }
    }

    /// When the scenario began, in microseconds of the day's clock.
    pub(crate) fn started_unix_microseconds(&self) -> u64 {
        match self {
            Self::Own { started_unix_microseconds, .. } | Self::Told { started_unix_microseconds, .. } => {
                *started_unix_microseconds
            }
            Self::Shared { file } => read_number(file).unwrap_or(u64::MAX),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "as above")]
fn unix_microseconds() -> Result<u64, String> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|problem| problem.to_string())?;
    u64::try_from(since_epoch.as_micros()).map_err(|problem| problem.to_string())
}

#[expect(clippy::disallowed_methods, reason = "as above")]
fn read_number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Writes now, unless the file is there: a link into place, so that no one reads half a number.
#[expect(clippy::disallowed_methods, reason = "as above")]
fn propose_origin(file: &Path) -> Result<(), String> {
    let cannot = |problem: std::io::Error| format!("{}: {problem}", file.display());
    let mine = file.with_extension(std::process::id().to_string());
    std::fs::write(&mine, unix_microseconds()?.to_string()).map_err(cannot)?;
    // Fails where another was first: theirs holds.
    let _ = std::fs::hard_link(&mine, file);
    std::fs::remove_file(&mine).map_err(cannot)
}
