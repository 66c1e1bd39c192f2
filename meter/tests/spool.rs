//! A run whose spool is full: what its record lacks is held against it.
#![cfg(feature = "machine")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{DevicesSeen, RunClosed, RunOpened, Samples, SegmentClosed, SegmentOpened};
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::sample::{BusyStretch, Device, DeviceFacts, GpuFacts, GpuReading, Reading, Sample};
use flopsmeter_core::tally::Tally;
use flopsmeter_meter::store::{Ledger, RunRecorder, recorder, spool};

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_750_000_000_000_000).unwrap()
}

/// The entries of a run that holds a GPU for so long, in which it does nothing.
fn idle_gpu(seconds: i64) -> Vec<(DateTime<Utc>, Body)> {
    let facts = GpuFacts {
        compute_capability: "9.0".parse().ok(),
        core_count: Some(16_896),
        max_sm_clock_mhz: Some(1980),
        ..GpuFacts::default()
    };
    let device =
        Device { id: "GPU-1".to_owned(), name: "NVIDIA H100 80GB HBM3".to_owned(), facts: DeviceFacts::Gpu(facts) };
    let samples = (0..seconds).map(|second| {
        let busy = Some(vec![BusyStretch { microseconds: 1_000_000, percent: 0 }]);
        let sample = Sample {
            device: "GPU-1".to_owned(),
            started: at() + TimeDelta::seconds(second),
            duration_nanoseconds: 1_000_000_000,
            reading: Reading::Gpu(GpuReading { busy, ..GpuReading::default() }),
        };
        Body::Samples(Samples { samples: vec![sample] })
    });
    let ended = at() + TimeDelta::seconds(seconds);
    let closed = SegmentClosed { segment: 0, ended, exit: None, cpu_time_nanoseconds: 0, left_running: false };
    let begun = [
        Body::RunOpened(RunOpened { run: "a".to_owned(), ..RunOpened::default() }),
        Body::SegmentOpened(SegmentOpened::default()),
        Body::DevicesSeen(DevicesSeen { devices: vec![device] }),
    ];
    let all = begun.into_iter().chain(samples).chain([Body::SegmentClosed(closed), Body::RunClosed(RunClosed {})]);
    all.enumerate()
        .map(|(second, body)| (at() + TimeDelta::seconds(i64::try_from(second).unwrap().max(3) - 3), body))
        .collect()
}

fn summary<'b>(bodies: impl IntoIterator<Item = &'b (DateTime<Utc>, Body)>) -> RunSummary {
    let mut tally = Tally::new();
    for (at, body) in bodies {
        tally.add(*at, body);
    }
    tally.summary()
}

#[test]
fn what_a_full_spool_lacks_is_charged_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = PathBuf::from("/dev/null/ledger");
    let run = idle_gpu(200);
    let mut recorder = RunRecorder::begin(Ledger::open(&nowhere), &nowhere, "a", vec![folder.path().to_owned()], at())
        .with_spool_limit(recorder::SPOOL_RESERVE_BYTES + 40_000);
    for (at, body) in &run {
        recorder.record(*at, body);
        recorder.commit(*at);
    }
    let finished = recorder.finish(at());
    assert!((10..190).contains(&finished.dropped), "{}", finished.dropped);
    let entries = spool::read(&finished.spool.unwrap()).unwrap().entries;
    let kept: Vec<_> = entries.iter().map(|entry| (entry.at, Body::read(&entry.kind, &entry.body))).collect();
    let (whole, kept) = (summary(&run), summary(&kept));
    let missing = |summary: &RunSummary| summary.gaps.iter().map(|gap| gap.duration_seconds).sum::<f64>();
    assert!(missing(&kept) - missing(&whole) >= 9.0, "{:?}", kept.gaps);
    assert!(kept.ceiling.flop.unwrap() > whole.ceiling.flop.unwrap(), "{:?} {:?}", kept.ceiling, whole.ceiling);
}
