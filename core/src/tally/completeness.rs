//! What makes a count a lower bound.

use std::collections::{BTreeMap, BTreeSet};

/// Findings that say that operations may be missing from the count. A hook's own findings do unless they are known not to: a
/// code of a later version counts as a hole until this one learns otherwise.
const HARMLESS: [&str; 7] = [
    "checkpoint-cuts-gradients",
    "partial-checkpointing",
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

/// A rank that a segment has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    /// Segments that ran at the same time are of one launch.
    pub(super) launch: usize,
    pub(super) segment: usize,
    pub(super) rank: u32,
    pub(super) world_size: u32,
}

/// Ranks of a launcher of which no process has spoken, over all world sizes that were told.
///
/// The ranks of one launch may speak on several nodes, each in a segment of its own, at the same time. Half of a launch and the other
/// half of a later one are two launches with a half missing each. A rank that spoke in several segments was launched as often, and so
/// was every other rank of its world.
pub(super) fn missing_ranks(spoken: impl Iterator<Item = Spoken>) -> u64 {
    let mut worlds: BTreeMap<(usize, u32), BTreeMap<u32, BTreeSet<usize>>> = BTreeMap::new();
    for Spoken { launch, segment, rank, world_size } in spoken {
        worlds.entry((launch, world_size)).or_default().entry(rank).or_default().insert(segment);
    }
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let missing = |((_, size), ranks): (&(usize, u32), &BTreeMap<u32, BTreeSet<usize>>)| {
        let launches = ranks.values().map(BTreeSet::len).max().map_or(0, wide);
        let heard: u64 = ranks.values().map(|segments| wide(segments.len())).sum();
        u64::from(*size).saturating_mul(launches).saturating_sub(heard)
    };
    worlds.iter().map(missing).fold(0, u64::saturating_add)
}
