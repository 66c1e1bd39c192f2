//! Windows between snapshots of counters that only grow: the end of one is the start of the next, so that a run is covered
//! without holes, whatever the time between readings.

use std::time::{Duration, Instant};

use flopsmeter_core::sample::PipeStretch;

/// Windows have to be longer than 100 ms (`nvml.h`); with shorter ones most values are empty.
const SHORTEST_WINDOW: Duration = Duration::from_millis(150);

/// Windows grow with the time that is watched, up to this: the longer, the less [`STALE`] weighs.
const LONGEST_WINDOW: Duration = Duration::from_secs(5);

/// How old the counters of a snapshot may be. That windows have to be longer than 100 ms says that they are not renewed more
/// often; each window is charged for as much more time, and as much at the end is not taken as covered.
pub(crate) const STALE: Duration = Duration::from_millis(100);

/// The last snapshot, and what is known of those before it.
#[derive(Debug)]
pub(crate) struct Chain<S> {
    /// The last snapshot, and when it had been taken.
    last: Option<(S, Instant)>,
    /// When the first one had been taken.
    began: Option<Instant>,
    /// Whether the window that ends with the last one was told.
    told: bool,
}

impl<S> Default for Chain<S> {
    fn default() -> Self {
        Self { last: None, began: None, told: false }
    }
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum Due<S> {
    /// A first snapshot has to be taken.
    Begin,
    /// The window is too short.
    Wait,
    /// A snapshot has to be taken that ends this window. Without it the chain is broken.
    Close(Open<S>),
}

/// A window that has no end yet.
#[derive(Debug)]
pub(crate) struct Open<S> {
    /// The snapshot that it begins with.
    pub(crate) before: S,
    /// How long it is, never longer than what lies between the snapshots.
    pub(crate) length: Duration,
    /// Whether the one before it was told.
    told: bool,
}

impl<S> Chain<S> {
    /// What is to be done at `now`, just before a snapshot could be taken.
    pub(crate) fn due(&mut self, now: Instant) -> Due<S> {
        let Some((before, taken)) = self.last.take() else { return Due::Begin };
        let length = now.saturating_duration_since(taken);
        let watched = now.saturating_duration_since(self.began.unwrap_or(taken));
        if length < (watched / 20).clamp(SHORTEST_WINDOW, LONGEST_WINDOW) {
            self.last = Some((before, taken));
            return Due::Wait;
        }
        Due::Close(Open { before, length, told: self.told })
    }

    /// A first snapshot, which had been taken at `taken`.
    pub(crate) fn begin(&mut self, snapshot: S, taken: Instant) {
        *self = Self { last: Some((snapshot, taken)), began: Some(taken), told: false };
    }

    /// A window was closed by this snapshot, and told or not.
    pub(crate) fn go_on(&mut self, snapshot: S, taken: Instant, told: bool) {
        self.last = Some((snapshot, taken));
        self.told = told;
    }

    /// Nobody knows what became of the counters since the last snapshot.
    pub(crate) fn interrupt(&mut self) {
        *self = Self::default();
    }
}

impl<S> Open<S> {
    /// What the window proves: shares of tensor, FP64, FP32 and FP16 units in per cent. Nothing if one of them is missing.
    ///
    /// The counters at either end may be [`STALE`]: what they missed at the end of one window is in the next, so that shares are of
    /// a window that is longer by as much, and the end of the chain is left uncovered (by its first window).
    pub(crate) fn stretch(&self, percent: [Option<f64>; 4]) -> Option<PipeStretch> {
        let (covered, active) = (self.length.as_micros(), (self.length + STALE).as_micros());
        let share = |percent: Option<f64>| {
            let share = u128::from(basis_points(percent?)?);
            // More than the whole, where units were active throughout: what the window before missed has to be charged as well.
            u32::try_from((share * active).div_ceil(covered.max(1))).ok()
        };
        let [tensor, fp64, fp32, fp16] = percent.map(share);
        let covered = if self.told { covered } else { covered.saturating_sub(STALE.as_micros()) };
        let microseconds = u64::try_from(covered).ok()?;
        Some(PipeStretch { microseconds, tensor: tensor?, fp64: fp64?, fp32: fp32?, fp16: fp16? })
    }
}

/// Per cent in hundredths of a point, rounded up and one added; `None` for what is no share.
fn basis_points(percent: f64) -> Option<u32> {
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    let hundredths = (percent * 100.0).ceil();
    // Written and read: there is no cast here that could wrap.
    format!("{hundredths:.0}").parse::<u32>().ok().map(|value| value + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    fn open(length: Duration, told: bool) -> Open<()> {
        Open { before: (), length, told }
    }

    #[test]
    fn shares_are_rounded_up_and_nonsense_is_none() {
        assert_eq!(basis_points(0.0), Some(1));
        assert_eq!(basis_points(43.712), Some(4373));
        assert_eq!(basis_points(100.0), Some(10_001));
        for nonsense in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(basis_points(nonsense), None);
        }
    }

    #[test]
    fn a_stretch_needs_all_four_kinds_of_units() {
        let all = [Some(50.0), Some(0.0), Some(1.0), Some(0.0)];
        let second = open(Duration::from_secs(1), true);
        assert_eq!(second.stretch(all), Some((1_000_000, 5502, 2, 112, 2).into()));
        for missing in 0..4 {
            let mut some = all;
            some[missing] = None;
            assert_eq!(second.stretch(some), None);
        }
    }

    #[test]
    fn the_first_window_of_a_chain_leaves_room_for_stale_counters() {
        let first = open(Duration::from_secs(5), false);
        let busy = first.stretch([Some(100.0), Some(0.0), Some(0.0), Some(0.0)]).unwrap();
        assert_eq!((busy.microseconds, busy.tensor, busy.fp32), (4_900_000, 10_202, 2));
    }

    #[test]
    fn windows_grow_and_an_interruption_breaks_the_chain() {
        let (start, mut chain) = (monotonic(), Chain::default());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(matches!(chain.due(start), Due::Begin));
        chain.begin(1, start);
        assert!(matches!(chain.due(at(149)), Due::Wait));
        assert!(matches!(chain.due(at(150)), Due::Close(Open { before: 1, told: false, .. })));
        chain.go_on(2, at(150), true);
        assert!(matches!(chain.due(at(200_000)), Due::Close(Open { before: 2, told: true, .. })));
        chain.go_on(3, at(200_000), true);
        assert!(matches!(chain.due(at(204_999)), Due::Wait));
        chain.interrupt();
        assert!(matches!(chain.due(at(210_000)), Due::Begin));
    }
}
