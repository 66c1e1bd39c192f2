//! The watch on systemic risk: everything behind the result against the presumption, and the clock of the notification.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::base_facts::BaseFacts;
use super::known::Truth;
use super::verdict::Judgement;
use super::yardstick::{Amounts, Yardstick};
use super::{AnswerKey, Citation, Question, Status, Verdict};
use crate::rules::{FigureKey, Fraction};
use crate::unit::Flops;

/// Cumulative compute of the result against the presumption of systemic risk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemicRiskWatch {
    /// What the watch says.
    pub state: WatchState,
    /// The base's compute; `None` if it is not known.
    pub base_compute: Option<Flops>,
    /// The modification's own cumulative compute; `None` if it was not counted.
    pub own_compute: Option<Flops>,
    /// Compute behind weights that were merged in; `None` where nothing was.
    pub merged_compute: Option<Flops>,
    /// The sum of what is known.
    pub total: Flops,
    /// Whether everything in it is known and firm; else the sum is a lower bound.
    pub complete: bool,
    /// Compute at which systemic risk is presumed.
    pub threshold: Flops,
    /// The sum's share of it in per cent, two digits.
    pub share_percent: Option<String>,
    /// Where the presumption stands.
    pub citation: Citation,
    /// The clock of the notification, where it may be running.
    pub clock: Option<NotificationClock>,
}

/// What the watch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchState {
    /// Everything is known, and not over the presumption.
    Below,
    /// Not over it as far as is known; something is missing.
    Unknown,
    /// The base has no systemic risk by itself, and the sum is over the presumption.
    OverBySum,
    /// The base alone is over the presumption, and it is declared to have no systemic risk.
    BaseDenied,
    /// The base has systemic risk.
    BaseHasIt,
}

/// Time to notify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationClock {
    /// Whether the duty follows already, or only if open questions are answered one way.
    pub conditional: bool,
    /// The day on which the condition was met; `None` if neither the runs nor anybody tells.
    pub condition_met: Option<NaiveDate>,
    /// Who or what says so.
    pub condition_met_by: Option<String>,
    /// The day from which the days count: on which the condition was met, or the first day of the duty if that is later.
    #[serde(default)]
    pub counted_from: Option<NaiveDate>,
    /// Days there are.
    pub days: u64,
    /// The last day.
    pub notify_by: Option<NaiveDate>,
    /// Whether that is past on the day of the assessment.
    pub overdue: bool,
    /// Where the duty stands.
    pub citation: Citation,
}

/// The duty whose clock this is, in the rule set.
pub(super) const NOTIFICATION: &str = "systemic-risk-notification";

/// What the watch looks at.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a, 'r> {
    pub(super) question: &'a Question<'a>,
    pub(super) base: Option<&'a BaseFacts<'a>>,
    pub(super) judgement: &'a Judgement,
    pub(super) headline: Option<&'a Yardstick<'r>>,
}

impl Watched<'_, '_> {
    fn threshold(&self) -> Flops {
        self.question.rules.flop_figure(FigureKey::SystemicRiskPresumption)
    }

    fn base_compute(&self) -> Flops {
        self.base.and_then(|base| base.flop).unwrap_or_default()
    }

    fn behind(&self) -> Flops {
        self.base_compute() + self.question.spent.merged.unwrap_or_default()
    }

    fn own(&self) -> Flops {
        let spent = &self.question.spent;
        spent.cumulative.max(spent.training).unwrap_or_default()
    }

    /// Everything together is over the presumption, strictly.
    pub(super) fn crosses(&self) -> bool {
        self.behind() + self.own() > self.threshold()
    }

    /// The watch, once the status is known; `risk` is whether the result has systemic risk, `applies_from` the first day of
    /// the duty to notify.
    pub(super) fn watch(&self, status: Status, risk: Truth, applies_from: Option<NaiveDate>) -> SystemicRiskWatch {
        let (rules, spent) = (self.question.rules, &self.question.spent);
        let total = self.behind() + self.own();
        let firm = self.base.is_some_and(|base| base.flop.is_some() && base.bound == crate::registry::FlopBound::Point);
        let complete = firm && spent.complete && spent.cumulative.is_some() && !spent.merged_is_lower_bound;
        let is_denied = self.base.is_some_and(|base| base.risk_is_denied);
        let state = match self.base.and_then(|base| base.has_systemic_risk) {
            Some(true) if !is_denied => WatchState::BaseHasIt,
            _ if self.base_compute() > self.threshold() => WatchState::BaseDenied,
            _ if self.crosses() => WatchState::OverBySum,
            _ if complete => WatchState::Below,
            _ => WatchState::Unknown,
        };
        let figure = rules.figure(FigureKey::SystemicRiskPresumption);
        SystemicRiskWatch {
            state,
            base_compute: self.base.and_then(|base| base.flop),
            own_compute: spent.cumulative.or(spent.training),
            merged_compute: spent.merged,
            total,
            complete,
            threshold: self.threshold(),
            share_percent: Fraction::decimal(total, 100, self.threshold().0, 2),
            citation: rules.citation(&figure.cite),
            clock: self.clock(state, status, risk, applies_from),
        }
    }

    /// The clock runs where the result is over by the sum, and where a base with systemic risk was modified over its line.
    fn clock(
        &self,
        state: WatchState,
        status: Status,
        risk: Truth,
        applies_from: Option<NaiveDate>,
    ) -> Option<NotificationClock> {
        let met = match state {
            WatchState::OverBySum => true,
            WatchState::BaseHasIt | WatchState::BaseDenied => {
                self.judgement.verdict == Verdict::Exceeds || status == Status::Provider
            }
            WatchState::Below | WatchState::Unknown => false,
        };
        // The original provider's own work is part of the same model's life, whose compute it has to watch to the end.
        let is_original = self.question.answers.value(AnswerKey::ActsForOriginalProvider) == Some(true);
        let by_original = is_original && state == WatchState::OverBySum;
        if !met || status == Status::NotProvider && !by_original {
            return None;
        }
        let row = self.question.rules.figure(FigureKey::NotificationPeriod);
        let days = u64::try_from(row.value).unwrap_or(u64::MAX);
        let (condition_met, condition_met_by) = self.condition(state).unzip();
        // Nobody is late with a duty before its first day.
        let counted_from = condition_met.map(|met: NaiveDate| applies_from.map_or(met, |first| met.max(first)));
        let notify_by = counted_from.and_then(|day| day.checked_add_days(Days::new(days)));
        Some(NotificationClock {
            conditional: !by_original && (status != Status::Provider || risk != Truth::Yes),
            condition_met,
            condition_met_by,
            counted_from,
            days,
            notify_by,
            overdue: notify_by.is_some_and(|last| last < self.question.as_of),
            citation: self.question.rules.citation(&row.cite),
        })
    }

    /// The day on which the condition was met: declared, else when the runs crossed.
    fn condition(&self, state: WatchState) -> Option<(NaiveDate, String)> {
        let declared = self.question.answers.get(AnswerKey::SystemicRiskConditionDate);
        if let Some((answer, day)) = declared.and_then(|answer| Some((answer, answer.value.day()?))) {
            return Some((day, format!("declared by {}", answer.by)));
        }
        let crossed = |amounts: Amounts| match state {
            WatchState::OverBySum => self.behind() + amounts.cumulative > self.threshold(),
            _ => self.headline.is_some_and(|line| line.verdict(amounts) == Verdict::Exceeds),
        };
        let mut amounts = Amounts::both(Flops::ZERO);
        let mut days: Vec<_> = self.question.spent.by_day.iter().collect();
        days.sort_by_key(|work| work.day);
        for work in days {
            amounts.training += work.training;
            amounts.cumulative += work.cumulative;
            if crossed(amounts) {
                return Some((work.day, "the end of the run that crossed it".to_owned()));
            }
        }
        None
    }
}
