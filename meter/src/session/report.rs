//! What a session says while it runs; how it is shown is the listener's.

use flopsmeter_core::assess::Assessment;
use flopsmeter_core::budget::ToCome;
use flopsmeter_core::facts::Progress;
use flopsmeter_core::forecast::Range;
use flopsmeter_core::judge::{Forecast, Judge};
use flopsmeter_core::run::{Alert, Finding, RunFlops, RunSummary};
use flopsmeter_core::tally::Tally;
use flopsmeter_core::unit::Flops;

/// Takes what a session has to say.
pub trait Listener {
    /// How the job stands.
    fn progress(&mut self, report: &ProgressReport);

    /// A level of the line is reached or foreseen.
    fn alert(&mut self, alert: &Alert);

    /// Something did not go as it should.
    fn finding(&mut self, finding: &Finding);
}

/// How a job stands.
#[derive(Clone, Debug)]
pub struct ProgressReport {
    /// Operations of this run so far.
    pub flops: Option<RunFlops>,
    /// Where the trainer stands, if it told.
    pub progress: Option<Progress>,
    /// Where the law puts what was spent so far, the modification's other runs included.
    pub assessment: Assessment,
    /// Where it will end if it goes on like this, if the trainer told its schedule.
    pub forecast: Option<Forecast>,
}

impl ProgressReport {
    /// Beside `others`, what is held for them.
    pub(super) fn of(
        tally: &Tally,
        (others, reserved): (&[RunSummary], &ToCome),
        judge: &Judge,
        ends: Option<Range<Flops>>,
    ) -> Self {
        let summary = tally.summary();
        let stand = tally.progress();
        Self {
            flops: summary.flops,
            progress: stand.map(|(progress, _)| progress),
            assessment: judge.assess(others.iter().chain([&summary]), Vec::new()),
            forecast: stand
                .and_then(|(progress, began)| judge.forecast((others, reserved), &summary, began, progress))
                .map(|forecast| Forecast { ends, ..forecast }),
        }
    }
}
