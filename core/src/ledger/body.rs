//! What entries say. The text of a body is what is hashed and kept; these types are how this version reads and writes it.
//!
//! Fields may be added (older readers ignore them, the text stays), kinds may be added (older readers keep them as
//! [`Body::Unread`]); neither a field nor a kind ever changes its meaning.

mod launch;
mod levels;
mod reservations;
mod samples;

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::assess::{Answer, AnswerKey};
use crate::facts::HookMessage;
use crate::ledger::digest::Digest;
use crate::lineage::{BaseReference, Merge};
use crate::run::{Alert, Exit, Finding};
use crate::sample::Device;

pub use launch::LaunchSeen;
pub use levels::{LevelsHeard, LevelsLeft, LevelsMissed, LevelsSaid};
pub use reservations::{ReservationReleased, ReservationSettled, ReservationTaken, Reserved};
pub use samples::Samples;

/// Kind of [`Body::RunOpened`], the first entry of every run.
pub const RUN_OPENED: &str = "run-opened";

/// Kind of [`Body::RunClosed`], the last entry of every finished run.
pub const RUN_CLOSED: &str = "run-closed";

/// Kind of [`Body::RunForked`].
pub const RUN_FORKED: &str = "run-forked";

/// What one entry says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A job begins.
    RunOpened(RunOpened),
    /// A process lifetime of the job begins on one node.
    SegmentOpened(SegmentOpened),
    /// The base model of the job, as `--base` was resolved; in a modification's stream, the base of one that was made without.
    BaseBound(BaseBound),
    /// The devices that are read for this job.
    DevicesSeen(DevicesSeen),
    /// How much of what was launched is on this node.
    LaunchSeen(LaunchSeen),
    /// Counters of devices.
    Samples(Samples),
    /// A message of a hook. What it tells several times a second of what was fed may be added up first.
    Hook(Hook),
    /// A hook's connection ended before its time.
    HookLost(HookLost),
    /// Something a reader has to know besides the numbers.
    Finding(Finding),
    /// A crossing that was announced.
    Alert(Alert),
    /// A process lifetime of the job ended.
    SegmentClosed(SegmentClosed),
    /// The job ended.
    RunClosed(RunClosed),
    /// What follows was recorded of another run, beside what another meter recorded of it.
    RunForked(RunForked),
    /// A modification came to be.
    ModificationCreated(ModificationCreated),
    /// A run was counted to the modification.
    RunAssigned(RunAssigned),
    /// A run is no longer counted to the modification.
    RunUnassigned(RunUnassigned),
    /// Somebody answered a legal question about the modification.
    Answered(Answered),
    /// Somebody declared that a run is left out of the modification's sums.
    RunExcluded(RunExcluded),
    /// Somebody declared that it is counted after all.
    RunIncluded(RunIncluded),
    /// Compute was set aside for runs of the modification to come.
    Reserved(Reserved),
    /// A run of the modification spends what was set aside.
    ReservationTaken(ReservationTaken),
    /// A run that spent what was set aside has ended.
    ReservationSettled(ReservationSettled),
    /// What was set aside was given back by hand.
    ReservationReleased(ReservationReleased),
    /// A run of the modification said that levels of its line are reached or foreseen, for all of its runs.
    LevelsSaid(LevelsSaid),
    /// The modification has gone back well below levels that were said: they may be said again.
    LevelsLeft(LevelsLeft),
    /// Where levels were said, somebody took it.
    LevelsHeard(LevelsHeard),
    /// Where levels were said, somebody did not take it: they may be said there again.
    LevelsMissed(LevelsMissed),
    /// A modification came to be by merging the weights of others.
    ModificationMerged(ModificationMerged),
    /// Somebody declared that the modification is done: no run is counted to it any more.
    ModificationClosed(ModificationClosed),
    /// Somebody declared that the modification is made from another model than was recorded.
    ModificationRebased(ModificationRebased),
    /// A kind or a form that this version does not know: kept as it is, never dropped.
    Unread {
        /// The kind.
        kind: String,
        /// The text.
        text: String,
        /// Why it could not be read; `None` for an unknown kind.
        cause: Option<String>,
    },
}

/// See [`Body::RunOpened`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOpened {
    /// Id of the run.
    pub run: String,
    /// The command as it was given.
    pub command: Vec<String>,
    /// Host name.
    pub host: String,
    /// `--base` as it was given.
    pub base: Option<String>,
    /// `--modification` as it was given.
    pub modification: Option<String>,
    /// `--phase` as it was given.
    pub phase: Option<String>,
    /// `--job` as it was given: the runs of one job on several nodes have the same.
    pub job: Option<String>,
    /// Version of flopsmeter that records.
    pub version: String,
    /// Working folder of the command.
    pub folder: Option<String>,
}

/// See [`Body::SegmentOpened`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentOpened {
    /// Number of the segment in its run, from 0.
    pub segment: u32,
    /// Host name.
    pub host: String,
    /// Which boot of the host, where the system tells (`/proc/sys/kernel/random/boot_id`).
    pub boot: Option<String>,
    /// Process id of the command.
    pub pid: u32,
    /// Rule by which devices were taken as this job's.
    pub claim: Option<String>,
    /// When the command began, where that was before its meter did: its devices were held from then on, and nothing was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_from: Option<DateTime<Utc>>,
}

/// See [`Body::BaseBound`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseBound {
    /// The base model.
    pub base: BaseReference,
}

/// See [`Body::DevicesSeen`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesSeen {
    /// The devices.
    pub devices: Vec<Device>,
}

/// See [`Body::Hook`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Number of the connection in its segment, from 0.
    pub connection: u32,
    /// What it said.
    pub message: HookMessage,
}

/// See [`Body::HookLost`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookLost {
    /// Number of the connection in its segment, from 0.
    pub connection: u32,
    /// Why, one sentence.
    pub reason: String,
}

/// See [`Body::SegmentClosed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentClosed {
    /// Number of the segment in its run, from 0.
    pub segment: u32,
    /// When its end was seen; its devices were held until then.
    pub ended: DateTime<Utc>,
    /// How the command ended; `None` where only its end was seen (a session beside a process that is not its child).
    pub exit: Option<Exit>,
    /// Processor time of all processes of the command that have ended, user and system, in nanoseconds.
    pub cpu_time_nanoseconds: u64,
    /// Whether processes of the command outlived it, whose time is therefore not in the figure.
    pub left_running: bool,
}

/// See [`Body::RunClosed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClosed {}

/// See [`Body::RunForked`]. The entries after it are those of the fork with their times, kinds and texts; with the other run's name and
/// `sequence` and `previous` for the first, they give the digests that they had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunForked {
    /// Id of the other run.
    pub run: String,
    /// The place for which there were two entries.
    pub sequence: u64,
    /// Digest of the last entry before, which both have; [`Digest::NONE`] where they have none.
    pub previous: Digest,
    /// Digest that the first entry of the fork had there.
    pub first: Digest,
}

/// See [`Body::ModificationCreated`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModificationCreated {
    /// Its name, unique in the ledger.
    pub slug: String,
    /// The base model it is bound to, as resolved; `None` if it was made without one.
    pub base: Option<BaseReference>,
}

/// See [`Body::RunAssigned`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAssigned {
    /// Id of the run.
    pub run: String,
}

/// See [`Body::RunUnassigned`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUnassigned {
    /// Id of the run.
    pub run: String,
}

/// See [`Body::Answered`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The question.
    pub question: AnswerKey,
    /// The answer, by whom and when; it replaces an earlier one to the same question.
    pub answer: Answer,
}

/// See [`Body::RunExcluded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunExcluded {
    /// Id of the run.
    pub run: String,
    /// Why it helped only through what people learned from it, in the words of who declares it.
    pub reason: String,
    /// Who declares it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// See [`Body::RunIncluded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIncluded {
    /// Id of the run.
    pub run: String,
    /// Why.
    pub reason: String,
    /// Who declares it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// See [`Body::ModificationMerged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModificationMerged {
    /// Its name, unique in the ledger.
    pub slug: String,
    /// What was merged, by whom.
    #[serde(flatten)]
    pub merge: Merge,
}

/// See [`Body::ModificationClosed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModificationClosed {
    /// Who declares it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// See [`Body::ModificationRebased`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModificationRebased {
    /// What it is made from, in place of what was recorded before.
    pub base: BaseReference,
    /// Why.
    pub reason: String,
    /// Who declares it.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// A fact that cannot be written as JSON; none of this version's can fail so.
#[derive(Debug, thiserror::Error)]
#[error("a `{kind}` entry could not be written as JSON; please report this with the command line that led to it")]
pub struct BodyProblem {
    kind: String,
    source: serde_json::Error,
}

/// Ties each kind to its variant once.
macro_rules! kinds {
    ($($kind:expr => $variant:ident),+ $(,)?) => {
        impl Body {
            /// The name of the kind as it stands in the entry.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)+
                    Self::Unread { kind, .. } => kind,
                }
            }

            /// The text to record: JSON without white space, fields in the order of these types, maps in byte order of their keys.
            pub fn to_text(&self) -> Result<String, BodyProblem> {
                let text = match self {
                    $(Self::$variant(body) => serde_json::to_string(body),)+
                    Self::Unread { text, .. } => Ok(text.clone()),
                };
                text.map_err(|source| BodyProblem { kind: self.kind().to_owned(), source })
            }

            /// Reads what an entry says; what this version cannot read comes back as [`Body::Unread`].
            pub fn read(kind: &str, text: &str) -> Self {
                match kind {
                    $(kind if kind == $kind => parse(text, Self::$variant, kind),)+
                    _ => Self::Unread { kind: kind.to_owned(), text: text.to_owned(), cause: None },
                }
            }
        }
    };
}

kinds! {
    RUN_OPENED => RunOpened,
    "segment-opened" => SegmentOpened,
    "base-bound" => BaseBound,
    "devices-seen" => DevicesSeen,
    "launch-seen" => LaunchSeen,
    "samples" => Samples,
    "hook" => Hook,
    "hook-lost" => HookLost,
    "finding" => Finding,
    "alert" => Alert,
    "segment-closed" => SegmentClosed,
    RUN_CLOSED => RunClosed,
    RUN_FORKED => RunForked,
    "modification-created" => ModificationCreated,
    "run-assigned" => RunAssigned,
    "run-unassigned" => RunUnassigned,
    "answered" => Answered,
    "run-excluded" => RunExcluded,
    "run-included" => RunIncluded,
    "reserved" => Reserved,
    "reservation-taken" => ReservationTaken,
    "reservation-settled" => ReservationSettled,
    "reservation-released" => ReservationReleased,
    "levels-said" => LevelsSaid,
    "levels-left" => LevelsLeft,
    "levels-heard" => LevelsHeard,
    "levels-missed" => LevelsMissed,
    "modification-merged" => ModificationMerged,
    "modification-closed" => ModificationClosed,
    "modification-rebased" => ModificationRebased,
}

fn parse<T: DeserializeOwned>(text: &str, variant: fn(T) -> Body, kind: &str) -> Body {
    serde_json::from_str(text).map_or_else(
        |problem| Body::Unread { kind: kind.to_owned(), text: text.to_owned(), cause: Some(problem.to_string()) },
        variant,
    )
}

#[cfg(test)]
mod tests;
