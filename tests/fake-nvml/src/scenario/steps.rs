//! Values that hold from a time on: `[[from, value], …]`, times in milliseconds, in order.

/// Pairs of a time and the value that holds from then on.
pub type Steps = Vec<(u64, u64)>;

/// The value that holds at `at`; nothing holds before the first step.
pub fn value_at(steps: &[(u64, u64)], at: u64) -> u64 {
    steps.iter().take_while(|(from, _)| *from <= at).last().map_or(0, |(_, value)| *value)
}

/// The sum of value × milliseconds over a stretch.
pub fn integral(steps: &[(u64, u64)], from: u64, until: u64) -> u64 {
    pieces(steps, from, until).map(|(value, milliseconds)| value * milliseconds).sum()
}

/// The sum of value × value × milliseconds over a stretch.
pub fn product_integral(left: &[(u64, u64)], right: &[(u64, u64)], from: u64, until: u64) -> u128 {
    let mut sum = 0;
    let mut start = from;
    for (value, milliseconds) in pieces(left, from, until) {
        // Stretches before the first step have no piece: their value is zero.
        let begin = start.max(left.first().map_or(0, |(first, _)| *first));
        sum += u128::from(value) * u128::from(integral(right, begin, begin + milliseconds));
        start = begin + milliseconds;
    }
    sum
}

/// Value and length of each step's part of a stretch.
fn pieces(steps: &[(u64, u64)], from: u64, until: u64) -> impl Iterator<Item = (u64, u64)> {
    let ends = steps.iter().skip(1).map(|(start, _)| *start).chain([u64::MAX]);
    let part =
        move |((start, value), end): (&(u64, u64), u64)| (*value, end.min(until).saturating_sub((*start).max(from)));
    steps.iter().zip(ends).map(part).filter(|(_, milliseconds)| *milliseconds > 0)
}
