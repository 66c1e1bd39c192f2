//! What amounts are multiples of.

use crate::facts::InventoryAmount;
use crate::shape::program::{Amount, ModuleKind};
use crate::shape::quantity::{Mask, Quantity, Stream};

/// An amount as a sum of factors of quantities.
pub(super) fn terms(amount: &InventoryAmount) -> impl Iterator<Item = Amount> {
    let pairs = |query, key| Quantity::Pairs { query, key, mask: Mask::Bidirectional };
    let all = [
        (amount.constant, Quantity::Pass),
        (amount.per_sequence, Quantity::Positions(Stream::Pooled)),
        (amount.per_position, Quantity::Shared(Stream::Text)),
        (amount.per_token, Quantity::Positions(Stream::Text)),
        (amount.per_position_pair, Quantity::SharedPairs(Stream::Text)),
        (amount.per_pair, pairs(Stream::Text, Stream::Text)),
        (amount.per_decoder_token, Quantity::Positions(Stream::Decoder)),
        (amount.per_decoder_pair, pairs(Stream::Decoder, Stream::Decoder)),
        (amount.per_cross_pair, pairs(Stream::Decoder, Stream::Text)),
    ];
    let terms = all.into_iter().filter(|(factor, _)| *factor > 0);
    terms.map(|(factor, quantity)| Amount { factor: u128::from(factor), quantity })
}

/// At which rows a module's product happens, one quantity after the other, if its amount is a multiple of them.
pub(super) fn rows(kind: ModuleKind, amount: &InventoryAmount) -> Option<Vec<Quantity>> {
    let each = match kind {
        ModuleKind::Embedding { .. } => 1,
        _ => kind.product().filter(|product| *product > 0)?,
    };
    terms(amount).map(|term| row(term, each)).collect()
}

fn row(term: Amount, each: u128) -> Option<Quantity> {
    if term.factor == each && !matches!(term.quantity, Quantity::Pairs { .. } | Quantity::SharedPairs(_)) {
        return Some(term.quantity);
    }
    match term.quantity {
        Quantity::Positions(Stream::Pooled) if term.factor.is_multiple_of(each) => {
            Some(Quantity::Positions(Stream::Fixed(u64::try_from(term.factor / each).ok()?)))
        }
        Quantity::Pass if term.factor.is_multiple_of(each) => {
            Some(Quantity::Shared(Stream::Fixed(u64::try_from(term.factor / each).ok()?)))
        }
        Quantity::Positions(Stream::Text) => Some(Quantity::Positions(resampled(term.factor, each)?)),
        Quantity::Shared(Stream::Text) => Some(Quantity::Shared(resampled(term.factor, each)?)),
        _ => None,
    }
}

fn resampled(factor: u128, each: u128) -> Option<Stream> {
    let common = greatest_common_divisor(factor, each);
    Some(Stream::Resampled { to: u64::try_from(factor / common).ok()?, from: u64::try_from(each / common).ok()? })
}

const fn greatest_common_divisor(mut left: u128, mut right: u128) -> u128 {
    while right > 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: ModuleKind = ModuleKind::Linear { inputs: 3, outputs: 5, bias: false };

    #[test]
    fn multiples_of_a_product_are_rows() {
        let amount = InventoryAmount { per_token: 30, per_sequence: 90, ..InventoryAmount::default() };
        let expected = vec![Quantity::Positions(Stream::Fixed(3)), Quantity::Positions(Stream::Text)];
        assert_eq!(rows(LINEAR, &amount), Some(expected));
        let quarter = InventoryAmount { per_token: 60, ..InventoryAmount::default() };
        let twice = Quantity::Positions(Stream::Resampled { to: 2, from: 1 });
        assert_eq!(rows(LINEAR, &quarter), Some(vec![twice]));
    }

    #[test]
    fn what_is_no_multiple_is_no_row() {
        let odd = [
            InventoryAmount { per_sequence: 31, ..InventoryAmount::default() },
            InventoryAmount { per_pair: 30, ..InventoryAmount::default() },
            InventoryAmount { constant: 61, ..InventoryAmount::default() },
        ];
        assert!(odd.iter().all(|amount| rows(LINEAR, amount).is_none()));
    }
}
