//! Prints, as JSON, the numbers of `nvml.h` that the meter goes by: a test compares them with a C program that was compiled
//! against the real header.
#![expect(clippy::print_stdout, reason = "a test reads what is printed")]

use flopsmeter_meter::device::nvml::constants::{GPM_ROOM, relied_on};
use serde_json::{Map, Value, json};

fn main() {
    let constants: Map<String, Value> = relied_on().into_iter().map(|(name, number)| (name, number.into())).collect();
    println!("{}", json!({ "constants": constants, "gpm_room": GPM_ROOM }));
}
