//! Tests of the whole command and of the workspace's shape.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod alerts;
mod architecture;
mod bad_input;
mod budget;
mod chain;
mod claims;
mod conformance;
mod counting;
mod daemon;
mod driver;
mod energy;
mod evidence;
mod fine_tune;
mod gate;
mod gpu;
mod gpus;
mod job;
mod job_first;
mod killed;
mod law;
mod lineage;
mod manners;
mod nodes;
mod place;
mod planning;
mod recovery;
mod registry;
mod replay;
mod resume;
mod session;
mod traces;
mod wrapping;
