//! Entries that this version cannot read.

use super::*;
use crate::sample::ComputeCapability;

/// A later version wrote it, of devices or of passes: neither side's sum is whole without it.
#[test]
fn an_entry_that_cannot_be_read_leaves_count_and_ceiling_incomplete() {
    let said = [hello(), model(), fed(Phase::Training, true, 1), HookMessage::Goodbye].map(|message| hook(0, message));
    let facts = GpuFacts {
        compute_capability: Some(ComputeCapability { major: 9, minor: 0 }),
        core_count: Some(16_896),
        max_sm_clock_mhz: Some(1980),
        ..GpuFacts::default()
    };
    let gpu = Device { id: "GPU-1".to_owned(), name: "NVIDIA H200".to_owned(), facts: DeviceFacts::Gpu(facts) };
    let seen = Body::DevicesSeen(DevicesSeen { devices: vec![gpu] });
    let whole = || said.clone().into_iter().chain([seen.clone(), closed()]);
    let summary = tally(whole()).summary();
    assert!(summary.complete && summary.ceiling.complete, "{:?}", summary.ceiling);
    let later = Body::read("devices-moved", "{}");
    let changed = Body::read("devices-seen", r#"{"devices":[{"id":"a","name":"b","facts":{"kind":"photonic"}}]}"#);
    for unread in [later, changed] {
        for place in 0..4 {
            let mut entries: Vec<Body> = whole().collect();
            entries.insert(place, unread.clone());
            let summary = tally(entries).summary();
            assert_eq!((summary.complete, summary.ceiling.complete, summary.ceiling.flop), (false, false, None));
            assert!(summary.findings.iter().any(|finding| finding.code == "entry-unread"), "{:?}", summary.findings);
        }
    }
}
