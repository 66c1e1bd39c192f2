//! The pure part of flopsmeter: what is counted, what a machine could have done, what the law says of it, and how records are
//! chained so that a change shows. No I/O, no clock, no unsafe code.
#![forbid(unsafe_code)]

pub mod alert;
pub mod assess;
pub mod budget;
pub mod ceiling;
pub mod estimate;
pub mod facts;
pub mod flops;
pub mod forecast;
pub mod gate;
pub mod gpu_table;
pub mod judge;
pub mod ledger;
pub mod lineage;
pub mod method;
pub mod plan;
pub mod registry;
pub mod rules;
pub mod run;
pub mod sample;
pub mod shape;
pub mod tally;
pub mod unit;
