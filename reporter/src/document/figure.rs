//! Numbers as a reader sees them. The only way to print one is a [`Figure`], and a figure cannot be made without an origin.

use chrono::{DateTime, Utc};
use flopsmeter_core::assess::Origin;
use flopsmeter_core::run::EnergyBounds;
use flopsmeter_core::unit::{Flops, Joules, Tokens};
use serde::Serialize;

/// Significant digits of a rounded count of operations.
const SIGNIFICANT: usize = 3;
/// Counts below this are printed whole.
const ROUNDED_FROM: u128 = 10_000_000;

/// A number and where it comes from.
///
/// ```
/// use flopsmeter_core::{assess::Origin, unit::Flops};
/// use flopsmeter_reporter::document::Figure;
/// let spent = Figure::flops(Flops(722_700_000_000), Origin::Measured { by: "hook".into() });
/// assert_eq!(spent.text(), "7.23 × 10¹¹");
/// assert_eq!(spent.exact(), Some("722,700,000,000"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    text: String,
    exact: Option<String>,
    origin: Origin,
}

impl Figure {
    /// Operations: three significant digits, with the whole number beside them.
    pub fn flops(flops: Flops, origin: Origin) -> Self {
        let exact = grouped(flops.0);
        if flops.0 < ROUNDED_FROM {
            return Self { text: exact, exact: None, origin };
        }
        Self { text: typeset(&flops.scientific(SIGNIFICANT)), exact: Some(exact), origin }
    }

    /// Operations per second, rounded; the JSON form has the whole number.
    pub fn rate(flops: Flops, origin: Origin) -> Self {
        let plain = Self::flops(flops, origin);
        Self { text: format!("{}/s", plain.text), exact: None, ..plain }
    }

    /// A whole number.
    pub fn count(count: u64, origin: Origin) -> Self {
        Self { text: grouped(u128::from(count)), exact: None, origin }
    }

    /// Tokens.
    pub fn tokens(tokens: Tokens, origin: Origin) -> Self {
        Self::count(tokens.0, origin)
    }

    /// A share in per cent, from a decimal string such as `41.23`.
    pub fn percent(decimal: &str, origin: Origin) -> Self {
        Self { text: format!("{}%", shown_decimal(decimal)), exact: None, origin }
    }

    /// `part / whole` in per cent with one digit after the point, rounded to nearest; `None` for an empty whole.
    pub fn share(part: Flops, whole: Flops, origin: Origin) -> Option<Self> {
        let tenths = per(1_000, part, whole)?;
        if tenths == 0 && part > Flops::ZERO {
            return Some(Self { text: "< 0.1%".to_owned(), exact: None, origin });
        }
        Some(Self { text: format!("{}.{}%", grouped(tenths / 10), tenths % 10), exact: None, origin })
    }

    /// A decimal number as it stands.
    pub fn decimal(decimal: &str, origin: Origin) -> Self {
        Self { text: shown_decimal(decimal), exact: None, origin }
    }

    /// A length of time, from seconds with three decimals.
    pub fn duration(seconds: f64, origin: Origin) -> Self {
        let (text, exact) = duration(seconds);
        Self { text, exact, origin }
    }

    /// A point in time.
    pub fn instant(instant: DateTime<Utc>, origin: Origin) -> Self {
        Self { text: instant.format("%Y-%m-%d %H:%M:%S UTC").to_string(), exact: None, origin }
    }

    /// Energy in megawatt hours with two significant digits, as the law's forms ask for it, and the joules beside it.
    pub fn energy(energy: Joules, origin: Origin) -> Self {
        Self { text: format!("{} MWh", megawatt_hours(energy)), exact: Some(format!("{energy} J")), origin }
    }

    /// The same of an energy that is known to lie between two.
    pub fn energy_between(bounds: EnergyBounds, origin: Origin) -> Self {
        let EnergyBounds { least_joules, most_joules } = bounds;
        Self {
            text: format!("{} – {} MWh", megawatt_hours(least_joules), megawatt_hours(most_joules)),
            exact: Some(format!("{least_joules} J – {most_joules} J")),
            origin,
        }
    }

    /// A number that is not there, shown as `missing`.
    pub fn missing(word: &str, next_step: &str) -> Self {
        Self { text: word.to_owned(), exact: None, origin: Origin::Missing { next_step: next_step.to_owned() } }
    }

    /// What is read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole number, where the text is rounded.
    pub fn exact(&self) -> Option<&str> {
        self.exact.as_deref()
    }

    /// Where it comes from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its one-letter mark.
    pub const fn mark(&self) -> Mark {
        Mark::of(&self.origin)
    }
}

/// The kind of an origin, as a reader tells them apart at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Read off a device or counted in the running job.
    Measured,
    /// Follows from other numbers.
    Computed,
    /// From an embedded or site table.
    Registry,
    /// Somebody said so.
    Declared,
    /// Not there.
    Missing,
}

impl Mark {
    /// All, in the order of the legend.
    pub const ALL: [Self; 5] = [Self::Measured, Self::Computed, Self::Registry, Self::Declared, Self::Missing];

    /// The mark of an origin.
    pub const fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Measured { .. } => Self::Measured,
            Origin::Computed { .. } => Self::Computed,
            Origin::Registry { .. } => Self::Registry,
            Origin::Declared { .. } => Self::Declared,
            Origin::Missing { .. } => Self::Missing,
        }
    }

    /// Stable name, also the wording's key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Computed => "computed",
            Self::Registry => "registry",
            Self::Declared => "declared",
            Self::Missing => "missing",
        }
    }

    /// The letter printed after a figure.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Measured => "M",
            Self::Computed => "C",
            Self::Registry => "R",
            Self::Declared => "D",
            Self::Missing => "?",
        }
    }
}

/// `scale · part / whole`, rounded to nearest; `None` where the whole is nothing or the product leaves `u128`.
pub(crate) fn per(scale: u128, part: Flops, whole: Flops) -> Option<u128> {
    let product = part.0.checked_mul(scale)?.checked_add(whole.0 / 2)?;
    product.checked_div(whole.0)
}

/// Two significant digits of an energy in megawatt hours.
fn megawatt_hours(energy: Joules) -> String {
    // 1 MWh is 3.6e12 mJ: in units of 1e-15 MWh, so that a millijoule still has more than two digits.
    let units = (u128::from(energy.millijoules()) * 10_000 + 18) / 36;
    if units == 0 {
        return "0".to_owned();
    }
    let dropped = units.max(10).ilog10() - 1;
    let digits = (units + 10_u128.pow(dropped) / 2) / 10_u128.pow(dropped);
    let (digits, dropped) = if digits == 100 { (10, dropped + 1) } else { (digits, dropped) };
    let (first, second) = (digits / 10, digits % 10);
    match dropped {
        15.. => grouped(digits * 10_u128.pow(dropped - 15)),
        14 => format!("{first}.{second}"),
        11..14 => format!("0.{digits:0>width$}", width = usize::try_from(15 - dropped).unwrap_or(2)),
        ..11 => typeset(&format!("{first}.{second}e-{}", 14 - dropped)),
    }
}

/// `7.23e11` as `7.23 × 10¹¹`.
fn typeset(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific.to_owned() };
    let raised: String = exponent.chars().map(superscript).collect();
    format!("{mantissa} × 10{raised}")
}

fn superscript(digit: char) -> char {
    match digit {
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        '-' => '⁻',
        other => other,
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Groups the whole part of a decimal string; anything else than a number is shown with care, as it is.
fn shown_decimal(decimal: &str) -> String {
    let (whole, fraction) = decimal.split_once('.').map_or((decimal, None), |(whole, rest)| (whole, Some(rest)));
    let Ok(number) = whole.parse::<u128>() else { return super::Words::new(decimal).as_str().to_owned() };
    match fraction {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("{}.{digits}", grouped(number)),
        Some(_) => super::Words::new(decimal).as_str().to_owned(),
        None => grouped(number),
    }
}

/// Hours, minutes and seconds, and the exact seconds beside them.
fn duration(seconds: f64) -> (String, Option<String>) {
    let exact = format!("{seconds:.3}");
    let Some(whole) = exact.split_once('.').and_then(|(whole, _)| whole.parse::<u64>().ok()) else {
        return (exact + " s", None);
    };
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => (format!("{exact} s"), None),
        (0, minutes, seconds) => (format!("{minutes} min {seconds:02} s"), Some(format!("{exact} s"))),
        (hours, minutes, _) => {
            (format!("{} h {minutes:02} min", grouped(u128::from(hours))), Some(format!("{exact} s")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::Measured { by: "test".to_owned() }
    }

    #[test]
    fn operations_are_rounded_with_the_whole_number_beside() {
        let figure = Figure::flops(Flops(723_456_789_012_345_678_901_234), origin());
        assert_eq!(figure.text(), "7.23 × 10²³");
        assert_eq!(figure.exact(), Some("723,456,789,012,345,678,901,234"));
        assert_eq!(Figure::flops(Flops(9_999_999), origin()).text(), "9,999,999");
    }

    #[test]
    fn a_share_never_hides_that_something_was_there() {
        assert_eq!(Figure::share(Flops(1), Flops(1_000_000), origin()).unwrap().text(), "< 0.1%");
        assert_eq!(Figure::share(Flops(1), Flops(3), origin()).unwrap().text(), "33.3%");
        assert_eq!(Figure::share(Flops(1), Flops(0), origin()), None);
    }

    #[test]
    fn times_read_as_a_clock_does() {
        assert_eq!(Figure::duration(59.5, origin()).text(), "59.500 s");
        assert_eq!(Figure::duration(61.0, origin()).text(), "1 min 01 s");
        assert_eq!(Figure::duration(7_380.25, origin()).text(), "2 h 03 min");
        assert_eq!(Figure::duration(f64::NAN, origin()).text(), "NaN s");
        assert_eq!(Figure::duration(f64::INFINITY, origin()).text(), "inf s");
    }

    #[test]
    fn energy_has_two_significant_digits_in_megawatt_hours() {
        for (joules, shown) in [
            (0, "0 MWh"),
            (1, "2.8 × 10⁻¹⁰ MWh"),
            (3_600_000, "0.0010 MWh"),
            (3_580_000, "9.9 × 10⁻⁴ MWh"),
            (82_600_000, "0.023 MWh"),
            (3_600_000_000, "1.0 MWh"),
            (3_580_000_000, "0.99 MWh"),
            (36_000_000_000, "10 MWh"),
            (4_499_000_000_000, "1,200 MWh"),
        ] {
            let figure = Figure::energy(Joules::from_millijoules(joules * 1000), origin());
            assert_eq!((figure.text(), figure.exact()), (shown, Some(&*format!("{joules}.000 J"))));
        }
    }

    #[test]
    fn a_decimal_that_is_none_is_shown_as_it_is() {
        assert_eq!(Figure::percent("1234.50", origin()).text(), "1,234.50%");
        assert_eq!(Figure::decimal("<b>", origin()).text(), "<b>");
    }
}
