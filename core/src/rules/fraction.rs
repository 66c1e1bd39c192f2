//! Exact fractions, and comparisons and quotients that neither round nor overflow.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::unit::Flops;

/// A fraction of whole numbers, written `7/39`.
///
/// ```
/// use flopsmeter_core::rules::Fraction;
/// use flopsmeter_core::unit::Flops;
/// let third: Fraction = "1/3".parse().unwrap();
/// assert!(third.is_exceeded_by(Flops(34), Flops(100)));
/// assert!(!third.is_exceeded_by(Flops(33), Flops(99)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: u64,
    denominator: u64,
}

/// A text that is no fraction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fraction of two whole numbers above zero, such as 1/3")]
pub struct FractionProblem {
    text: String,
}

impl Fraction {
    /// `numerator / denominator`; `None` where either is zero.
    pub const fn new(numerator: u64, denominator: u64) -> Option<Self> {
        if numerator == 0 || denominator == 0 { None } else { Some(Self { numerator, denominator }) }
    }

    /// Number above the bar.
    pub const fn numerator(self) -> u64 {
        self.numerator
    }

    /// Number below the bar.
    pub const fn denominator(self) -> u64 {
        self.denominator
    }

    /// `amount` against `self * of`, exactly.
    pub fn compare(self, amount: Flops, of: Flops) -> Ordering {
        product(amount.0, self.denominator).cmp(&product(of.0, self.numerator))
    }

    /// `amount > self * of`.
    pub fn is_exceeded_by(self, amount: Flops, of: Flops) -> bool {
        self.compare(amount, of) == Ordering::Greater
    }

    /// `amount >= self * of`.
    pub fn is_reached_by(self, amount: Flops, of: Flops) -> bool {
        self.compare(amount, of) != Ordering::Less
    }

    /// `self * of`, rounded down; `u128::MAX` where it is more.
    pub fn floor_of(self, of: Flops) -> Flops {
        let (low, high) = of.0.carrying_mul(u128::from(self.numerator), 0);
        Flops(divide(high, low, u128::from(self.denominator)).map_or(u128::MAX, |(quotient, _)| quotient))
    }

    /// `amount * factor / divisor` as a decimal string with `digits` after the point, rounded half up; `None` where the divisor is
    /// zero or the number is beyond 128 bits.
    pub(crate) fn decimal(amount: Flops, factor: u64, divisor: u128, digits: u32) -> Option<String> {
        let scale = 10_u128.checked_pow(digits)?;
        let (low, high) = amount.0.carrying_mul(scale.checked_mul(u128::from(factor))?, 0);
        let (quotient, remainder) = divide(high, low, divisor)?;
        let rounds_up = remainder >= divisor - remainder;
        let scaled = quotient.checked_add(u128::from(rounds_up))?;
        let width = usize::try_from(digits).ok()?;
        if digits == 0 {
            return Some(scaled.to_string());
        }
        Some(format!("{}.{:0width$}", scaled / scale, scaled % scale))
    }

    /// Whether this is the larger of two fractions.
    pub fn is_more_than(self, other: Self) -> bool {
        product(self.numerator.into(), other.denominator) > product(other.numerator.into(), self.denominator)
    }

    /// Whether two fractions have the same value.
    pub fn equals(self, other: Self) -> bool {
        product(self.numerator.into(), other.denominator) == product(other.numerator.into(), self.denominator)
    }
}

/// `left * right` as (high, low), which compare like the numbers they stand for.
fn product(left: u128, right: u64) -> (u128, u128) {
    let (low, high) = left.carrying_mul(u128::from(right), 0);
    (high, low)
}

/// Quotient and remainder of a 256-bit number; `None` where the quotient needs more than 128 bits.
fn divide(high: u128, low: u128, divisor: u128) -> Option<(u128, u128)> {
    if high >= divisor {
        return None;
    }
    let (mut remainder, mut quotient) = (high, 0_u128);
    for bit in (0..u128::BITS).rev() {
        let carry = remainder >> 127 == 1;
        remainder = remainder << 1 | (low >> bit & 1);
        quotient <<= 1;
        if carry || remainder >= divisor {
            remainder = remainder.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    Some((quotient, remainder))
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.numerator, self.denominator)
    }
}

impl FromStr for Fraction {
    type Err = FractionProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        text.split_once('/')
            .and_then(|(above, below)| Self::new(part(above)?, part(below)?))
            .ok_or_else(|| FractionProblem { text: text.chars().take(80).collect() })
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THIRD: Fraction = Fraction { numerator: 1, denominator: 3 };

    #[test]
    fn comparisons_hold_at_the_end_of_the_range() {
        let most = Flops(u128::MAX);
        assert!(THIRD.is_exceeded_by(most, most));
        assert_eq!(THIRD.compare(Flops(u128::MAX / 3), most), Ordering::Equal);
        assert!(THIRD.is_exceeded_by(Flops(u128::MAX / 3 + 1), most));
        assert_eq!(THIRD.floor_of(most), Flops(u128::MAX / 3));
    }

    #[test]
    fn decimals_round_half_up() {
        assert_eq!(Fraction::decimal(Flops(1), 1, 3, 6).as_deref(), Some("0.333333"));
        assert_eq!(Fraction::decimal(Flops(2), 1, 3, 6).as_deref(), Some("0.666667"));
        assert_eq!(Fraction::decimal(Flops(1), 1, 2_000_000, 6).as_deref(), Some("0.000001"));
        assert_eq!(Fraction::decimal(Flops(1), 1, 2_000_001, 6).as_deref(), Some("0.000000"));
        assert_eq!(Fraction::decimal(Flops(7), 300, 7, 2).as_deref(), Some("300.00"));
        assert_eq!(Fraction::decimal(Flops(u128::MAX), 1, u128::MAX, 6).as_deref(), Some("1.000000"));
        assert_eq!(Fraction::decimal(Flops(1), 1, 0, 6), None);
        assert_eq!(Fraction::decimal(Flops(u128::MAX), 1, 1, 6), None);
    }

    #[test]
    fn what_is_no_fraction_is_refused() {
        for text in ["", "1", "1/0", "0/3", "-1/3", "+1/3", "1/3/5", "0.3/1", "1 / 3", "99999999999999999999/1"] {
            assert!(text.parse::<Fraction>().is_err(), "{text} was accepted");
        }
    }

    proptest! {
        #[test]
        fn small_numbers_agree_with_plain_arithmetic(amount in 0..=u64::MAX, of in 0..=u64::MAX, above in 1..1000_u64, below in 1..1000_u64) {
            let fraction = Fraction::new(above, below).unwrap();
            let plain = (u128::from(amount) * u128::from(below)).cmp(&(u128::from(of) * u128::from(above)));
            prop_assert_eq!(fraction.compare(Flops(amount.into()), Flops(of.into())), plain);
            prop_assert_eq!(fraction.floor_of(Flops(of.into())).0, u128::from(of) * u128::from(above) / u128::from(below));
        }

        #[test]
        fn division_undoes_multiplication(quotient: u128, divisor in 1..=u128::MAX, rest: u128) {
            let rest = rest % divisor;
            let (low, high) = quotient.carrying_mul(divisor, rest);
            prop_assert_eq!(divide(high, low, divisor), Some((quotient, rest)));
        }
    }
}
