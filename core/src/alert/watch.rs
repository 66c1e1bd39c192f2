//! Which levels were said already.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Level, Levels, Stand};

/// What an alert is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// What is spent.
    #[default]
    Spent,
    /// What will be spent if the job goes on like this.
    Forecast,
}

/// One level of one line, reached or foreseen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The line, see [`Stand::line_key`].
    pub line: String,
    /// What about.
    pub what: What,
    /// The level.
    pub level: Level,
}

/// The levels, and which of them were said.
///
/// Forecasts go up and down; what is spent goes down where a run is taken out. A level that was said is said again only after the
/// stand has gone back by a twentieth of the line.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    levels: Levels,
    said: BTreeSet<Key>,
}

impl Watch {
    /// Watches these levels; nothing was said yet.
    pub const fn new(levels: Levels) -> Self {
        Self { levels, said: BTreeSet::new() }
    }

    /// The levels that are watched.
    pub const fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Levels that are reached and were not said, as [`Watch::say`] takes them. A forecast says nothing of what is spent already.
    pub fn due(&self, what: What, stand: &Stand) -> Vec<Key> {
        let Some(line) = stand.line_key() else { return Vec::new() };
        let key = |what, level| Key { line: line.clone(), what, level };
        let is_due = |level: &Level| {
            let said = self.said.contains(&key(what, *level)) || self.said.contains(&key(What::Spent, *level));
            !said && stand.reaches(*level)
        };
        self.levels.iter().filter(is_due).map(|level| key(what, level)).collect()
    }

    /// Notes that a level was said, by this run or another one.
    pub fn say(&mut self, key: Key) {
        self.said.insert(key);
    }

    /// Whether anything of this kind was said that could be left behind.
    pub fn has_said(&self, what: What) -> bool {
        self.said.iter().any(|key| key.what == what)
    }

    /// Forgets what was said of levels that even `eased`, the stand with the slack added, does not reach, and tells which these are.
    pub fn leave_behind(&mut self, what: What, eased: &Stand) -> Vec<Key> {
        let Some(line) = eased.line_key() else { return Vec::new() };
        let is_left = |key: &&Key| key.what == what && key.line == line && !eased.reaches(key.level);
        let left: Vec<Key> = self.said.iter().filter(is_left).cloned().collect();
        for key in &left {
            self.said.remove(key);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::{Answers, Basis, Spent};
    use crate::judge::Judge;
    use crate::registry::{Base, DeclaredBase};
    use crate::rules::RuleSet;
    use crate::unit::Flops;

    /// Against a line of 1000.
    fn stand(spent: u128, eased: bool) -> Stand {
        let text = "name = \"a/b\"\nflop = \"3000\"\nsource = \"s\"\ndeclared_by = \"d\"\ndate = \"2026-11-01\"\ngpai = true\n";
        let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        let judge = Judge {
            base: Some(Base::Declared(Box::new(DeclaredBase::parse(text, "base.toml").unwrap()))),
            rules: RuleSet::in_force(as_of).unwrap(),
            as_of,
            answers: Answers::default(),
            ancestry: None,
        };
        let stand = |spent| judge.stand(Spent::counted(Flops(spent), Basis::Operations)).unwrap();
        let plain = stand(spent);
        if eased { judge.eased(&Spent::counted(Flops(spent), Basis::Operations), &plain).unwrap() } else { plain }
    }

    fn levels(keys: &[Key]) -> String {
        keys.iter().map(|key| key.level.to_string()).collect::<Vec<_>>().join(",")
    }

    fn say_due(watch: &mut Watch, what: What, spent: u128) -> String {
        let due = watch.due(what, &stand(spent, false));
        for key in &due {
            watch.say(key.clone());
        }
        levels(&due)
    }

    #[test]
    fn each_level_is_said_once_as_it_is_reached() {
        let mut watch = Watch::default();
        assert_eq!(say_due(&mut watch, What::Spent, 538), "");
        assert_eq!(say_due(&mut watch, What::Spent, 539), "near");
        assert_eq!(say_due(&mut watch, What::Spent, 799), "");
        assert_eq!(say_due(&mut watch, What::Spent, 1001), "80%,100%");
        assert_eq!(say_due(&mut watch, What::Spent, 5000), "");
    }

    #[test]
    fn what_is_spent_is_not_foreseen_any_more() {
        let mut watch = Watch::default();
        assert_eq!(say_due(&mut watch, What::Forecast, 900), "near,80%");
        assert_eq!(say_due(&mut watch, What::Spent, 600), "near");
        assert_eq!(say_due(&mut watch, What::Spent, 1001), "80%,100%");
        assert_eq!(say_due(&mut watch, What::Forecast, 2000), "");
    }

    #[test]
    fn a_level_has_to_be_left_behind_before_it_is_said_again() {
        let mut watch = Watch::default();
        assert_eq!(say_due(&mut watch, What::Forecast, 810), "near,80%");
        // Up and down around the level: nothing.
        assert_eq!(levels(&watch.leave_behind(What::Forecast, &stand(760, true))), "");
        assert_eq!(say_due(&mut watch, What::Forecast, 805), "");
        assert_eq!(levels(&watch.leave_behind(What::Forecast, &stand(740, true))), "80%");
        assert!(watch.has_said(What::Forecast));
        assert_eq!(say_due(&mut watch, What::Forecast, 805), "80%");
        assert_eq!(levels(&watch.leave_behind(What::Spent, &stand(1, true))), "");
    }
}
