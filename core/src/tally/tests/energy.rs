//! Energy of a run whose segments held one board.

use super::super::Tally;
use super::at;
use crate::ledger::Body;
use crate::ledger::body::{DevicesSeen, RunOpened, Samples, SegmentClosed, SegmentOpened};
use crate::run::RunSummary;
use crate::sample::{Device, DeviceFacts, GpuFacts, GpuReading, Mig, Reading, Sample};
use crate::unit::Joules;

/// A segment on one slice of the board, of which a watt is drawn.
fn segment(segment: u32, started: i64, ended: i64) -> Vec<(i64, Body)> {
    let mig = Mig::Slice { parent: "GPU-aa".to_owned(), multiprocessors: Some(16) };
    let facts = DeviceFacts::Gpu(GpuFacts { mig, ..GpuFacts::default() });
    let slice = Device { id: "MIG-1".to_owned(), name: "NVIDIA H200".to_owned(), facts };
    let sample = |second: i64| Sample {
        device: slice.id.clone(),
        started: at(second),
        duration_nanoseconds: 1_000_000_000,
        reading: Reading::Gpu(GpuReading {
            energy_millijoules: Some(u64::try_from(second).unwrap() * 1000),
            ..GpuReading::default()
        }),
    };
    let opened = SegmentOpened { segment, boot: Some("boot".to_owned()), ..SegmentOpened::default() };
    let closed = SegmentClosed { segment, ended: at(ended), exit: None, cpu_time_nanoseconds: 1, left_running: false };
    vec![
        (started, Body::SegmentOpened(opened)),
        (started, Body::DevicesSeen(DevicesSeen { devices: vec![slice.clone()] })),
        (ended, Body::Samples(Samples { samples: (started..ended).map(sample).collect() })),
        (ended, Body::SegmentClosed(closed)),
    ]
}

fn summary(segments: &[Vec<(i64, Body)>; 2]) -> RunSummary {
    let mut tally = Tally::new();
    tally.add(at(0), &Body::RunOpened(RunOpened::default()));
    for (second, body) in segments.iter().flatten() {
        tally.add(at(*second), body);
    }
    tally.summary()
}

fn joules(whole: u64) -> Joules {
    Joules::from_millijoules(whole * 1000)
}

#[test]
fn a_run_that_went_on_has_its_board_once_for_each_segment() {
    let summary = summary(&[segment(0, 0, 5), segment(1, 5, 9)]);
    assert_eq!((summary.energy_joules, summary.energy_bounds), (Some(joules(4 + 3)), None));
    let rows: Vec<Joules> = summary.ceiling.energies().into_iter().map(|(_, energy)| energy.joules).collect();
    assert_eq!(rows, [joules(4), joules(3)], "they come to the sum");
    let hold = summary.ceiling.devices[1].hold.clone().unwrap();
    assert_eq!((hold.segment, hold.started, hold.ended, hold.boot.as_deref()), (2, at(5), at(9), Some("boot")));
}

#[test]
fn segments_that_held_a_board_at_the_same_time_leave_bounds() {
    let summary = summary(&[segment(0, 0, 5), segment(1, 4, 9)]);
    let bounds = summary.energy_bounds.unwrap();
    assert_eq!((summary.energy_joules, bounds.least_joules, bounds.most_joules), (None, joules(4), joules(4 + 4)));
    assert_eq!(summary.ceiling.energies().len(), 2);
}

#[test]
fn time_before_the_meter_is_held_on_every_device_and_has_no_energy() {
    let mut began_before = segment(0, 60, 65);
    if let Some((_, Body::SegmentOpened(opened))) = began_before.first_mut() {
        opened.held_from = Some(at(0));
    }
    let without = summary(&[segment(0, 60, 65), segment(1, 65, 69)]);
    let with = summary(&[began_before, segment(1, 65, 69)]);
    assert_eq!(
        (with.energy_joules, with.ceiling.energies()[0].1),
        (without.energy_joules, without.ceiling.energies()[0].1)
    );
    let held = |summary: &RunSummary| summary.ceiling.devices[0].hold.clone().map(|hold| (hold.started, hold.ended));
    assert_eq!((held(&without), held(&with)), (Some((at(60), at(65))), Some((at(0), at(65)))));
    let gap = with.gaps.iter().find(|gap| gap.started == at(0)).unwrap();
    assert_eq!(gap.reason, "the job began before its meter: nothing was read of this time");
    assert!((60.0..60.001).contains(&gap.duration_seconds), "{gap:?}");
}

/// A notebook that is older than another run on its board read nothing of that time.
#[test]
fn time_before_the_meter_shares_no_energy_with_who_held_the_board_then() {
    let mut later = segment(1, 65, 69);
    if let Some((_, Body::SegmentOpened(opened))) = later.first_mut() {
        opened.held_from = Some(at(0));
    }
    let (with, without) = (summary(&[segment(0, 60, 65), later]), summary(&[segment(0, 60, 65), segment(1, 65, 69)]));
    assert!(with.energy_joules.is_some());
    assert_eq!((with.energy_joules, with.energy_bounds), (without.energy_joules, without.energy_bounds));
}
