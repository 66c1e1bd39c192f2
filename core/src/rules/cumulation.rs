//! How modifications are added up and against what, where the law names one modification and one original model.

use serde::{Deserialize, Serialize};

use super::row::Cite;

/// One way to read what is held against what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CumulationRow {
    /// Which.
    pub key: CumulationKey,
    /// What its verdict is for.
    pub counts: CumulationCounts,
    /// What it means.
    pub says: String,
    /// The nearest text.
    pub cite: Cite,
}

/// Ways to read that every set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CumulationKey {
    /// The largest job by itself against the original.
    PerJob,
    /// All of the modifier's own modifications that are in the result since the same original, together against it.
    OwnModificationsOfSameOriginal,
    /// The last modification by itself against the model that was loaded for it.
    ChainLoaded,
    /// The last modification by itself against the original.
    ChainOriginal,
    /// Own modifications and those of others on the way, together against the original.
    ChainWithOthers,
    /// Own modifications against the largest of several originals.
    MergeLargest,
    /// Own modifications against the sum of several originals.
    MergeSum,
    /// Own modifications against the original of the parent that was named.
    MergeNamed,
}

impl CumulationKey {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PerJob,
        Self::OwnModificationsOfSameOriginal,
        Self::ChainLoaded,
        Self::ChainOriginal,
        Self::ChainWithOthers,
        Self::MergeLargest,
        Self::MergeSum,
        Self::MergeNamed,
    ];

    /// The name used in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerJob => "per-job",
            Self::OwnModificationsOfSameOriginal => "own-modifications-of-same-original",
            Self::ChainLoaded => "chain-loaded",
            Self::ChainOriginal => "chain-original",
            Self::ChainWithOthers => "chain-with-others",
            Self::MergeLargest => "merge-largest",
            Self::MergeSum => "merge-sum",
            Self::MergeNamed => "merge-named",
        }
    }
}

/// What the verdict of one way to read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CumulationCounts {
    /// It stands beside the verdict and changes nothing.
    Shown,
    /// The worst verdict of those that decide is the verdict.
    Decides,
}
