//! Energy of processor packages: a cumulative figure, so that a lost sample loses nothing.

use super::Figure;
use crate::ceiling::timeline::{Nanoseconds, length};
use crate::run::EnergySource;
use crate::unit::Joules;

/// The least and the greatest cumulative value that was told, in microjoules, each with its time.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ceiling) struct PackageReadings(Option<((u64, Nanoseconds), (u64, Nanoseconds))>);

impl PackageReadings {
    pub(in crate::ceiling) fn add(&mut self, at: Nanoseconds, microjoules: u64) {
        let told = (microjoules, at);
        let (least, greatest) = self.0.unwrap_or((told, told));
        self.0 = Some((least.min(told), greatest.max(told)));
    }

    /// What was used between the first and the last reading; `None` if that is nothing, for packages that are on use some.
    pub(in crate::ceiling) fn figure(&self) -> Option<Figure> {
        let ((least, from), (greatest, until)) = self.0?;
        let millijoules = greatest.saturating_sub(least).saturating_add(500) / 1000;
        let nanoseconds = length(from, until);
        (millijoules > 0 && nanoseconds > 0).then(|| Figure {
            joules: Joules::from_millijoules(millijoules),
            source: EnergySource::Counter,
            nanoseconds,
        })
    }
}
