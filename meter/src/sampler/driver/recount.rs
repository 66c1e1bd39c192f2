//! GPUs that come and go while the job runs.
//!
//! The process that asks the driver compares their number at each reading and lists them again where it has changed. What that
//! leaves out is asked for here, now and then and at the job's end: one GPU in the place of another, instances of a GPU that was
//! cut anew, and a driver that is there only now.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Driver, State};
use crate::claim::{Claim, OpenableNodes, claim, may_use_gpus};
use crate::device::nvml::reader::Order;
use crate::device::nvml::{ListedGpu, Listing};

/// Listing them takes the driver some milliseconds.
const BETWEEN_LISTINGS: Duration = Duration::from_secs(30);

/// What is known of the GPUs' number.
#[derive(Debug, Default)]
pub(super) struct Recount {
    next_at: Duration,
    /// Turn of the process that has been told to list the GPUs and has not.
    asked: Option<u32>,
    /// Device nodes of GPUs when they were listed last.
    pub(super) nodes: BTreeSet<String>,
}

/// The GPUs that there are now, and which of them the job's choice would name now; or why that cannot be said.
pub(in crate::sampler) type Relisted = Result<(Vec<ListedGpu>, Claim), String>;

impl Driver {
    /// Whether it is time for [`Driver::recount`].
    pub(in crate::sampler) fn is_recount_due(&self, now: Duration) -> bool {
        now >= self.recount.next_at
    }

    /// Asks the driver for its GPUs again; wakes one that was not there before.
    pub(in crate::sampler) fn recount(&mut self, now: Duration) {
        self.recount.next_at = now.saturating_add(BETWEEN_LISTINGS);
        match self.state {
            State::Idle | State::Reading => {
                let turn = self.turn();
                let listed = match &mut self.own {
                    Some((_, process)) => process.order(&Order::List),
                    None => self.order_process(&Order::List),
                };
                self.recount.asked = listed.then_some(turn);
            }
            State::Over if self.command.is_some() && self.has_new_node() => self.find(now),
            _ => {}
        }
    }

    /// The driver has listed its GPUs for the first time.
    pub(super) fn counted(&mut self, now: Duration) {
        self.recount = Recount { next_at: now.saturating_add(BETWEEN_LISTINGS), asked: None, nodes: self.gpu_nodes() };
    }

    /// There is a driver now, and nobody has asked it.
    fn find(&mut self, now: Duration) {
        if may_use_gpus(&self.gpus, &self.environment) {
            self.recount.nodes = self.gpu_nodes();
            self.wake(now);
        } else {
            self.asleep = true;
        }
    }

    fn has_new_node(&self) -> bool {
        self.gpu_nodes().iter().any(|node| !self.recount.nodes.contains(node))
    }

    /// Whoever was asked is gone.
    pub(super) const fn forget_recount(&mut self) {
        self.recount.asked = None;
    }

    /// Whether the driver has not yet answered [`Driver::recount`].
    pub(super) fn is_recounting(&self) -> bool {
        self.recount.asked.is_some_and(|turn| turn == self.turn())
    }

    /// The driver has listed its GPUs again.
    pub(in crate::sampler) fn relisted(&mut self, listing: Listing) -> Relisted {
        self.recount.asked = None;
        match listing {
            Listing::Gpus(listed) => {
                self.recount.nodes = self.gpu_nodes();
                let present = OpenableNodes::narrow(&self.kernel, listed);
                let choice = claim(&self.gpus, &self.environment, &present);
                Ok((present, choice))
            }
            Listing::Unavailable { reason } => Err(reason),
        }
    }

    /// Why there may be GPUs at the job's end of which nobody knows.
    pub(in crate::sampler) fn unlisted(&self) -> Option<String> {
        let is_unknown = !matches!(self.state, State::Over) && self.has_new_node();
        is_unknown.then(|| "a device node has appeared and the driver has not said of which GPU".to_owned())
    }
}
