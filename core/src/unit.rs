//! Exact quantities: operations, tokens and energy.
//!
//! Sums are integers, so that they do not depend on the order in which samples and steps arrive. JSON carries
//! [`Flops`] as a decimal string, because a 64-bit float (what most JSON readers use) is exact only up to 2^53.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign};
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of floating-point operations; one multiply-add counts as two.
///
/// ```
/// use flopsmeter_core::unit::Flops;
/// let total: Flops = [Flops(2), Flops(3)].into_iter().sum();
/// assert_eq!(total, Flops(5));
/// assert_eq!(serde_json::to_string(&total).unwrap(), "\"5\"");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flops(pub u128);

impl Flops {
    /// No operations.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` past `u128::MAX`.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self * factor`, or `None` past `u128::MAX`.
    pub const fn checked_mul(self, factor: u128) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// The value in scientific notation with `digits` significant figures, rounded half up: for people, never for sums.
    ///
    /// ```
    /// use flopsmeter_core::unit::Flops;
    /// assert_eq!(Flops(75_240).scientific(2), "7.5e4");
    /// assert_eq!(Flops(999).scientific(2), "1.0e3");
    /// assert_eq!(Flops(0).scientific(2), "0");
    /// ```
    pub fn scientific(self, digits: usize) -> String {
        if self.0 == 0 {
            return "0".to_owned();
        }
        let digits = digits.max(1);
        let plain = self.0.to_string();
        if plain.len() <= digits {
            let (whole, fraction) = plain.split_at(1);
            let point = if digits > 1 { "." } else { "" };
            return format!("{whole}{point}{fraction:0<zeros$}e{}", fraction.len(), zeros = digits - 1);
        }
        let mut exponent = plain.len() - 1;
        let unit = 10_u128.pow(u32::try_from(plain.len() - digits).unwrap_or(0));
        let mut leading = self.0 / unit + u128::from(self.0 % unit >= unit.div_ceil(2));
        if leading.to_string().len() > digits {
            leading /= 10;
            exponent += 1;
        }
        let mantissa = leading.to_string();
        let (whole, fraction) = mantissa.split_at(1);
        if fraction.is_empty() { format!("{whole}e{exponent}") } else { format!("{whole}.{fraction}e{exponent}") }
    }
}

impl Add for Flops {
    type Output = Self;

    /// Saturates at `u128::MAX` (3.4e38, some 10^12 times the largest known training run): a total never wraps to a small one.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Flops {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Flops {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Flops {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for Flops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Flops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A quantity that is no whole, non-negative number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a whole, non-negative number that can be counted with; write it as 7000000 or as 7e6")]
pub struct QuantityProblem {
    text: String,
}

/// Reads `2000000000`, `2_000_000_000`, `2e9` and `1.5e9` exactly; a fraction that does not vanish is refused.
pub fn parse_whole(text: &str) -> Result<u128, QuantityProblem> {
    let problem = || QuantityProblem { text: text.to_owned() };
    let cleaned = text.trim().replace('_', "");
    let (mantissa, exponent) = match cleaned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.trim_start_matches('+').parse::<u32>().map_err(|_| problem())?)
        }
        None => (cleaned.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(problem());
    }
    let shift =
        u32::try_from(fraction.len()).ok().and_then(|digits| exponent.checked_sub(digits)).ok_or_else(problem)?;
    let significant: u128 = format!("0{whole}{fraction}").parse().map_err(|_| problem())?;
    if significant == 0 {
        return Ok(0);
    }
    10_u128.checked_pow(shift).and_then(|scale| significant.checked_mul(scale)).ok_or_else(problem)
}

impl FromStr for Flops {
    type Err = QuantityProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_whole(text).map(Self)
    }
}

/// A number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(pub u64);

impl FromStr for Tokens {
    type Err = QuantityProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || QuantityProblem { text: text.to_owned() };
        parse_whole(text).and_then(|count| u64::try_from(count).map(Self).map_err(|_| problem()))
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Energy, held as whole millijoules (the unit of the driver's counter), written to JSON as a decimal number of joules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Joules {
    millijoules: u64,
}

impl Joules {
    /// From the unit in which NVML counts.
    pub const fn from_millijoules(millijoules: u64) -> Self {
        Self { millijoules }
    }

    /// In the unit in which NVML counts.
    pub const fn millijoules(self) -> u64 {
        self.millijoules
    }
}

impl Add for Joules {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { millijoules: self.millijoules.saturating_add(other.millijoules) }
    }
}

impl AddAssign for Joules {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Joules {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Joules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:03}", self.millijoules / 1000, self.millijoules % 1000)
    }
}

impl Serialize for Joules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: serde_json::Number =
            self.to_string().parse().map_err(|_| serde::ser::Error::custom("joules are a decimal number"))?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Joules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = serde_json::Number::deserialize(deserializer)?.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = format!("{fraction:0<3}");
        let millijoules = fraction.get(..3).map(|thousandths| format!("{whole}{thousandths}"));
        millijoules
            .and_then(|digits| digits.parse().ok())
            .map(Self::from_millijoules)
            .ok_or_else(|| D::Error::custom("expected joules as a non-negative decimal number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        assert_eq!(parse_whole("2e9"), Ok(2_000_000_000));
        assert_eq!(parse_whole("1.5e3"), Ok(1500));
        assert_eq!(parse_whole("3_000"), Ok(3000));
        assert_eq!(parse_whole("7.227e23"), Ok(722_700_000_000_000_000_000_000));
        assert_eq!(parse_whole("2.500e1"), Ok(25));
        assert_eq!(parse_whole("0"), Ok(0));
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for text in ["", ".", "-1", "1.5", "1e-3", "2e", "0x10", "1e99", "NaN", "1,000", "5e4294967296"] {
            assert!(parse_whole(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_sum_never_wraps() {
        assert_eq!(Flops(u128::MAX) + Flops(1), Flops(u128::MAX));
    }

    #[test]
    fn joules_survive_json() {
        let energy = Joules::from_millijoules(1_234_567);
        let json = serde_json::to_string(&energy).unwrap();
        assert_eq!(json, "1234.567");
        assert_eq!(serde_json::from_str::<Joules>(&json).unwrap(), energy);
        assert_eq!(serde_json::from_str::<Joules>("12").unwrap(), Joules::from_millijoules(12_000));
    }

    #[test]
    fn scientific_notation_rounds_half_up() {
        assert_eq!(Flops(125).scientific(2), "1.3e2");
        assert_eq!(Flops(124).scientific(2), "1.2e2");
        assert_eq!(Flops(7).scientific(3), "7.00e0");
        assert_eq!(Flops(4).scientific(1), "4e0");
        assert_eq!(Flops(40).scientific(1), "4e1");
        assert_eq!(Flops(4).scientific(0), "4e0");
        assert_eq!(Flops(9).scientific(42), format!("9.{}e0", "0".repeat(41)));
        assert_eq!(Flops(u128::MAX).scientific(3), "3.40e38");
    }
}
