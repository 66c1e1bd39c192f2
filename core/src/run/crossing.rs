//! What an alert rests on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::{Level, What};
use crate::forecast::Range;
use crate::unit::Flops;

/// Levels of a line that are reached or foreseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// The same for every run that would say the same of the same modification, and at every attempt to say it; another one once the
    /// level was left behind and is reached again.
    pub id: String,
    /// The modification, or nothing where the run stands alone.
    pub modification: Option<String>,
    /// Reached or foreseen.
    pub what: What,
    /// The levels, the highest last.
    pub levels: Vec<Level>,
    /// What is spent of the line.
    pub spent: Flops,
    /// The line, rounded down.
    pub line: Flops,
    /// Rule of the rule set that draws the line.
    pub rule: String,
    /// Name of the house rules whose stricter line it is; nothing for the law's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub house: Option<String>,
    /// Share of the line that is spent, in per cent with two digits after the point.
    pub share_of_line_percent: Option<String>,
    /// More was spent than could be counted.
    pub is_lower_bound: bool,
    /// What is foreseen; `None` where a level is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
}

/// What is foreseen, other runs of the modification staying as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// What will be spent of the line when the schedule ends; `None` where the trainer tells no end.
    pub at_end: Option<Range<Flops>>,
    /// When the highest of the levels is reached: `low` if little is done from now on, which is late or never.
    pub reached: Option<Range<Option<DateTime<Utc>>>>,
    /// What is set aside for other runs, which `at_end` takes for spent.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub reserved: Flops,
}

fn is_nothing(flops: &Flops) -> bool {
    *flops == Flops::ZERO
}
