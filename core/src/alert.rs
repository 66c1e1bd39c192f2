//! When to say that a modification comes close to its line, and in which words.
//!
//! A *level* is a place on the way to the line. It is said once when it is reached, once when it is foreseen, and not again before
//! the modification has gone back well below it.

mod level;
mod stand;
mod watch;
pub mod words;

pub use level::{Level, LevelProblem, Levels};
pub use stand::Stand;
pub use watch::{Key, Watch, What};
