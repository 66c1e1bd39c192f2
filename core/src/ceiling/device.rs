//! One device: what its samples add up to, and the layers that follow.

mod energy;

use super::busy::Busy;
use super::energy::{EnergyReadings, PackageReadings};
use super::exact::{charge, seconds};
use super::late::LateReadings;
use super::pipes::Pipes;
use super::processor::{CorePeak, core_peak};
use super::timeline::{Counted, Counters, Timeline, date, length, nanoseconds};
use super::{Layer, cycles};
use crate::gpu_table::{GpuPeak, GpuTable};
use crate::run::{CeilingLayer, DeviceCeiling, Finding, Gap, Hold};
use crate::sample::{Device, DeviceFacts, GpuReading, Reading, Sample};
use crate::unit::Flops;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// More than any GPU clocks at (the fastest boost to 3 GHz): a higher reading is none.
const MOST_MEGAHERTZ: u32 = 10_000;

/// What is said of a late reading of a GPU, and of the processors.
const LATE_GPU: &str = "readings came late, as when the meter was stopped, the driver was slow or the machine was suspended: what none of the driver's busy shares covers is charged as busy";
const LATE_PROCESSORS: &str = "readings came late, as when the meter was stopped or the machine was suspended: the processor time that the kernel counted meanwhile is charged";

#[derive(Clone, Debug)]
pub(super) struct DeviceMeter {
    device: Device,
    speed: Speed,
    pub(super) timeline: Timeline,
    late: LateReadings,
    busy: Busy,
    pipes: Pipes,
    /// Highest clock that was sampled, in MHz.
    highest_clock_mhz: u32,
    /// Highest cumulative processor time that was told.
    cpu_nanoseconds: Option<u128>,
    packages: PackageReadings,
}

/// How fast the device can be.
#[derive(Clone, Debug)]
enum Speed {
    Gpu(GpuPeak),
    Cpu { cores: u32, core: CorePeak },
    Unknown(String),
}

impl DeviceMeter {
    /// By the embedded tables; that of GPUs is read for a GPU alone.
    pub(super) fn new(device: Device) -> Self {
        let speed = match &device.facts {
            DeviceFacts::Gpu(facts) => Speed::Gpu(GpuTable::embedded().peak(&device.name, facts)),
            DeviceFacts::Cpu(facts) => Speed::Cpu { cores: facts.logical_cores, core: core_peak(facts) },
            DeviceFacts::Unreadable { reason } => Speed::Unknown(reason.clone()),
        };
        Self {
            device,
            speed,
            timeline: Timeline::default(),
            late: LateReadings::default(),
            busy: Busy::default(),
            pipes: Pipes::default(),
            highest_clock_mhz: 0,
            cpu_nanoseconds: None,
            packages: PackageReadings::default(),
        }
    }

    pub(super) fn is_gpu(&self) -> bool {
        matches!(self.speed, Speed::Gpu(_))
    }

    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self.speed, Speed::Unknown(_))
    }

    pub(super) fn add(&mut self, sample: &Sample) {
        let started = nanoseconds(sample.started);
        let ended = started + i128::from(sample.duration_nanoseconds);
        match (&sample.reading, &self.speed) {
            (Reading::Gpu(reading), Speed::Gpu(peak)) => {
                if self.timeline.cover(started, ended, &counters(started, ended, reading)) {
                    self.busy.add(reading, peak.rate.map_or(0, |rate| rate.clock_mhz));
                    self.pipes.add(reading);
                    let clocks = [reading.sm_clock_mhz, reading.highest_sm_clock_mhz];
                    let possible = clocks.into_iter().flatten().filter(|&clock| clock <= MOST_MEGAHERTZ);
                    self.highest_clock_mhz = possible.fold(self.highest_clock_mhz, u32::max);
                    self.late.add(started, ended, untold(sample.duration_nanoseconds, reading));
                }
            }
            (Reading::Cpu { cpu_time_nanoseconds, complete, package_energy_microjoules }, Speed::Cpu { .. }) => {
                match package_energy_microjoules {
                    Some(microjoules) => self.packages.add(ended, *microjoules),
                    None => self.packages.miss(started, ended),
                }
                let told = u128::from(*cpu_time_nanoseconds);
                self.cpu_nanoseconds = Some(self.cpu_nanoseconds.unwrap_or(0).max(told));
                if *complete {
                    if self.timeline.cover(started, ended, &Counters::default()) {
                        self.late.add(started, ended, 0);
                    }
                } else {
                    let reason = "processes of the job may have been missed: all processors are charged";
                    self.timeline.miss(started, ended, reason);
                }
            }
            (Reading::Missing { reason }, _) => self.timeline.miss(started, ended, reason),
            _ => self.timeline.miss(started, ended, "the reading is of another kind than the device"),
        }
    }

    /// Operations per second of the whole device.
    fn peak(&self) -> Result<Flops, String> {
        match &self.speed {
            Speed::Gpu(peak) => peak.seen_at(self.highest_clock_mhz).strict,
            Speed::Cpu { cores, core } => {
                core.strict.clone().map(|core| Flops(core.0.saturating_mul(u128::from(*cores))))
            }
            Speed::Unknown(reason) => Err(reason.clone()),
        }
    }

    pub(super) fn ceiling(&self) -> DeviceCeiling {
        let peak = self.peak();
        let held = self.timeline.held_nanoseconds();
        let mut layers = vec![held_layer(&peak, held)];
        match &self.speed {
            Speed::Gpu(gpu) => layers.extend(self.gpu_layers(&gpu.seen_at(self.highest_clock_mhz), held)),
            Speed::Cpu { cores, core } => layers.push(self.processor_layer(*cores, core)),
            Speed::Unknown(_) => {}
        }
        let layers: Vec<CeilingLayer> = layers.into_iter().map(Layer::into_told).collect();
        // Of equal bounds the later layer, which rests on more readings, is named.
        let proven = layers.iter().rev().filter(|layer| layer.holds_if.is_none());
        let tightest = proven.filter_map(|layer| Some((layer.flop?, &layer.layer))).min_by_key(|bound| bound.0);
        let (flop, layer) = tightest.map(|(flop, layer)| (flop, layer.clone())).unzip();
        let energy = self.energy();
        DeviceCeiling {
            device: self.device.id.clone(),
            name: self.device.name.clone(),
            flop,
            layer,
            held_seconds: seconds(held),
            hold: self.hold(),
            busy_seconds: self.busy.reported_nanoseconds().map(seconds),
            strict_peak: peak.ok(),
            nominal_peak: if let Speed::Gpu(peak) = &self.speed { peak.nominal } else { None },
            energy_joules: energy.as_ref().map(|energy| energy.joules),
            energy,
            assumptions: self.assumptions(),
            layers,
        }
    }

    /// As of a lone segment: which one of its run it is, the run tells.
    fn hold(&self) -> Option<Hold> {
        let (started, ended) = self.timeline.held()?;
        Some(Hold { segment: 1, started: date(started), read_from: None, ended: date(ended), boot: None })
    }

    fn gpu_layers(&self, peak: &GpuPeak, held: u128) -> Vec<Layer> {
        let mut layers: Vec<Layer> = held_at_sixteen_bit(peak, held).into_iter().collect();
        layers.extend(self.busy.layers(peak, held));
        let held_from_until = self.timeline.held();
        let why_missing = || cycles::why_missing(self.driver_version(), self.pipes.problem());
        layers
            .extend(held_from_until.and_then(|held| cycles::layer(self.timeline.counters(), peak, held, why_missing)));
        layers.extend(self.pipes.layers(peak, held));
        layers
    }

    fn driver_version(&self) -> Option<&str> {
        if let DeviceFacts::Gpu(facts) = &self.device.facts { facts.driver_version.as_deref() } else { None }
    }

    /// `cpu`: processor time × peak of one processor, and all processors for time in which processes may have been missed.
    fn processor_layer(&self, cores: u32, core: &CorePeak) -> Layer {
        let (Some(spent), Ok(core)) = (self.cpu_nanoseconds, &core.strict) else {
            let reason = core.strict.as_ref().err().map(String::as_str);
            return Layer::missing("cpu", reason.unwrap_or("no processor time was read"));
        };
        let uncovered = self.timeline.uncovered_nanoseconds();
        let charged = spent.saturating_add(uncovered.saturating_mul(u128::from(cores)));
        let note = format!(
            "processor time of the job's processes × peak of one processor; all {cores} processors are charged for {} s in which processes may have been missed",
            seconds(uncovered)
        );
        Layer::strict("cpu", charge(*core, charged, NANOSECONDS_PER_SECOND), note)
    }

    fn assumptions(&self) -> Vec<String> {
        let mut said = match &self.speed {
            Speed::Gpu(peak) => peak.seen_at(self.highest_clock_mhz).assumptions,
            Speed::Cpu { core, .. } => core.assumptions.clone(),
            Speed::Unknown(reason) => vec![reason.clone()],
        };
        said.extend(self.energy_notes());
        said.extend(self.unlisted_note());
        said
    }

    /// A clock that neither the table nor the driver knew of: whoever compares the peak with a data sheet has to know.
    pub(super) fn clock_finding(&self) -> Option<Finding> {
        let Speed::Gpu(GpuPeak { rate: Some(rate), .. }) = &self.speed else { return None };
        let (seen, told) = (self.highest_clock_mhz, rate.clock_mhz);
        let text = format!(
            "{} ({}): its clock was seen at {seen} MHz, above the {told} MHz that are its maximum by the driver and the GPU table: its strict \
             peak is taken at what was seen; is the board overclocked?",
            self.device.name, self.device.id
        );
        (seen > told).then(|| Finding { code: "clock-above-maximum".to_owned(), text })
    }

    /// Late readings past those that are listed one by one.
    fn unlisted_note(&self) -> Option<String> {
        let unlisted = Some(self.late.unlisted_nanoseconds()).filter(|&nanoseconds| nanoseconds > 0)?;
        Some(format!("more readings came late than are listed among the gaps: {} s besides", seconds(unlisted)))
    }

    /// Time that no reading covers or that was read late, in order, and what of it is charged.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let holes = self.timeline.uncovered();
        let holes =
            holes.into_iter().map(|hole| (hole.started, hole.ended, length(hole.started, hole.ended), hole.reason));
        let why = if self.is_gpu() { LATE_GPU } else { LATE_PROCESSORS };
        let late = self.late.stretches().map(|(started, late)| (started, late.ended, late.charged, why.to_owned()));
        let mut stretches: Vec<_> = holes.chain(late).collect();
        stretches.sort_by_key(|&(started, ..)| started);
        let peak = self.peak().ok();
        let gap = |(started, ended, charged, reason)| Gap {
            device: self.device.id.clone(),
            started: date(started),
            duration_seconds: seconds(length(started, ended)),
            reason,
            charged: peak.map(|peak| charge(peak, charged, NANOSECONDS_PER_SECOND)),
        };
        stretches.into_iter().map(gap).collect()
    }
}

/// Nanoseconds of a reading's time that none of its busy shares covers.
fn untold(nanoseconds: u64, reading: &GpuReading) -> u128 {
    let microseconds: u128 = reading.busy.iter().flatten().map(|stretch| u128::from(stretch.microseconds)).sum();
    u128::from(nanoseconds).saturating_sub(microseconds.saturating_mul(1000))
}

fn counters(started: i128, ended: i128, reading: &GpuReading) -> Counters {
    let counted = |value| Counted::reading(started, ended, value);
    Counters {
        energy: EnergyReadings::reading(ended, reading.energy_millijoules, reading.power_milliwatts),
        cycles_elapsed: counted(reading.cycles.map(|cycles| cycles.elapsed)),
        cycles_active: counted(reading.cycles.map(|cycles| cycles.active)),
    }
}

/// L0: held time × strict peak.
fn held_layer(peak: &Result<Flops, String>, held: u128) -> Layer {
    match peak {
        Ok(peak) => {
            Layer::strict("L0", charge(*peak, held, NANOSECONDS_PER_SECOND), "time held × strict peak".to_owned())
        }
        Err(reason) => Layer::missing("L0", reason),
    }
}

/// L0p: the same at the rate of 16-bit products, where the chip has such a rate.
fn held_at_sixteen_bit(peak: &GpuPeak, held: u128) -> Option<Layer> {
    let rate = peak.rate?;
    let per_second = rate.per_second(rate.sixteen_bit_flop_per_clock?);
    let note = "L0 at the rate of bf16 in place of the chip's fastest format".to_owned();
    Some(Layer::strict("L0p", charge(per_second, held, NANOSECONDS_PER_SECOND), note).if_sixteen_bit())
}
