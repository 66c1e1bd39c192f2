//! Default places, as functions of the environment's values; only the binary reads the environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Names another ledger than the default one.
pub const LEDGER_VARIABLE: &str = "FLOPSMETER_LEDGER";

/// Values of the environment that decide where records go; an empty value counts as none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    /// `FLOPSMETER_LEDGER`.
    pub ledger: Option<&'a OsStr>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<&'a OsStr>,
    /// `XDG_CACHE_HOME`.
    pub cache_home: Option<&'a OsStr>,
    /// `HOME`.
    pub home: Option<&'a OsStr>,
}

/// The ledger: `FLOPSMETER_LEDGER`, else `flopsmeter/ledger.sqlite` in the XDG state folder, else in `fallback`.
///
/// ```
/// use std::{ffi::OsStr, path::Path};
/// use flopsmeter_meter::store::path::{Environment, ledger};
///
/// let environment = Environment { home: Some(OsStr::new("/home/ada")), ..Environment::default() };
/// assert_eq!(ledger(environment, Path::new("/tmp")), Path::new("/home/ada/.local/state/flopsmeter/ledger.sqlite"));
/// ```
pub fn ledger(environment: Environment<'_>, fallback: &Path) -> PathBuf {
    match environment.ledger.filter(|value| !value.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => state(environment, fallback).join("ledger.sqlite"),
    }
}

/// Folders for the spool, the preferred one first: in the state folder, then in `temporary`.
pub fn spools(environment: Environment<'_>, temporary: &Path) -> Vec<PathBuf> {
    let mut folders = vec![state(environment, temporary).join("spool"), temporary.join("flopsmeter-spool")];
    folders.dedup();
    folders
}

/// The file of summaries that were read before, in the XDG cache folder; `None` for a user without a home.
pub fn kept_summaries(environment: Environment<'_>) -> Option<PathBuf> {
    xdg_folder(environment.cache_home, environment.home, ".cache").map(|folder| folder.join("flopsmeter/runs.sqlite"))
}

fn state(environment: Environment<'_>, fallback: &Path) -> PathBuf {
    let folder = xdg_folder(environment.state_home, environment.home, ".local/state");
    folder.unwrap_or_else(|| fallback.to_owned()).join("flopsmeter")
}

/// The XDG base directory specification wants relative values ignored.
fn xdg_folder(named: Option<&OsStr>, home: Option<&OsStr>, in_home: &str) -> Option<PathBuf> {
    let absolute = |value: &&OsStr| Path::new(value).is_absolute();
    let named = named.filter(absolute).map(PathBuf::from);
    named.or_else(|| home.filter(absolute).map(|home| Path::new(home).join(in_home)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(
        ledger: Option<&'static str>,
        state: Option<&'static str>,
        home: Option<&'static str>,
    ) -> Environment<'static> {
        let of = |value: Option<&'static str>| value.map(OsStr::new);
        Environment { ledger: of(ledger), state_home: of(state), cache_home: None, home: of(home) }
    }

    #[test]
    fn the_nearest_value_wins() {
        let of = |ledger_value, state, home| ledger(environment(ledger_value, state, home), Path::new("/tmp"));
        assert_eq!(of(Some("x.sqlite"), Some("/s"), Some("/h")), Path::new("x.sqlite"));
        assert_eq!(of(None, Some("/s"), Some("/h")), Path::new("/s/flopsmeter/ledger.sqlite"));
        assert_eq!(of(Some(""), Some("relative"), Some("/h")), Path::new("/h/.local/state/flopsmeter/ledger.sqlite"));
        assert_eq!(of(None, Some(""), None), Path::new("/tmp/flopsmeter/ledger.sqlite"));
    }

    #[test]
    fn summaries_are_kept_in_the_cache_folder_or_nowhere() {
        let of = |cache, home| kept_summaries(Environment { cache_home: cache, ..environment(None, None, home) });
        assert_eq!(of(None, Some("/h")).as_deref(), Some(Path::new("/h/.cache/flopsmeter/runs.sqlite")));
        let named = of(Some(OsStr::new("/c")), Some("/h"));
        assert_eq!(named.as_deref(), Some(Path::new("/c/flopsmeter/runs.sqlite")));
        assert_eq!(of(Some(OsStr::new("relative")), None), None);
    }

    #[test]
    fn the_spool_has_a_second_place() {
        let folders = spools(environment(None, None, Some("/h")), Path::new("/tmp"));
        assert_eq!(folders, [Path::new("/h/.local/state/flopsmeter/spool"), Path::new("/tmp/flopsmeter-spool")]);
    }
}
