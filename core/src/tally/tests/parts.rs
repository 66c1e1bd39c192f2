//! The runs of one job, known one by one.

use super::super::{Part, Tally};
use super::{at, node};
use crate::ledger::Body;
use crate::ledger::body::{DevicesSeen, LaunchSeen, RunOpened};
use crate::run::{RunState, RunSummary};
use crate::sample::{Device, DeviceFacts, GpuFacts};

/// Entries of one node as a run of its own, with the time of its beginning.
fn run_of_job(began: i64, bodies: &[Body]) -> Tally {
    let mut tally = Tally::new();
    tally.add(at(began), &Body::RunOpened(RunOpened { job: Some("j".to_owned()), ..RunOpened::default() }));
    for body in bodies {
        tally.add(at(began), body);
    }
    tally
}

/// What the parts come to, and what their entries come to in one tally.
fn both_ways(parts: &[(i64, Vec<Body>)]) -> (RunSummary, RunSummary) {
    let tallies: Vec<Tally> = parts.iter().map(|(began, bodies)| run_of_job(*began, bodies)).collect();
    let told: Vec<Part> = tallies.iter().map(|tally| tally.part(tally.summary())).collect();
    let apart = Part::together(&told.iter().collect::<Vec<_>>()).unwrap();
    let mut whole = Tally::new();
    for (began, bodies) in parts {
        let opened = RunOpened { job: Some("j".to_owned()), ..RunOpened::default() };
        whole.add(at(*began), &Body::RunOpened(opened));
        for body in bodies {
            whole.add(at(*began), body);
        }
    }
    (apart, whole.summary())
}

/// Whatever nodes a job has, in whatever state: what is known of their runs one by one is what one tally makes of all entries.
#[test]
fn the_parts_of_a_job_come_to_what_their_entries_come_to() {
    let gpu = Device {
        id: "GPU-aa".to_owned(),
        name: "NVIDIA H200".to_owned(),
        facts: DeviceFacts::Gpu(GpuFacts::default()),
    };
    let mut read = node(1, 1, 2, 9);
    read.insert(1, Body::DevicesSeen(DevicesSeen { devices: vec![gpu] }));
    let cut = |at_end: usize| {
        let mut bodies = node(0, 0, 2, 5);
        bodies.truncate(bodies.len() - at_end);
        bodies
    };
    let launched = |host: &str, launch: i64| {
        let mut bodies = node(0, 0, 1, launch + 5);
        if let Some(Body::SegmentOpened(opened)) = bodies.first_mut() {
            opened.host = host.to_owned();
        }
        let seen = LaunchSeen { variable: "WORLD_SIZE".to_owned(), all: 16, here: Some(8), numbers: vec![0] };
        bodies.insert(1, Body::LaunchSeen(seen));
        (launch, bodies)
    };
    let silent = vec![node(0, 0, 2, 5).swap_remove(0), node(0, 0, 2, 5).pop().unwrap()];
    let jobs: Vec<Vec<(i64, Vec<Body>)>> = vec![
        vec![(0, node(0, 0, 2, 5)), (1, node(0, 1, 2, 9))],
        vec![(0, node(0, 0, 2, 5)), (6, node(0, 1, 2, 9))],
        vec![(0, node(0, 0, 3, 5)), (1, node(0, 1, 3, 9))],
        vec![(0, node(0, 0, 2, 5)), (1, read.clone())],
        vec![(0, cut(1)), (1, node(0, 1, 2, 9))],
        vec![(1, node(0, 1, 2, 9)), (0, cut(1))],
        vec![(0, cut(2)), (1, cut(1))],
        vec![(0, silent), (1, node(0, 0, 1, 9))],
        vec![(0, node(0, 0, 2, 4)), (0, node(0, 1, 2, 4)), (7, node(0, 0, 2, 9)), (7, read)],
        vec![launched("a", 0), launched("b", 1)],
        vec![launched("a", 0), launched("b", 7)],
        vec![launched("a", 0), launched("a", 1)],
    ];
    for (number, parts) in jobs.iter().enumerate() {
        let (apart, whole) = both_ways(parts);
        let told = |summary: &RunSummary| {
            let RunSummary { flops, complete, tokens, phases, ceiling, state, ended, job, .. } = summary.clone();
            (flops, complete, tokens, phases, ceiling, state, ended, job)
        };
        assert_eq!(told(&apart), told(&whole), "job {number}");
    }
}

#[test]
fn what_goes_on_elsewhere_is_missing_here() {
    let mut open = node(0, 1, 2, 9);
    open.pop();
    let parts = [(0, node(0, 0, 2, 5)), (1, open)].map(|(began, bodies)| {
        let tally = run_of_job(began, &bodies);
        tally.part(tally.summary())
    });
    let jobs = Part::by_job(&parts);
    assert_eq!((jobs.len(), jobs[0].complete, jobs[0].state), (1, false, RunState::Open));
    let own_goes_on = Part::together(&parts.iter().collect::<Vec<_>>()).unwrap();
    assert!(own_goes_on.complete, "so far");
}

#[test]
fn a_job_is_bounded_once_all_of_its_nodes_are_on_record() {
    let facts = DeviceFacts::Gpu(GpuFacts { max_sm_clock_mhz: Some(1980), ..GpuFacts::default() });
    let gpu = Device { id: "GPU-aa".to_owned(), name: "NVIDIA H200".to_owned(), facts };
    let part = |host: &str| {
        let mut bodies = node(0, 0, 1, 5);
        if let Some(Body::SegmentOpened(opened)) = bodies.first_mut() {
            opened.host = host.to_owned();
        }
        let seen = LaunchSeen { variable: "WORLD_SIZE".to_owned(), all: 2, here: Some(1), numbers: vec![0] };
        bodies.insert(1, Body::LaunchSeen(seen));
        bodies.insert(1, Body::DevicesSeen(DevicesSeen { devices: vec![gpu.clone()] }));
        let tally = run_of_job(0, &bodies);
        tally.part(tally.summary())
    };
    let (one, other) = (part("a"), part("b"));
    assert!(!one.alone().ceiling.complete && !Part::together(&[&one]).unwrap().ceiling.complete);
    let codes: Vec<&str> = one.alone().findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["nodes-unmetered"]);
    let bounded = |parts: &[&Part]| Part::together(parts).unwrap().ceiling.complete;
    assert_eq!((bounded(&[&one, &other]), bounded(&[&one, &one])), (true, false));
}
