//! Lists of processes: who waits for them, so that the driver is asked once for all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::device::nvml::GpuProcess;
use crate::device::nvml::reader::Answer;

/// Between two lists at least, however many clients ask: the driver serves nobody else while it lists.
const LEAST_APART: Duration = Duration::from_millis(100);

/// So often in a row the process that asks the driver may be lost while it lists processes: then lists are the likely cause, and nobody
/// gets one for a while.
const MAXIMUM_LOSSES: u32 = 2;

/// Then they are tried again: the driver may have been ill for another reason, and a daemon lives for months.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(10);

const NO_MORE: &str = "the daemon lists no processes for a while: the process that asks the driver was lost over it";

/// GPUs of a client, or of several.
pub(super) type Asked = BTreeMap<u64, Vec<String>>;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct ProcessLists {
    waiting: Asked,
    ordered_at: Option<Duration>,
    /// In a row, and when the last one was.
    losses: u32,
    lost_at: Duration,
}

impl ProcessLists {
    /// A client wants the lists of these GPUs; what it asked for before is forgotten. An answer where there will be no other.
    pub(super) fn ask(&mut self, client: u64, gpus: Vec<String>, now: Duration) -> Option<Answer> {
        if self.losses >= MAXIMUM_LOSSES && now.saturating_sub(self.lost_at) < TRIED_AGAIN_AFTER {
            return Some(refusal(&gpus, NO_MORE));
        }
        self.waiting.insert(client, gpus);
        None
    }

    pub(super) fn left(&mut self, client: u64) {
        self.waiting.remove(&client);
    }

    /// When the next order may be given, if somebody waits.
    pub(super) fn due_at(&self) -> Option<Duration> {
        let earliest = self.ordered_at.map_or(Duration::ZERO, |at| at.saturating_add(LEAST_APART));
        (!self.waiting.is_empty()).then_some(earliest)
    }

    /// Who is to be answered now, and the GPUs of all of them.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<(Asked, Vec<String>)> {
        self.due_at().filter(|&at| now >= at)?;
        self.ordered_at = Some(now);
        let asked = std::mem::take(&mut self.waiting);
        let gpus: BTreeSet<&String> = asked.values().flatten().collect();
        let gpus = gpus.into_iter().cloned().collect();
        Some((asked, gpus))
    }

    /// Lists have come.
    pub(super) const fn succeed(&mut self) {
        self.losses = 0;
    }

    /// The process that asks the driver was lost, and with it the lists that had been ordered for `asked`: what each of them, and of
    /// those who wait, is told.
    pub(super) fn lose(&mut self, asked: Option<Asked>, reason: &str, now: Duration) -> Vec<(u64, Answer)> {
        if asked.is_some() {
            self.losses = self.losses.saturating_add(1);
            self.lost_at = now;
        }
        let all = asked.unwrap_or_default().into_iter().chain(std::mem::take(&mut self.waiting));
        all.map(|(client, gpus)| (client, refusal(&gpus, reason))).collect()
    }
}

fn refusal(gpus: &[String], reason: &str) -> Answer {
    Answer::Processes(gpus.iter().map(|_| Err(reason.to_owned())).collect())
}

/// What each client is told of lists of `gpus`.
pub(super) fn shared_out(
    asked: Asked,
    gpus: &[String],
    lists: &[Result<Vec<GpuProcess>, String>],
) -> Vec<(u64, Answer)> {
    let of = |gpu: &String| {
        let place = gpus.iter().position(|name| name == gpu);
        place.and_then(|place| lists.get(place)).cloned().unwrap_or_else(|| Err("it was not listed".to_owned()))
    };
    asked.into_iter().map(|(client, own)| (client, Answer::Processes(own.iter().map(of).collect()))).collect()
}
