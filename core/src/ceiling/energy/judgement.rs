//! Which of the two figures is told, and what a reader has to know of the other.

use super::{Area, EnergyReadings, MOST_MILLIWATTS, most_millijoules};
use crate::ceiling::exact::seconds;
use crate::run::EnergySource;
use crate::unit::Joules;

/// A counter stands still, and is no late one, if it did in so many intervals.
const STILL_INTERVALS: u64 = 3;
/// The figures are compared from this time on: below it, sensors and steps of the counter explain more.
const COMPARED_FROM: u128 = 60_000_000_000;
/// Greatest difference that is no finding, in per cent of the integral.
const TOLERANCE_PERCENT: u128 = 5;

/// The counter may tell so much time's energy late.
const TOLD_LATE: u128 = 1_000_000_000;

/// An energy, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ceiling) struct Figure {
    pub(in crate::ceiling) joules: Joules,
    pub(in crate::ceiling) source: EnergySource,
    /// Time that it covers.
    pub(in crate::ceiling) nanoseconds: u128,
}

/// What a board's readings add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ceiling) struct Judgement {
    /// `None` where nothing can be said; never zero for a board that was not read.
    pub(in crate::ceiling) figure: Option<Figure>,
    pub(in crate::ceiling) counter: Option<Joules>,
    pub(in crate::ceiling) integral: Option<Joules>,
    /// What has to be said of the figure, without naming the device.
    pub(in crate::ceiling) note: Option<String>,
    /// Code of the finding that the note is; `None` where it is only a remark.
    pub(in crate::ceiling) finding: Option<&'static str>,
}

/// A reason for not believing the counter.
enum Fault {
    Still,
    Fell,
    Leapt,
    Differs,
}

impl Fault {
    const fn code(&self) -> &'static str {
        match self {
            Self::Still => "energy-counter-still",
            Self::Fell => "energy-counter-fell",
            Self::Leapt => "energy-counter-leapt",
            Self::Differs => "energy-counter-differs",
        }
    }
}

impl EnergyReadings {
    pub(in crate::ceiling) fn judge(&self) -> Judgement {
        let counter = (self.counted_nanoseconds() > 0).then(|| joules(self.risen));
        let integral = (self.power.nanoseconds > 0).then(|| joules(self.power.millijoules()));
        let told = |source| match source {
            EnergySource::Counter => {
                counter.map(|joules| Figure { joules, source, nanoseconds: self.counted_nanoseconds() })
            }
            EnergySource::PowerIntegral => {
                integral.map(|joules| Figure { joules, source, nanoseconds: self.power.nanoseconds })
            }
        };
        let judgement = |source: Option<EnergySource>, note: Option<String>, finding: Option<&'static str>| {
            let notes: Vec<String> = note.into_iter().chain(self.impossible_power()).collect();
            Judgement {
                figure: source.and_then(told).filter(|figure| figure.joules > Joules::default()),
                counter,
                integral,
                note: Some(notes.join("; ")).filter(|note| !note.is_empty()),
                finding: finding.or((self.impossible > 0).then_some("energy-power-impossible")),
            }
        };
        let Some(fault) = self.fault() else {
            return self.without_fault(judgement);
        };
        let source = match fault {
            Fault::Still | Fault::Fell if self.is_short() => EnergySource::PowerIntegral,
            Fault::Leapt => EnergySource::PowerIntegral,
            _ => EnergySource::Counter,
        };
        judgement(Some(source), Some(self.explain(&fault, source)), Some(fault.code()))
    }

    fn without_fault(
        &self,
        judgement: impl Fn(Option<EnergySource>, Option<String>, Option<&'static str>) -> Judgement,
    ) -> Judgement {
        let has_integral = self.power.millijoules() > 0;
        match (self.ticks, self.risen) {
            (Some(_), 1..) => {
                let caught_up = (self.still_intervals >= STILL_INTERVALS).then(|| {
                    format!(
                        "the energy counter was renewed late, in all for {} s, and caught up",
                        seconds(self.still.nanoseconds)
                    )
                });
                judgement(Some(EnergySource::Counter), caught_up, None)
            }
            (Some(_), 0) if has_integral => {
                let note = "the energy counter did not move in so short a time: power × time is told".to_owned();
                judgement(Some(EnergySource::PowerIntegral), Some(note), None)
            }
            (None, _) if has_integral => {
                let note = "the device's energy counter was not read: power × time is told".to_owned();
                judgement(Some(EnergySource::PowerIntegral), Some(note), None)
            }
            (Some((first, last)), _) if first.at < last.at => {
                let note = "energy is missing: the device's counter did not move and no power was read; a board that is on draws some";
                judgement(None, Some(note.to_owned()), None)
            }
            (Some(_), _) => {
                let note = "energy is missing: the device's energy counter was read only once";
                judgement(None, Some(note.to_owned()), None)
            }
            (None, _) => {
                let note =
                    "energy is missing: neither the device's energy counter nor its power was read over any time";
                judgement(None, Some(note.to_owned()), None)
            }
        }
    }

    fn fault(&self) -> Option<Fault> {
        if self.risen > most_millijoules(self.counted_nanoseconds().saturating_add(TOLD_LATE)) {
            return Some(Fault::Leapt);
        }
        if self.falls > 0 {
            return Some(Fault::Fell);
        }
        let is_still = self.still_intervals >= STILL_INTERVALS && (self.risen == 0 || self.is_short());
        if is_still {
            return Some(Fault::Still);
        }
        (self.compared.nanoseconds >= COMPARED_FROM && self.differs()).then_some(Fault::Differs)
    }

    fn impossible_power(&self) -> Option<String> {
        let said = || {
            format!(
                "{} readings of more than {} W, which no board draws, are in no figure",
                self.impossible,
                MOST_MILLIWATTS / 1000
            )
        };
        (self.impossible > 0).then(said)
    }

    /// Whether the counter lacks more than the tolerance of what power × time says of the same time.
    fn is_short(&self) -> bool {
        let by = self.compared.millijoules().saturating_sub(self.compared_risen);
        (self.risen == 0 && self.power.millijoules() > 0) || is_much(by, self.compared)
    }

    fn differs(&self) -> bool {
        is_much(self.compared.millijoules().abs_diff(self.compared_risen), self.compared)
    }

    /// Both figures over the same time, which one is told, and why.
    fn explain(&self, fault: &Fault, source: EnergySource) -> String {
        let what = match fault {
            Fault::Still => format!(
                "the energy counter stood still for {} s ({} readings) while the board drew power",
                seconds(self.still.nanoseconds),
                self.still_intervals
            ),
            Fault::Fell => {
                format!(
                    "the energy counter fell, or may have begun anew in a gap ({} times), as after a driver reload",
                    self.falls
                )
            }
            Fault::Leapt => format!(
                "the energy counter rose by {} J in {} s, which no board draws",
                joules(self.risen),
                seconds(self.counted_nanoseconds())
            ),
            Fault::Differs => format!("the energy counter and power × time differ by more than {TOLERANCE_PERCENT} %"),
        };
        let over = if self.compared.nanoseconds > 0 {
            format!(
                ": over the same {} s it counted {} J and power × time is {} J",
                seconds(self.compared.nanoseconds),
                joules(self.compared_risen),
                joules(self.compared.millijoules())
            )
        } else {
            ": no power was read to compare it with".to_owned()
        };
        let told = match (fault, source) {
            (Fault::Leapt, _) if self.power.nanoseconds == 0 => "energy is missing",
            (Fault::Leapt, _) => "power × time is told",
            (_, EnergySource::PowerIntegral) => "power × time is told, because the counter lacks energy",
            (Fault::Differs, _) => {
                "the counter is told, because it counts between readings; measure at the plug if the figure matters"
            }
            (_, EnergySource::Counter) => {
                "the counter is told; what it counted between its last reading and the fall is not in it"
            }
        };
        format!("{what}{over}; {told}")
    }
}

fn is_much(difference: u128, of: Area) -> bool {
    difference.saturating_mul(100) > of.millijoules().saturating_mul(TOLERANCE_PERCENT)
}

fn joules(millijoules: u128) -> Joules {
    Joules::from_millijoules(u64::try_from(millijoules).unwrap_or(u64::MAX))
}
