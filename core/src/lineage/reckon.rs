//! The ways to hold what was spent against an original, where the law does not say which holds.

use std::collections::BTreeSet;

use super::Ancestry;
use super::ancestry::{Left, Stage};
use crate::assess::{Reckoning, Spent};
use crate::registry::{Base, ComposedBase, FlopBound, ModifiedBy};
use crate::rules::CumulationKey;
use crate::unit::Flops;

impl Ancestry {
    /// Each way once, the cautious default first: of several that hold the same against the same, the first one stands. `spent` is
    /// the modification's own, `largest_job` that of its largest job.
    pub fn reckon(&self, spent: &Spent, largest_job: Option<&Spent>) -> Vec<Reckoning> {
        let mut ways = self.since_same_original(spent);
        if let Some(original) = self.only_original() {
            ways.extend(self.chain(original, spent));
        } else {
            ways.extend(self.merge(spent));
        }
        if let (Some(job), Some(first)) = (largest_job, ways.first()) {
            let (base, merged) = (first.base.clone(), first.spent.merged);
            let spent = Spent { merged, merged_is_lower_bound: first.spent.merged_is_lower_bound, ..job.clone() };
            ways.push(Reckoning { key: CumulationKey::PerJob, base, spent });
        }
        let by_files = self.by_files(&ways, spent);
        ways.extend(by_files);
        distinct(ways)
    }

    /// The same ways against the smaller figure that a file leaves of an original.
    fn by_files(&self, ways: &[Reckoning], spent: &Spent) -> Vec<Reckoning> {
        let against = |left: &Left| {
            let original = self.originals.get(&left.original)?;
            let smaller = left.smaller(original)?;
            let same = ways.iter().filter(move |way| way.base.as_ref() == Some(original));
            Some(same.map(move |way| self.reckoning(way.key, smaller.clone(), spent, way.spent.clone())))
        };
        self.left.values().filter_map(against).flatten().collect()
    }

    /// For each original, what the modifier itself trained into the result since then.
    fn since_same_original(&self, spent: &Spent) -> Vec<Reckoning> {
        let of_original = |(key, base): (&String, &Base<'static>)| {
            let own = self.own_stages().filter(|stage| stage.originals.contains(key));
            let sum = own.fold(spent.clone(), |sum, stage| sum.and(&stage.spent));
            self.reckoning(CumulationKey::OwnModificationsOfSameOriginal, base.clone(), spent, sum)
        };
        self.originals.iter().map(of_original).collect()
    }

    fn chain(&self, original: &Base<'static>, spent: &Spent) -> Vec<Reckoning> {
        if self.stages.is_empty() {
            return Vec::new();
        }
        let mut ways = vec![
            self.reckoning(CumulationKey::ChainLoaded, self.loaded(), spent, spent.clone()),
            self.reckoning(CumulationKey::ChainOriginal, original.clone(), spent, spent.clone()),
        ];
        if self.stages.values().any(|stage| stage.by == ModifiedBy::Others) {
            let all = self.stages.values().fold(spent.clone(), |sum, stage| sum.and(&stage.spent));
            ways.push(self.reckoning(CumulationKey::ChainWithOthers, original.clone(), spent, all));
        }
        ways
    }

    /// Everything own against several originals: the largest, all together, or the one whose child was named.
    fn merge(&self, spent: &Spent) -> Vec<Reckoning> {
        let all = self.own_stages().fold(spent.clone(), |sum, stage| sum.and(&stage.spent));
        let mut ways = Vec::new();
        // The largest and the sum are at least what is known of them.
        let known: BTreeSet<&String> =
            self.originals.iter().filter(|(_, base)| base.flop().is_some()).map(|(key, _)| key).collect();
        let largest = known.iter().max_by_key(|key| self.originals.get(**key).and_then(Base::flop));
        if let Some(largest) = largest {
            for (key, of) in
                [(CumulationKey::MergeLargest, BTreeSet::from([*largest])), (CumulationKey::MergeSum, known.clone())]
            {
                ways.push(self.reckoning(key, self.at_least(&of), spent, all.clone()));
            }
        }
        if let Some(named) = &self.named {
            let named: BTreeSet<&String> = named.iter().collect();
            ways.push(self.reckoning(CumulationKey::MergeNamed, self.together(&named), spent, all));
        }
        ways
    }

    /// Adds what stands behind the result besides the base and what is held against it: it counts towards the cumulative sum alone.
    fn reckoning(&self, key: CumulationKey, base: Base<'static>, own: &Spent, spent: Spent) -> Reckoning {
        let accounted = base.flop().unwrap_or_default() + cumulative(&spent);
        let whole = self.behind() + cumulative(own);
        let merged = Some(Flops(whole.0.saturating_sub(accounted.0))).filter(|merged| *merged > Flops::ZERO);
        let is_loose = |base: &Base<'_>| base.flop().is_none() || base.flop_bound() == FlopBound::Lower;
        let merged_is_lower_bound =
            !self.is_complete() || self.originals.len() > 1 && self.originals.values().any(is_loose);
        Reckoning { key, base: Some(base), spent: Spent { merged, merged_is_lower_bound, ..spent } }
    }

    /// Everything behind the modification, cumulatively, as far as it is known.
    fn behind(&self) -> Flops {
        let originals: Flops = self.originals.values().filter_map(Base::flop).sum();
        originals + self.surplus() + self.stages.values().map(|stage| cumulative(&stage.spent)).sum()
    }

    fn own_stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.values().filter(|stage| stage.by == ModifiedBy::Us)
    }

    /// The one original, if there is no other.
    fn only_original(&self) -> Option<&Base<'static>> {
        let mut all = self.originals.values();
        all.next().filter(|_| all.next().is_none())
    }

    /// The model that was loaded: the original with what was trained into it since. What counts cumulatively alone is left out, which
    /// makes its line lower rather than higher.
    fn loaded(&self) -> Base<'static> {
        let keys: BTreeSet<&String> = self.originals.keys().collect();
        let trained: Flops = self.stages.values().filter_map(|stage| stage.spent.training).sum();
        let stages = self.stages.values().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", ");
        let originals = self.compose(&keys);
        Base::Composed(Box::new(ComposedBase {
            name: self.loaded.clone(),
            flop: originals.flop.map(|flop| flop + trained),
            flop_bound: if self.is_complete() { originals.flop_bound } else { FlopBound::Lower },
            from: format!("{} and what was trained into it by {stages}", originals.name),
            ..originals
        }))
    }

    /// The same as a lower bound, where there are originals of which nothing is known.
    fn at_least(&self, keys: &BTreeSet<&String>) -> Base<'static> {
        if self.originals.values().all(|base| base.flop().is_some()) {
            return self.together(keys);
        }
        Base::Composed(Box::new(ComposedBase { flop_bound: FlopBound::Lower, ..self.compose(keys) }))
    }

    /// The original of these, or all of them together.
    fn together(&self, keys: &BTreeSet<&String>) -> Base<'static> {
        match keys.first().and_then(|key| self.originals.get(*key)) {
            Some(only) if keys.len() == 1 => only.clone(),
            _ => Base::Composed(Box::new(self.compose(keys))),
        }
    }

    fn compose(&self, keys: &BTreeSet<&String>) -> ComposedBase {
        let parts: Vec<&Base<'static>> = keys.iter().filter_map(|key| self.originals.get(*key)).collect();
        let name = parts.iter().map(|base| base.name()).collect::<Vec<_>>().join(" + ");
        let is_bound = parts.iter().any(|base| base.flop_bound() == FlopBound::Lower);
        ComposedBase {
            from: format!("the sum of {name}"),
            name,
            flop: parts.iter().map(|base| base.flop()).sum(),
            flop_bound: if is_bound { FlopBound::Lower } else { FlopBound::Point },
            gpai: any_of(parts.iter().map(|base| base.is_gpai())),
            systemic_risk: any_of(parts.iter().map(|base| base.has_systemic_risk())),
        }
    }
}

/// Yes if it is true of one, no if of none; open where that hangs on one of which it is not known.
fn any_of(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.collect();
    if parts.contains(&Some(true)) { Some(true) } else { (!parts.contains(&None)).then_some(false) }
}

fn cumulative(spent: &Spent) -> Flops {
    spent.cumulative.max(spent.training).unwrap_or_default()
}

/// Ways that hold the same against the same are one.
fn distinct(ways: Vec<Reckoning>) -> Vec<Reckoning> {
    let mut distinct: Vec<Reckoning> = Vec::new();
    for way in ways {
        if !distinct.iter().any(|known| known.base == way.base && known.spent == way.spent) {
            distinct.push(way);
        }
    }
    distinct
}

#[cfg(test)]
mod tests;
