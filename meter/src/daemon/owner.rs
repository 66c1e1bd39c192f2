//! The task that owns the hub: takes messages, one at a time, and ticks once a second.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::hub::{Client, Hub};
use super::line::Request;
use super::metrics;
use super::metrics::figures::Dropped;
use super::reader::ReaderProcess;
use crate::clock::nanoseconds_since_boot;
use crate::device::nvml::process::Heard;

/// Messages that may wait; whoever has more waits.
pub(super) const INBOX: usize = 64;

/// What the owner is told.
#[derive(Debug)]
pub(super) enum Message {
    Joined(u64, Client),
    Said(u64, Request),
    /// It said what is no line, or a too long one.
    Broken(u64),
    Left(u64),
    /// Turned away.
    Refused,
    /// From the so-many-th process that asks the driver.
    Heard(u32, Heard),
    /// For `/metrics`.
    Scrape(oneshot::Sender<String>),
}

/// Owns the hub until `stopped` is done.
pub(super) async fn own(
    reader: ReaderProcess,
    mut inbox: mpsc::Receiver<Message>,
    version: &str,
    stopped: impl Future<Output = ()>,
) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let origin = Instant::now();
    let mut hub = Hub::new(reader, nanoseconds_since_boot());
    // Before anybody is heard: who connects now waits for the listing.
    hub.tick(origin.elapsed());
    tokio::pin!(stopped);
    loop {
        let wakes = hub.wakes_at();
        let wakes_at = origin + wakes.unwrap_or_default();
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {
                let now = now(&mut hub, origin);
                hub.tick(now);
            }
            () = sleep_until(wakes_at), if wakes.is_some() => {
                let now = now(&mut hub, origin);
                hub.advance(now);
            }
            message = inbox.recv() => match message {
                Some(message) => {
                    let now = now(&mut hub, origin);
                    take(&mut hub, message, version, now);
                }
                None => return,
            },
        }
    }
}

/// The hub's time, and the same by the clock that it tells clients.
fn now(hub: &mut Hub<ReaderProcess>, origin: Instant) -> Duration {
    let now = origin.elapsed();
    hub.keep_time(now, nanoseconds_since_boot());
    now
}

fn take(hub: &mut Hub<ReaderProcess>, message: Message, version: &str, now: Duration) {
    match message {
        Message::Joined(number, client) => hub.joined(number, client, now),
        Message::Said(number, request) => hub.said(number, request, now),
        Message::Broken(number) => hub.drop_client(number, Dropped::Broken, now),
        Message::Left(number) => hub.left(number, now),
        Message::Refused => hub.refused(),
        Message::Heard(turn, heard) => hub.heard(turn, heard, now),
        Message::Scrape(page) => {
            // Whoever asked may be gone.
            let _ = page.send(metrics::page(hub, version, now));
        }
    }
}
