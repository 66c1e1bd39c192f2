//! What a session says while it runs; how it is shown is the listener's.

use flopsmeter_core::assess::{Assessment, Spent};
use flopsmeter_core::facts::Progress;
use flopsmeter_core::judge::Forecast;
use flopsmeter_core::run::{Alert, Finding, RunFlops};

use super::{Session, job_of};

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

impl Session<'_> {
    /// How the job stands, beside the others of its modification and what is held for them.
    pub(super) fn progress_report(&self) -> ProgressReport {
        let (judge, summary, stand) = (&self.judge, self.tally.summary(), self.tally.progress());
        let job = job_of(&self.tally, &self.beside, summary.clone());
        let all = Spent::of_runs(judge.rules, self.others.iter().chain([&job]));
        let reserved = self.company.reserved();
        let foreseen = |(progress, began)| judge.forecast((&all, &reserved), &summary, began, progress);
        ProgressReport {
            flops: summary.flops,
            progress: stand.map(|(progress, _)| progress),
            assessment: judge.assess(self.others.iter().chain([&job]), Vec::new()),
            forecast: stand.and_then(foreseen).map(|forecast| Forecast { ends: self.line.ends(), ..forecast }),
        }
    }
}
