//! What a session says on standard error: whole lines, few of them.

use flopsmeter_core::assess::Verdict;
use flopsmeter_core::run::{Alert, Finding, RunSummary};
use flopsmeter_meter::session::{Listener, ProgressReport};

use crate::{output, words};

/// Says what has to be said, or nothing.
pub(crate) struct Narrator {
    quiet: bool,
}

impl Narrator {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// The summary at the end of a job.
    pub(crate) fn end(&self, summary: &RunSummary) {
        if self.quiet {
            return;
        }
        output::talk(&format!(
            "metered{}",
            words::run(summary).lines().fold(String::new(), |text, line| text + "\n  " + line)
        ));
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            output::talk(line);
        }
    }
}

impl Listener for Narrator {
    fn progress(&mut self, report: &ProgressReport) {
        self.say(&progress_line(report));
    }

    fn alert(&mut self, alert: &Alert) {
        self.say(&format!("*** {} ***", alert.text));
    }

    fn finding(&mut self, finding: &Finding) {
        self.say(&finding.text);
    }
}

fn progress_line(report: &ProgressReport) -> String {
    let step = report.progress.map_or_else(String::new, |progress| match progress.max_steps {
        Some(end) => format!("step {} of {end}: ", progress.step),
        None => format!("step {}: ", progress.step),
    });
    let spent = report.flops.map(|flops| flops.training);
    let verdict = words::verdict(&report.assessment);
    let end = report.forecast.map_or_else(String::new, |forecast| {
        let verdict = match forecast.verdict {
            Verdict::Below => "below the line",
            Verdict::Near => "near the line",
            Verdict::Exceeds => "OVER the line",
            Verdict::Undetermined => "verdict undetermined",
        };
        let total = words::flop(Some(forecast.total));
        let ends = forecast.ends.filter(|ends| ends.low != ends.high);
        let ends = ends
            .map_or_else(String::new, |ends| format!(" ({} to {})", ends.low.scientific(3), ends.high.scientific(3)));
        format!("; projected {total}{ends} at the end, {verdict}")
    });
    format!("{step}{}, {verdict}{end}", words::flop(spent))
}
