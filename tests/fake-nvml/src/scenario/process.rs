//! Processes with a context on a GPU.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::steps::{Steps, value_at};

/// A process: its id alone, or more of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Written")]
pub struct Process {
    pid: Option<u32>,
    pid_file: Option<PathBuf>,
    from_ms: u64,
    until_ms: Option<u64>,
    utilization: Option<Steps>,
    /// Place of the instance it runs on among the GPU's.
    pub instance: Option<usize>,
}

/// As a scenario may write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Pid(u32),
    Process(Described),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Described {
    /// Its id.
    pid: Option<u32>,
    /// File with its id, read at each call: a test learns it only when the job runs. No file, no process.
    pid_file: Option<PathBuf>,
    from_ms: u64,
    until_ms: Option<u64>,
    /// Its own share of the multiprocessors, whole per cent; the GPU's if it is left out.
    utilization: Option<Steps>,
    instance: Option<usize>,
}

impl From<Written> for Process {
    fn from(written: Written) -> Self {
        let described = match written {
            Written::Pid(pid) => Described { pid: Some(pid), ..Described::default() },
            Written::Process(described) => described,
        };
        let Described { pid, pid_file, from_ms, until_ms, utilization, instance } = described;
        Self { pid, pid_file, from_ms, until_ms, utilization, instance }
    }
}

impl Process {
    /// Its id, if it is on the GPU now. Files stand beside the scenario's.
    pub fn present(&self, folder: &Path, now: u64) -> Option<u32> {
        if now < self.from_ms || self.until_ms.is_some_and(|until| now >= until) {
            return None;
        }
        self.pid.or_else(|| read_pid(&folder.join(self.pid_file.as_ref()?)))
    }

    /// Its share of the multiprocessors, whole per cent.
    pub fn share(&self, of_all: &Steps, now: u64) -> u64 {
        value_at(self.utilization.as_ref().unwrap_or(of_all), now)
    }
}

#[expect(clippy::disallowed_methods, reason = "a stand-in for a driver has no other way to a process id")]
fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
