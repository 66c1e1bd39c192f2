//! What a provider owes: the rule set's duties, exemptions and reliefs.

use chrono::NaiveDate;

use super::known::Truth;
use super::status::{Matter, Ruling};
use super::{AnswerKey, Obligation, Relief, Status};
use crate::rules::{ObligationRow, ReliefRow, Subject};

impl Matter<'_> {
    /// Duties of a provider, or of who may turn out to be one.
    pub(super) fn duties(&self, ruling: &Ruling<'_>, as_of: NaiveDate) -> Vec<Obligation> {
        let provider = is_provider(ruling);
        self.known.rules.obligations().iter().filter_map(|row| self.duty(row, provider, as_of)).collect()
    }

    fn duty(&self, row: &ObligationRow, provider: Truth, as_of: NaiveDate) -> Option<Obligation> {
        let in_force = row.from.is_none_or(|from| from <= as_of) && row.until.is_none_or(|until| as_of <= until);
        let truth = self.owed(row, provider).min(Truth::certain(in_force));
        if truth == Truth::No {
            return None;
        }
        let rules = self.known.rules;
        let holding = self.holding_reliefs(row);
        let deferred = self.deferred_until(&holding);
        Some(Obligation {
            code: row.code.clone(),
            citation: rules.citation(&row.cite),
            conditional: truth == Truth::Open,
            says: row.says.clone(),
            limited_to_modification: row.limited_to_modification,
            applies_from: deferred.filter(|day| *day > as_of).or(row.from),
            deferred: deferred.is_some_and(|day| day > as_of),
            reliefs: holding.into_iter().map(|relief| self.relief(relief)).collect(),
        })
    }

    /// The first day on which this duty applies to the model: the row's, or the later one until which a relief puts it off.
    pub(super) fn first_day(&self, code: &str) -> Option<NaiveDate> {
        let row = self.known.rules.obligations().iter().find(|row| row.code == code)?;
        row.from.max(self.deferred_until(&self.holding_reliefs(row)))
    }

    fn holding_reliefs<'b>(&self, row: &'b ObligationRow) -> Vec<&'b ReliefRow>
    where
        Self: 'b,
    {
        self.reliefs_of(row).filter(|relief| self.holds(&relief.when) == Truth::Yes).collect()
    }

    fn deferred_until(&self, reliefs: &[&ReliefRow]) -> Option<NaiveDate> {
        reliefs.iter().filter_map(|relief| self.known.rules.date(relief.defers_to.as_deref()?)).max()
    }

    fn owed(&self, row: &ObligationRow, provider: Truth) -> Truth {
        let subject = match row.applies_to {
            Subject::Provider => provider,
            Subject::SystemicRisk => provider.min(self.known.systemic_risk),
        };
        let stays = row.unless.as_ref().map_or(Truth::Yes, |unless| self.holds(unless).negated());
        subject.min(self.holds(&row.when)).min(stays)
    }

    fn reliefs_of<'b>(&self, row: &'b ObligationRow) -> impl Iterator<Item = &'b ReliefRow>
    where
        Self: 'b,
    {
        self.known.rules.reliefs().iter().filter(|relief| relief.obligations.contains(&row.code))
    }

    fn relief(&self, row: &ReliefRow) -> Relief {
        Relief { code: row.code.clone(), says: row.says.clone(), citation: self.known.rules.citation(&row.cite) }
    }

    /// Questions whose answers could still change what is owed.
    pub(super) fn open_in_duties(&self, ruling: &Ruling<'_>) -> Vec<AnswerKey> {
        let provider = is_provider(ruling);
        let mut open: Vec<AnswerKey> = Vec::new();
        for row in self.known.rules.obligations().iter().filter(|row| self.owed(row, provider) != Truth::No) {
            let conditions =
                std::iter::once(&row.when).chain(&row.unless).chain(self.reliefs_of(row).map(|relief| &relief.when));
            // An exemption that nobody claims does not apply, and yet claiming it would change what is owed.
            let unclaimed = conditions.flat_map(|when| self.open_in(when).into_iter().chain(self.unanswered(when)));
            for key in unclaimed {
                if !open.contains(&key) {
                    open.push(key);
                }
            }
        }
        open
    }

    fn unanswered<'w>(&self, when: &'w crate::rules::When) -> impl Iterator<Item = AnswerKey> + use<'w, '_> {
        when.answers
            .keys()
            .copied()
            .filter(|key| self.known.answers.get(*key).is_none() && self.known.truth(*key) == Truth::Open)
    }
}

const fn is_provider(ruling: &Ruling<'_>) -> Truth {
    match ruling.status {
        Status::Provider => Truth::Yes,
        Status::NotProvider => Truth::No,
        Status::Open => Truth::Open,
    }
}
