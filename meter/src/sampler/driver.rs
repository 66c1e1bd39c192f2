//! The driver's side of a round: which GPUs are the job's, and what they said.
//!
//! The process that asks the driver may end or hang: then its time is missing, and another one is started after a while.

mod claiming;
mod process;
mod readings;
mod recount;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender;
use std::time::Duration;

use flopsmeter_core::run::Finding;

use super::source::Source;
use super::{Message, SamplerOptions};
use crate::claim::{Claim, GpuEnvironment, GpuRequest, OpenableNodes, claim, may_use_gpus};
use crate::clock::SessionClock;
use crate::device::Kernel;
use crate::device::nvml::ListedGpu;
use crate::device::nvml::process::ReaderCommand;
use crate::device::process_tree::JobProcess;
use recount::Recount;
pub(super) use recount::Relisted;

/// Between the end of a process and the start of the next one: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Driver {
    clock: SessionClock,
    kernel: Kernel,
    /// Of whose device nodes is asked.
    job: JobProcess,
    /// What it may open, as was seen last: when it has ended nothing is seen.
    openable: Option<OpenableNodes>,
    gpus: GpuRequest,
    environment: GpuEnvironment,
    listing_patience: Duration,
    period: Duration,
    ordered_at: Duration,
    command: Option<ReaderCommand>,
    library: Option<PathBuf>,
    answers: Sender<Message>,
    /// Where a daemon may listen; empty once it was tried.
    daemons: Vec<PathBuf>,
    process: Option<Source>,
    /// Our own process and its turn, while a daemon reads that cannot be asked for processes: it is asked for them, and takes over
    /// where the daemon ends.
    own: Option<(u32, Source)>,
    /// Readings that were pushed and that nobody has looked at yet.
    waiting_pushes: Arc<AtomicU32>,
    /// When the daemon last pushed readings without being asked.
    pushed_at: Option<Duration>,
    /// What has to be told besides the claim.
    notes: Vec<Finding>,
    /// Counts the processes.
    started: u32,
    /// Which of them is the present one: what an earlier one still says is not heard.
    turn: u32,
    pause: Duration,
    state: State,
    /// Whether nobody has asked the driver because the job is to use no GPU, and somebody could.
    asleep: bool,
    /// When the driver was asked for its GPUs.
    asked_at: Duration,
    recount: Recount,
    /// The GPUs that it has listed and that may be opened here.
    present: Vec<ListedGpu>,
    /// UUIDs in the order of readings.
    watched: Vec<String>,
    told_until: Duration,
}

#[derive(Debug)]
enum State {
    /// The GPUs are not known yet.
    Listing,
    /// They are, and have to be told.
    Claimed(Claim),
    /// A daemon is asked whether it reads them.
    Joining {
        since: Duration,
    },
    Idle,
    /// A reading was ordered and has not come.
    Reading,
    /// The process is gone; the next one is started at this time.
    Lost {
        reason: &'static str,
        again_at: Duration,
    },
    /// The next one has not listed its GPUs yet.
    Returning {
        reason: &'static str,
    },
    /// There is nothing to read, or nobody to ask.
    Over,
}

impl Driver {
    pub(super) fn start(options: &SamplerOptions, answers: Sender<Message>) -> Self {
        let mut driver = Self {
            clock: options.clock,
            kernel: options.kernel.clone(),
            job: options.job.clone(),
            openable: None,
            gpus: options.gpus.clone(),
            environment: options.environment.clone(),
            listing_patience: options.listing_patience,
            period: options.period,
            ordered_at: Duration::ZERO,
            command: options.reader.clone(),
            library: options.nvml_library.clone(),
            answers,
            daemons: options.daemons.clone(),
            process: None,
            waiting_pushes: Arc::default(),
            pushed_at: None,
            notes: Vec::new(),
            own: None,
            started: 0,
            turn: 0,
            pause: FIRST_PAUSE,
            state: State::Listing,
            asleep: false,
            asked_at: Duration::ZERO,
            recount: Recount::default(),
            present: Vec::new(),
            watched: Vec::new(),
            told_until: Duration::ZERO,
        };
        driver.recount.nodes = driver.gpu_nodes();
        let plays_trace = driver.command.as_ref().is_some_and(|command| command.plays_trace);
        if driver.command.is_none() {
            driver.state = State::Claimed(Claim::default());
        } else if !may_use_gpus(&options.gpus, &options.environment) {
            driver.state = State::Claimed(claim(&options.gpus, &options.environment, &[]));
            driver.asleep = !plays_trace && (driver.library.is_some() || driver.has_nodes());
        } else if driver.library.is_none() && !plays_trace && !driver.has_nodes() {
            let reason = "there is no device node of one";
            driver.state = State::Claimed(driver.without_driver(reason));
        } else if let Err(reason) = driver.start_process() {
            driver.state = State::Claimed(driver.without_driver(&reason));
        }
        driver
    }

    /// What has to be told besides the claim.
    pub(super) fn take_notes(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.notes)
    }
}
