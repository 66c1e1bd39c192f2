//! What the environment adds to the arguments, read once.
#![expect(clippy::disallowed_methods, reason = "the one module that reads the environment and the calendar")]

use std::env;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};

/// Variable that names the state folder (XDG base directories).
const STATE_HOME: &str = "XDG_STATE_HOME";

/// The ledger to use: the argument (or `FLOPSMETER_LEDGER`, which clap has read), else the XDG state folder.
pub(crate) fn ledger_path(argument: Option<PathBuf>) -> PathBuf {
    argument.unwrap_or_else(|| {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute(STATE_HOME).or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.unwrap_or_else(env::temp_dir).join("flopsmeter/ledger.sqlite")
    })
}

/// The day as of which rules are chosen.
pub(crate) fn as_of(argument: Option<NaiveDate>) -> NaiveDate {
    argument.unwrap_or_else(|| now().date_naive())
}

/// The wall clock.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Folder for the socket of a run: short, private to the user where the system offers one.
pub(crate) fn runtime_folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    runtime.unwrap_or_else(env::temp_dir)
}
