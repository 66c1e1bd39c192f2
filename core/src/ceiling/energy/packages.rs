//! Energy of processor packages: a cumulative figure, so that a lost sample loses nothing.

use super::Figure;
use crate::ceiling::timeline::{Nanoseconds, Timeline, length};
use crate::run::EnergySource;
use crate::unit::Joules;

/// What is said of time in which the processors were read and their energy was not.
const UNMEASURED: &str = "the energy of the processor packages was not measured";

/// What was told of the packages.
#[derive(Clone, Debug, Default)]
pub(in crate::ceiling) struct PackageReadings {
    /// The least and the greatest cumulative value that was told, in microjoules, each with its time.
    ends: Option<((u64, Nanoseconds), (u64, Nanoseconds))>,
    /// Intervals without a value: what was used in them is in no later value either.
    unmeasured: Timeline,
}

impl PackageReadings {
    /// A reading that ended at this time.
    pub(in crate::ceiling) fn add(&mut self, at: Nanoseconds, microjoules: u64) {
        let told = (microjoules, at);
        let (least, greatest) = self.ends.unwrap_or((told, told));
        self.ends = Some((least.min(told), greatest.max(told)));
    }

    /// A reading of this time told no value.
    pub(in crate::ceiling) fn miss(&mut self, started: Nanoseconds, ended: Nanoseconds) {
        self.unmeasured.miss(started, ended, UNMEASURED);
    }

    /// Nanoseconds between the first and the last value that are in neither.
    pub(in crate::ceiling) fn unmeasured_nanoseconds(&self) -> u128 {
        let Some(((_, from), (_, until))) = self.ends else { return 0 };
        let holes = self.unmeasured.uncovered().into_iter().filter(|hole| hole.reason == UNMEASURED);
        holes.map(|hole| length(hole.started.max(from), hole.ended.min(until))).sum()
    }

    /// What was used between the first and the last reading; `None` if that is nothing, for packages that are on use some.
    pub(in crate::ceiling) fn figure(&self) -> Option<Figure> {
        let ((least, from), (greatest, until)) = self.ends?;
        let millijoules = greatest.saturating_sub(least).saturating_add(500) / 1000;
        let nanoseconds = length(from, until).saturating_sub(self.unmeasured_nanoseconds());
        (millijoules > 0 && nanoseconds > 0).then(|| Figure {
            joules: Joules::from_millijoules(millijoules),
            source: EnergySource::Counter,
            nanoseconds,
        })
    }
}
