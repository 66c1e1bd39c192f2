//! What readings prove to one client: nothing of the time before it watched.

use std::time::Duration;

use flopsmeter_core::sample::GpuReading;

use crate::device::nvml::reader::Answer;

/// A busy share that is told now may describe a period that began this long ago (a second for buffered shares, two for polled
/// ones). One that began before the client's job did would count the idle time before it as the job's.
const OLDEST_SHARE: Duration = Duration::from_secs(2);

/// What a client watches, and since when.
#[derive(Debug)]
pub(super) struct Watch {
    gpus: Vec<String>,
    since: Duration,
    /// Whether stretches that are told from here on lie behind `since` as a whole.
    behind: bool,
    /// When the client asked for a reading that it has not got.
    asked: Option<Duration>,
}

impl Watch {
    pub(super) const fn new(gpus: Vec<String>, now: Duration) -> Self {
        Self { gpus, since: now, behind: false, asked: None }
    }

    pub(super) fn gpus(&self) -> &[String] {
        &self.gpus
    }

    /// The client wants a reading that is made from now on.
    pub(super) const fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    pub(super) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// What the client is told of readings of `read` that were ordered at `ordered` and had been made by `at_nanoseconds`; `None` if they are not of all it watches.
    pub(super) fn take(
        &mut self,
        read: &[String],
        readings: &[Result<GpuReading, String>],
        ordered: Duration,
        at_nanoseconds: u64,
    ) -> Option<Answer> {
        let of = |gpu: &String| readings.get(read.iter().position(|name| name == gpu)?).cloned();
        let mut taken: Vec<_> = self.gpus.iter().map(of).collect::<Option<_>>()?;
        if !self.behind {
            taken.iter_mut().flatten().for_each(forget_stretches);
            self.behind = ordered.saturating_sub(self.since) >= OLDEST_SHARE;
        }
        if self.asked.is_some_and(|asked| ordered >= asked) {
            self.asked = None;
            return Some(Answer::Read(taken));
        }
        Some(Answer::Pushed { at_nanoseconds, readings: taken })
    }

    /// What it is told while there is nothing to be read.
    pub(super) fn miss(&self, reason: &str, at_nanoseconds: u64) -> Answer {
        let readings = self.gpus.iter().map(|_| Err(reason.to_owned())).collect();
        Answer::Pushed { at_nanoseconds, readings }
    }
}

/// Leaves what was so at the moment of reading: counters run on, and what they rise later is later.
fn forget_stretches(reading: &mut GpuReading) {
    if let Some(busy) = &mut reading.busy {
        busy.clear();
    }
    if let Some(pipes) = &mut reading.pipes {
        pipes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading() -> GpuReading {
        GpuReading {
            busy: Some(vec![(1_000_000, 3).into()]),
            pipes: Some(vec![(1_000_000, 1, 2, 3, 4).into()]),
            energy_millijoules: Some(7),
            ..GpuReading::default()
        }
    }

    fn idle(answer: Option<Answer>) -> Vec<usize> {
        let (Answer::Read(readings) | Answer::Pushed { readings, .. }) = answer.unwrap() else { panic!("no reading") };
        let reading = readings.into_iter().next().unwrap().unwrap();
        assert_eq!(reading.energy_millijoules, Some(7));
        vec![reading.busy.unwrap().len(), reading.pipes.unwrap().len()]
    }

    #[test]
    fn nothing_is_proven_of_the_time_before_the_watch() {
        let read = ["GPU-a".to_owned(), "GPU-b".to_owned()];
        let mut watch = Watch::new(vec!["GPU-b".to_owned()], SECOND * 10);
        let mut take = |ordered: Duration| idle(watch.take(&read, &[Ok(reading()), Ok(reading())], ordered, 1));
        assert_eq!(take(SECOND * 10), [0, 0]);
        assert_eq!(take(SECOND * 11), [0, 0]);
        // What this one tells may still reach back; what comes after it does not.
        assert_eq!(take(SECOND * 12), [0, 0]);
        assert_eq!(take(SECOND * 13), [1, 1]);
    }

    #[test]
    fn a_single_reading_never_proves_anything_however_late_it_is() {
        let mut watch = Watch::new(vec!["GPU-a".to_owned()], SECOND);
        assert_eq!(idle(watch.take(&["GPU-a".to_owned()], &[Ok(reading())], SECOND * 100, 1)), [0, 0]);
    }

    #[test]
    fn a_reading_ordered_before_it_was_asked_for_is_no_answer() {
        let read = ["GPU-a".to_owned()];
        let mut watch = Watch::new(read.to_vec(), SECOND);
        watch.ask(SECOND * 3);
        assert!(matches!(
            watch.take(&read, &[Ok(reading())], SECOND * 2, 7),
            Some(Answer::Pushed { at_nanoseconds: 7, .. })
        ));
        assert!(matches!(watch.take(&read, &[Ok(reading())], SECOND * 3, 8), Some(Answer::Read(_))));
        assert!(matches!(watch.take(&read, &[Ok(reading())], SECOND * 4, 9), Some(Answer::Pushed { .. })));
    }

    #[test]
    fn a_reading_of_other_gpus_is_not_for_this_client() {
        let mut watch = Watch::new(vec!["GPU-a".to_owned()], SECOND);
        assert_eq!(watch.take(&["GPU-b".to_owned()], &[Ok(reading())], SECOND, 1), None);
        assert_eq!(watch.take(&["GPU-b".to_owned(), "GPU-a".to_owned()], &[Ok(reading())], SECOND, 1), None);
    }
}
