//! Where a modification stands, as levels are held against it.

use core::cmp::Ordering;

use super::{Level, Levels};
use crate::assess::{Assessment, Verdict};
use crate::rules::{Fraction, LineKey, Measure, RuleSet, SpentKind};
use crate::unit::Flops;

/// Where a modification stands by what was counted of it.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The assessment of what was counted, as if that were everything.
    pub assessment: Assessment,
    /// The sum that is held against the line; `None` where no line could be chosen.
    pub amount: Option<Flops>,
    near_edge: Option<Flops>,
    /// Name of the house rules by whose stricter lines this is; `None` by the law's.
    pub house: Option<String>,
    /// More was spent than was counted: what is said here is true of at least that much.
    pub is_lower_bound: bool,
}

/// What a level has to be left behind by before it can be reached again, as a part of the line.
const SLACK: Option<Fraction> = Fraction::new(1, 20);

impl Stand {
    pub(crate) fn new(rules: &RuleSet, assessment: Assessment, is_lower_bound: bool) -> Self {
        let line = assessment.line.as_ref();
        let key = line.and_then(|line| LineKey::ALL.into_iter().find(|key| key.name() == line.rule));
        let row = key.map(|key| rules.line(key));
        let amount = row.and_then(|row| match row.spent {
            SpentKind::Training => assessment.training_compute,
            SpentKind::Cumulative => assessment.cumulative_compute,
        });
        let near_edge = row.zip(line).map(|(row, line)| match row.measure {
            // What the base leaves is the line itself.
            Measure::RoomToGpaiCriterion => row.near.floor_of(line.flop),
            _ => row.near.floor_of(line.base_flop),
        });
        let house = rules.of_house().map(str::to_owned);
        Self { assessment, amount, near_edge, house, is_lower_bound }
    }

    /// The amount from which on `level` is reached, to the operation or one below.
    pub fn amount_of(&self, level: Level) -> Option<Flops> {
        match level {
            Level::Near => self.near_edge,
            Level::Share(share) => Some(Fraction::new(share.into(), 100)?.floor_of(self.line()?)),
        }
    }

    /// The line; `None` where none could be chosen.
    pub fn line(&self) -> Option<Flops> {
        self.assessment.line.as_ref().map(|line| line.flop)
    }

    /// Names the line: another base, another figure of it or another rule is another line.
    pub fn line_key(&self) -> Option<String> {
        let house = self.house.as_ref().map_or_else(String::new, |name| format!("house {name}:"));
        self.assessment.line.as_ref().map(|line| format!("{house}{}:{}", line.rule, line.flop))
    }

    /// What is left until the next of these levels, the near edge or the line; `None` beyond all of them and where there is no line.
    pub fn left_until_next(&self, levels: &Levels) -> Option<Flops> {
        let amount = self.amount?;
        let always = [Level::Near, Level::Share(100)];
        let edges = levels.iter().chain(always).filter_map(|level| self.amount_of(level));
        let next = edges.filter(|edge| *edge >= amount).min()?;
        Some(Flops(next.0.saturating_sub(amount.0)) + Flops(1))
    }

    /// Whether `level` is reached. The line is rounded down to a whole operation, which changes no comparison of whole numbers
    /// with it: 100 % agrees with the verdict.
    pub fn reaches(&self, level: Level) -> bool {
        let share = match level {
            Level::Near => return matches!(self.assessment.verdict, Verdict::Near | Verdict::Exceeds),
            Level::Share(share) => share,
        };
        if share == 100 && self.assessment.verdict == Verdict::Exceeds {
            return true;
        }
        let part = self.amount.zip(self.line()).zip(Fraction::new(share.into(), 100));
        match part.map(|((amount, line), part)| part.compare(amount, line)) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => share < 100,
            Some(Ordering::Less) | None => false,
        }
    }

    /// How much more would still have to be far from a level for it to count as left behind.
    pub(crate) fn slack(&self) -> Flops {
        self.line().zip(SLACK).map_or(Flops::ZERO, |(line, slack)| slack.floor_of(line) + Flops(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::assess::{Answers, Basis, Spent};
    use crate::judge::Judge;
    use crate::registry::{Base, DeclaredBase};
    use crate::rules::RuleSet;

    fn judge(base_flop: u128) -> Judge {
        let text = format!(
            "name = \"a/b\"\nflop = \"{base_flop}\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n"
        );
        let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        Judge {
            base: Some(Base::Declared(Box::new(DeclaredBase::parse(&text, "base.toml").unwrap()))),
            rules: RuleSet::in_force(as_of).unwrap(),
            as_of,
            answers: Answers::default(),
            ancestry: None,
        }
    }

    fn stand(judge: &Judge, spent: u128) -> Stand {
        judge.stand(Spent::counted(Flops(spent), Basis::Operations)).unwrap()
    }

    #[test]
    fn levels_are_reached_at_their_edges() {
        // A third of 3900 is 1300; the near edge is 7/39 of it: 700.
        let judge = judge(3900);
        let reached = |spent: u128| {
            let stand = stand(&judge, spent);
            ["near", "80%", "100%"].map(|level| stand.reaches(level.parse().unwrap()))
        };
        assert_eq!(reached(699), [false, false, false]);
        assert_eq!(reached(700), [true, false, false]);
        assert_eq!(reached(1039), [true, false, false]);
        assert_eq!(reached(1040), [true, true, false]);
        assert_eq!(reached(1300), [true, true, false]);
        assert_eq!(reached(1301), [true, true, true]);
    }

    #[test]
    fn the_amount_of_a_level_is_its_edge() {
        let stand = stand(&judge(3900), 1);
        let amounts = ["near", "80%", "100%"].map(|level| stand.amount_of(level.parse().unwrap()).unwrap().0);
        assert_eq!(amounts, [700, 1040, 1300]);
    }

    #[test]
    fn what_is_left_is_left_until_the_next_level() {
        let judge = judge(3900);
        let left =
            |spent, levels: &str| stand(&judge, spent).left_until_next(&levels.parse().unwrap()).map(|left| left.0);
        assert_eq!((left(0, "80%"), left(700, "80%"), left(701, "80%")), (Some(701), Some(1), Some(340)));
        assert_eq!((left(1041, "80%"), left(1301, "80%"), left(1301, "200%")), (Some(260), None, Some(1300)));
    }

    #[test]
    fn without_a_line_nothing_is_reached() {
        let judge = Judge { base: None, ..judge(3900) };
        let stand = stand(&judge, u128::MAX);
        assert!(!stand.reaches(Level::Near) && !stand.reaches(Level::Share(1)));
        assert_eq!((stand.line_key(), stand.slack()), (None, Flops::ZERO));
    }

    proptest! {
        #[test]
        fn a_hundred_per_cent_agrees_with_the_verdict(base in 3..u128::from(u64::MAX), spent: u64) {
            let stand = stand(&judge(base), spent.into());
            prop_assert_eq!(stand.reaches(Level::Share(100)), stand.assessment.verdict == Verdict::Exceeds);
        }
    }
}
