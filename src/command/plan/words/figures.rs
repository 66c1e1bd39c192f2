//! Figures of estimates: two digits and a unit.

use flopsmeter_core::unit::Flops;

/// Units of time, in milliseconds.
const TIME: [(&str, u128); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("minutes", 60_000),
    ("hours", 3_600_000),
    ("days", 86_400_000),
    ("years", 31_557_600_000),
];

/// Units of energy, in joules.
const ENERGY: [(&str, u128); 5] =
    [("J", 1), ("Wh", 3600), ("kWh", 3_600_000), ("MWh", 3_600_000_000), ("GWh", 3_600_000_000_000)];

/// `3.4 hours`.
pub(super) fn duration(milliseconds: u128) -> String {
    in_unit(milliseconds, &TIME)
}

/// `19 kWh`.
pub(super) fn energy(joules: u128) -> String {
    in_unit(joules, &ENERGY)
}

/// `2.0e9`; small numbers as they are.
pub(super) fn rounded(count: u128) -> String {
    if count < 10_000 { count.to_string() } else { Flops(count).scientific(3) }
}

/// In the largest unit of which there is a whole one.
fn in_unit(amount: u128, units: &[(&str, u128)]) -> String {
    let fitting = units.iter().rev().find(|(_, size)| amount >= *size).or(units.first());
    fitting.map_or_else(String::new, |(name, size)| format!("about {} {name}", two_digits(amount, *size)))
}

/// `amount / unit`, rounded half up to two digits.
fn two_digits(amount: u128, unit: u128) -> String {
    let tenths = |divisor: u128| amount.saturating_mul(10).saturating_add(divisor / 2) / divisor;
    let tenth = tenths(unit);
    if unit > 1 && tenth < 100 {
        return format!("{}.{}", tenth / 10, tenth % 10);
    }
    let whole = amount.saturating_add(unit / 2) / unit;
    let digits = whole.to_string().len();
    let scale = 10_u128.pow(u32::try_from(digits.saturating_sub(2)).unwrap_or(0));
    (whole.saturating_add(scale / 2) / scale * scale).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_have_two_digits() {
        for (milliseconds, expected) in [
            (0, "about 0 ms"),
            (7, "about 7 ms"),
            (999, "about 1000 ms"),
            (1234, "about 1.2 s"),
            (59_949, "about 60 s"),
            (12_345_678, "about 3.4 hours"),
            (86_400_000 * 20, "about 20 days"),
            (31_557_600_000 * 1234, "about 1200 years"),
        ] {
            assert_eq!(duration(milliseconds), expected);
        }
        assert_eq!(energy(5600), "about 1.6 Wh");
        assert_eq!(energy(3_600_000 * 995), "about 1000 kWh");
        assert_eq!(energy(u128::MAX), "about 95000000000000000000000000 GWh");
        assert_eq!((rounded(9999), rounded(2_000_000_000)), ("9999".to_owned(), "2.00e9".to_owned()));
    }
}
