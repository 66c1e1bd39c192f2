//! Verdicts that stop a command or a job.

use core::fmt;
use core::str::FromStr;

use crate::assess::Verdict;

/// `near`, `exceeds`, and `undetermined` behind either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    near: bool,
    undetermined: bool,
}

impl Gate {
    /// Stops at the line alone.
    pub const EXCEEDS: Self = Self { near: false, undetermined: false };

    /// Whether this verdict is stopped.
    pub const fn stops(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Below => false,
            Verdict::Near => self.near,
            Verdict::Exceeds => true,
            Verdict::Undetermined => self.undetermined,
        }
    }
}

/// A text that is no gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gate is `near` or `exceeds`, with `,undetermined` behind it where a missing fact is to stop too")]
pub struct GateProblem;

impl FromStr for Gate {
    type Err = GateProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (line, rest) = text.split_once(',').map_or((text, None), |(line, rest)| (line, Some(rest)));
        let undetermined = match rest {
            None => false,
            Some("undetermined") => true,
            Some(_) => return Err(GateProblem),
        };
        match line {
            "near" => Ok(Self { near: true, undetermined }),
            "exceeds" => Ok(Self { near: false, undetermined }),
            _ => Err(GateProblem),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = if self.near { "near" } else { "exceeds" };
        let rest = if self.undetermined { ",undetermined" } else { "" };
        write!(formatter, "{line}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_stops_from_its_verdict_on() {
        let stopped = |text: &str| {
            let gate: Gate = text.parse().unwrap();
            assert_eq!(gate.to_string(), text);
            [Verdict::Below, Verdict::Near, Verdict::Exceeds, Verdict::Undetermined].map(|verdict| gate.stops(verdict))
        };
        assert_eq!(stopped("near"), [false, true, true, false]);
        assert_eq!(stopped("exceeds"), [false, false, true, false]);
        assert_eq!(stopped("exceeds,undetermined"), [false, false, true, true]);
        for text in ["", "below", "near,", "near,exceeds", "undetermined", "near,undetermined,"] {
            assert!(text.parse::<Gate>().is_err(), "{text}");
        }
    }
}
