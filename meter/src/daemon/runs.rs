//! How the runs of this machine stand, as they tell it: a bounded table.

use std::collections::BTreeMap;
use std::time::Duration;

use super::status::RunStatus;

/// Runs that are kept: each is a set of time series.
pub(super) const MAX_RUNS: usize = 128;

/// How long a run is shown after it ended: some scrapes long.
pub(super) const STAYS: Duration = Duration::from_mins(10);

/// Bytes of a label's value.
const MAX_LABEL: usize = 64;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: BTreeMap<String, Shown>,
}

#[derive(Debug)]
struct Shown {
    status: RunStatus,
    /// Who tells it, and whose that is.
    client: u64,
    user: String,
    /// When it stopped telling.
    left: Option<Duration>,
}

/// A status that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Names that are none, or another client's run.
    Wrong,
    /// Too many runs are going on.
    Full,
}

impl Runs {
    /// A client of this user's tells of a run: always the same one.
    pub(super) fn tell(&mut self, client: u64, user: &str, status: RunStatus) -> Result<(), Refused> {
        let names = [&status.run, &status.ledger].into_iter().chain(&status.modification);
        if !names.into_iter().all(|name| is_label(name)) || self.tells_another(client, &status.run) {
            return Err(Refused::Wrong);
        }
        let user = user.to_owned();
        if let Some(shown) = self.runs.get_mut(&status.run) {
            // Ids stand in the metrics for all to see.
            if shown.user != user || (shown.client != client && shown.left.is_none()) {
                return Err(Refused::Wrong);
            }
            *shown = Shown { status, client, user, left: None };
            return Ok(());
        }
        if self.runs.len() >= MAX_RUNS && !self.forget_oldest() {
            return Err(Refused::Full);
        }
        self.runs.insert(status.run.clone(), Shown { status, client, user, left: None });
        Ok(())
    }

    fn tells_another(&self, client: u64, run: &str) -> bool {
        self.runs.iter().any(|(name, shown)| shown.client == client && name != run)
    }

    fn forget_oldest(&mut self) -> bool {
        let ended = self.runs.iter().filter_map(|(name, shown)| Some((shown.left?, name)));
        let Some(oldest) = ended.min().map(|(_, name)| name.clone()) else { return false };
        self.runs.remove(&oldest);
        true
    }

    /// A client has left.
    pub(super) fn left(&mut self, client: u64, now: Duration) {
        for shown in self.runs.values_mut().filter(|shown| shown.client == client) {
            shown.left = shown.left.or(Some(now));
        }
    }

    /// Forgets runs that ended a while ago.
    pub(super) fn expire(&mut self, now: Duration) {
        self.runs.retain(|_, shown| shown.left.is_none_or(|left| now.saturating_sub(left) < STAYS));
    }

    /// All runs, whose each is, and whether it is going on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&RunStatus, &str, bool)> {
        self.runs.values().map(|shown| (&shown.status, shown.user.as_str(), shown.left.is_none()))
    }
}

/// Short and plain, so that it is safe in any label.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= MAX_LABEL && text.bytes().all(plain)
}

#[cfg(test)]
pub(super) mod tests {
    use flopsmeter_core::assess::Verdict;
    use flopsmeter_core::unit::{Flops, Joules};

    use super::*;

    pub(in crate::daemon) fn status(run: &str) -> RunStatus {
        RunStatus {
            run: run.to_owned(),
            modification: Some("demo".to_owned()),
            ledger: "1f2e3d4c".to_owned(),
            training: Some(Flops(1 << 70)),
            executed: Some(Flops(3 << 69)),
            ceiling: Some(Flops(5 << 70)),
            ceiling_complete: true,
            energy_joules: Some(Joules::from_millijoules(1500)),
            held_devices: 9,
            gaps: 1,
            gap_seconds: 1.5,
            modification_training: Some(Flops(1 << 71)),
            line: Some(Flops(1 << 73)),
            share_of_line_percent: Some("25.00".to_owned()),
            verdict: Verdict::Near,
            reserved: None,
            forecast: None,
        }
    }

    #[test]
    fn a_finished_run_leaves_after_a_while() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", status("a")).unwrap();
        runs.expire(STAYS * 100);
        assert_eq!(runs.iter().count(), 1);
        runs.left(1, Duration::from_secs(5));
        runs.expire(STAYS);
        assert_eq!(runs.iter().map(|(_, _, on)| on).collect::<Vec<_>>(), [false]);
        runs.expire(STAYS + Duration::from_secs(5));
        assert_eq!(runs.iter().count(), 0);
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_finished_run_makes_room() {
        let mut runs = Runs::default();
        for client in 0..MAX_RUNS as u64 {
            runs.tell(client, "ada", status(&format!("run-{client}"))).unwrap();
        }
        assert_eq!(runs.tell(9999, "ada", status("more")), Err(Refused::Full));
        runs.left(7, Duration::from_secs(2));
        runs.left(3, Duration::from_secs(1));
        runs.tell(9999, "ada", status("more")).unwrap();
        assert_eq!(runs.iter().count(), MAX_RUNS);
        assert!(!runs.runs.contains_key("run-3") && runs.runs.contains_key("run-7"));
    }

    #[test]
    fn nobody_tells_of_another_ones_run_or_of_two() {
        let mut runs = Runs::default();
        runs.tell(1, "ada", status("a")).unwrap();
        assert_eq!(runs.tell(2, "ada", status("a")), Err(Refused::Wrong));
        assert_eq!(runs.tell(1, "ada", status("b")), Err(Refused::Wrong));
        // A meter that connects again.
        runs.left(1, Duration::ZERO);
        assert_eq!(runs.tell(3, "eve", status("a")), Err(Refused::Wrong));
        runs.tell(2, "ada", status("a")).unwrap();
    }

    #[test]
    fn names_that_are_no_labels_are_refused() {
        let mut runs = Runs::default();
        for name in ["", "a\"b", "a\nb", "ä", &"x".repeat(65)] {
            assert_eq!(runs.tell(1, "ada", status(name)), Err(Refused::Wrong), "{name}");
        }
    }
}
