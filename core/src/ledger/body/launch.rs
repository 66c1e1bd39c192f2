//! What launchers tell the job's processes of the launch that they are part of.

use serde::{Deserialize, Serialize};

/// See [`crate::ledger::Body::LaunchSeen`]. What is seen later adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSeen {
    /// The variable that tells how many there are: `WORLD_SIZE`, `SLURM_STEP_NUM_NODES` …
    pub variable: String,
    /// How many processes, or nodes where the variable counts those, there are in all.
    pub all: u64,
    /// How many of them are on this node, where the launcher tells.
    pub here: Option<u64>,
    /// Numbers of those that were seen on this node, where it tells them.
    pub numbers: Vec<u64>,
}
