//! The two estimates of training compute that the Guidelines name (see the counting rules of the rule sets).

use crate::rules::Fraction;
use crate::unit::Flops;

/// `6 * P * D`: about what a large dense transformer language model of `parameters` takes for `tokens`, epochs multiplied in.
/// `None` beyond `u128`.
///
/// ```
/// use flopsmeter_core::estimate::six_parameters_tokens;
/// let phi_3_mini = six_parameters_tokens(3_800_000_000, 3_300_000_000_000).unwrap();
/// assert_eq!(phi_3_mini.scientific(4), "7.524e22");
/// ```
pub fn six_parameters_tokens(parameters: u128, tokens: u128) -> Option<Flops> {
    Flops(parameters).checked_mul(tokens)?.checked_mul(6)
}

/// `N * L * H * U`: units, seconds, peak operations per second of each, average utilisation. Rounded down; `None` beyond `u128`.
/// Add up one of these for each period in which the number of units is constant.
///
/// ```
/// use flopsmeter_core::estimate::units_time_peak_utilisation;
/// use flopsmeter_core::rules::Fraction;
/// use flopsmeter_core::unit::Flops;
/// let half = Fraction::new(1, 2).unwrap();
/// assert_eq!(units_time_peak_utilisation(8, 10, Flops(100), half), Some(Flops(4_000)));
/// ```
pub fn units_time_peak_utilisation(units: u64, seconds: u64, peak: Flops, utilisation: Fraction) -> Option<Flops> {
    let most = peak.checked_mul(units.into())?.checked_mul(seconds.into())?;
    Some(utilisation.floor_of(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Commission's worked examples (Annex A.3 of the Guidelines): parameters, tokens, exact product, printed figure.
    const BY_TOKENS: [(&str, u128, u128, &str, &str); 6] = [
        ("A", 3_800_000_000, 3_300_000_000_000, "7.524e22", "7.5e22"),
        ("C", 600_000_000, 36_000_000_000_000, "1.296e23", "1.3e23"),
        ("D", 1_540_000_000, 18_000_000_000_000, "1.6632e23", "1.6e23"),
        ("E", 1_700_000_000, 36_000_000_000_000, "3.672e23", "3.7e23"),
        ("F", 2_500_000_000, 12_000_000_000_000, "1.8e23", "1.8e23"),
        ("G", 2_600_000_000, 61_000_000_000 * 164, "1.560624e23", "1.5e23"),
    ];

    /// The same by hardware: hours, peak, exact product, printed figure; utilisation is one half.
    const BY_HOURS: [(&str, u64, &str, &str, &str); 2] =
        [("B", 200_000, "3e14", "1.08e23", "1e23"), ("H", 370_000, "9.89e14", "6.58674e23", "6.5e23")];

    /// Some of the printed figures are rounded, some are cut; each is the product to its number of digits either way.
    fn is_printed_of(exact: Flops, printed: &str) -> bool {
        let digits = printed.chars().take_while(|letter| *letter != 'e').filter(char::is_ascii_digit).count();
        let power = u32::try_from(exact.to_string().len() - digits).unwrap();
        let cut = Flops(exact.0 / 10_u128.pow(power) * 10_u128.pow(power));
        let printed: Flops = printed.parse().unwrap();
        let rounded: Flops = exact.scientific(digits).parse().unwrap();
        printed == cut || printed == rounded
    }

    #[test]
    fn the_commissions_examples_by_tokens() {
        for (name, parameters, tokens, exact, printed) in BY_TOKENS {
            let flop = six_parameters_tokens(parameters, tokens).unwrap();
            assert_eq!(flop, exact.parse().unwrap(), "example {name}");
            assert!(is_printed_of(flop, printed), "example {name}: {flop} is not printed as {printed}");
        }
    }

    #[test]
    fn the_commissions_examples_by_hardware() {
        let half = Fraction::new(1, 2).unwrap();
        for (name, hours, peak, exact, printed) in BY_HOURS {
            let flop = units_time_peak_utilisation(1, hours * 3600, peak.parse().unwrap(), half).unwrap();
            assert_eq!(flop, exact.parse().unwrap(), "example {name}");
            assert!(is_printed_of(flop, printed), "example {name}: {flop} is not printed as {printed}");
        }
    }

    #[test]
    fn example_g_prints_its_tokens_as_ten_trillion() {
        assert_eq!(six_parameters_tokens(2_600_000_000, 10_000_000_000_000), "1.56e23".parse().ok());
    }

    #[test]
    fn absurd_products_are_refused() {
        assert_eq!(six_parameters_tokens(u128::MAX, 1), None);
        assert_eq!(units_time_peak_utilisation(u64::MAX, u64::MAX, Flops(2), Fraction::new(1, 2).unwrap()), None);
    }
}
