//! Counters that only rise, until something happens to them.

use serde::Deserialize;

/// What a counter shows at the start, and what befalls it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counter {
    /// At the first call: the driver was loaded before.
    pub starts_at: u64,
    /// It starts again from zero at this time.
    pub restarts_ms: Option<u64>,
    /// It is shown modulo this.
    pub wraps_at: Option<u64>,
    /// At each time it falls by an amount, and rises on from there.
    pub falls: Vec<(u64, u64)>,
}

impl Default for Counter {
    fn default() -> Self {
        Self { starts_at: 1_000_000_000_000, restarts_ms: None, wraps_at: None, falls: Vec::new() }
    }
}

impl Counter {
    /// What it shows at `now`, if `sum(from, until)` is what was really counted in a stretch.
    pub fn shown(&self, now: u64, sum: impl Fn(u64, u64) -> u128) -> u64 {
        let (since, before) = match self.restarts_ms {
            Some(restart) if restart <= now => (restart, 0),
            _ => (0, self.starts_at),
        };
        let fallen: u64 = self.falls.iter().filter(|(at, _)| (since..=now).contains(at)).map(|(_, by)| *by).sum();
        let value = (u128::from(before) + sum(since, now)).saturating_sub(u128::from(fallen));
        let wrapped = value % self.wraps_at.map_or(1 << 64, u128::from).max(1);
        u64::try_from(wrapped).unwrap_or(u64::MAX)
    }
}
