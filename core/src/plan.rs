//! What a job will do, before it runs: what it is fed, how far that reaches towards a line, how long it takes, and how sure
//! all of that is.

mod batching;
mod fleet;
mod headroom;
mod job;
mod lengths;
mod uncertainty;

pub use batching::{Batching, Feed};
pub use fleet::{Fleet, FleetProblem, Utilisation, UtilisationProblem};
pub use headroom::{Edge, Edges};
pub use job::{Beside, Dataset, Job, Passes, Reach};
pub use lengths::{LengthRun, Lengths, LengthsProblem};
pub use uncertainty::{Images, Knowledge, Known, Range, Reason};
