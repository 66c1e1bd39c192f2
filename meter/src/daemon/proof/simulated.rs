//! A GPU, the process that reads it and a client that comes at some time, all simulated: with the real windows, the real buffer
//! and the real watch, in time that is told. Whatever the GPU did, no more rest is proven than there was.

use std::time::{Duration, Instant};

use flopsmeter_core::sample::GpuReading;
use proptest::prelude::*;

use super::Watch;
use crate::clock::monotonic;
use crate::device::nvml::busy::BusyBuffer;
use crate::device::nvml::chain::{Chain, Due};
use crate::device::nvml::reader::Answer;

const GPU: &str = "GPU-aa";

/// All times in milliseconds.
#[derive(Clone, Debug)]
struct Script {
    /// Lengths of rest and of work, in turns; after them, rest.
    turns: Vec<u64>,
    /// Between buffered busy shares.
    period: u64,
    /// At most this old are activity counters.
    refresh: u64,
    /// When readings are made, and whether one fails.
    readings: Vec<(u64, bool)>,
    /// When the client comes; its job has begun by then.
    since: u64,
}

/// What a GPU does.
#[derive(Clone, Debug)]
enum Course {
    /// Rest and work in turns.
    Turns(Vec<u64>),
    /// Rest until just about when the client comes, and then work for good.
    WorkFromTheStart(u64),
    /// The same until a reading of the client's, then rest until so long before its last one.
    RestBetween(usize, u64),
}

fn courses() -> impl Strategy<Value = Course> {
    prop_oneof![
        prop::collection::vec(1_u64..7000, 1..80).prop_map(Course::Turns),
        (0_u64..300).prop_map(Course::WorkFromTheStart),
        (0_usize..15, 0_u64..100).prop_map(|(until, before)| Course::RestBetween(until, before)),
    ]
}

prop_compose! {
    /// Somebody has watched for up to three minutes, or nobody; then perhaps nobody does for a while.
    fn scripts()(
        watched in prop_oneof![Just(0_usize), 1_usize..180],
        pause in prop_oneof![3 => Just(0_u64), 1 => 1_u64..20_000],
        steps in prop::collection::vec((prop_oneof![4 => 990_u64..1010, 1 => 100_u64..990, 1 => 1010_u64..4000], 0_u8..40), 200),
        early in 0_u64..1000,
        course in courses(),
        period in prop_oneof![Just(100_u64), 167..=1000_u64],
        refresh in prop_oneof![Just(1_u64), 1_u64..=100, Just(100)],
    ) -> Script {
        let (mut at, mut readings) = (0, Vec::new());
        for (index, &(step, fate)) in steps.iter().enumerate().take(watched + 20) {
            at += step + if index == watched { pause } else { 0 };
            readings.push((at, fate == 0 && index > 3));
        }
        let since = readings[watched].0.saturating_sub(early);
        let turns = match course {
            Course::Turns(turns) => turns,
            Course::WorkFromTheStart(late) => vec![since + late, u64::MAX / 2],
            Course::RestBetween(until, before) => {
                let rests = readings[watched + until].0;
                vec![since, rests - since, (at - before).saturating_sub(rests), u64::MAX / 2]
            }
        };
        Script { turns, period, refresh, readings, since }
    }
}

impl Script {
    /// Milliseconds of work in a stretch.
    fn work(&self, from: u64, until: u64) -> u64 {
        let (mut at, mut sum) = (0, 0);
        for (index, turn) in self.turns.iter().enumerate() {
            let (begin, end) = (at.max(from), (at + turn).min(until));
            if index % 2 == 1 {
                sum += end.saturating_sub(begin);
            }
            at += turn;
        }
        sum
    }

    fn percent(&self, from: u64, until: u64) -> f64 {
        let (work, length) = (self.work(from, until), (until - from).max(1));
        f64::from(u32::try_from(work).unwrap()) * 100.0 / f64::from(u32::try_from(length).unwrap())
    }

    /// Buffered shares after `newest` (in microseconds), rounded down.
    fn buffered(&self, now: u64, newest: u64) -> Vec<(u64, u32)> {
        let first = (newest / 1000 / self.period).max((now / self.period).saturating_sub(120)) + 1;
        let share = |at: u64| u32::try_from(self.work(at - self.period, at) * 100 / self.period).unwrap();
        (first..=now / self.period).map(|index| (index * self.period * 1000, share(index * self.period))).collect()
    }

    /// Rest that is proven: by busy shares in microseconds times per cent, by activity in microseconds times basis points; and the
    /// time that the client has watched.
    fn play(&self, watches: bool) -> (i128, i128, u64) {
        let start: Instant = monotonic();
        let (mut chain, mut buffer) = (Chain::<u64>::default(), BusyBuffer::default());
        let mut watch = Watch::new(vec![GPU.to_owned()], Duration::from_millis(self.since));
        let (mut busy, mut pipes, mut until) = (0, 0, self.since);
        // Without a daemon the reader is the client's own.
        let readings = self.readings.iter().filter(|(at, _)| watches || *at >= self.since);
        for &(at, fails) in readings {
            let now = start + Duration::from_millis(at);
            let reading = if fails {
                chain.interrupt();
                buffer.interrupt();
                Err("the GPU is lost".to_owned())
            } else {
                let stretches = buffer.take(self.buffered(at, buffer.newest().unwrap_or(0)));
                Ok(GpuReading {
                    busy: Some(stretches),
                    pipes: Some(self.window(&mut chain, at, now)),
                    ..GpuReading::default()
                })
            };
            let told = if watches {
                if at < self.since {
                    continue;
                }
                let answer = watch.take(&[GPU.to_owned()], &[reading], Duration::from_millis(at), at * 1_000_000);
                let Some(Answer::Pushed { readings, .. }) = answer else { panic!("{answer:?}") };
                readings.into_iter().next().unwrap()
            } else {
                reading
            };
            until = at;
            let Ok(told) = told else { continue };
            for stretch in told.busy.iter().flatten() {
                busy += i128::from(stretch.microseconds) * i128::from(99_u32.saturating_sub(stretch.percent));
            }
            for stretch in told.pipes.iter().flatten() {
                pipes += i128::from(stretch.microseconds) * (10_000 - i128::from(stretch.tensor));
            }
        }
        (busy, pipes, until)
    }

    fn window(&self, chain: &mut Chain<u64>, at: u64, now: Instant) -> Vec<flopsmeter_core::sample::PipeStretch> {
        let counters = at - at % self.refresh;
        match chain.due(now) {
            Due::Wait => Vec::new(),
            Due::Begin => {
                chain.begin(counters, now);
                Vec::new()
            }
            Due::Close(open) => {
                let stretch =
                    open.stretch([Some(self.percent(open.before, counters)), Some(0.0), Some(0.0), Some(0.0)]);
                chain.go_on(counters, now, stretch.is_some());
                stretch.into_iter().collect()
            }
        }
    }
}

fn prove_no_more_than_there_was(script: &Script, watches: bool) -> Result<(), TestCaseError> {
    let (busy, pipes, until) = script.play(watches);
    let rest = i128::from((until - script.since - script.work(script.since, until)) * 1000);
    prop_assert!(busy <= rest * 100, "busy shares prove {} µs of rest, there were {rest}", busy / 100);
    prop_assert!(pipes <= rest * 10_000, "activity proves {} µs of rest, there were {rest}", pipes / 10_000);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_more_rest_is_proven_than_there_was(script in scripts(), watches in any::<bool>()) {
        prove_no_more_than_there_was(&script, watches)?;
    }
}

/// Work that begins a moment before a snapshot whose counters do not show it, and ends with the next one.
#[test]
fn work_that_counters_show_a_window_later_is_charged() {
    let readings = (1..30).map(|second| (second * 1000 - second % 2, false)).collect();
    let turns = (0..30).flat_map(|_| [900, 1100]).collect();
    let script = Script { turns, period: 100, refresh: 100, readings, since: 0 };
    prove_no_more_than_there_was(&script, false).unwrap();
}

/// Work that begins just before the last snapshot, and that its counters do not show.
#[test]
fn work_that_counters_never_show_is_charged() {
    let mut readings: Vec<(u64, bool)> = (1..12).map(|second| (second * 1000, false)).collect();
    readings.push((12_099, false));
    let turns = vec![9500, 500, 2000, 10_000];
    let script = Script { turns, period: 100, refresh: 100, readings, since: 9500 };
    prove_no_more_than_there_was(&script, true).unwrap();
}
