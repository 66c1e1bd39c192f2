//! How fast samples get onto the disk, and what opening and closing a ledger costs a short job.
//!
//! `ingest` is the design's "durable once a second": 100,000 samples are recorded, hashed, chained and committed with one `fsync`.
//! More than one such round a second is the target. `short_job` is a run that is over within half a second, which does not wait for
//! the disk.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{RunClosed, RunOpened, Samples};
use flopsmeter_core::sample::{BusyStretch, GpuReading, Reading, Sample};
use flopsmeter_meter::store::{Ledger, RunRecorder};

const SAMPLES: usize = 100_000;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_750_000_000_000_000).unwrap()
}

/// What eight GPUs and more say in one round: six busy stretches a second, clock and energy.
fn samples(count: usize) -> Body {
    let one = |number: usize| Sample {
        device: format!("GPU-6f2b3d5e-0c9a-4f4b-8a6e-{:012}", number % 8),
        started: at() + TimeDelta::nanoseconds(123_456_789),
        duration_nanoseconds: 1_000_000_001,
        reading: Reading::Gpu(GpuReading {
            busy: Some(vec![BusyStretch { microseconds: 166_667, percent: 97 }; 6]),
            sm_clock_mhz: Some(1980),
            energy_millijoules: Some(123_456_789_012),
            power_milliwatts: Some(698_000),
            highest_sm_clock_mhz: Some(1980),
            pipes: Some(vec![(1_000_123, 4_371, 1, 120, 1).into()]),
            cycles: None,
            gpm_problem: None,
        }),
    };
    Body::Samples(Samples { samples: (0..count).map(one).collect() })
}

fn recorder(folder: &Path) -> RunRecorder {
    let path = folder.join("ledger.sqlite");
    let mut recorder = RunRecorder::begin(Ledger::open(&path), &path, "a", Vec::new(), at());
    recorder.record(at(), &Body::RunOpened(RunOpened::default()));
    recorder
}

fn ingest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(SAMPLES.try_into().unwrap())).sample_size(10);
    for per_entry in [8, 1000] {
        let body = samples(per_entry);
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = recorder(folder.path());
        // A run that has lasted a second waits for the disk.
        let later = at() + TimeDelta::seconds(1);
        group.bench_function(format!("{per_entry} samples an entry"), |bencher| {
            bencher.iter(|| {
                for _ in 0..SAMPLES / per_entry {
                    recorder.record(later, black_box(&body));
                }
                assert!(recorder.commit(later).is_empty());
            });
        });
    }
    group.finish();
}

fn short_job(criterion: &mut Criterion) {
    criterion.bench_function("new ledger, opened, one run in two commits, closed", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().unwrap(),
            |folder| {
                let mut recorder = recorder(folder.path());
                recorder.commit(at());
                recorder.record(at(), &Body::RunClosed(RunClosed {}));
                recorder.finish(at());
                folder
            },
            BatchSize::PerIteration,
        );
    });
    let folder = tempfile::tempdir().unwrap();
    drop(Ledger::open(&folder.path().join("ledger.sqlite")).unwrap());
    criterion.bench_function("known ledger, opened, one run in two commits, closed", |bencher| {
        bencher.iter(|| {
            let mut recorder = recorder(folder.path());
            recorder.commit(at());
            recorder.record(at(), &Body::RunClosed(RunClosed {}));
            recorder.finish(at());
        });
    });
}

criterion_group!(benches, ingest, short_job);
criterion_main!(benches);
