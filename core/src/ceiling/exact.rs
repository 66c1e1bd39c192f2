//! Time times speed in integers, rounded up.

use crate::unit::Flops;

/// `per_second × numerator / denominator`, rounded up; past `u128::MAX` that maximum, never a smaller number.
pub(super) fn charge(per_second: Flops, numerator: u128, denominator: u128) -> Flops {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    let exact = || {
        let part = per_second.0.checked_mul(rest)?.div_ceil(denominator);
        per_second.0.checked_mul(whole)?.checked_add(part)
    };
    Flops(exact().unwrap_or(u128::MAX))
}

/// Nanoseconds as seconds with three decimals, rounded up: for people.
pub(super) fn seconds(nanoseconds: u128) -> f64 {
    let milliseconds = nanoseconds.div_ceil(1_000_000);
    // Written and read: there is no cast here that could lose digits unseen.
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000).parse().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_overflow_is_the_maximum() {
        assert_eq!(charge(Flops(u128::MAX), 3, 2), Flops(u128::MAX));
        assert_eq!(charge(Flops(7), 1, 2), Flops(4));
    }

    #[test]
    fn seconds_have_three_decimals() {
        assert_eq!(format!("{}", seconds(1_234_000_001)), "1.235");
    }

    proptest! {
        #[test]
        fn charges_are_rounded_up_by_less_than_one(rate in 0_u64.., time in 0_u64.., unit in 1_u64..) {
            let product = u128::from(rate) * u128::from(time);
            let charged = charge(Flops(u128::from(rate)), u128::from(time), u128::from(unit));
            prop_assert_eq!(charged.0, product.div_ceil(u128::from(unit)));
        }
    }
}
