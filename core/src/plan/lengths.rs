//! How long the sequences of a data set are, as a length file of a tokenised data set says.

use core::fmt;

use serde::Deserialize;

/// Longest piece of a bad line that a message repeats.
const SHOWN: usize = 40;

/// Sequences of one length that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthRun {
    /// Positions of each.
    pub length: u64,
    /// How many.
    pub count: u64,
}

/// The lengths of all sequences, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths {
    runs: Vec<LengthRun>,
    sequences: u64,
    tokens: u64,
}

/// A length file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LengthsProblem {
    /// There is no sequence in it.
    #[error("it holds no length; write one whole number on each line, the positions of a sequence")]
    Empty,
    /// A line or an entry that is no length.
    #[error("{place}: `{found}` is no {wanted}")]
    NotALength {
        /// Where.
        place: Place,
        /// What stands there, shortened.
        found: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// A sequence of nothing.
    #[error("{place}: a length of 0 trains on nothing; leave empty sequences out")]
    Zero {
        /// Where.
        place: Place,
    },
    /// More than can be counted with.
    #[error("{place}: the positions up to here are more than 64 bits hold; correct the length or the count")]
    TooMany {
        /// Where.
        place: Place,
    },
    /// A JSON array that is none of whole numbers.
    #[error("it begins as a JSON array, but is none of whole numbers: {cause}")]
    NotAnArray {
        /// What the reader said; it names line and column.
        cause: String,
    },
}

/// A place in a length file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line.
    Line(usize),
    /// An entry of a JSON array.
    Entry(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(formatter, "line {number}"),
            Self::Entry(number) => write!(formatter, "entry {number}"),
        }
    }
}

/// A line of a JSONL file; other keys are the data set's own.
#[derive(Deserialize)]
struct Row {
    length: u64,
}

impl Lengths {
    /// `count` sequences of `length` positions; `None` for no sequences or no positions, and beyond 64 bits.
    pub fn uniform(length: u64, count: u64) -> Option<Self> {
        if count == 0 { None } else { Self::of_runs([(length, count)]) }
    }

    /// Sequences as runs of length and count; `None` where they hold nothing or more than 64 bits count.
    pub(super) fn of_runs(runs: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let mut lengths = Self { runs: Vec::new(), sequences: 0, tokens: 0 };
        for (length, count) in runs {
            lengths.push(LengthRun { length, count }, Place::Entry(0)).ok()?;
        }
        lengths.checked().ok()
    }

    /// Reads a length file: one whole number on each line, `length<TAB>count` lines, a JSON array of whole numbers, or
    /// JSON objects with a key `length`, one on each line.
    ///
    /// ```
    /// use flopsmeter_core::plan::Lengths;
    /// let lengths = Lengths::parse("512\t1000\n2048\n").unwrap();
    /// assert_eq!((lengths.sequences(), lengths.tokens()), (1001, 514_048));
    /// assert_eq!(Lengths::parse("[512, 2048]").unwrap().longest(), 2048);
    /// assert_eq!(Lengths::parse("7\nx\n").unwrap_err().to_string(), "line 2: `x` is no whole number of positions");
    /// ```
    pub fn parse(text: &str) -> Result<Self, LengthsProblem> {
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().bytes().next() {
            None => Err(LengthsProblem::Empty),
            Some(b'[') => Self::parse_array(text),
            Some(b'{') => Self::parse_lines(text, json_line),
            Some(_) => Self::parse_lines(text, plain_line),
        }
    }

    fn parse_array(text: &str) -> Result<Self, LengthsProblem> {
        let not_an_array = |problem: serde_json::Error| LengthsProblem::NotAnArray { cause: problem.to_string() };
        let entries: Vec<u64> = serde_json::from_str(text).map_err(not_an_array)?;
        let mut lengths = Self { runs: Vec::new(), sequences: 0, tokens: 0 };
        for (number, length) in entries.into_iter().enumerate() {
            lengths.push(LengthRun { length, count: 1 }, Place::Entry(number + 1))?;
        }
        lengths.checked()
    }

    fn parse_lines(
        text: &str,
        read: fn(&str, Place) -> Result<LengthRun, LengthsProblem>,
    ) -> Result<Self, LengthsProblem> {
        let mut lengths = Self { runs: Vec::new(), sequences: 0, tokens: 0 };
        for (number, line) in text.trim_end().lines().enumerate() {
            let place = Place::Line(number + 1);
            lengths.push(read(line, place)?, place)?;
        }
        lengths.checked()
    }

    fn checked(self) -> Result<Self, LengthsProblem> {
        if self.runs.is_empty() { Err(LengthsProblem::Empty) } else { Ok(self) }
    }

    fn push(&mut self, run: LengthRun, place: Place) -> Result<(), LengthsProblem> {
        if run.length == 0 {
            return Err(LengthsProblem::Zero { place });
        }
        let positions = run.length.checked_mul(run.count).and_then(|more| self.tokens.checked_add(more));
        self.tokens = positions.ok_or(LengthsProblem::TooMany { place })?;
        // No sequence has less than one position, so that there are not more of them.
        self.sequences += run.count;
        match self.runs.last_mut() {
            Some(last) if last.length == run.length => last.count += run.count,
            _ => self.runs.push(run),
        }
        Ok(())
    }

    /// The sequences in their order; neighbours of one length stand together.
    pub fn runs(&self) -> &[LengthRun] {
        &self.runs
    }

    /// How many sequences.
    pub const fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Positions of all together.
    pub const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Positions of the longest.
    pub fn longest(&self) -> u64 {
        self.runs.iter().map(|run| run.length).max().unwrap_or(0)
    }

    /// Positions of the shortest.
    pub fn shortest(&self) -> u64 {
        self.runs.iter().map(|run| run.length).min().unwrap_or(0)
    }

    /// How many are longer than `most`.
    pub fn longer_than(&self, most: u64) -> u64 {
        self.runs.iter().filter(|run| run.length > most).map(|run| run.count).sum()
    }

    /// The same with no sequence longer than `most`.
    pub(super) fn cut(&self, most: u64) -> Self {
        Self::of_sound(self.runs.iter().map(|run| LengthRun { length: run.length.min(most), ..*run }).collect())
    }

    /// Runs of sequences that come from others.
    fn of_sound(runs: Vec<LengthRun>) -> Self {
        let sequences = runs.iter().map(|run| run.count).fold(0, u64::saturating_add);
        let tokens = runs.iter().map(|run| run.length.saturating_mul(run.count)).fold(0, u64::saturating_add);
        Self { runs, sequences, tokens }
    }

    /// The same positions, each sequence in pieces of half its length or of half a row where that is less: no cutting of the data
    /// into rows leaves less attention within a sequence. `None` beyond 64 bits.
    pub(super) fn halved(&self, row: Option<u64>) -> Option<Self> {
        let pieces = self.runs.iter().flat_map(|run| {
            let piece = run.length.div_ceil(2).min(row.unwrap_or(u64::MAX).div_ceil(2)).max(1);
            let rest = run.length % piece;
            let whole = (run.length / piece).checked_mul(run.count);
            [whole.map(|whole| (piece, whole)), (rest > 0).then_some((rest, run.count))]
        });
        Self::of_runs(pieces.flatten())
    }

    /// The same data in the order that costs most where each micro-batch of `micro_batch` sequences is padded to its longest: as
    /// many of the longest as there are micro-batches, each heading one of its own and standing for all its sequences.
    pub(super) fn spread(&self, micro_batch: u64) -> Self {
        let mut sorted = self.runs.clone();
        sorted.sort_unstable_by_key(|run| core::cmp::Reverse(run.length));
        let mut rows_left = self.sequences;
        let mut runs: Vec<LengthRun> = Vec::new();
        for run in sorted {
            let rows = run.count.saturating_mul(micro_batch).min(rows_left);
            if rows == 0 {
                break;
            }
            rows_left -= rows;
            runs.push(LengthRun { length: run.length, count: rows });
        }
        Self::of_sound(runs)
    }
}

fn not_a_length(place: Place, line: &str, wanted: &'static str) -> LengthsProblem {
    let mut found: String = line.chars().take(SHOWN).collect();
    if found.len() < line.len() {
        found.push('…');
    }
    LengthsProblem::NotALength { place, found, wanted }
}

/// `512` or `512<TAB>1000`.
fn plain_line(line: &str, place: Place) -> Result<LengthRun, LengthsProblem> {
    const WANTED: &str = "whole number of positions";
    let whole = |cell: &str| cell.trim().parse::<u64>().map_err(|_| not_a_length(place, line, WANTED));
    match line.split_once('\t') {
        None => Ok(LengthRun { length: whole(line)?, count: 1 }),
        Some((length, count)) => {
            let (length, count) = (whole(length)?, whole(count)?);
            if count == 0 {
                return Err(not_a_length(place, line, "length and count of at least 1"));
            }
            Ok(LengthRun { length, count })
        }
    }
}

/// `{"length": 512}`.
fn json_line(line: &str, place: Place) -> Result<LengthRun, LengthsProblem> {
    let row: Row = serde_json::from_str(line)
        .map_err(|_| not_a_length(place, line, "JSON object with a whole number under the key `length`"))?;
    Ok(LengthRun { length: row.length, count: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Lengths::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_gives_the_same_lengths() {
        let expected = [LengthRun { length: 3, count: 2 }, LengthRun { length: 5, count: 1 }];
        for text in [
            "3\n3\n5\n",
            "3\t2\r\n5\t1\r\n",
            " [3, 3,\n5] ",
            "{\"length\": 3, \"id\": 7}\n{\"length\":3}\n{\"length\":5}",
            "\u{feff}3\t2\n5",
        ] {
            assert_eq!(Lengths::parse(text).unwrap().runs(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(problem(" \n"), LengthsProblem::Empty.to_string());
        assert_eq!(problem("[]"), LengthsProblem::Empty.to_string());
        assert_eq!(problem("7\n\n8"), "line 2: `` is no whole number of positions");
        assert_eq!(problem("7\n-8"), "line 2: `-8` is no whole number of positions");
        assert_eq!(problem("1.5"), "line 1: `1.5` is no whole number of positions");
        assert_eq!(problem("7\t0"), "line 1: `7\t0` is no length and count of at least 1");
        assert_eq!(problem("7\n0"), "line 2: a length of 0 trains on nothing; leave empty sequences out");
        assert_eq!(problem("[7, 0]"), "entry 2: a length of 0 trains on nothing; leave empty sequences out");
        assert_eq!(
            problem(&"x".repeat(1000)).len(),
            "line 1: `` is no whole number of positions".len() + SHOWN + "…".len()
        );
        let most = u64::MAX;
        assert!(problem(&format!("1\t{most}\n2\t1")).starts_with("line 2: the positions up to here"));
        assert!(problem(&format!("{most}\t2")).starts_with("line 1: the positions up to here"));
        assert!(problem("[1, -2]").contains("column"), "{}", problem("[1, -2]"));
        assert!(problem("{\"length\": 3}\n{\"tokens\": 3}").starts_with("line 2: `{\"tokens\": 3}` is no JSON object"));
    }

    #[test]
    fn the_worst_order_heads_each_micro_batch_with_one_of_the_longest() {
        let lengths = Lengths::parse("1\n9\n1\n8\n1\n").unwrap();
        // Three micro-batches of two, two and one: headed by 9, 8 and 1.
        let runs = [(9, 2), (8, 2), (1, 1)].map(|(length, count)| LengthRun { length, count });
        assert_eq!(lengths.spread(2).runs(), runs);
    }
}
