//! What the daemon tells of itself.

use std::time::Duration;

use flopsmeter_core::sample::GpuReading;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper ends of the classes of reading time, in seconds: eight GPUs take some milliseconds, a driver that is starved seconds.
const READING_SECONDS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// Why a client was shown out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Dropped {
    /// It did not take what it was told.
    Slow,
    /// It said what cannot be understood.
    Broken,
    /// Too many were connected.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

impl From<Dropped> for Why {
    fn from(dropped: Dropped) -> Self {
        let reason = match dropped {
            Dropped::Slow => "slow",
            Dropped::Broken => "broken",
            Dropped::Refused => "refused",
        };
        Self { reason }
    }
}

/// Counters since the start; they do not grow in size.
#[derive(Debug)]
pub(in crate::daemon) struct Figures {
    readings: Counter,
    samples: Counter,
    failed_samples: Counter,
    reading_seconds: Histogram,
    dropped: Family<Why, Counter>,
    pub(in crate::daemon) driver_restarts: Counter,
    pub(in crate::daemon) runs_left_out: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        let dropped = Family::<Why, Counter>::default();
        for reason in [Dropped::Slow, Dropped::Broken, Dropped::Refused] {
            // Told as zero from the start, so that a first one is a rise.
            drop(dropped.get_or_create(&reason.into()));
        }
        Self {
            readings: Counter::default(),
            samples: Counter::default(),
            failed_samples: Counter::default(),
            reading_seconds: Histogram::new(READING_SECONDS),
            dropped,
            driver_restarts: Counter::default(),
            runs_left_out: Counter::default(),
        }
    }
}

impl Figures {
    pub(in crate::daemon) fn read(&self, took: Duration, readings: &[Result<GpuReading, String>]) {
        self.readings.inc();
        self.reading_seconds.observe(took.as_secs_f64());
        let failed = readings.iter().filter(|reading| reading.is_err()).count();
        self.samples.inc_by(u64::try_from(readings.len() - failed).unwrap_or(u64::MAX));
        self.failed_samples.inc_by(u64::try_from(failed).unwrap_or(u64::MAX));
    }

    pub(in crate::daemon) fn drop(&self, reason: Dropped) {
        self.dropped.get_or_create(&reason.into()).inc();
    }

    #[cfg(test)]
    pub(in crate::daemon) fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped.get_or_create(&reason.into()).get()
    }

    #[cfg(test)]
    pub(in crate::daemon) fn readings(&self) -> u64 {
        self.readings.get()
    }

    /// All of it shares its values with what is registered.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("readings", "Readings of all watched GPUs together", self.readings.clone());
        registry.register("samples", "Readings of single GPUs that the driver answered", self.samples.clone());
        registry.register("failed_samples", "Readings of single GPUs that failed", self.failed_samples.clone());
        let help = "Time from ordering a reading of all watched GPUs to having it";
        registry.register_with_unit("reading", help, Unit::Seconds, self.reading_seconds.clone());
        registry.register("dropped_clients", "Clients that were shown out, by reason", self.dropped.clone());
        let help = "Starts of the process that asks the driver, after the first";
        registry.register("driver_restarts", help, self.driver_restarts.clone());
        let help = "Statuses of runs that are not shown because too many runs are going on";
        registry.register("runs_left_out", help, self.runs_left_out.clone());
    }
}
