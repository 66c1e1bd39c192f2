//! A look at the machine's GPUs without a job: what there is, and what can be measured.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::probe::Measurable;
use super::process::{DriverProcess, Heard, ReaderCommand};
use super::reader::{Answer, Order};
use super::{ListedGpu, Listing};

/// What a GPU's probe has shown, or why there was none.
pub type Probed = Result<Vec<Measurable>, String>;

/// A GPU, and what was tried on it.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// As the driver lists it.
    pub gpu: ListedGpu,
    /// Of the GPU as a whole.
    pub probed: Probed,
    /// Of each of its instances, in the order in which they are listed.
    pub instances: Vec<Probed>,
}

/// Asks the driver, in a process of its own, for its GPUs and what can be measured on each. Each answer is waited for so long.
pub fn survey(command: &ReaderCommand, library: Option<&Path>, patience: Duration) -> Result<Vec<Surveyed>, String> {
    let (sender, heard) = channel();
    let hear = move |heard| {
        // Nobody listens any more: the answer came too late.
        let _ = sender.send(heard);
    };
    let started = DriverProcess::start(command, library, hear);
    let mut process =
        started.map_err(|problem| format!("{} cannot be started: {problem}", command.program.display()))?;
    let gpus = match answer(&heard, patience)? {
        Answer::Listed(Listing::Gpus(gpus)) => gpus,
        Answer::Listed(Listing::Unavailable { reason }) => return Err(reason),
        _ => return Err("the driver gave another answer than was asked for".to_owned()),
    };
    if gpus.is_empty() {
        return Ok(Vec::new());
    }
    let instances = |gpu: &ListedGpu| gpu.instances.iter().map(|instance| instance.uuid.clone()).collect::<Vec<_>>();
    let uuids: Vec<String> =
        gpus.iter().flat_map(|gpu| std::iter::once(gpu.uuid.clone()).chain(instances(gpu))).collect();
    let count = uuids.len();
    let asked = process.order(&Order::Probe(uuids));
    let probed = match asked.then(|| answer(&heard, patience)) {
        Some(Ok(Answer::Probed(probed))) => probed,
        Some(Err(reason)) => vec![Err(reason); count],
        _ => vec![Err("the process that asks the driver ended".to_owned()); count],
    };
    let mut probed = probed.into_iter();
    let surveyed = gpus.into_iter().map(|gpu| {
        let mut next = || probed.next().unwrap_or_else(|| Err("the driver was not asked".to_owned()));
        let (whole, instances) = (next(), gpu.instances.iter().map(|_| next()).collect());
        Surveyed { gpu, probed: whole, instances }
    });
    Ok(surveyed.collect())
}

fn answer(heard: &Receiver<Heard>, patience: Duration) -> Result<Answer, String> {
    match heard.recv_timeout(patience) {
        Ok(Heard::Answer(answer)) => Ok(answer),
        Ok(Heard::Ended) => {
            Err("the process that asks the driver ended, as when the driver's library crashes".to_owned())
        }
        Err(_) => Err(format!("the driver did not answer within {} s", patience.as_secs())),
    }
}
