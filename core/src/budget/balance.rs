//! Spent, reserved, left.

use std::borrow::Cow;

use serde::Serialize;

use super::ToCome;
use crate::assess::{Basis, Spent, Verdict};
use crate::judge::Judge;
use crate::plan::Edges;
use crate::unit::Flops;

/// Where a modification's line stands with what is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// What of the line is spent, in the sum that is held against it; `None` where nothing could be counted.
    pub spent: Option<Flops>,
    /// More was spent than could be counted.
    pub is_lower_bound: bool,
    /// What is set aside and not spent yet.
    pub reserved: Flops,
    /// The same for the modifications behind it, where there is any: spent there, it leaves less here.
    #[serde(skip_serializing_if = "is_nothing")]
    pub reserved_behind: Flops,
    /// What is left until the verdict is no longer `below`; `None` where no amount decides that.
    pub near: Option<Room>,
    /// What is left until it is `exceeds`.
    pub exceeds: Option<Room>,
    /// The verdict once everything that is set aside is spent. It says nothing of what was done.
    pub verdict_with_reserved: Verdict,
    /// The house rule's, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub house_verdict_with_reserved: Option<Verdict>,
}

/// What is left until one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// The verdict from there on.
    pub verdict: Verdict,
    /// The smallest amount with it.
    pub flop: Flops,
    /// That without what is spent and what is reserved; 0 once it is given away.
    pub flop_left: Flops,
}

impl Balance {
    /// Of what a modification has spent and what is held for its runs and for those of the modifications behind it.
    pub fn of(judge: &Judge, spent: &Spent, reserved: &ToCome) -> Self {
        let now = judge.stand(spent.clone()).and_then(|stand| stand.amount).or(spent.training);
        // Edges are amounts of the modification's own, on top of what it was made from.
        let behind = judge.ancestry.as_ref().and_then(|_| judge.stand(Spent::counted(Flops::ZERO, Basis::Operations)));
        let behind = behind.and_then(|stand| stand.amount).unwrap_or_default();
        let taken = Flops(now.unwrap_or_default().0.saturating_sub(behind.0)) + reserved.own;
        let later = judge.after(reserved);
        let edges = Edges::find(|amount| judge.verdict(Spent::counted(amount, Basis::Operations)));
        let edges_later = match &later {
            Cow::Borrowed(_) => edges,
            Cow::Owned(later) => Edges::find(|amount| later.verdict(Spent::counted(amount, Basis::Operations))),
        };
        // Where nothing changes the verdict any more, what is set aside behind has changed it.
        let room = |flop: Flops, later: Option<Flops>, verdict| {
            let left_over = later.filter(|flop| flop.0 > 1).unwrap_or_default();
            let flop_left = Flops(left_over.0.saturating_sub(taken.0));
            Room { verdict, flop, flop_left }
        };
        let with_reserved = spent.clone().and_more(reserved.own);
        let near_later = edges_later.near.map(|edge| edge.flop);
        Self {
            spent: now,
            is_lower_bound: !spent.complete,
            reserved: reserved.own,
            reserved_behind: reserved.behind_together(),
            near: edges.near.map(|edge| room(edge.flop, near_later, edge.verdict)),
            exceeds: edges.exceeds.map(|flop| room(flop, edges_later.exceeds, Verdict::Exceeds)),
            verdict_with_reserved: later.verdict_at_least(&with_reserved),
            house_verdict_with_reserved: later.house_verdict_at_least(&with_reserved),
        }
    }
}

fn is_nothing(flops: &Flops) -> bool {
    *flops == Flops::ZERO
}

impl Spent {
    /// The same with so many training operations to come. Of those nothing else is known: no ceiling holds for them.
    #[must_use]
    pub fn and_more(self, more: Flops) -> Self {
        if more == Flops::ZERO {
            return self;
        }
        let plus = |sum: Option<Flops>| Some(sum.unwrap_or_default() + more);
        let basis = if self.basis == Basis::None { Basis::Operations } else { self.basis };
        Self {
            training: plus(self.training),
            cumulative: plus(self.cumulative),
            ceiling: None,
            ceiling_complete: false,
            basis,
            ..self
        }
    }
}

impl Judge {
    /// The verdict, or what the counted part says where that is already worse: a lower bound can only rise.
    pub fn verdict_at_least(&self, spent: &Spent) -> Verdict {
        let counted =
            spent.training.map(|_| self.of_what_was_counted().verdict(Spent { complete: true, ..spent.clone() }));
        worse_of_counted(counted, || self.verdict(spent.clone()))
    }

    /// The same by the house rule, if there is one.
    pub fn house_verdict_at_least(&self, spent: &Spent) -> Option<Verdict> {
        let all = self.house_verdict(spent.clone())?;
        let counted = || self.of_what_was_counted().house_verdict(Spent { complete: true, ..spent.clone() });
        let counted = spent.training.and_then(|_| counted());
        Some(worse_of_counted(counted, || all))
    }
}

fn worse_of_counted(counted: Option<Verdict>, all: impl FnOnce() -> Verdict) -> Verdict {
    match counted {
        Some(verdict @ (Verdict::Near | Verdict::Exceeds)) => verdict,
        _ => all(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::assess::Answers;
    use crate::registry::{Base, DeclaredBase};
    use crate::rules::RuleSet;

    /// Against a line of 1300, near from 700 on.
    fn judge() -> Judge {
        let text = "name = \"a/b\"\nflop = \"3900\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n";
        let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        Judge {
            base: Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap()))),
            rules: RuleSet::in_force(as_of).unwrap(),
            as_of,
            answers: Answers::default(),
            ancestry: None,
        }
    }

    fn counted(amount: u128) -> Spent {
        Spent::counted(Flops(amount), Basis::Operations)
    }

    #[test]
    fn what_is_left_is_what_is_neither_spent_nor_reserved() {
        let balance = Balance::of(&judge(), &counted(100), &ToCome::own(Flops(250)));
        assert_eq!((balance.spent, balance.reserved), (Some(Flops(100)), Flops(250)));
        assert_eq!(balance.near, Some(Room { verdict: Verdict::Near, flop: Flops(700), flop_left: Flops(350) }));
        assert_eq!(balance.exceeds.unwrap().flop_left, Flops(951));
        assert_eq!(balance.verdict_with_reserved, Verdict::Below);
        let crossed = Balance::of(&judge(), &counted(100), &ToCome::own(Flops(1201)));
        assert_eq!(
            (crossed.exceeds.unwrap().flop_left, crossed.verdict_with_reserved),
            (Flops::ZERO, Verdict::Exceeds)
        );
        assert_eq!(judge().verdict(counted(100)), Verdict::Below, "what was done is below");
    }

    #[test]
    fn a_lower_bound_that_is_near_is_near_at_least() {
        let part = Spent { complete: false, ..counted(800) };
        assert_eq!(judge().verdict(part.clone()), Verdict::Undetermined);
        assert_eq!(judge().verdict_at_least(&part), Verdict::Near);
        assert_eq!(judge().verdict_at_least(&Spent { complete: false, ..counted(8) }), Verdict::Undetermined);
        assert_eq!(Balance::of(&Judge { base: None, ..judge() }, &counted(8), &ToCome::own(Flops(1))).exceeds, None);
    }

    proptest! {
        #[test]
        fn reserving_what_is_left_never_crosses(spent in 0..1300_u128, reserved in 0..1300_u128) {
            let balance = Balance::of(&judge(), &counted(spent), &ToCome::own(Flops(reserved)));
            let left = balance.exceeds.unwrap().flop_left;
            prop_assume!(left > Flops::ZERO);
            let up_to = Balance::of(&judge(), &counted(spent), &ToCome::own(Flops(reserved + left.0 - 1)));
            prop_assert_ne!(up_to.verdict_with_reserved, Verdict::Exceeds);
            let one_more = Balance::of(&judge(), &counted(spent), &ToCome::own(Flops(reserved + left.0)));
            prop_assert_eq!(one_more.verdict_with_reserved, Verdict::Exceeds);
        }
    }
}
