//! Readings: ordered, taken, and told as missing where they do not come.

use std::time::Duration;

use flopsmeter_core::sample::{GpuReading, Reading, Sample};

use super::process::ENDED;
use super::{Driver, FIRST_PAUSE, State};
use crate::clock::nanoseconds_since_boot;
use crate::device::cpu::nanoseconds;
use crate::device::nvml::reader::Order;

/// A reading that takes longer than this will not come: the process is given up.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// A daemon that has not pushed for so many periods is asked.
const PUSHES_MISSED: u32 = 5;

/// What was pushed longer ago has another clock.
const OLDEST_PUSHED: Duration = Duration::from_hours(1);

const HANGS: &str = "the NVIDIA driver does not answer: the process that asks it was given up";
const LATE: &str = "the NVIDIA driver did not answer in time";

impl Driver {
    /// Whether an answer is outstanding.
    pub(in crate::sampler) fn is_awaited(&self) -> bool {
        matches!(self.state, State::Listing | State::Joining { .. } | State::Reading) || self.is_recounting()
    }

    /// Whether a reading is outstanding.
    pub(in crate::sampler) const fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading)
    }

    /// The machine was suspended for so long: patience is for who could have answered.
    pub(in crate::sampler) fn forgive(&mut self, suspended: Duration) {
        self.asked_at = self.asked_at.saturating_add(suspended);
        self.ordered_at = self.ordered_at.saturating_add(suspended);
        if let State::Joining { since } = &mut self.state {
            *since = since.saturating_add(suspended);
        }
    }

    /// Orders a reading, unless a daemon pushes them. Where one that was ordered a round before has not come, that time is missing.
    pub(in crate::sampler) fn order(&mut self, now: Duration) -> Vec<Sample> {
        let pushed = |at| now.saturating_sub(at) < self.period.saturating_mul(PUSHES_MISSED);
        if matches!(self.state, State::Idle) && self.is_daemon() && self.pushed_at.is_some_and(pushed) {
            return Vec::new();
        }
        self.order_now(now)
    }

    /// The same, whoever pushes: the last reading has to be made after the job's end.
    pub(in crate::sampler) fn order_now(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Idle if self.watched.is_empty() => Vec::new(),
            State::Idle => {
                if self.order_process(&Order::Read) {
                    self.state = State::Reading;
                    self.ordered_at = now;
                    return Vec::new();
                }
                self.lose_and_miss(ENDED, now)
            }
            State::Joining { since } => {
                if now.saturating_sub(since) >= self.period {
                    self.stay(now);
                }
                Vec::new()
            }
            State::Reading => self.wait_on(now),
            State::Lost { reason, again_at } => {
                if now >= again_at {
                    self.start_again(reason, now);
                }
                self.miss_because(now, reason)
            }
            State::Returning { reason } => {
                if now.saturating_sub(self.ordered_at) >= HANGS_AFTER {
                    self.lose(reason, now);
                }
                self.miss_because(now, reason)
            }
            State::Listing | State::Claimed(_) | State::Over => Vec::new(),
        }
    }

    fn wait_on(&mut self, now: Duration) -> Vec<Sample> {
        let waited = now.saturating_sub(self.ordered_at);
        if waited >= HANGS_AFTER {
            return self.lose_and_miss(HANGS, now);
        }
        if waited < self.period / 2 { Vec::new() } else { self.miss(now) }
    }

    /// The time since the last answer is missing, if one is outstanding.
    pub(in crate::sampler) fn miss(&mut self, now: Duration) -> Vec<Sample> {
        match self.state {
            State::Reading | State::Joining { .. } => self.miss_because(now, LATE),
            State::Lost { reason, .. } | State::Returning { reason } => self.miss_because(now, reason),
            _ => Vec::new(),
        }
    }

    pub(super) fn miss_because(&mut self, now: Duration, reason: &str) -> Vec<Sample> {
        let missing = (0..self.watched.len()).map(|_| Err(reason.to_owned())).collect();
        self.samples(missing, now)
    }

    /// Readings have come. One that comes late covers the time that was not yet told as missing; what it proves idle is no less
    /// proven.
    pub(in crate::sampler) fn taken(
        &mut self,
        readings: Vec<Result<GpuReading, String>>,
        now: Duration,
    ) -> Vec<Sample> {
        if !matches!(self.state, State::Reading) {
            return Vec::new();
        }
        self.state = State::Idle;
        self.pause = FIRST_PAUSE;
        self.look_for_lost_instances(&readings);
        self.samples(readings, now)
    }

    /// A daemon has pushed readings, which were made by then and after it did so before. However late they are taken, they cover
    /// just that time; where that was told as missing meanwhile they are of no more use.
    pub(in crate::sampler) fn pushed(
        &mut self,
        readings: Vec<Result<GpuReading, String>>,
        at_nanoseconds: u64,
        now: Duration,
    ) -> Vec<Sample> {
        let age = Duration::from_nanos(nanoseconds_since_boot().saturating_sub(at_nanoseconds));
        let until = now.saturating_sub(age);
        // A clock that is not ours, as in a time namespace, makes readings that have to be ordered.
        if !matches!(self.state, State::Idle | State::Reading) || age > OLDEST_PUSHED {
            return Vec::new();
        }
        self.pushed_at = Some(now);
        self.look_for_lost_instances(&readings);
        if until <= self.told_until { Vec::new() } else { self.samples(readings, until) }
    }

    fn samples(&mut self, readings: Vec<Result<GpuReading, String>>, until: Duration) -> Vec<Sample> {
        let started = self.clock.at(self.told_until);
        let duration_nanoseconds = nanoseconds(until.saturating_sub(self.told_until));
        self.told_until = self.told_until.max(until);
        let named = self.watched.iter().zip(readings);
        let sample = |(device, reading): (&String, Result<GpuReading, String>)| Sample {
            device: device.clone(),
            started,
            duration_nanoseconds,
            reading: reading.map_or_else(|reason| Reading::Missing { reason }, Reading::Gpu),
        };
        named.map(sample).collect()
    }
}
