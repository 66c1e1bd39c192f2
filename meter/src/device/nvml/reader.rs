//! The process in which all driver calls are made, seen from inside.
//!
//! A call into the driver can hang, crash or corrupt memory. It happens in a process that is neither the job's nor the meter's:
//! it takes orders as lines of JSON on its input, and answers in lines on its output. When its input ends it ends at once, even
//! in the middle of a call, so that nobody has to send it signals.

use std::io::Write;
use std::path::Path;

use nvml_wrapper::Nvml;
use serde::{Deserialize, Serialize};

use flopsmeter_core::sample::GpuReading;

use super::board::Boards;
use super::library::{self, Census};
use super::orders::Orders;
use super::probe::{Measurable, probe};
use super::processes::ProcessLists;
use super::read::WatchedGpu;
use super::{GpuProcess, Listing};
use crate::device::trace::{Head, Recorder};
use crate::own_memory;

/// After so many readings everything has been done once that is done again and again.
const SETTLED: u32 = 3;

/// What the process is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// List the GPUs again.
    List,
    /// Watch these GPUs or instances from now on, by UUID. Those that are watched already are read on as before.
    Watch(Vec<String>),
    /// Read what is watched.
    Read,
    /// List the processes on these GPUs or instances.
    Processes(Vec<String>),
    /// Try what can be measured on these GPUs and instances.
    Probe(Vec<String>),
}

/// What the process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Which GPUs there are: said first, and again when the driver counts more or fewer of them.
    Listed(Listing),
    /// One reading for each watched GPU, in the order of watching, made after it was ordered.
    Read(Vec<Result<GpuReading, String>>),
    /// The processes on each GPU that was asked about, in that order.
    Processes(Vec<Result<Vec<GpuProcess>, String>>),
    /// What can be measured on each GPU or instance that was asked about, in that order.
    Probed(Vec<Result<Vec<Measurable>, String>>),
    /// The same without an order: only a daemon says this ([`crate::daemon`]). What it tells is of the time between this moment
    /// and that of the one before.
    Pushed {
        /// [`crate::clock::nanoseconds_since_boot`] when the readings had been made, and the next ones had not been ordered. Its name
        /// says which clock: a program that goes by another one cannot read it, and reads by itself.
        #[serde(rename = "at_nanoseconds_since_boot")]
        at_nanoseconds: u64,
        /// As above.
        readings: Vec<Result<GpuReading, String>>,
    },
}

/// Obeys until the input ends. `library` is loaded in place of the system's, if given; what is answered is recorded in a file
/// with this head, if asked.
pub fn serve(library: Option<&Path>, record: Option<(&Path, &Head)>) -> std::io::Result<()> {
    let orders = Orders::begin()?;
    // Whoever asked for a recording has tried the file: what fails now must not cost the readings.
    let mut recorder = record.and_then(|(path, head)| Recorder::begin(path, head).ok());
    let mut output = std::io::stdout().lock();
    let nvml = match library::load(library) {
        Ok(nvml) => nvml,
        Err(reason) => return say(&mut output, &Answer::Listed(Listing::Unavailable { reason })),
    };
    let mut census = Census::new(nvml);
    tell(census.list(), &mut output, recorder.as_mut())?;
    obey(nvml, census, orders, &mut output, recorder)
}

fn tell(listing: Listing, output: &mut impl Write, recorder: Option<&mut Recorder>) -> std::io::Result<()> {
    if let Some(recorder) = recorder {
        recorder.list(&listing);
    }
    say(output, &Answer::Listed(listing))
}

fn obey(
    nvml: &'static Nvml,
    mut census: Census,
    orders: Orders,
    output: &mut impl Write,
    mut recorder: Option<Recorder>,
) -> std::io::Result<()> {
    let mut watched: Vec<WatchedGpu> = Vec::new();
    let mut processes = ProcessLists::default();
    let mut readings_made = 0_u32;
    let mut boards = Boards::new(nvml);
    let mut read = |gpu: &mut WatchedGpu| {
        let mut reading = gpu.read()?;
        boards.complete(gpu.uuid(), &mut reading);
        Ok(reading)
    };
    for order in orders {
        if matches!(order, Order::Read | Order::Processes(_))
            && let Some(listing) = census.changed()
        {
            tell(listing, output, recorder.as_mut())?;
        }
        match order {
            Order::List => tell(census.list(), output, recorder.as_mut())?,
            Order::Watch(uuids) => {
                if let Some(recorder) = &mut recorder {
                    recorder.watch(&uuids);
                }
                watched = watch(nvml, watched, uuids);
            }
            Order::Read => {
                let readings = watched.iter_mut().map(&mut read).collect::<Vec<_>>();
                if let Some(recorder) = &mut recorder {
                    recorder.read(&readings);
                }
                say(output, &Answer::Read(readings))?;
                readings_made = readings_made.saturating_add(1);
                if readings_made == SETTLED {
                    own_memory::give_back_program();
                }
            }
            Order::Processes(uuids) => {
                let listed = uuids.into_iter().map(|uuid| processes.list(nvml, uuid)).collect();
                say(output, &Answer::Processes(listed))?;
            }
            Order::Probe(uuids) => {
                say(output, &Answer::Probed(probe(nvml, &uuids)))?;
            }
        }
    }
    Ok(())
}

/// What was watched before keeps its place in the driver's buffers.
fn watch(nvml: &'static Nvml, mut before: Vec<WatchedGpu>, uuids: Vec<String>) -> Vec<WatchedGpu> {
    let mut take = |uuid: String| match before.iter().position(|gpu| gpu.uuid() == uuid) {
        Some(place) => before.swap_remove(place),
        None => WatchedGpu::new(nvml, uuid),
    };
    uuids.into_iter().map(&mut take).collect()
}

/// Writes one line.
pub(crate) fn say(output: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
