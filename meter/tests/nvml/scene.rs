//! A scenario, a copy of the fake library that plays it, and what a sampler recorded of it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use flopsmeter_core::ceiling::CeilingMeter;
use flopsmeter_core::run::{Ceiling, Finding, Gap};
use flopsmeter_core::sample::{Device, GpuReading, Reading, Sample};
use flopsmeter_meter::clock::{SessionClock, monotonic};
use flopsmeter_meter::device::Kernel;
use flopsmeter_meter::device::nvml::process::ReaderCommand;
use flopsmeter_meter::device::process_tree::JobProcess;
use flopsmeter_meter::sampler::{Sampler, SamplerEvent, SamplerOptions};
use serde_json::Value;

/// Strict peak of an H200: 132 multiprocessors × 8192 FLOP per clock × 1980 MHz.
pub(crate) const H200_PEAK: u128 = 132 * 8192 * 1_980_000_000;

/// Why a reading is missing on a machine that has no time for the driver's thread.
pub(crate) const LATE: &str = "the NVIDIA driver did not answer in time";

pub(crate) struct Scene {
    folder: tempfile::TempDir,
    scenario: String,
}

impl Scene {
    pub(crate) fn new(scenario: &Value) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), scenario: scenario.to_string() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A library of its own for each playing: its time starts when it is loaded.
    fn library(&self) -> PathBuf {
        let copy = tempfile::Builder::new().suffix(".so").tempfile_in(self.folder.path()).unwrap();
        let (_, path) = copy.keep().unwrap();
        fs_err::copy(built("deps/libnvidia_ml.so"), &path).unwrap();
        fs_err::write(format!("{}.json", path.display()), &self.scenario).unwrap();
        path
    }

    /// Samples a job (that does nothing) ten times a second.
    pub(crate) fn sample(&self, length: Duration, adjust: impl FnOnce(&mut SamplerOptions)) -> Record {
        let clock = SessionClock::start();
        let mut options = SamplerOptions::new(clock, JobProcess::default());
        options.waiter = None;
        options.period = Duration::from_millis(100);
        options.driver_patience = super::PATIENCE;
        options.reader = Some(ReaderCommand::new(built("examples/nvml_reader"), Vec::new()));
        options.nvml_library = Some(self.library());
        adjust(&mut options);
        let (sender, receiver) = sync_channel(1000);
        let sampler = Sampler::start(options, sender).unwrap();
        thread::sleep(length);
        let stopped = monotonic();
        let unsent = sampler.stop(None).unsent;
        let mut record = Record { stopping: stopped.elapsed(), ..Record::default() };
        for event in receiver.into_iter().chain(unsent) {
            match event {
                SamplerEvent::Devices(devices, findings) => {
                    record.devices.extend(devices);
                    record.findings.extend(findings);
                }
                SamplerEvent::Launches(_) => {}
                SamplerEvent::Samples(read) => record.samples.extend(read),
            }
        }
        record
    }

    /// The same of a job that has these device nodes open, outside of a container: the driver's lists, in which it is not, show that
    /// it is not there.
    pub(crate) fn sample_job(
        &self,
        nodes: &[&str],
        length: Duration,
        adjust: impl FnOnce(&mut SamplerOptions),
    ) -> Record {
        let root = self.folder().join("kernel");
        write_kernel(&root, nodes);
        self.sample(length, |options| {
            options.kernel = Kernel::under(&root);
            let job = JobProcess::default();
            job.set(JOB);
            options.job = job;
            adjust(options);
        })
    }

    /// The job opens a device node after a while.
    pub(crate) fn opens_later(&self, node: &'static str, after: Duration) -> thread::JoinHandle<()> {
        let link = self.folder().join(format!("kernel/proc/{JOB}/fd/later"));
        thread::spawn(move || {
            thread::sleep(after);
            fs_err::os::unix::fs::symlink(node, link).unwrap();
        })
    }
}

const JOB: u32 = 7;

fn write_kernel(root: &Path, nodes: &[&str]) {
    let process = root.join(format!("proc/{JOB}"));
    fs_err::create_dir_all(process.join("fd")).unwrap();
    fs_err::write(process.join("stat"), format!("{JOB} (x) S 1 1 1 0 -1 0 0 0 0 0 1 0 0 0 20 0 1 0 9 0 0\n")).unwrap();
    for (place, node) in nodes.iter().enumerate() {
        fs_err::os::unix::fs::symlink(node, process.join(format!("fd/{place}"))).unwrap();
    }
    let namespaces = root.join("proc/self/ns");
    fs_err::create_dir_all(&namespaces).unwrap();
    fs_err::os::unix::fs::symlink("pid:[4026531836]", namespaces.join("pid")).unwrap();
}

/// Cargo builds the library and the reader together with this test.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(file.is_file(), "{} was not built", file.display());
    file
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) devices: Vec<Device>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) samples: Vec<Sample>,
    /// How long the sampler took to stop.
    pub(crate) stopping: Duration,
}

impl Record {
    pub(crate) fn device(&self, id: &str) -> &Device {
        self.devices.iter().find(|device| device.id == id).unwrap()
    }

    /// All devices but the processors.
    pub(crate) fn gpus(&self) -> Vec<&str> {
        self.devices.iter().map(|device| device.id.as_str()).filter(|id| !id.starts_with("cpu:")).collect()
    }

    pub(crate) fn findings_of(&self, code: &str) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.code == code).collect()
    }

    fn meter(&self) -> CeilingMeter {
        let mut meter = CeilingMeter::new(self.devices.clone());
        for sample in &self.samples {
            meter.add(sample);
        }
        meter
    }

    pub(crate) fn ceiling(&self) -> Ceiling {
        self.meter().ceiling()
    }

    pub(crate) fn gaps(&self, device: &str) -> Vec<Gap> {
        self.meter().gaps().into_iter().filter(|gap| gap.device == device).collect()
    }

    /// Reasons of the missing readings of a device, but that it was late.
    pub(crate) fn faults(&self, device: &str) -> Vec<&str> {
        self.missing(device).into_iter().filter(|reason| *reason != LATE).collect()
    }

    /// Reasons of the missing readings of a device.
    pub(crate) fn missing(&self, device: &str) -> Vec<&str> {
        let reason = |sample: &&Sample| sample.device == device;
        let missing = |sample| match sample {
            &Sample { reading: Reading::Missing { ref reason }, .. } => Some(reason.as_str()),
            _ => None,
        };
        self.samples.iter().filter(reason).filter_map(missing).collect()
    }
}

pub(crate) fn gpu_readings<'a>(samples: &'a [Sample], device: &str) -> Vec<&'a GpuReading> {
    let of = samples.iter().filter(|sample| sample.device == device);
    of.filter_map(|sample| if let Reading::Gpu(reading) = &sample.reading { Some(reading) } else { None }).collect()
}
