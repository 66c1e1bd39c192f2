//! What clients ask for and tell.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Hub;
use crate::daemon::line::{MAX_WATCHED, Request};
use crate::daemon::metrics::figures::Dropped;
use crate::daemon::proof::Watch;
use crate::daemon::reader::Reader;
use crate::daemon::runs::Refused;
use crate::daemon::status::RunStatus;
use crate::device::nvml::Listing;

impl<R: Reader> Hub<R> {
    /// Somebody asks or tells something.
    pub(in crate::daemon) fn said(&mut self, number: u64, request: Request, now: Duration) {
        if !self.clients.contains_key(&number) {
            return;
        }
        if !self.obey(number, request, now) {
            return self.drop_client(number, Dropped::Broken, now);
        }
        self.advance(now);
    }

    fn obey(&mut self, number: u64, request: Request, now: Duration) -> bool {
        match request {
            Request::Watch(gpus) => {
                let known = self.are_known(&gpus);
                if let Some(client) = self.clients.get_mut(&number).filter(|_| known) {
                    client.watch = Some(Watch::new(gpus, now));
                }
                known
            }
            Request::Read => {
                let Some(client) = self.clients.get_mut(&number) else { return false };
                let Some(watch) = client.watch.as_mut() else { return false };
                watch.ask(now);
                client.is_urgent = client.asks_left > 0;
                client.asks_left = client.asks_left.saturating_sub(1);
                self.wants_reading |= client.is_urgent;
                true
            }
            Request::Processes(gpus) => {
                let known = self.are_known(&gpus);
                if let Some(refusal) = known.then(|| self.processes.ask(number, gpus, now)).flatten() {
                    self.tell(number, &refusal, now);
                }
                known
            }
            Request::Status(status) => self.show(number, *status),
        }
    }

    fn show(&mut self, number: u64, status: RunStatus) -> bool {
        let user = self.clients.get(&number).map_or("", |client| &client.user);
        match self.runs.tell(number, user, status) {
            Err(Refused::Wrong) => false,
            Err(Refused::Full) => {
                self.figures.runs_left_out.inc();
                true
            }
            Ok(()) => true,
        }
    }

    /// Whether there are or were all of these, each is named once, and they are not too many.
    fn are_known(&self, gpus: &[String]) -> bool {
        let different: BTreeSet<&String> = gpus.iter().collect();
        let listed: BTreeSet<&str> = self.listing.iter().flat_map(Listing::uuids).collect();
        let is_known = |gpu: &String| self.known.contains(gpu) || listed.contains(gpu.as_str());
        gpus.len() <= MAX_WATCHED && different.len() == gpus.len() && gpus.iter().all(is_known)
    }
}
