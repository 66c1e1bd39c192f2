//! Places on the way to a line.

use core::fmt;
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Levels that may be watched at once.
const MAXIMUM_LEVELS: usize = 8;

/// Largest share of a line that may be a level, in per cent.
const MAXIMUM_PERCENT: u16 = 1000;

/// A place on the way to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The near edge: from there on a verdict is `near`.
    Near,
    /// So many per cent of the line; from 100 on what is strictly more.
    Share(u16),
}

/// A text that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelProblem {
    /// Neither `near` nor a percentage.
    #[error("`{0}` is no level: write near, or a whole percentage of the line from 1% to {MAXIMUM_PERCENT}%")]
    Unknown(String),
    /// The same twice.
    #[error("`{0}` stands twice among the levels: name it once")]
    Repeated(Level),
    /// None or too many.
    #[error("{0} levels were named: name 1 to {MAXIMUM_LEVELS}")]
    Number(usize),
}

impl FromStr for Level {
    type Err = LevelProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || LevelProblem::Unknown(text.to_owned());
        if text == "near" {
            return Ok(Self::Near);
        }
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let percent: u16 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(unknown)?;
        if (1..=MAXIMUM_PERCENT).contains(&percent) { Ok(Self::Share(percent)) } else { Err(unknown()) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Near => formatter.write_str("near"),
            Self::Share(percent) => write!(formatter, "{percent}%"),
        }
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The levels that are watched.
///
/// ```
/// use flopsmeter_core::alert::{Level, Levels};
/// let levels: Levels = "near,80%".parse().unwrap();
/// assert_eq!(levels.iter().collect::<Vec<_>>(), [Level::Near, Level::Share(80)]);
/// assert_eq!(Levels::default().to_string(), "near,80%,100%");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels(Vec<Level>);

impl Levels {
    /// These levels.
    pub fn new(mut levels: Vec<Level>) -> Result<Self, LevelProblem> {
        if levels.is_empty() || levels.len() > MAXIMUM_LEVELS {
            return Err(LevelProblem::Number(levels.len()));
        }
        levels.sort_unstable();
        let repeated = levels.iter().zip(levels.iter().skip(1)).find(|(one, next)| one == next);
        repeated.map_or_else(|| Ok(Self(levels.clone())), |(level, _)| Err(LevelProblem::Repeated(*level)))
    }

    /// Each of them, `near` first and then the shares as they rise.
    pub fn iter(&self) -> impl Iterator<Item = Level> + '_ {
        self.0.iter().copied()
    }
}

impl Default for Levels {
    /// The near edge, four fifths of the line, and the line.
    fn default() -> Self {
        Self(vec![Level::Near, Level::Share(80), Level::Share(100)])
    }
}

impl FromStr for Levels {
    type Err = LevelProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.split(',').map(|level| level.trim().parse()).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|level| level.to_string()).collect();
        formatter.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_order() {
        let levels: Levels = "100%, near,50%".parse().unwrap();
        assert_eq!(levels.to_string(), "near,50%,100%");
    }

    #[test]
    fn what_is_no_level_is_refused_by_name() {
        for text in ["", "near,", "NEAR", "80", "0%", "-1%", "+5%", "80.5%", "1001%", "99999%", "exceeds"] {
            let problem = text.parse::<Levels>().unwrap_err();
            assert!(matches!(problem, LevelProblem::Unknown(_)), "{text}: {problem}");
        }
        assert_eq!("80%,80%".parse::<Levels>(), Err(LevelProblem::Repeated(Level::Share(80))));
        assert_eq!("1%,2%,3%,4%,5%,6%,7%,8%,9%".parse::<Levels>(), Err(LevelProblem::Number(9)));
    }
}
