//! `flopsmeter gpus`: what this machine has, what the table says of it, which are the job's and what can be measured.

use std::time::Duration;

use flopsmeter_core::gpu_table::{GpuPeak, GpuTable};
use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{ComputeCapability, Device, DeviceFacts, Mig};
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::claim::{Claim, OpenableNodes, claim};
use flopsmeter_meter::device::Kernel;
use flopsmeter_meter::device::nvml::ListedInstance;
use flopsmeter_meter::device::nvml::probe::Measurable;
use flopsmeter_meter::device::nvml::survey::{Probed, Surveyed, survey};
use serde::Serialize;

use crate::args::GpusArguments;
use crate::command::run::gpu_request;
use crate::exit::ExitStatus;
use crate::output::{self, labelled};
use crate::settings;

/// How long the driver may take for an answer: a first call can take seconds where no other process uses the GPUs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Width of the labels.
const LABEL: usize = 16;

pub(crate) fn execute(arguments: &GpusArguments) -> anyhow::Result<ExitStatus> {
    let request = gpu_request(arguments.gpus.as_ref())?;
    let surveyed = survey(&settings::nvml_reader(&[]), settings::nvml_library().as_deref(), PATIENCE);
    let machine = match surveyed {
        Ok(surveyed) => {
            let listed = surveyed.iter().map(|it| it.gpu.clone()).collect();
            let present = match OpenableNodes::of(&Kernel::default(), std::process::id()) {
                Some(nodes) => nodes.narrow(listed),
                None => listed,
            };
            let claim = claim(&request, &settings::gpu_environment(), &present);
            let gpus = surveyed.into_iter().map(|it| Gpu::new(it, &claim)).collect();
            Machine { schema: SCHEMA, driver_problem: None, gpus, job: Job::new(claim) }
        }
        Err(problem) => {
            Machine { schema: SCHEMA, driver_problem: Some(problem), gpus: Vec::new(), job: Job::new(Claim::default()) }
        }
    };
    if arguments.json {
        output::json(&machine)?;
    } else {
        output::data(&machine.words())?;
    }
    Ok(ExitStatus::Done)
}

const SCHEMA: &str = "flopsmeter.gpus/1";

/// All that is told.
#[derive(Serialize)]
struct Machine {
    schema: &'static str,
    /// Why the driver could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_problem: Option<String>,
    gpus: Vec<Gpu>,
    job: Job,
}

#[derive(Serialize)]
struct Job {
    rule: String,
    devices: Vec<String>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Gpu {
    index: u32,
    uuid: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pci_device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compute_capability: Option<ComputeCapability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_version: Option<String>,
    /// Label of the row in the GPU table.
    table_row: Option<String>,
    /// By what it was found.
    table_match: String,
    #[serde(flatten)]
    peak: Bound,
    /// Whether the GPU is cut into instances (MIG).
    is_cut: bool,
    instances: Vec<Instance>,
    is_claimed: bool,
    #[serde(flatten)]
    trial: Trial,
}

#[derive(Serialize)]
struct Instance {
    uuid: String,
    #[serde(flatten)]
    peak: Bound,
    multiprocessors: Option<u32>,
    is_claimed: bool,
    #[serde(flatten)]
    trial: Trial,
}

/// What can be measured.
#[derive(Serialize)]
struct Trial {
    measurable: Vec<Measurable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe_problem: Option<String>,
}

impl From<Probed> for Trial {
    fn from(probed: Probed) -> Self {
        match probed {
            Ok(measurable) => Self { measurable, probe_problem: None },
            Err(problem) => Self { measurable: Vec::new(), probe_problem: Some(problem) },
        }
    }
}

impl Trial {
    fn works(&self) -> String {
        let works: Vec<&str> =
            self.measurable.iter().filter(|it| it.why_not.is_none()).map(|it| it.what.as_str()).collect();
        if works.is_empty() { "nothing".to_owned() } else { works.join(", ") }
    }

    fn lacks(&self) -> impl Iterator<Item = String> + '_ {
        let lacks = self.measurable.iter().filter_map(|it| Some(format!("{}: {}", it.what, it.why_not.as_ref()?)));
        lacks.chain(self.probe_problem.clone())
    }
}

#[derive(Serialize)]
struct Bound {
    strict_peak: Option<Flops>,
    nominal_peak: Option<Flops>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbounded_because: Option<String>,
    assumptions: Vec<String>,
}

impl From<GpuPeak> for Bound {
    fn from(peak: GpuPeak) -> Self {
        let (strict_peak, unbounded_because) = match peak.strict {
            Ok(strict) => (Some(strict), None),
            Err(reason) => (None, Some(reason)),
        };
        Self { strict_peak, nominal_peak: peak.nominal, unbounded_because, assumptions: peak.assumptions }
    }
}

impl Job {
    fn new(claim: Claim) -> Self {
        let devices = claim.devices.into_iter().map(|device| device.id).collect();
        Self { rule: claim.rule, devices, findings: claim.findings }
    }
}

impl Gpu {
    fn new(surveyed: Surveyed, claim: &Claim) -> Self {
        let Surveyed { gpu, probed, instances } = surveyed;
        let is_claimed = |id: &str| claim.devices.iter().any(|device: &Device| device.id == id);
        let table = GpuTable::embedded();
        let identity = table.identify(&gpu.name, &gpu.facts);
        let instance = |(instance, probed): (&ListedInstance, Probed)| {
            let mut facts = gpu.facts.clone();
            facts.mig = Mig::Slice { parent: gpu.uuid.clone(), multiprocessors: instance.multiprocessors };
            Instance {
                uuid: instance.uuid.clone(),
                peak: table.peak(&gpu.name, &facts).into(),
                multiprocessors: instance.multiprocessors,
                is_claimed: is_claimed(&instance.uuid),
                trial: probed.into(),
            }
        };
        Self {
            index: gpu.index,
            node: gpu.minor_number.map(|minor| format!("/dev/nvidia{minor}")),
            pci_device_id: gpu.facts.pci_device_id.map(|id| format!("{:04x}:{:04x}", id & 0xffff, id >> 16)),
            table_row: identity.row().map(|row| row.label.clone()),
            table_match: identity.words(),
            peak: table.peak(&gpu.name, &gpu.facts).into(),
            is_cut: gpu.facts.mig != Mig::Off,
            instances: gpu.instances.iter().zip(instances).map(instance).collect(),
            is_claimed: is_claimed(&gpu.uuid),
            trial: probed.into(),
            pci_address: gpu.facts.pci_bus_id,
            compute_capability: gpu.facts.compute_capability,
            driver_version: gpu.facts.driver_version,
            uuid: gpu.uuid,
            name: gpu.name,
        }
    }

    fn words(&self) -> String {
        let mut text = format!("\nGPU {}  {}  {}\n", self.index, self.name, self.uuid);
        let mut line = |label: &str, value: &str| text.push_str(&labelled(label, LABEL, value));
        line("  job", if self.is_claimed { "claimed" } else { "not claimed" });
        let device = self.pci_device_id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
        let address = self.pci_address.as_ref().map(|address| format!("PCI {address}{device}"));
        line("  node", &[self.node.clone(), address].into_iter().flatten().collect::<Vec<_>>().join(", "));
        line("  table", &self.row());
        match (&self.peak.strict_peak, &self.peak.unbounded_because) {
            (Some(strict), _) => {
                line("  strict peak", &format!("{} FLOP/s = {}", strict.scientific(3), factors(&self.peak)));
            }
            (None, reason) => line("  strict peak", &format!("none: {}", reason.as_deref().unwrap_or("unknown"))),
        }
        if let Some(nominal) = self.peak.nominal_peak {
            line("  nominal peak", &format!("{} FLOP/s, the data sheet's dense bf16 or fp16", nominal.scientific(3)));
        }
        line("  MIG", if self.is_cut { "on" } else { "off" });
        for instance in &self.instances {
            instance.words().iter().for_each(|words| line("", words));
        }
        let whole = if self.is_cut { "of the whole GPU: " } else { "" };
        line("  measured", &format!("{whole}{}", self.trial.works()));
        for (place, lack) in self.trial.lacks().enumerate() {
            line(if place == 0 { "  not measured" } else { "" }, &lack);
        }
        text
    }

    fn row(&self) -> String {
        let capability = self.compute_capability.map(|capability| format!("compute capability {capability}"));
        let capability = capability.unwrap_or_else(|| "compute capability not told".to_owned());
        match &self.table_row {
            Some(row) => format!("{row} ({}), {capability}", self.table_match),
            None => format!("no row, so bounded by what the driver says of it; {capability}"),
        }
    }
}

impl Instance {
    fn words(&self) -> [String; 3] {
        let claimed = if self.is_claimed { "claimed" } else { "not claimed" };
        let size =
            self.multiprocessors.map_or_else(|| "size unknown".to_owned(), |count| format!("{count} multiprocessors"));
        let peak =
            self.peak.strict_peak.map_or_else(|| "no peak".to_owned(), |peak| format!("{} FLOP/s", peak.scientific(3)));
        [
            format!("{}: {size}, {peak}, {claimed}", self.uuid),
            format!("measured: {}", self.trial.works()),
            format!("not measured: {}", self.trial.lacks().collect::<Vec<_>>().join("; ")),
        ]
    }
}

/// What the strict peak is made of, from the sentence that says so.
fn factors(bound: &Bound) -> String {
    let said = bound.assumptions.iter().find_map(|said| said.strip_prefix("strict peak: "));
    said.map_or_else(String::new, |said| said.split(" (2:4").next().unwrap_or(said).to_owned())
}

impl Machine {
    fn words(&self) -> String {
        if let Some(problem) = &self.driver_problem {
            let text = format!("none can be read on this machine: {problem}");
            let next = "`flopsmeter doctor` tells whether that is as it should be";
            return labelled("GPUs", LABEL, &text) + &labelled("next", LABEL, next);
        }
        let Some(first) = self.gpus.first() else {
            return labelled("GPUs", LABEL, "none, though the NVIDIA driver answers");
        };
        let version = first.driver_version.as_deref().unwrap_or("of unknown version");
        let mut text = labelled("GPUs", LABEL, &format!("{}, NVIDIA driver {version}", self.gpus.len()));
        let claimed = match self.job.devices.len() {
            1 => "1 device".to_owned(),
            count => format!("{count} devices"),
        };
        text.push_str(&labelled("job", LABEL, &format!("{claimed}, by this rule: {}", self.job.rule)));
        for finding in &self.job.findings {
            text.push_str(&labelled("finding", LABEL, &finding.text));
        }
        for gpu in &self.gpus {
            text.push_str(&gpu.words());
        }
        text
    }
}

/// Whether a claimed device has a bound; what has none makes the ceiling of each run missing.
pub(crate) fn unbounded(device: &Device) -> Option<String> {
    match &device.facts {
        DeviceFacts::Gpu(facts) => GpuTable::embedded().peak(&device.name, facts).strict.err(),
        DeviceFacts::Unreadable { reason } => Some(reason.clone()),
        DeviceFacts::Cpu(_) => None,
    }
}
