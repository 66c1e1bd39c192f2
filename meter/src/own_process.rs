//! Children of this process that are ours and not the job's.
//!
//! The wrapper waits for all its children and takes each for the job's, orphans included: those that are not have to be known.
//! Children belong to the process as a whole, so this is the one list of it.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::Kernel;
use crate::device::process_tree::Stat;

static OURS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Those that were told to end and have not: a call that is stuck in the kernel, as into a driver whose GPU fell off the bus,
/// outlives everything that is done to its process.
static LEFT_BEHIND: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// So many may be left behind before no more are started.
const MOST_LEFT_BEHIND: usize = 4;

fn ours() -> MutexGuard<'static, BTreeSet<u32>> {
    // A set of numbers is always whole.
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn left_behind() -> MutexGuard<'static, BTreeSet<u32>> {
    LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process of ours, unless too many that were told to end are still there: the machine's processes are the job's.
/// Nobody who asks can see it before it is on the list.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    refusal(left_behind().len()).map_or(Ok(()), Err)?;
    let mut ours = ours();
    let child = command.spawn()?;
    ours.insert(child.id());
    Ok(child)
}

/// A child that was made otherwise, before this process had other threads.
pub(crate) fn add(number: u32) {
    ours().insert(number);
}

fn refusal(left: usize) -> Option<io::Error> {
    let text = "earlier ones were told to end and are still there, as when a call into the driver never comes back";
    (left >= MOST_LEFT_BEHIND).then(|| io::Error::other(format!("{left} {text}")))
}

/// It was told to end, and nobody waits for it.
pub(crate) fn leave_behind(number: u32) {
    if is_ours(number) {
        left_behind().insert(number);
    }
}

/// It has ended: its number may become somebody else's.
pub(crate) fn forget(number: u32) {
    ours().remove(&number);
    left_behind().remove(&number);
}

/// Whether this child of the process is ours.
pub(crate) fn is_ours(number: u32) -> bool {
    ours().contains(&number)
}

/// Whether the process has children that are not ours. Reads all of `/proc`, so ask only when there are children.
pub(crate) fn has_others() -> bool {
    let ours = ours();
    children(&Kernel::default()).iter().any(|number| !ours.contains(number))
}

/// All children of this process, those that have ended and are not yet waited for included.
fn children(kernel: &Kernel) -> Vec<u32> {
    let this = std::process::id();
    let numbers = kernel.names("proc").into_iter().filter_map(|name| name.parse().ok());
    numbers.filter(|&number| Stat::read(kernel, number).is_some_and(|stat| stat.parent == this)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_do_not_end_keep_more_from_being_started() {
        let mut sleeper = start(Command::new("sleep").arg("60")).unwrap();
        leave_behind(sleeper.id());
        assert!(left_behind().contains(&sleeper.id()));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        forget(sleeper.id());
        assert!(!left_behind().contains(&sleeper.id()));
        leave_behind(sleeper.id());
        assert!(!left_behind().contains(&sleeper.id()), "one that has ended is not left behind");
        assert!(refusal(MOST_LEFT_BEHIND - 1).is_none());
        assert!(refusal(MOST_LEFT_BEHIND).unwrap().to_string().starts_with("4 earlier ones were told to end"));
    }

    #[test]
    fn a_process_of_ours_is_told_from_others() {
        let mut ours = start(Command::new("sleep").arg("60")).unwrap();
        assert!(is_ours(ours.id()));
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_ours(other.id()));
        assert!(has_others());
        assert!(children(&Kernel::default()).contains(&ours.id()));
        other.kill().unwrap();
        other.wait().unwrap();
        ours.kill().unwrap();
        ours.wait().unwrap();
        forget(ours.id());
        assert!(!is_ours(ours.id()));
    }
}
