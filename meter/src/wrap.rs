//! Running the user's command as if nothing stood around it.
//!
//! The command stays in the caller's process group, on the caller's terminal, with the caller's streams, folder, environment,
//! signal mask and signal dispositions. What is ours to do is the signals:
//!
//! | signal | what happens |
//! |---|---|
//! | from the terminal (Ctrl-C, Ctrl-\, Ctrl-Z, resize) | the kernel sends it to the whole foreground group, so the command has it; it is not sent twice |
//! | from a process to the whole group or to every process (`kill %1`, `kill -- -PGID`, Slurm) | the same; told from the next case by a witness process |
//! | from a process to the wrapper alone (`kill PID`, a container's runtime) | passed on to the command, real-time signals with their value |
//! | the terminal hangs up and the wrapper leads its session | passed on: the kernel tells the leader alone |
//! | the command stops | the wrapper stops as well, if a shell with job control looks after it |
//! | the command ends by a signal | so does the wrapper, see [`end::end_like`] |
//!
//! `SIGKILL` and `SIGSTOP` cannot be passed on. If the wrapper is killed, the command lives on. The wrapper is a subreaper, so that
//! the processor time of the command's orphans is known; orphans that outlive the command are left alone.

pub mod caller;
pub mod child;
pub mod end;
mod reap;
pub mod signals;
mod witness;

pub use child::{Child, Ended, SpawnProblem};
pub use signals::{Signals, SignalsProblem};
