//! `/metrics`: the page that Prometheus reads, in the OpenMetrics text format.
//!
//! Labels are bounded: at most [`super::runs::MAX_RUNS`] runs, each by its id and its modification's name alone.

pub(super) mod figures;
pub(super) mod http;
mod standing;

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::hub::Hub;
use super::reader::ReaderProcess;

/// The page as it stands.
pub(super) fn page(hub: &Hub<ReaderProcess>, version: &str, now: Duration) -> String {
    let mut registry = Registry::with_prefix("flopsmeter");
    standing::register(&mut registry, hub.runs());
    let own = registry.sub_registry_with_prefix("daemon");
    hub.figures().register(own);
    let (connected, watching) = hub.client_counts();
    gauge(own, "clients", "Connections to the daemon's socket", connected);
    gauge(own, "watching_clients", "Connections that are told readings", watching);
    let up = Gauge::<i64>::default();
    up.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    own.register_with_unit("up", "Time since the daemon was started", Unit::Seconds, up);
    own.register_with_unit(
        "resident_memory",
        "Resident memory by process: the daemon, and the process that asks the driver",
        Unit::Bytes,
        resident(hub.reader().id()),
    );
    // A gauge by convention: readers of the older text format know no information metrics.
    let build = Family::<[(&'static str, String); 1], Gauge<i64>>::default();
    build.get_or_create(&[("version", version.to_owned())]).set(1);
    registry.register("build_info", "What is running", build);
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn resident(reader: Option<u32>) -> Family<[(&'static str, &'static str); 1], Gauge<i64>> {
    let family = Family::<[(&'static str, &'static str); 1], Gauge<i64>>::default();
    let processes = [("daemon", Some(std::process::id())), ("driver", reader)];
    for (name, process) in processes {
        if let Some(bytes) = process.and_then(resident_bytes) {
            family.get_or_create(&[("process", name)]).set(bytes);
        }
    }
    family
}

/// As `/proc` tells it, in whole kibibytes.
fn resident_bytes(process: u32) -> Option<i64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
