//! Named GPUs: how long they take, and the energy of their boards.

use core::str::FromStr;
use std::collections::BTreeSet;

use crate::gpu_table::{GpuRow, GpuTable, product_name};
use crate::rules::Fraction;
use crate::unit::{Flops, parse_whole};

/// A number of GPUs of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Their row of the GPU table.
    pub row: &'static GpuRow,
    /// How many.
    pub count: u64,
}

/// A GPU that cannot be told from a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetProblem {
    /// None has this name.
    #[error("the GPU table has no `{name}`; it may be {suggestions}")]
    Unknown {
        /// What was given.
        name: String,
        /// Labels that are spelled alike.
        suggestions: String,
    },
    /// None has a name like this.
    #[error("the GPU table has no `{name}`, nor a name like it; its names begin with {beginnings}")]
    Unlike {
        /// What was given.
        name: String,
        /// First words of its labels.
        beginnings: String,
    },
    /// Some begin so.
    #[error("`{name}` is no whole name; it may be cut from {candidates}: name one of them")]
    Cut {
        /// What was given.
        name: String,
        /// Their labels.
        candidates: String,
    },
    /// No GPU at all.
    #[error("`{text}` names no GPU; write it as `H100 SXM`, or `8xH100 SXM` for eight of them")]
    None {
        /// What was given.
        text: String,
    },
}

impl FromStr for Fleet {
    type Err = FleetProblem;

    /// `H100 SXM`, `8xH100 SXM`: a label of the table, or a product's name as the driver spells it.
    ///
    /// ```
    /// use flopsmeter_core::plan::Fleet;
    /// let fleet: Fleet = "8xh100 sxm".parse().unwrap();
    /// assert_eq!((fleet.count, fleet.row.label.as_str()), (8, "H100 SXM5"));
    /// assert!("A100".parse::<Fleet>().unwrap_err().to_string().contains("A100 SXM4 80GB"));
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, name) = counted(text);
        let name = product_name(name);
        if count == 0 || plain(name).is_empty() {
            return Err(FleetProblem::None { text: text.to_owned() });
        }
        Ok(Self { row: named(name)?, count })
    }
}

/// `8xH100` is eight; without a number it is one.
fn counted(text: &str) -> (u64, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let name = rest.trim_start().strip_prefix(['x', 'X', '×']).map(str::trim_start);
    match (number.parse(), name) {
        (Ok(count), Some(name)) => (count, name),
        _ => (1, text),
    }
}

/// A name without case, spaces and signs, and without the generation of an SXM socket, which people leave out.
fn plain(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase);
    let socket = |word: String| {
        let bare = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
        if bare.ends_with("sxm") { bare.to_owned() } else { word }
    };
    words.map(socket).collect()
}

fn spellings(row: &GpuRow) -> impl Iterator<Item = String> {
    core::iter::once(&row.label).chain(&row.product_names).map(|name| plain(name))
}

fn named(name: &str) -> Result<&'static GpuRow, FleetProblem> {
    let rows = GpuTable::embedded().rows();
    let asked = plain(name);
    if let Some(row) = rows.iter().find(|row| spellings(row).any(|spelling| spelling == asked)) {
        return Ok(row);
    }
    let labels = |rows: &[&GpuRow]| rows.iter().map(|row| row.label.as_str()).collect::<Vec<_>>().join(", ");
    let longer: Vec<&GpuRow> =
        rows.iter().filter(|row| spellings(row).any(|spelling| spelling.starts_with(&asked))).collect();
    if longer.is_empty() {
        let (alike, name) = (alike(name), name.to_owned());
        return Err(if alike.is_empty() {
            FleetProblem::Unlike { name, beginnings: beginnings(rows) }
        } else {
            FleetProblem::Unknown { name, suggestions: labels(&alike) }
        });
    }
    Err(FleetProblem::Cut { name: name.to_owned(), candidates: labels(&longer) })
}

/// First words of all labels, each once.
fn beginnings(rows: &[GpuRow]) -> String {
    let words: BTreeSet<&str> = rows.iter().filter_map(|row| row.label.split_whitespace().next()).collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// The three rows that are spelled most alike, with more letters in common than not.
fn alike(name: &str) -> Vec<&'static GpuRow> {
    let name = name.to_lowercase();
    let mut rows: Vec<&GpuRow> = GpuTable::embedded().rows().iter().collect();
    // Labels say more than people type, so only as much of each is compared.
    let typed = name.chars().count();
    let distance = |row: &GpuRow| {
        let label: String = row.label.to_lowercase().chars().take(typed).collect();
        strsim::damerau_levenshtein(&name, &label)
    };
    rows.retain(|row| distance(row).saturating_mul(2) <= typed);
    rows.sort_by_cached_key(|row| distance(row));
    rows.truncate(3);
    rows
}

impl Fleet {
    /// Operations per second of all together, as their data sheets have them for dense bf16 (or fp16).
    pub fn nominal_flop_per_second(&self) -> Option<Flops> {
        self.row.nominal_flop_per_second.checked_mul(self.count.into())
    }

    /// Milliseconds for `executed` operations at a share of the nominal peak. `None` beyond 128 bits.
    pub fn milliseconds(&self, executed: Flops, utilisation: Utilisation) -> Option<u128> {
        let share = utilisation.0;
        let done = self.nominal_flop_per_second()?.checked_mul(share.numerator().into())?;
        rounded(executed, share.denominator().checked_mul(1000)?, done)
    }

    /// Joules of the boards at their rated power over that time. `None` where no rated power is on record, and beyond 128 bits.
    pub fn board_energy_joules(&self, executed: Flops, utilisation: Utilisation) -> Option<u128> {
        let share = utilisation.0;
        let milliwatts = self.row.board_power_milliwatts?.checked_mul(share.denominator())?;
        // All GPUs do the work in a share of the time, so that their number cancels out.
        let done = self.row.nominal_flop_per_second.checked_mul(share.numerator().into())?.checked_mul(1000)?;
        rounded(executed, milliwatts, done)
    }
}

fn rounded(amount: Flops, factor: u64, divisor: Flops) -> Option<u128> {
    Fraction::decimal(amount, factor, divisor.0, 0)?.parse().ok()
}

/// The share of the nominal peak that a job reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utilisation(Fraction);

/// A share that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no share of a peak; write it as `40%` or as `0.4`, above 0 and up to 100%")]
pub struct UtilisationProblem {
    text: String,
}

impl Utilisation {
    /// What is taken where nobody says; small jobs often reach less.
    pub const USUAL_PERCENT: &str = "40%";

    /// Where that comes from: <https://arxiv.org/abs/2407.21783>.
    pub const USUAL_SOURCE: &str = "Llama 3 405B reached 38 to 43 % on H100, arXiv:2407.21783, table 4";

    /// In per cent, as a decimal number.
    pub fn percent(self) -> String {
        let share = Fraction::decimal(Flops(self.0.numerator().into()), 100, self.0.denominator().into(), 4);
        let share = share.unwrap_or_default();
        share.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl FromStr for Utilisation {
    type Err = UtilisationProblem;

    /// ```
    /// use flopsmeter_core::plan::Utilisation;
    /// assert_eq!("0.38".parse::<Utilisation>(), "38%".parse());
    /// assert_eq!("37.5 %".parse::<Utilisation>().unwrap().percent(), "37.5");
    /// assert!("40".parse::<Utilisation>().is_err(), "forty times the peak");
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MILLIONTHS: u64 = 1_000_000;
        let problem = || UtilisationProblem { text: text.to_owned() };
        let number = text.trim();
        let (number, exponent) = number.strip_suffix('%').map_or((number, 6), |percent| (percent.trim_end(), 4));
        if number.contains(['e', 'E']) {
            return Err(problem());
        }
        let millionths = parse_whole(&format!("{number}e{exponent}")).map_err(|_| problem())?;
        let millionths = u64::try_from(millionths).ok().filter(|it| *it <= MILLIONTHS).ok_or_else(problem)?;
        Fraction::new(millionths, MILLIONTHS).map(Self).ok_or_else(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Result<String, String> {
        text.parse::<Fleet>().map(|fleet| format!("{} {}", fleet.count, fleet.row.label)).map_err(|it| it.to_string())
    }

    #[test]
    fn names_are_found_whole_and_never_guessed() {
        for (text, expected) in [
            ("8xH100 SXM", "8 H100 SXM5"),
            ("8 x NVIDIA H100 80GB HBM3", "8 H100 SXM5"),
            ("h20", "1 H20"),
            ("H200 SXM", "1 H200 SXM"),
            ("2×L40", "2 L40"),
            ("L4", "1 L4"),
            ("rtx 4090", "1 RTX 4090"),
            ("A100-SXM4-80GB", "1 A100 SXM4 80GB"),
            ("4xA100 SXM 80GB", "4 A100 SXM4 80GB"),
            ("8xH100SXM", "8 H100 SXM5"),
            ("B200", "1 B200 (HGX, 1000 W)"),
        ] {
            assert_eq!(label(text), Ok(expected.to_owned()), "{text}");
        }
        assert!(
            label("H100").unwrap_err().starts_with("`H100` is no whole name; it may be cut from H100 PCIe, H100 SXM5")
        );
        assert!(label("RTX 6000").unwrap_err().contains("RTX 6000 Ada"), "a Quadro, an Ada or a PRO");
        assert!(label("A1000").unwrap_err().starts_with("the GPU table has no `A1000`; it may be A100"));
        let unlike = label("nosuch").unwrap_err();
        assert!(
            unlike.starts_with("the GPU table has no `nosuch`, nor a name like it; its names begin with A10, A100, ")
        );
        for text in ["", "8x", "0xH100 SXM", "x"] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_two_rows_are_spelled_alike() {
        let rows = GpuTable::embedded().rows();
        for row in rows {
            for spelling in spellings(row) {
                let others = rows.iter().filter(|other| spellings(other).any(|it| it == spelling));
                assert_eq!(others.count(), 1, "{spelling}");
            }
        }
    }

    #[test]
    fn time_and_energy_are_exact_before_they_are_rounded() {
        let utilisation: Utilisation = "40%".parse().unwrap();
        let fleet: Fleet = "8xH100 SXM5".parse().unwrap();
        // 8 · 989.4e12 · 0.4 in a second.
        let second = Flops(3_166_080_000_000_000);
        assert_eq!(fleet.milliseconds(second, utilisation), Some(1000));
        assert_eq!(fleet.board_energy_joules(second, utilisation), Some(5600));
        let one = Fleet { count: 1, ..fleet };
        assert_eq!(one.milliseconds(second, utilisation), Some(8000));
        assert_eq!(one.board_energy_joules(second, utilisation), Some(5600));
    }

    #[test]
    fn absurd_shares_are_refused() {
        for text in ["0", "0%", "101%", "1.1", "-5%", "a", "%", "1e-1", "0.0000001"] {
            assert!(text.parse::<Utilisation>().is_err(), "{text}");
        }
        assert_eq!("100%".parse::<Utilisation>().unwrap().percent(), "100");
    }
}
