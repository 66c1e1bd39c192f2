//! What a client may say: one line of JSON each.

use serde::{Deserialize, Serialize};

use super::status::RunStatus;

/// Bytes that one line of a client may have.
pub(super) const MAX_LINE: usize = 32 << 10;

/// GPUs and instances that one client may watch: more than any machine has.
pub(super) const MAX_WATCHED: usize = 256;

/// What a client asks or tells. All but the last are those of [`crate::device::nvml::reader::Order`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    /// Push readings of these from now on, once a second.
    Watch(Vec<String>),
    /// Make a reading of them now.
    Read,
    /// List the processes on these, as this machine's own PID namespace numbers them.
    Processes(Vec<String>),
    /// How a run stands, for `/metrics`.
    Status(Box<RunStatus>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::nvml::reader::Order;

    #[test]
    fn orders_to_a_reader_are_requests_to_a_daemon() {
        let gpus = || vec!["GPU-1".to_owned()];
        for (order, request) in [
            (Order::Read, Request::Read),
            (Order::Watch(gpus()), Request::Watch(gpus())),
            (Order::Processes(gpus()), Request::Processes(gpus())),
        ] {
            let line = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        }
    }
}
