//! What clients are told.

use std::time::Duration;

use super::{Client, Hub, State};
use crate::daemon::metrics::figures::Dropped;
use crate::daemon::proof::Watch;
use crate::daemon::reader::Reader;
use crate::device::nvml::Listing;
use crate::device::nvml::reader::Answer;

impl<R: Reader> Hub<R> {
    /// Tells those who wait for it which GPUs there are, as far as that can be said.
    pub(super) fn tell_listing(&mut self, now: Duration) {
        let listing = match (&self.listing, &self.state) {
            (Some(listing), _) => listing.clone(),
            (None, State::Away { reason, .. }) => Listing::Unavailable { reason: reason.clone() },
            (None, _) => return,
        };
        let answer = Answer::Listed(listing);
        let waits = |client: &mut Client| std::mem::take(&mut client.wants_listing);
        let waiting = self.clients.iter_mut().filter_map(|(&number, client)| waits(client).then_some(number));
        let numbers: Vec<u64> = waiting.collect();
        for number in numbers {
            self.tell(number, &answer, now);
        }
    }

    pub(super) fn tell_watchers(&mut self, mut say: impl FnMut(&mut Watch) -> Option<Answer>, now: Duration) {
        let watchers = self.clients.iter_mut().filter_map(|(&number, client)| Some((number, client.watch.as_mut()?)));
        let answers: Vec<(u64, Answer)> =
            watchers.filter_map(|(number, watch)| say(watch).map(|answer| (number, answer))).collect();
        self.tell_all(&answers, now);
    }

    pub(super) fn tell_all(&mut self, answers: &[(u64, Answer)], now: Duration) {
        for (number, answer) in answers {
            self.tell(*number, answer, now);
        }
    }

    /// Whoever does not take what it is told is not waited for.
    pub(super) fn tell(&mut self, number: u64, answer: &Answer, now: Duration) {
        let Ok(mut line) = serde_json::to_vec(answer) else { return };
        line.push(b'\n');
        let taken = self.clients.get(&number).is_some_and(|client| client.lines.try_send(line).is_ok());
        if !taken {
            self.drop_client(number, Dropped::Slow, now);
        }
    }
}
