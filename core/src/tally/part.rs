//! The runs of one job on several nodes, counted together while they go on.
//!
//! Read back, their entries go through one tally. While they go on each has its own, and what it takes to know what all of them come to is
//! kept beside each sum: only together do they tell whether all ranks of the job were heard.

use std::collections::BTreeMap;

use super::completeness::{Spoken, missing_ranks};
use super::launched::{Site, unmetered};
use super::segments::{Span, launches};
use super::{Connection, ConnectionKey, DEVICES_REPLAYED, Tally};
use crate::facts::Phase;
use crate::run::{Ceiling, PhaseSummary, RunFlops, RunState, RunSummary, RunTokens, Term};
use crate::unit::Tokens;

/// One run of a job with several.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    sums: RunSummary,
    /// Nothing is missing of it but what other parts may have.
    is_sound: bool,
    /// A model was told of.
    has_models: bool,
    /// Its hardware was read to the end.
    was_read: bool,
    segments: Vec<Span>,
    /// Where each of them ran, and what its processes were told there.
    sites: Vec<Site>,
    /// Each hook that spoke, in which segment (counted from 1).
    spoken: Vec<Spoken>,
}

impl Tally {
    /// This run as a part of its job; `sums` is what it comes to, with its ceiling where that is asked for.
    pub fn part(&self, sums: RunSummary) -> Part {
        let replayed = self.findings.iter().any(|finding| finding.code == DEVICES_REPLAYED);
        let spoke = |(key, connection): (&ConnectionKey, &Connection)| Spoken {
            launch: 0,
            segment: key.0,
            rank: connection.rank,
            world_size: connection.world_size,
        };
        Part {
            is_sound: self.lacks_nothing_of_its_own(),
            has_models: !self.models.is_empty(),
            was_read: self.segments.ceiling().complete && !self.left_running && !replayed,
            segments: self.segments.spans(),
            sites: self.segments.sites().cloned().collect(),
            spoken: self.connections.iter().map(spoke).collect(),
            sums,
        }
    }
}

impl Part {
    /// Whether it is of a job that was named.
    pub fn job(&self) -> Option<&str> {
        self.sums.job.as_deref()
    }

    /// What it comes to by itself.
    pub const fn alone(&self) -> &RunSummary {
        &self.sums
    }

    /// What the parts of one job come to, as one run: sums, whether they are complete, and the ceiling. The last part may be going on
    /// where it is counted, so that what is counted so far is complete; `None` for no parts.
    pub fn together(parts: &[&Self]) -> Option<RunSummary> {
        let (first, last) = (parts.first()?, parts.last()?);
        let mut opened = first.segments.len();
        let mut sums = first.sums.clone();
        for part in parts.iter().skip(1) {
            sums = plus(sums, &part.sums, opened);
            opened += part.segments.len();
        }
        let open = |part: &Self| part.segments.iter().filter(|(_, end)| end.is_none()).count();
        let goes_on: usize = parts.iter().map(|part| open(part)).sum();
        let last_goes_on = usize::from(last.segments.last().is_some_and(|(_, end)| end.is_none()));
        let is_cut = goes_on > last_goes_on;
        let silent = silent_ranks(parts);
        sums.complete = parts.iter().any(|part| part.has_models)
            && parts.iter().all(|part| part.is_sound)
            && !is_cut
            && (goes_on > 0 || silent == 0);
        sums.ceiling.complete = parts.iter().all(|part| part.was_read) && silent == 0 && !is_cut && !lacks_nodes(parts);
        sums.state = if goes_on > 0 { RunState::Open } else { RunState::Closed };
        sums.ended = sums.ended.filter(|_| goes_on == 0);
        Some(sums)
    }

    /// The same of parts that others record: of one that goes on, the rest is missing here.
    fn read_together(parts: &[&Self]) -> Option<RunSummary> {
        if let [only] = parts {
            return Some(only.sums.clone());
        }
        let mut sums = Self::together(parts)?;
        if sums.state == RunState::Open {
            (sums.complete, sums.ceiling.complete) = (false, false);
        }
        Some(sums)
    }

    /// All runs with those of one job together, each job at the place of its first.
    pub fn by_job<'p>(parts: impl IntoIterator<Item = &'p Self>) -> Vec<RunSummary> {
        let mut groups: Vec<Vec<&Self>> = Vec::new();
        for part in parts {
            match groups
                .iter_mut()
                .find(|group| part.job().is_some() && group.first().is_some_and(|it| it.job() == part.job()))
            {
                Some(group) => group.push(part),
                None => groups.push(vec![part]),
            }
        }
        groups.into_iter().filter_map(|group| Self::read_together(&group)).collect()
    }
}

/// Whether something was launched that none of the parts' nodes has.
fn lacks_nodes(parts: &[&Part]) -> bool {
    let spans: Vec<Span> = parts.iter().flat_map(|part| part.segments.iter().copied()).collect();
    let sites = parts.iter().flat_map(|part| &part.sites);
    !unmetered(launches(&spans).into_iter().zip(sites)).is_empty()
}

/// Ranks that none of the parts has heard.
fn silent_ranks(parts: &[&Part]) -> u64 {
    let spans: Vec<Span> = parts.iter().flat_map(|part| part.segments.iter().copied()).collect();
    let launches = launches(&spans);
    let mut before = 0;
    let mut spoken = Vec::new();
    for part in parts {
        for hook in &part.spoken {
            let segment = before + hook.segment;
            let launch = segment.checked_sub(1).and_then(|index| launches.get(index)).copied().unwrap_or(0);
            spoken.push(Spoken { launch, segment, ..*hook });
        }
        before += part.segments.len();
    }
    missing_ranks(spoken.into_iter())
}

/// Adds a part whose segments follow on so many.
fn plus(mut sum: RunSummary, part: &RunSummary, opened: usize) -> RunSummary {
    sum.started = sum.started.min(part.started);
    sum.ended = sum.ended.max(part.ended);
    sum.flops = match (sum.flops, part.flops) {
        (Some(left), Some(right)) => Some(RunFlops {
            forward: left.forward + right.forward,
            backward: left.backward + right.backward,
            recompute: left.recompute + right.recompute,
            training: left.training + right.training,
            executed: left.executed + right.executed,
        }),
        (left, right) => left.or(right),
    };
    sum.phases = phases(&sum.phases, &part.phases);
    let of_training = sum.phases.iter().find(|phase| phase.phase == Phase::Training);
    sum.tokens = of_training.map_or_else(RunTokens::default, |phase| phase.tokens);
    sum.ceiling = ceiling(sum.ceiling, &part.ceiling, opened);
    sum
}

fn phases(left: &[PhaseSummary], right: &[PhaseSummary]) -> Vec<PhaseSummary> {
    let mut all: BTreeMap<Phase, PhaseSummary> = left.iter().map(|phase| (phase.phase, phase.clone())).collect();
    for phase in right {
        all.entry(phase.phase)
            .and_modify(|sum| {
                sum.passes = sum.passes.saturating_add(phase.passes);
                sum.tokens = tokens(sum.tokens, phase.tokens);
                sum.forward += phase.forward;
                sum.backward += phase.backward;
                sum.recompute += phase.recompute;
                sum.terms = terms(&sum.terms, &phase.terms);
            })
            .or_insert_with(|| phase.clone());
    }
    all.into_values().collect()
}

fn tokens(left: RunTokens, right: RunTokens) -> RunTokens {
    let sum = |left: Tokens, right: Tokens| Tokens(left.0.saturating_add(right.0));
    RunTokens { fed: sum(left.fed, right.fed), real: left.real.zip(right.real).map(|(left, right)| sum(left, right)) }
}

fn terms(left: &[Term], right: &[Term]) -> Vec<Term> {
    let mut all: BTreeMap<String, Term> = left.iter().map(|term| (term.name.clone(), term.clone())).collect();
    for term in right {
        all.entry(term.name.clone())
            .and_modify(|sum| {
                sum.forward += term.forward;
                sum.backward += term.backward;
                sum.recompute += term.recompute;
            })
            .or_insert_with(|| term.clone());
    }
    all.into_values().collect()
}

fn ceiling(mut sum: Ceiling, part: &Ceiling, opened: usize) -> Ceiling {
    sum.flop = sum.flop.zip(part.flop).map(|(left, right)| left + right);
    sum.complete &= part.complete;
    if sum.layer != part.layer {
        sum.layer = Some("mixed".to_owned());
    }
    let opened = u32::try_from(opened).unwrap_or(u32::MAX);
    sum.devices.extend(part.devices.iter().cloned().map(|mut device| {
        if let Some(hold) = &mut device.hold {
            hold.segment = hold.segment.saturating_add(opened);
        }
        device
    }));
    sum
}
