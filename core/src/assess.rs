//! Where the law puts a modification: a pure function of what was spent, the base model, the rule set and declared answers.

mod outcome;

pub use outcome::{
    Assessment, Band, Basis, Citation, InputDigest, Inputs, Line, LineKind, Missing, Obligation, Origin, Reading,
    Status, Step, Verdict,
};
