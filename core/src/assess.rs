//! Where the law puts a modification: a pure function of what was spent, the base model, the rule set and declared answers.

mod answer_key;
mod answers;
mod base_facts;
mod compose;
mod consequence;
mod contradiction;
mod counting_basis;
mod cumulation;
mod declaration;
mod diff;
mod duty;
mod house;
mod known;
mod lines;
mod measures;
mod open_question;
mod outcome;
mod question;
mod reasoning;
mod remarks;
mod spent_together;
mod status;
mod verdict;
mod watch;
mod yardstick;

use crate::run::Finding;
pub use answer_key::AnswerKey;
pub use answers::{Answer, AnswerValue, Answers};
pub use compose::{assess, house_verdict_on_compute, verdict_on_compute};
pub use consequence::{ExcludedRun, Obligation, Reason, Relief};
pub use contradiction::{Contradiction, contradictions};
pub use cumulation::{Cumulated, CumulationReading, Reckoning};
pub use declaration::{Declaration, DeclarationProblem, Given};
pub use diff::{Change, DIFF_SCHEMA, RulesDiff, diff};
pub use house::House;
pub use measures::Measures;
pub use open_question::OpenQuestion;

pub use outcome::{
    Assessment, Band, Basis, Citation, InputDigest, Inputs, Line, LineKind, Missing, Origin, Reading, Status, Step,
    Verdict,
};
pub use question::{DayWork, OtherCount, Question, Spent};
pub use watch::{NotificationClock, SystemicRiskWatch, WatchState};

#[cfg(test)]
mod tests;
