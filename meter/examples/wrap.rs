//! The wrapper and nothing else: runs a command as if unwrapped and ends as it ended.
//!
//! ```text
//! cargo run --example wrap -- [--show] python train.py
//! ```
//!
//! With `--show`, says at the end on standard error how the command ended and what processor time it took.

use std::ffi::OsString;
use std::process::ExitCode;

use flopsmeter_meter::wrap::{Child, Signals, end, signals};

#[expect(clippy::print_stderr, reason = "an example speaks for itself")]
fn main() -> ExitCode {
    let mut command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let show = command.first().is_some_and(|first| first == "--show");
    if show {
        command.remove(0);
    }
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let child = match Child::spawn(signals, &command, &[("WRAPPED".into(), "yes".into())]) {
        Ok(child) => child,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(problem.exit_code());
        }
    };
    if let Err(problem) = signals::let_go_of_streams() {
        eprintln!("{problem}");
    }
    let ended = child.wait();
    if show {
        eprintln!(
            "{:?} {} {}",
            ended.exit,
            ended.children_cpu_time_nanoseconds,
            if ended.left_running { "left-running" } else { "alone" }
        );
    }
    ExitCode::from(end::end_like(ended.exit))
}
