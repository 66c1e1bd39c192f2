//! Runs that are over at once, one after the other.

use chrono::DateTime;
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::RunOpened;
use flopsmeter_meter::store::{Ledger, RunRecorder};

#[test]
fn they_wait_for_no_disk_and_leave_no_long_log_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let at = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let left: Vec<u64> = (0..40)
        .map(|number| {
            let run = number.to_string();
            let opened = RunOpened { run: run.clone(), command: vec!["x".repeat(40 << 10)], ..RunOpened::default() };
            let mut recorder = RunRecorder::begin(Ledger::open(&path), &path, &run, Vec::new(), at);
            recorder.record(at, &Body::RunOpened(opened));
            assert_eq!(recorder.finish(at).findings, []);
            fs_err::metadata(folder.path().join("ledger.sqlite-wal")).map_or(0, |log| log.len())
        })
        .collect();
    assert!(left[0] > 0, "the first one folded its log, which waits for the disk");
    assert!(left.iter().all(|bytes| *bytes < 512 << 10), "{left:?}");
    assert!(left.contains(&0), "it is never folded: {left:?}");
    assert_eq!(Ledger::open(&path).unwrap().streams("run/").unwrap().len(), 40);
}
