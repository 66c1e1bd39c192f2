//! What makes a count a lower bound.

use std::collections::BTreeSet;

use super::Connection;

/// Findings that say that operations may be missing from the count. A hook's own findings do unless they are known not to: a
/// code of a later version counts as a hole until this one learns otherwise.
const HARMLESS: [&str; 8] = [
    "checkpoint-cuts-gradients",
    "partial-checkpointing",
    "sizes-overflow",
    "base-unknown",
    "base-unreadable",
    "nvml-unavailable",
    "modification-conflict",
    "modification-unassigned",
];

/// Whether a hook's finding leaves the count incomplete.
pub(super) fn is_hole(code: &str) -> bool {
    !HARMLESS.contains(&code)
}

/// Ranks of a launcher of which no process has spoken, over all world sizes that were told.
pub(super) fn missing_ranks<'a>(connections: &(impl Iterator<Item = &'a Connection> + Clone)) -> u64 {
    let sizes: BTreeSet<u32> = connections.clone().map(|connection| connection.world_size).collect();
    let missing = |size: u32| {
        let ranks = connections.clone().filter(|connection| connection.world_size == size);
        let seen: BTreeSet<u32> = ranks.map(|connection| connection.rank).collect();
        u64::from(size).saturating_sub(u64::try_from(seen.len()).unwrap_or(u64::MAX))
    };
    sizes.into_iter().map(missing).sum()
}
