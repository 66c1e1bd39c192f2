//! The arithmetic of an estimate, as a row writes it: sums of products and quotients of decimal numbers, with brackets.

use num_rational::Ratio;
use num_traits::{CheckedAdd as _, CheckedDiv as _, CheckedMul as _, Zero as _};

/// What a formula gives, exactly.
///
/// # Errors
///
/// Names the place that cannot be read, or says that the result is beyond 128 bits.
pub(super) fn evaluate(formula: &str) -> Result<Ratio<u128>, String> {
    let mut rest = formula;
    let value = sum(&mut rest, MOST_BRACKETS)?;
    if rest.trim_start().is_empty() { Ok(value) } else { Err(format!("`{}` cannot be read", rest.trim_start())) }
}

/// No estimate needs more, and a table is somebody else's text.
const MOST_BRACKETS: u32 = 8;

fn sum(rest: &mut &str, brackets: u32) -> Result<Ratio<u128>, String> {
    let mut value = term(rest, brackets)?;
    while take(rest, '+') {
        value = value.checked_add(&term(rest, brackets)?).ok_or_else(too_large)?;
    }
    Ok(value)
}

fn term(rest: &mut &str, brackets: u32) -> Result<Ratio<u128>, String> {
    let mut value = factor(rest, brackets)?;
    loop {
        if take(rest, '*') {
            value = value.checked_mul(&factor(rest, brackets)?).ok_or_else(too_large)?;
        } else if take(rest, '/') {
            let divisor = factor(rest, brackets)?;
            if divisor.is_zero() {
                return Err("it divides by zero".to_owned());
            }
            value = value.checked_div(&divisor).ok_or_else(too_large)?;
        } else {
            return Ok(value);
        }
    }
}

fn factor(rest: &mut &str, brackets: u32) -> Result<Ratio<u128>, String> {
    if !take(rest, '(') {
        return number(rest);
    }
    let inner = brackets.checked_sub(1).ok_or("it has too many brackets in one another")?;
    let value = sum(rest, inner)?;
    if take(rest, ')') { Ok(value) } else { Err("a bracket is not closed".to_owned()) }
}

fn take(rest: &mut &str, sign: char) -> bool {
    let after = rest.trim_start().strip_prefix(sign);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

/// Digits with at most one point, and an exponent that may carry a plus.
fn number(rest: &mut &str) -> Result<Ratio<u128>, String> {
    let text = rest.trim_start();
    let digits = |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (whole, mut after) = text.split_at(digits(text));
    let mut fraction = "";
    if let Some(behind) = after.strip_prefix('.') {
        (fraction, after) = behind.split_at(digits(behind));
    }
    let mut exponent = "0";
    if let Some(behind) = after.strip_prefix(['e', 'E']) {
        let behind = behind.strip_prefix('+').unwrap_or(behind);
        (exponent, after) = behind.split_at(digits(behind));
    }
    let unreadable = || format!("`{}` is no number", text.chars().take(20).collect::<String>());
    if whole.is_empty() && fraction.is_empty() {
        return Err(unreadable());
    }
    *rest = after;
    let significant: u128 = format!("0{whole}{fraction}").parse().map_err(|_| too_large())?;
    let up: u32 = exponent.parse().map_err(|_| unreadable())?;
    let down = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let power = |exponent: u32| 10_u128.checked_pow(exponent).ok_or_else(too_large);
    Ratio::new(significant, power(down)?).checked_mul(&Ratio::from_integer(power(up)?)).ok_or_else(too_large)
}

fn too_large() -> String {
    "its numbers leave 128 bits".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(formula: &str) -> u128 {
        let value = evaluate(formula).unwrap_or_else(|problem| panic!("{formula}: {problem}"));
        assert!(value.is_integer(), "{formula} = {value}");
        value.to_integer()
    }

    #[test]
    fn arithmetic_as_the_rows_write_it() {
        assert_eq!(whole("6*6738415616*1e12"), 40_430_493_696_000_000_000_000);
        assert_eq!(whole("7.227e23 + 6*8e9*1e9"), 722_748 * 10_u128.pow(18));
        assert_eq!(whole("4.207e21*39e6/1.5e9"), 109_382 * 10_u128.pow(15));
        assert_eq!(whole("6*8/(2*3)"), 8);
        assert_eq!(whole("1.5*2e+1"), 30);
        assert_eq!(evaluate("1/3"), Ok(Ratio::new(1, 3)));
    }

    #[test]
    fn what_is_no_arithmetic_is_refused() {
        for (formula, cause) in [
            ("", "no number"),
            ("6*", "no number"),
            ("6*x", "no number"),
            ("(1+2", "not closed"),
            ("1 2", "cannot be read"),
            ("1/0", "divides by zero"),
            ("1e39", "128 bits"),
            ("1e30*1e30", "128 bits"),
            ("2e", "no number"),
            ("-1", "no number"),
            (&"(".repeat(100_000), "brackets"),
        ] {
            let problem = evaluate(formula).unwrap_err();
            assert!(problem.contains(cause), "{}: {problem}", formula.chars().take(20).collect::<String>());
        }
    }
}
