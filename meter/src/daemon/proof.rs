//! What readings prove to one client: nothing of the time before it watched.

use std::time::Duration;

use flopsmeter_core::sample::GpuReading;

use crate::device::nvml::chain::STALE;
use crate::device::nvml::reader::Answer;

/// A busy share that is told now may describe a period that began this long ago (a second for buffered shares, two for polled
/// ones). One that began before the client's job did would count the idle time before it as the job's.
const OLDEST_SHARE: Duration = Duration::from_secs(2);

/// What a client watches, and since when.
#[derive(Debug)]
pub(super) struct Watch {
    gpus: Vec<String>,
    proofs: Vec<Proof>,
    since: Duration,
    /// When the client asked for a reading that it has not got.
    asked: Option<Duration>,
}

/// What readings of one GPU prove to the client.
#[derive(Clone, Debug, Default)]
struct Proof {
    /// Whether busy shares that are told from here on are of time that was watched.
    busy: bool,
    /// Whether a window of the activity counters has ended while it was watched: the next one begins there.
    pipes: bool,
    /// Microseconds by which windows have to be shortened yet: what the counters do not show at the end of the last one.
    stale: u64,
}

impl Proof {
    /// Leaves of a reading what is proven, which was ordered when the GPU had been watched for so long; `None`: before.
    ///
    /// Windows of the activity counters are as long as the reader likes, and longer where nobody has read for a while: the first
    /// that is told may have begun at any time. What is so at the moment of reading is left: counters run on, and what they rise
    /// later is later.
    fn admit(&mut self, reading: &mut GpuReading, watched: Option<Duration>) {
        if let Some(busy) = &mut reading.busy
            && !self.busy
        {
            busy.clear();
            self.busy = watched.is_some_and(|watched| watched >= OLDEST_SHARE);
        }
        let Some(pipes) = &mut reading.pipes else { return };
        if !self.pipes {
            self.pipes = watched.is_some() && !pipes.is_empty();
            self.stale = u64::try_from(STALE.as_micros()).unwrap_or(u64::MAX);
            pipes.clear();
        }
        for stretch in pipes {
            let cut = self.stale.min(stretch.microseconds);
            stretch.microseconds -= cut;
            self.stale -= cut;
        }
    }
}

impl Watch {
    pub(super) fn new(gpus: Vec<String>, now: Duration) -> Self {
        let proofs = vec![Proof::default(); gpus.len()];
        Self { gpus, proofs, since: now, asked: None }
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
        let watched = ordered.checked_sub(self.since);
        for (reading, proof) in taken.iter_mut().zip(&mut self.proofs) {
            if let Ok(reading) = reading {
                proof.admit(reading, watched);
            }
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

#[cfg(test)]
mod simulated;
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

    /// What a reading proves: how many busy shares, and how many microseconds of activity.
    fn proven(answer: Option<Answer>) -> (usize, u64) {
        let (Answer::Read(readings) | Answer::Pushed { readings, .. }) = answer.unwrap() else { panic!("no reading") };
        let reading = readings.into_iter().next().unwrap().unwrap();
        assert_eq!(reading.energy_millijoules, Some(7));
        (reading.busy.unwrap().len(), reading.pipes.unwrap().iter().map(|stretch| stretch.microseconds).sum())
    }

    #[test]
    fn nothing_is_proven_of_the_time_before_the_watch() {
        let read = ["GPU-a".to_owned(), "GPU-b".to_owned()];
        let mut watch = Watch::new(vec!["GPU-b".to_owned()], SECOND * 10);
        let mut take = |ordered: Duration| proven(watch.take(&read, &[Ok(reading()), Ok(reading())], ordered, 1));
        assert_eq!(take(SECOND * 9), (0, 0));
        assert_eq!(take(SECOND * 10), (0, 0));
        // A window that began where one ended that was told; but the counters may not have shown the end of that one.
        assert_eq!(take(SECOND * 11), (0, 900_000));
        // What this one tells of busy shares may still reach back; what comes after it does not.
        assert_eq!(take(SECOND * 12), (0, 1_000_000));
        assert_eq!(take(SECOND * 13), (1, 1_000_000));
    }

    /// A daemon that has read for long tells windows of five seconds and a tick.
    #[test]
    fn a_window_that_is_told_late_began_before_the_watch() {
        let read = ["GPU-a".to_owned()];
        let mut watch = Watch::new(read.to_vec(), SECOND * 200);
        let mut take = |ordered: u32, microseconds: u64| {
            let pipes = if microseconds == 0 { Vec::new() } else { vec![(microseconds, 1, 2, 3, 4).into()] };
            let reading = GpuReading { pipes: Some(pipes), ..reading() };
            proven(watch.take(&read, &[Ok(reading)], SECOND * ordered, 1)).1
        };
        for ordered in 200..204 {
            assert_eq!(take(ordered, 0), 0);
        }
        assert_eq!(take(204, 6_000_000), 0, "four of these six seconds were watched, and it is not told which");
        assert_eq!(take(210, 6_000_000), 5_900_000);
    }

    #[test]
    fn a_reading_that_failed_says_nothing_of_the_next_one() {
        let read = ["GPU-a".to_owned()];
        let mut watch = Watch::new(read.to_vec(), SECOND);
        assert!(watch.take(&read, &[Err("lost".to_owned())], SECOND * 9, 1).is_some());
        assert_eq!(proven(watch.take(&read, &[Ok(reading())], SECOND * 10, 1)), (0, 0));
        assert_eq!(proven(watch.take(&read, &[Ok(reading())], SECOND * 11, 1)), (1, 900_000));
    }

    #[test]
    fn a_single_reading_never_proves_anything_however_late_it_is() {
        let mut watch = Watch::new(vec!["GPU-a".to_owned()], SECOND);
        assert_eq!(proven(watch.take(&["GPU-a".to_owned()], &[Ok(reading())], SECOND * 100, 1)), (0, 0));
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
