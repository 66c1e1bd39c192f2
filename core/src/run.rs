//! One job as read back from its records: the value that `run --summary` and `runs show --json` print.
//!
//! Three quantities stand apart and are never mixed: *model operations* (the legal basis, without recomputation),
//! *executed operations* (with it, and with passes that train nothing), and the *ceiling* (what the hardware could have done).

mod crossing;
mod energy;
mod energy_sum;
mod reconciliation;
mod treatment;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::assess::Assessment;
use crate::facts::Phase;
use crate::unit::{Flops, Joules, Tokens};

pub use crossing::{Crossing, Outlook};
pub use energy::{DeviceEnergy, EnergyBoundary, EnergySource};
pub use energy_sum::{EnergyBounds, EnergySum, SharedEnergy};
pub use reconciliation::{CONVENTION as UTILISATION_CONVENTION, Reconciliation};
pub use treatment::Treatment;

/// Value of [`RunSummary::schema`].
pub const RUN_SCHEMA: &str = "flopsmeter.run/1";

/// A job with all its segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// Id of the run.
    pub run: String,
    /// The modification it belongs to, if it was assigned to one.
    pub modification: Option<String>,
    /// The job that it is a part of, where it was named: a job on several nodes has a run on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The kind of work that it was declared to be, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `open` until the last segment is closed.
    pub state: RunState,
    /// Start of the first segment.
    pub started: DateTime<Utc>,
    /// End of the last closed segment.
    pub ended: Option<DateTime<Utc>>,
    /// The command as it was given.
    pub command: Vec<String>,
    /// How the command ended.
    pub exit: Option<Exit>,
    /// Counted operations; `None` where no hook told of a model that can be counted.
    pub flops: Option<RunFlops>,
    /// Whether everything that was fed could be counted: each process that spoke ended its report, each model is known.
    pub complete: bool,
    /// Tokens over all phases that train.
    pub tokens: RunTokens,
    /// The same, by kind of work.
    pub phases: Vec<PhaseSummary>,
    /// What was trained, one row for each distinct model of the job.
    pub models: Vec<ModelSummary>,
    /// What the hardware could have done at most.
    pub ceiling: Ceiling,
    /// Counted and possible operations side by side; `None` where nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
    /// Energy of the boards of the claimed GPUs, each board once, where all of them could be read. What it covers is told by
    /// [`DeviceEnergy`].
    pub energy_joules: Option<Joules>,
    /// In place of it where segments held the same board at the same time, so that each has what the whole board drew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_bounds: Option<EnergyBounds>,
    /// Intervals in which a device could not be read, or was read late.
    pub gaps: Vec<Gap>,
    /// What a reader has to know besides the numbers.
    pub findings: Vec<Finding>,
    /// Alerts raised while the job ran.
    pub alerts: Vec<Alert>,
    /// Where the law puts it.
    pub assessment: Option<Assessment>,
}

/// Whether a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// The last segment has no end on record: it is still running, or its meter was killed.
    Open,
    /// The last segment's end is on record.
    Closed,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal number.
    Signal(i32),
}

/// Operations of a run; `training = forward + backward` of the passes that train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFlops {
    /// Forward passes that a backward pass follows.
    pub forward: Flops,
    /// Backward passes without recomputation.
    pub backward: Flops,
    /// Recomputation of activations to save memory, which the law leaves out (Guidelines, paragraph 119).
    pub recompute: Flops,
    /// Model operations.
    pub training: Flops,
    /// `training + recompute + passes without gradient`.
    pub executed: Flops,
}

/// Tokens of a run's training passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTokens {
    /// Positions the hardware worked on, padding included.
    pub fed: Tokens,
    /// Positions that are no padding; `None` if any pass could not tell.
    pub real: Option<Tokens>,
}

/// One kind of work of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Which kind.
    pub phase: Phase,
    /// Forward passes.
    pub passes: u64,
    /// Tokens of them.
    pub tokens: RunTokens,
    /// Forward operations.
    pub forward: Flops,
    /// Backward operations.
    pub backward: Flops,
    /// Recomputation.
    pub recompute: Flops,
    /// The same by part of the network; sums to the three above.
    pub terms: Vec<Term>,
    /// How the law treats this kind of work, where a rule set was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treatment: Option<Treatment>,
}

/// Operations of one part of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Which part: `attention-projections`, `attention-scores`, `mlp`, `adapters`, `output-head` …
    pub name: String,
    /// Forward operations.
    pub forward: Flops,
    /// Backward operations.
    pub backward: Flops,
    /// Recomputation.
    pub recompute: Flops,
}

/// A model as the hook described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Python class name.
    pub class_name: String,
    /// `model_type` of its configuration.
    pub model_type: Option<String>,
    /// Where the weights came from, as the configuration says.
    pub name_or_path: Option<String>,
    /// All parameters, adapters included.
    pub parameters_total: u64,
    /// Those that are trained.
    pub parameters_trainable: u64,
    /// `full`, `lora`, `partial` …, as seen on the live model.
    pub method: String,
    /// Activation recomputation: `none`, `non-reentrant` or `reentrant`.
    pub gradient_checkpointing: String,
    /// Attention kernel as the configuration names it.
    pub attention_implementation: Option<String>,
}

/// What the hardware could have done at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Sum over the devices; `None` where one of them could not be bounded.
    pub flop: Option<Flops>,
    /// The tightest layer that was valid on every device, for example `L1`; `mixed` where devices differ.
    pub layer: Option<String>,
    /// Whether every device of the job is covered for the whole of its time.
    pub complete: bool,
    /// Each device.
    pub devices: Vec<DeviceCeiling>,
}

/// One device's ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceCeiling {
    /// UUID of a GPU, `cpu:<host>` for a processor.
    pub device: String,
    /// Product name.
    pub name: String,
    /// The tightest valid layer's figure; `None` where nothing bounds the device.
    pub flop: Option<Flops>,
    /// That layer.
    pub layer: Option<String>,
    /// All layers.
    pub layers: Vec<CeilingLayer>,
    /// Time the job held the device, in seconds with three decimals.
    pub held_seconds: f64,
    /// Which segment held it, where and when; nothing in summaries of versions that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Time of it in which the device reported work, where it reports that.
    pub busy_seconds: Option<f64>,
    /// Operations per second at the strict peak.
    pub strict_peak: Option<Flops>,
    /// Operations per second as the data sheet has them, for comparison only.
    pub nominal_peak: Option<Flops>,
    /// Energy over the time that was read: the `joules` of `energy`.
    pub energy_joules: Option<Joules>,
    /// The same with its source, its boundary and the time it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<DeviceEnergy>,
    /// Where the figures of this device come from and what was assumed, one sentence each.
    pub assumptions: Vec<String>,
}

/// A segment's hold of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The segment, counted from 1 in the order of opening.
    pub segment: u32,
    /// Start.
    pub started: DateTime<Utc>,
    /// When reading began, where that was later than the hold: energy is of the time from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_from: Option<DateTime<Utc>>,
    /// End, or the last that is on record.
    pub ended: DateTime<Utc>,
    /// Which boot of the machine, where the system tells: containers of one machine have host names of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

/// One way to bound a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CeilingLayer {
    /// `L0`: time times strict peak; `L1`: times busy share; `L2`: times sampled clock; `L2x`: active cycles; `L3`: activity of
    /// the arithmetic units; `L0p`, `L1p`, `L3p`: the same for a given number format; `cpu`: processor time times peak.
    pub layer: String,
    /// The bound, if this layer could be formed.
    pub flop: Option<Flops>,
    /// Why it could not, or how it is formed.
    pub note: String,
    /// What has to be true for this to be a bound and cannot be seen in the readings. A layer with such a condition is shown and is
    /// never the device's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_if: Option<String>,
}

/// An interval in which a device could not be read, or was read late; what nothing tells of it the ceiling charges as fully busy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Device.
    pub device: String,
    /// Start.
    pub started: DateTime<Utc>,
    /// Length in seconds with three decimals.
    pub duration_seconds: f64,
    /// Why.
    pub reason: String,
    /// What it added to the ceiling at most.
    pub charged: Option<Flops>,
}

/// Something a reader has to know besides the numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Stable short name, for example `base-unknown`.
    pub code: String,
    /// One sentence that names the thing, the cause and the next step.
    pub text: String,
}

/// Something of the line that was announced while the job ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// When.
    pub at: DateTime<Utc>,
    /// The verdict that was reached or is foreseen, `near` or `exceeds`; `below` for a level under the near edge.
    pub verdict: String,
    /// What was said.
    pub text: String,
    /// What it rests on; nothing in records of versions that knew no levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossing: Option<Crossing>,
}
