//! How many bytes of messages are held, over all connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::HELD_LIMIT_BYTES;

/// The count.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Counts `bytes` for as long as the result lives.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held { budget: self.clone(), bytes }
    }

    /// Whether nothing more should be read for now.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) > HELD_LIMIT_BYTES
    }
}

/// Bytes that are held.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let budget = Budget::default();
        let held = budget.hold(HELD_LIMIT_BYTES + 1);
        assert!(budget.is_spent());
        drop(held);
        assert!(!budget.is_spent());
    }
}
