//! What devices were held for so far, where a base model's GPU-hours are held against it.

use std::time::Duration;

use flopsmeter_core::run::Ceiling;
use flopsmeter_core::tally::Tally;

/// Held time grows evenly: a ceiling of a little earlier is a lower bound that is hardly lower.
const REFRESHED_EVERY: Duration = Duration::from_secs(10);

/// The ceiling as it was formed last; forming it each second would cost more than everything else that a look needs.
#[derive(Debug, Default)]
pub(super) struct Held {
    formed: Option<Duration>,
    ceiling: Ceiling,
}

impl Held {
    pub(super) fn ceiling(&mut self, tally: &Tally, elapsed: Duration, has_ended: bool) -> Ceiling {
        let is_fresh = self.formed.is_some_and(|formed| elapsed < formed + REFRESHED_EVERY);
        if has_ended || !is_fresh {
            self.formed = Some(elapsed);
            self.ceiling = tally.ceiling();
        }
        self.ceiling.clone()
    }
}
