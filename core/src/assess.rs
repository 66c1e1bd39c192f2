//! Where the law puts a modification: a pure function of what was spent, the base model, the rule set and declared answers.

mod answers;
mod base_facts;
mod compose;
mod lines;
mod outcome;
mod question;
mod reasoning;
mod remarks;
mod status;
mod verdict;
mod yardstick;

use crate::run::Finding;
pub use answers::{Answer, AnswerKey, Answers};
pub use compose::{assess, verdict_on_compute};

pub use outcome::{
    Assessment, Band, Basis, Citation, InputDigest, Inputs, Line, LineKind, Missing, Obligation, Origin, Reading,
    Status, Step, Verdict,
};
pub use question::{OtherCount, Question, Spent};

#[cfg(test)]
mod tests;
