//! The one place of the hook that reads the clock.

use std::time::Instant;

/// Monotonic time.
#[expect(clippy::disallowed_methods, reason = "the hook is built without the clock of the machine side")]
pub(super) fn now() -> Instant {
    Instant::now()
}
