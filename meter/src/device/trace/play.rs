//! Playing a trace: the inside of the process that is asked in the driver's place.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use flopsmeter_core::sample::GpuReading;
use fs_err::File;

use super::{Head, Line, SCHEMA, Said};
use crate::clock::monotonic;
use crate::device::nvml::orders::Orders;
use crate::device::nvml::reader::{Answer, Order, say};
use crate::device::nvml::{ListedGpu, Listing};

/// A reading, or why there is none.
type Told = Result<GpuReading, String>;

/// What is said when a job runs longer than its trace.
const OVER: &str = "the trace that is played ends before the job does";

/// A trace that cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceProblem {
    /// The file cannot be read.
    #[error("{0}; name a file that `--device record:FILE` wrote")]
    Unreadable(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {number} of the trace is no {what} ({cause}); record it anew with `--device record:FILE`")]
    Line {
        /// Which, from 1.
        number: usize,
        /// What it should be.
        what: &'static str,
        /// What the reader said.
        cause: String,
    },
}

/// A trace that is being played.
#[derive(Debug, PartialEq)]
pub(crate) struct Trace {
    listing: Listing,
    /// In the order of time.
    readings: Vec<(u64, BTreeMap<String, Told>)>,
    next: usize,
}

/// Obeys orders from the trace until the input ends. What is wrong with the trace is said as a driver says that it cannot list
/// its GPUs.
pub fn serve(path: &Path) -> io::Result<()> {
    let orders = Orders::begin()?;
    let mut output = io::stdout().lock();
    match Trace::read(path) {
        Ok(trace) => {
            say(&mut output, &Answer::Listed(trace.listing.clone()))?;
            play(trace, orders, &mut output)
        }
        Err(problem) => {
            let reason = format!("the trace {} cannot be played: {problem}", path.display());
            say(&mut output, &Answer::Listed(Listing::Unavailable { reason }))
        }
    }
}

fn play(mut trace: Trace, orders: impl Iterator<Item = Order>, output: &mut impl io::Write) -> io::Result<()> {
    let began = monotonic();
    let mut watched: Vec<String> = Vec::new();
    for order in orders {
        match order {
            Order::List => say(output, &Answer::Listed(trace.listing.clone()))?,
            Order::Watch(uuids) => watched = uuids,
            Order::Read => {
                let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                say(output, &Answer::Read(trace.until(elapsed, &watched)))?;
            }
            Order::Probe(uuids) => {
                let told = uuids.iter().map(|_| Err("a trace is played in its place".to_owned())).collect();
                say(output, &Answer::Probed(told))?;
            }
            // No process of this machine runs on a GPU that is only played.
            Order::Processes(uuids) => say(output, &Answer::Processes(uuids.iter().map(|_| Ok(Vec::new())).collect()))?,
        }
    }
    Ok(())
}

impl Trace {
    pub(crate) fn read(path: &Path) -> Result<Self, TraceProblem> {
        let mut listing = None;
        let mut readings = Vec::new();
        for (index, line) in BufReader::new(File::open(path)?).lines().enumerate() {
            let line = line?;
            let problem = |what, cause: String| TraceProblem::Line { number: index + 1, what, cause };
            if index == 0 {
                check_head(&line).map_err(|cause| problem("head of a trace", cause))?;
                continue;
            }
            let Line { at_milliseconds, said } =
                serde_json::from_str(&line).map_err(|cause| problem("answer of a driver", cause.to_string()))?;
            match said {
                Said::Listed(gpus) => listing = Some(together(listing, gpus)),
                Said::Read(told) => readings.push((at_milliseconds, told)),
            }
        }
        let missing = || TraceProblem::Line { number: 2, what: "list of GPUs", cause: "it is missing".to_owned() };
        readings.sort_by_key(|(at, _)| *at);
        Ok(Self { listing: listing.ok_or_else(missing)?, readings, next: 0 })
    }

    /// What each of these GPUs said since the last time, up to so many milliseconds.
    pub(crate) fn until(&mut self, milliseconds: u64, watched: &[String]) -> Vec<Told> {
        let due = self.readings.get(self.next..).unwrap_or_default();
        let due = due.iter().take_while(|(at, _)| *at <= milliseconds).count();
        let over = self.next >= self.readings.len();
        let said = self.readings.get(self.next..self.next + due).unwrap_or_default();
        let told = watched.iter().map(|uuid| {
            if over {
                return Err(OVER.to_owned());
            }
            said.iter().filter_map(|(_, told)| told.get(uuid)).try_fold(GpuReading::default(), |sum, told| {
                told.as_ref().map(|reading| join(sum, reading)).map_err(Clone::clone)
            })
        });
        let told = told.collect();
        self.next += due;
        told
    }
}

/// GPUs that came while the trace was recorded are there from the start on, and those that went stay: more are bounded so.
fn together(before: Option<Listing>, now: Listing) -> Listing {
    match (before, now) {
        (Some(Listing::Gpus(mut all)), Listing::Gpus(now)) => {
            let is_new = |gpu: &ListedGpu| all.iter().all(|known| known.uuid != gpu.uuid);
            let new: Vec<ListedGpu> = now.into_iter().filter(is_new).collect();
            all.extend(new);
            Listing::Gpus(all)
        }
        (Some(before), Listing::Unavailable { .. }) => before,
        (_, now) => now,
    }
}

fn check_head(line: &str) -> Result<(), String> {
    let head: Head = serde_json::from_str(line).map_err(|cause| cause.to_string())?;
    if head.schema == SCHEMA { Ok(()) } else { Err(format!("schema `{}` in place of `{SCHEMA}`", head.schema)) }
}

/// Two readings, one after the other, as one.
fn join(earlier: GpuReading, later: &GpuReading) -> GpuReading {
    GpuReading {
        busy: append(earlier.busy, later.busy.as_ref()),
        pipes: append(earlier.pipes, later.pipes.as_ref()),
        highest_sm_clock_mhz: earlier.highest_sm_clock_mhz.max(later.highest_sm_clock_mhz),
        sm_clock_mhz: later.sm_clock_mhz.or(earlier.sm_clock_mhz),
        cycles: later.cycles.or(earlier.cycles),
        gpm_problem: later.gpm_problem.clone().or(earlier.gpm_problem),
        energy_millijoules: later.energy_millijoules.or(earlier.energy_millijoules),
        power_milliwatts: later.power_milliwatts.or(earlier.power_milliwatts),
    }
}

fn append<T: Clone>(earlier: Option<Vec<T>>, later: Option<&Vec<T>>) -> Option<Vec<T>> {
    let Some(later) = later else { return earlier };
    let mut all = earlier.unwrap_or_default();
    all.extend_from_slice(later);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(microseconds: u64, percent: u32) -> GpuReading {
        GpuReading { busy: Some(vec![(microseconds, percent).into()]), ..GpuReading::default() }
    }

    fn trace() -> Trace {
        let at = |milliseconds: u64, told: Told| (milliseconds, BTreeMap::from([("GPU-1".to_owned(), told)]));
        let readings = vec![
            at(1000, Ok(busy(900, 10))),
            at(2000, Ok(busy(1000, 20))),
            at(3000, Err("lost".to_owned())),
            at(4000, Ok(busy(1000, 40))),
        ];
        Trace { listing: Listing::Gpus(Vec::new()), readings, next: 0 }
    }

    fn shares(told: &Told) -> Vec<(u64, u32)> {
        told.as_ref().unwrap().busy.iter().flatten().map(|&stretch| stretch.into()).collect()
    }

    #[test]
    fn what_is_due_is_told_once_and_joined() {
        let (mut trace, watched) = (trace(), ["GPU-1".to_owned()]);
        assert_eq!(trace.until(500, &watched), [Ok(GpuReading::default())]);
        assert_eq!(shares(&trace.until(2500, &watched)[0]), [(900, 10), (1000, 20)]);
        assert_eq!(trace.until(3999, &watched), [Err("lost".to_owned())]);
        assert_eq!(shares(&trace.until(4000, &watched)[0]), [(1000, 40)]);
        assert_eq!(trace.until(9000, &watched), [Err(OVER.to_owned())]);
    }

    #[test]
    fn what_was_not_recorded_proves_nothing() {
        assert_eq!(trace().until(2500, &["GPU-2".to_owned()]), [Ok(GpuReading::default())]);
    }

    #[test]
    fn gpus_that_came_or_went_are_listed_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.jsonl");
        let list = |uuids: &[&str]| {
            let gpu = |uuid: &&str| ListedGpu { uuid: (*uuid).to_owned(), ..ListedGpu::default() };
            Listing::Gpus(uuids.iter().map(gpu).collect())
        };
        let line = |listing| serde_json::to_string(&Line { at_milliseconds: 0, said: Said::Listed(listing) }).unwrap();
        let head =
            r#"{"schema":"flopsmeter.trace/1","recorded":"2026-11-21T12:00:00Z","origin":"synthetic","note":""}"#;
        let lines = [head.to_owned(), line(list(&["GPU-1", "GPU-2"])), line(list(&["GPU-3", "GPU-2"]))];
        fs_err::write(&file, lines.join("\n")).unwrap();
        assert_eq!(Trace::read(&file).unwrap().listing, list(&["GPU-1", "GPU-2", "GPU-3"]));
    }

    #[test]
    fn broken_traces_name_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.jsonl");
        let head =
            r#"{"schema":"flopsmeter.trace/1","recorded":"2026-11-21T12:00:00Z","origin":"synthetic","note":""}"#;
        for (text, said) in [
            ("", "line 2 of the trace is no list of GPUs (it is missing)"),
            ("{}", "line 1 of the trace is no head of a trace"),
            (&head.replace("trace/1", "trace/2"), "schema `flopsmeter.trace/2` in place of"),
            (&format!("{head}\nnonsense"), "line 2 of the trace is no answer of a driver"),
        ] {
            fs_err::write(&file, text).unwrap();
            let problem = Trace::read(&file).unwrap_err().to_string();
            assert!(problem.contains(said), "{problem}");
        }
        assert!(Trace::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
