//! The channel between a training process and its meter: a Unix stream socket that carries framed messages; the
//! meter's few words on the way back are read by who asks for them.

pub mod client;
pub mod frame;
#[cfg(feature = "machine")]
pub mod server;

/// Environment variable through which the wrapper tells the job's processes where its socket is.
pub const SOCKET_VARIABLE: &str = "FLOPSMETER_SOCKET";
