//! What the server's owner has told it, as each connection sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::SessionClock;

/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(1);

/// What every process is told: a frame, once there is something to tell.
pub(super) type Orders = Option<Arc<[u8]>>;

/// How the server stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// Connections that are open at this moment are given up.
    pub(super) at: Instant,
    /// How long what was said by then waits to be taken.
    pub(super) last_call: Duration,
}

impl Ending {
    pub(super) fn has_come(self) -> bool {
        Instant::now() >= self.at
    }

    /// Whether what waits since `begun` has waited long enough.
    pub(super) fn gives_up(self, begun: Instant) -> bool {
        Instant::now() > self.at.max(begun) + self.last_call
    }
}

/// The owner's words.
#[derive(Clone)]
pub(super) struct Signs {
    pub(super) stopped: watch::Receiver<Option<Ending>>,
    pub(super) orders: watch::Receiver<Orders>,
    /// When what is said is read; at once without them.
    pub(super) rounds: watch::Receiver<Option<Rounds>>,
}

/// The moments at which everything that was said is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    clock: SessionClock,
}

impl Rounds {
    pub(super) const fn of(clock: SessionClock) -> Self {
        Self { clock }
    }

    /// The next one.
    pub(super) fn next(self) -> Instant {
        Instant::now() + until_next(self.clock.elapsed())
    }
}

fn until_next(elapsed: Duration) -> Duration {
    PERIOD.saturating_sub(Duration::from_nanos(elapsed.subsec_nanos().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_at_whole_seconds_of_the_session() {
        let until = |milliseconds| until_next(Duration::from_millis(milliseconds)).as_millis();
        assert_eq!([0, 1, 999, 1000, 7250].map(until), [1000, 999, 1, 1000, 750]);
    }
}
