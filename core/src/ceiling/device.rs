//! One device: what its samples add up to, and the layers that follow.

use super::exact::{charge, seconds};
use super::processor::{CorePeak, core_peak};
use super::timeline::{Energy, Timeline, date, nanoseconds};
use crate::gpu_table::{GpuPeak, GpuTable};
use crate::run::{CeilingLayer, DeviceCeiling, Gap};
use crate::sample::{Device, DeviceFacts, GpuReading, Reading, Sample};
use crate::unit::{Flops, Joules};

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;
const NANOSECONDS_PER_MICROSECOND: u128 = 1_000;

#[derive(Clone, Debug)]
pub(super) struct DeviceMeter {
    device: Device,
    speed: Speed,
    pub(super) timeline: Timeline,
    busy: Busy,
    /// Highest cumulative processor time that was told.
    cpu_nanoseconds: Option<u128>,
}

/// How fast the device can be.
#[derive(Clone, Debug)]
enum Speed {
    Gpu(GpuPeak),
    Cpu { cores: u32, core: CorePeak },
    Unknown(String),
}

/// Sums over the stretches for which the driver told a busy share, in microseconds times per cent.
#[derive(Clone, Debug, Default)]
struct Busy {
    told: bool,
    microseconds: u128,
    /// Time proven idle: with whole percentages rounded up and one point added, a stretch at `p` per cent proves `99 - p`.
    idle: u128,
    reported: u128,
}

impl Busy {
    fn add(&mut self, reading: &GpuReading) {
        for stretch in reading.busy.iter().flatten() {
            let length = u128::from(stretch.microseconds);
            self.told = true;
            self.microseconds = self.microseconds.saturating_add(length);
            self.idle = self.idle.saturating_add(length * u128::from(99_u32.saturating_sub(stretch.percent)));
            self.reported = self.reported.saturating_add(length * u128::from(stretch.percent.min(100)));
        }
    }
}

impl DeviceMeter {
    pub(super) fn new(device: Device, table: &GpuTable) -> Self {
        let speed = match &device.facts {
            DeviceFacts::Gpu(facts) => Speed::Gpu(table.peak(&device.name, facts)),
            DeviceFacts::Cpu(facts) => Speed::Cpu { cores: facts.logical_cores, core: core_peak(facts) },
            DeviceFacts::Unreadable { reason } => Speed::Unknown(reason.clone()),
        };
        Self { device, speed, timeline: Timeline::default(), busy: Busy::default(), cpu_nanoseconds: None }
    }

    pub(super) fn is_gpu(&self) -> bool {
        matches!(self.speed, Speed::Gpu(_))
    }

    pub(super) fn add(&mut self, sample: &Sample) {
        let started = nanoseconds(sample.started);
        let ended = started + i128::from(sample.duration_nanoseconds);
        match (&sample.reading, &self.speed) {
            (Reading::Gpu(reading), Speed::Gpu(_)) => {
                if self.timeline.cover(started, ended, Energy::reading(reading.energy_millijoules)) {
                    self.busy.add(reading);
                }
            }
            (Reading::Cpu { cpu_time_nanoseconds, complete }, Speed::Cpu { .. }) => {
                let told = u128::from(*cpu_time_nanoseconds);
                self.cpu_nanoseconds = Some(self.cpu_nanoseconds.unwrap_or(0).max(told));
                if *complete {
                    self.timeline.cover(started, ended, Energy::default());
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
            Speed::Gpu(peak) => peak.strict.clone(),
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
            Speed::Gpu(_) => layers.push(self.busy_layer(&peak, held)),
            Speed::Cpu { cores, core } => layers.push(self.processor_layer(*cores, core)),
            Speed::Unknown(_) => {}
        }
        // Of equal bounds the later layer, which rests on more readings, is named.
        let tightest =
            layers.iter().rev().filter_map(|layer| Some((layer.flop?, &layer.layer))).min_by_key(|bound| bound.0);
        let (flop, layer) = tightest.map(|(flop, layer)| (flop, layer.clone())).unzip();
        DeviceCeiling {
            device: self.device.id.clone(),
            name: self.device.name.clone(),
            flop,
            layer,
            held_seconds: seconds(held),
            busy_seconds: self.busy.told.then(|| seconds(self.busy.reported * NANOSECONDS_PER_MICROSECOND / 100)),
            strict_peak: peak.ok(),
            nominal_peak: if let Speed::Gpu(peak) = &self.speed { peak.nominal } else { None },
            energy_joules: self.energy(),
            assumptions: self.assumptions(),
            layers,
        }
    }

    /// L1: (held time − time proven idle) × strict peak. Whatever no reading covers is charged as busy, so that a lost reading
    /// can only raise the bound.
    fn busy_layer(&self, peak: &Result<Flops, String>, held: u128) -> CeilingLayer {
        let layer = |flop, note: String| CeilingLayer { layer: "L1".to_owned(), flop, note };
        let peak = match peak {
            Ok(peak) => *peak,
            Err(reason) => return layer(None, reason.clone()),
        };
        if !self.busy.told {
            return layer(None, "the driver did not tell the busy share of this device".to_owned());
        }
        let told = self.busy.microseconds.saturating_mul(NANOSECONDS_PER_MICROSECOND);
        if told > held {
            return layer(
                None,
                "the busy shares cover more time than the device was held: they are not believed".to_owned(),
            );
        }
        let charged = held.saturating_mul(100) - self.busy.idle * NANOSECONDS_PER_MICROSECOND;
        let note = format!(
            "time held × strict peak × busy share, one point added to each whole percentage; {} s without a busy share are charged as busy",
            seconds(held - told)
        );
        layer(Some(charge(peak, charged, 100 * NANOSECONDS_PER_SECOND)), note)
    }

    /// `cpu`: processor time × peak of one processor, and all processors for time in which processes may have been missed.
    fn processor_layer(&self, cores: u32, core: &CorePeak) -> CeilingLayer {
        let layer = |flop, note: String| CeilingLayer { layer: "cpu".to_owned(), flop, note };
        let (Some(spent), Ok(core)) = (self.cpu_nanoseconds, &core.strict) else {
            let reason = core.strict.as_ref().err().cloned();
            return layer(None, reason.unwrap_or_else(|| "no processor time was read".to_owned()));
        };
        let uncovered = self.timeline.uncovered_nanoseconds();
        let charged = spent.saturating_add(uncovered.saturating_mul(u128::from(cores)));
        let note = format!(
            "processor time of the job's processes × peak of one processor; all {cores} processors are charged for {} s in which processes may have been missed",
            seconds(uncovered)
        );
        layer(Some(charge(*core, charged, NANOSECONDS_PER_SECOND)), note)
    }

    pub(super) fn energy(&self) -> Option<Joules> {
        self.timeline.energy().millijoules().map(Joules::from_millijoules)
    }

    fn assumptions(&self) -> Vec<String> {
        let mut said = match &self.speed {
            Speed::Gpu(peak) => peak.assumptions.clone(),
            Speed::Cpu { core, .. } => core.assumptions.clone(),
            Speed::Unknown(reason) => vec![reason.clone()],
        };
        if self.is_gpu() {
            let energy = self.timeline.energy();
            if energy.millijoules().is_none() {
                said.push("energy is missing: the device's energy counter was not read".to_owned());
            } else if energy.fell() {
                said.push(
                    "the energy counter fell, as after a driver reload: what it lost is not in the sum".to_owned(),
                );
            }
        }
        said
    }

    /// Time that no reading covers, and what it is charged.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let peak = self.peak().ok();
        let gap = |started, ended: i128, reason| {
            let length = u128::try_from(ended - started).unwrap_or(0);
            Gap {
                device: self.device.id.clone(),
                started: date(started),
                duration_seconds: seconds(length),
                reason,
                charged: peak.map(|peak| charge(peak, length, NANOSECONDS_PER_SECOND)),
            }
        };
        self.timeline.uncovered().into_iter().map(|hole| gap(hole.started, hole.ended, hole.reason)).collect()
    }
}

/// L0: held time × strict peak.
fn held_layer(peak: &Result<Flops, String>, held: u128) -> CeilingLayer {
    let (flop, note) = match peak {
        Ok(peak) => (Some(charge(*peak, held, NANOSECONDS_PER_SECOND)), "time held × strict peak".to_owned()),
        Err(reason) => (None, reason.clone()),
    };
    CeilingLayer { layer: "L0".to_owned(), flop, note }
}
