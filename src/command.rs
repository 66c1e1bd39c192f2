//! One file for each command; each gets what was typed and answers with how the program ends.

pub(crate) mod assess;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod gpus;
pub(crate) mod ledger;
pub(crate) mod models;
pub(crate) mod modifications;
pub(crate) mod nvml_reader;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod verify;
