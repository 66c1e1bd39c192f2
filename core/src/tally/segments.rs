//! The segments of a run: which of them are open, and what their hardware could have done.

use chrono::{DateTime, Utc};

use super::launched::{Launched, Site, Unmetered, unmetered};
use crate::ceiling::CeilingMeter;
use crate::ledger::body::{LaunchSeen, SegmentClosed, SegmentOpened};
use crate::run::{Ceiling, Finding, Gap};
use crate::sample::Device;
use crate::unit::Joules;

/// All segments that were opened, in that order: one process lifetime on one node each.
#[derive(Debug, Default)]
pub(super) struct Segments {
    opened: Vec<Segment>,
    /// Stands for what an entry before the first one told.
    before: Option<Device>,
}

#[derive(Debug)]
struct Segment {
    /// As its entries call it; a node may open several of one number.
    number: u32,
    /// Its machine, and what launchers told its processes.
    site: Site,
    started: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    ceiling: CeilingMeter,
    is_open: bool,
}

/// When a segment began, and when it ended where it has.
pub(super) type Span = (DateTime<Utc>, Option<DateTime<Utc>>);

/// For each segment the launch that it is of: the nodes of one launch run at the same time, and a job that goes on does so after its end.
pub(super) fn launches(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| spans.get(*index).map(|(started, _)| *started));
    let mut launches = vec![0; spans.len()];
    let (mut launch, mut until) = (0, None);
    for index in order {
        let Some(((started, ended), own)) = spans.get(index).zip(launches.get_mut(index)) else { continue };
        if until.is_some_and(|until| *started > until) {
            launch += 1;
        }
        until = until.max(Some(ended.unwrap_or(DateTime::<Utc>::MAX_UTC)));
        *own = launch;
    }
    launches
}

impl Segment {
    /// What its hardware could have done at most; `opened` is the segment's place in the run, counted from 1.
    fn ceiling(&self, opened: u32) -> Ceiling {
        let mut ceiling = self.ceiling.ceiling();
        for hold in ceiling.devices.iter_mut().filter_map(|device| device.hold.as_mut()) {
            hold.segment = opened;
            hold.boot.clone_from(&self.site.node.1);
            hold.read_from = Some(self.started).filter(|started| *started > hold.started);
        }
        ceiling
    }
}

impl Segments {
    pub(super) fn open(&mut self, at: DateTime<Utc>, opened: &SegmentOpened) {
        let mut ceiling = CeilingMeter::new(Vec::new());
        ceiling.hold(at, at);
        ceiling.announce(self.before.take().into_iter().collect());
        if let Some(began) = opened.held_from {
            ceiling.hold_unmetered(began, at);
        }
        let site = Site { node: (opened.host.clone(), opened.boot.clone()), launched: Launched::default() };
        self.opened.push(Segment { number: opened.segment, site, started: at, ended: None, ceiling, is_open: true });
    }

    /// Nodes end in any order: the segment that is meant is told by its number.
    pub(super) fn close(&mut self, closed: &SegmentClosed) {
        let is_meant = |segment: &&mut Segment| segment.is_open && segment.number == closed.segment;
        let Some(segment) = self.opened.iter_mut().rev().find(is_meant) else { return };
        segment.is_open = false;
        segment.ended = Some(closed.ended);
        segment.ceiling.hold(segment.started, closed.ended);
    }

    /// An entry that cannot be read may have told of devices: the ceiling has no bound.
    pub(super) fn doubt(&mut self, device: Device) {
        match self.opened.last_mut() {
            Some(segment) => segment.ceiling.announce(vec![device]),
            None => self.before = Some(device),
        }
    }

    /// How many were opened, which is the number of the latest when counted from 1.
    pub(super) const fn opened(&self) -> usize {
        self.opened.len()
    }

    pub(super) fn any_open(&self) -> bool {
        self.opened.iter().any(|segment| segment.is_open)
    }

    /// Whether one before the latest has no end on record: another node's goes on, or its meter was killed.
    pub(super) fn any_open_but_latest(&self) -> bool {
        self.opened.split_last().is_some_and(|(_, earlier)| earlier.iter().any(|segment| segment.is_open))
    }

    /// When each began and ended, in the order of opening.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.opened.iter().map(|segment| (segment.started, segment.ended)).collect()
    }

    /// Whether the segment of this number, counted from 1 in the order of opening, has ended.
    pub(super) fn has_ended(&self, opened: usize) -> bool {
        let segment = opened.checked_sub(1).and_then(|index| self.opened.get(index));
        segment.is_none_or(|segment| !segment.is_open)
    }

    /// The hardware that entries without a segment of their own are of.
    pub(super) fn latest(&mut self) -> Option<&mut CeilingMeter> {
        self.opened.last_mut().map(|segment| &mut segment.ceiling)
    }

    /// Of the latest, as entries without a segment of their own are.
    pub(super) fn see_launch(&mut self, seen: &LaunchSeen) {
        if let Some(segment) = self.opened.last_mut() {
            segment.site.launched.see(seen);
        }
    }

    /// Where each ran and what it was told there, in the order of opening.
    pub(super) fn sites(&self) -> impl Iterator<Item = &Site> {
        self.opened.iter().map(|segment| &segment.site)
    }

    /// Launches that are not all on the nodes of these segments.
    pub(super) fn unmetered(&self) -> Vec<Unmetered> {
        unmetered(launches(&self.spans()).into_iter().zip(self.sites()))
    }

    /// What the hardware of all could have done at most.
    pub(super) fn ceiling(&self) -> Ceiling {
        let mut parts = (1..).zip(&self.opened).map(|(opened, segment)| segment.ceiling(opened));
        let Some(first) = parts.next() else { return Ceiling::default() };
        parts.fold(first, |mut sum, part| {
            sum.flop = sum.flop.zip(part.flop).map(|(left, right)| left + right);
            sum.complete &= part.complete;
            if sum.layer != part.layer {
                sum.layer = Some("mixed".to_owned());
            }
            sum.devices.extend(part.devices);
            sum
        })
    }

    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.opened.iter().flat_map(|segment| segment.ceiling.gaps()).collect()
    }

    /// What is to be known of the hardware of each.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.opened.iter().flat_map(|segment| segment.ceiling.findings())
    }

    /// Of the boards, as if no two segments held the same one at the same time.
    pub(super) fn energy(&self) -> Option<Joules> {
        let parts: Option<Vec<Joules>> = self.opened.iter().map(|segment| segment.ceiling.energy()).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.into_iter().sum())
    }
}
