//! Verdicts at which a command ends with a code of its own.

use std::str::FromStr;

use flopsmeter_core::assess::Verdict;

/// `near`, `exceeds`, and `undetermined` behind either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    near: bool,
    undetermined: bool,
}

impl Gate {
    /// Whether this verdict is stopped.
    pub(crate) fn stops(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Below => false,
            Verdict::Near => self.near,
            Verdict::Exceeds => true,
            Verdict::Undetermined => self.undetermined,
        }
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (line, rest) = text.split_once(',').map_or((text, None), |(line, rest)| (line, Some(rest)));
        let undetermined = match rest {
            None => false,
            Some("undetermined") => true,
            Some(_) => return Err(wanted()),
        };
        match line {
            "near" => Ok(Self { near: true, undetermined }),
            "exceeds" => Ok(Self { near: false, undetermined }),
            _ => Err(wanted()),
        }
    }
}

fn wanted() -> String {
    "a gate is `near` or `exceeds`, with `,undetermined` behind it where a missing fact is to stop too".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_stops_from_its_verdict_on() {
        let stopped = |text: &str| {
            let gate: Gate = text.parse().unwrap();
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
