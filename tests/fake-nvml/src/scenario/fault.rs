//! What goes wrong in a call.

use serde::Deserialize;

/// A call that hangs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hang {
    /// Symbol.
    pub call: String,
    /// From this time on a call hangs …
    pub from_ms: u64,
    /// … until this time.
    pub until_ms: u64,
}

/// A call that fails, or takes the process with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Symbol, or `*` for every call.
    pub call: String,
    /// From this time on.
    #[serde(default)]
    pub from_ms: u64,
    /// Until this time.
    #[serde(default = "for_ever")]
    pub until_ms: u64,
    /// What happens.
    pub does: Failure,
}

/// What happens in a call.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// It returns this code, known or not.
    Code(u32),
    /// The process aborts.
    Abort,
    /// The process reads where nothing is.
    Segfault,
}

fn for_ever() -> u64 {
    u64::MAX
}

impl Fault {
    /// Whether it befalls a call at this time.
    pub fn befalls(&self, call: &str, now: u64) -> bool {
        (self.call == "*" || self.call == call) && (self.from_ms..self.until_ms).contains(&now)
    }
}

impl Hang {
    /// How long a call that comes now hangs, in milliseconds.
    pub fn left(&self, call: &str, now: u64) -> Option<u64> {
        let hangs = (self.call == "*" || self.call == call) && (self.from_ms..self.until_ms).contains(&now);
        hangs.then(|| self.until_ms - now)
    }
}
