//! Nothing is lost, counted twice or unbounded.

use proptest::prelude::*;

use super::*;

fn pass(length: u64, real_tokens: Option<u64>) -> Passes {
    Passes { real_tokens, ..Passes::text(Phase::Training, true, 2, length, 1) }
}

fn packed(lengths: impl IntoIterator<Item = u64>) -> Passes {
    let packed = lengths.into_iter().map(|length| PackedSequences { count: 1, length }).collect();
    Passes { packed, ..pass(64, None) }
}

#[test]
fn one_unknown_pass_does_not_hide_the_others_tokens() {
    let mut tally = Tally::default();
    for real_tokens in [Some(5), None, Some(7)] {
        assert_eq!(tally.add(0, pass(8, real_tokens)), Room::Enough);
    }
    let rows = tally.take().remove(&0).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.count, row.real_tokens)).collect();
    assert_eq!(told, [(1, None), (2, Some(12))]);
    assert!(tally.take().is_empty());
}

#[test]
fn packed_batches_share_a_row_and_keep_their_lengths() {
    let mut tally = Tally::default();
    for lengths in [vec![3, 5], vec![5, 5, 5], vec![]] {
        tally.add(0, packed(lengths));
    }
    let rows = tally.take().remove(&0).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.count, row.packed.clone())).collect();
    let lengths = vec![PackedSequences { count: 1, length: 3 }, PackedSequences { count: 4, length: 5 }];
    assert_eq!(told, [(1, Vec::new()), (2, lengths)]);
}

#[test]
fn pictures_of_all_sizes_share_a_row_too() {
    let mut tally = Tally::default();
    for grid in [[1, 4, 6], [1, 8, 8], [1, 4, 6]] {
        let image_grid = vec![ImageGrids { count: 1, grid }];
        tally.add(0, Passes { images: 1, image_grid, ..pass(8, None) });
    }
    let rows = tally.take().remove(&0).unwrap();
    assert_eq!(rows.len(), 1);
    let expected = [ImageGrids { count: 2, grid: [1, 4, 6] }, ImageGrids { count: 1, grid: [1, 8, 8] }];
    assert_eq!(rows[0].image_grid, expected);
}

#[test]
fn what_makes_a_pass_cost_another_amount_makes_another_row() {
    let plain = pass(8, Some(8));
    let others = [
        Passes { adapters_disabled: true, ..plain.clone() },
        Passes { head_positions: Some(3), ..plain.clone() },
        Passes { head_recomputed: true, ..plain.clone() },
        Passes { decoder_length: 4, ..plain.clone() },
        Passes { decoder_length: 4, encoder_skipped: true, ..plain.clone() },
        Passes { images: 1, ..plain.clone() },
        Passes { phase: Phase::Rollout, ..plain.clone() },
        plain,
    ];
    let mut tally = Tally::default();
    for _ in 0..2 {
        for passes in &others {
            tally.add(0, passes.clone());
        }
    }
    let rows = tally.take().remove(&0).unwrap();
    assert_eq!(rows.len(), others.len());
    for passes in &others {
        let sum = |value: Option<u64>| value.map(|value| 2 * value);
        let twice = Passes {
            count: 2,
            real_tokens: sum(passes.real_tokens),
            head_positions: sum(passes.head_positions),
            ..passes.clone()
        };
        assert!(rows.contains(&twice), "{twice:?}");
    }
}

#[test]
fn a_full_tally_still_counts_the_forms_it_has() {
    let mut tally = Tally::default();
    for length in 0..MAXIMUM_ROWS {
        assert_eq!(tally.add(0, pass(u64::try_from(length).unwrap(), None)), Room::Enough);
    }
    assert_eq!(tally.add(0, pass(u64::MAX, None)), Room::None);
    assert_eq!(tally.add(0, pass(0, None)), Room::Enough);
}

#[test]
fn lengths_that_find_no_room_leave_the_pass() {
    let mut tally = Tally::default();
    let many = u64::try_from(MAXIMUM_SIZES).unwrap();
    assert_eq!(tally.add(0, packed(1..=many)), Room::Enough);
    assert_eq!(tally.add(0, packed([1, many])), Room::Enough);
    assert_eq!(tally.add(0, packed([many + 1])), Room::WithoutSizes);
    assert_eq!(tally.add(1, packed(0..=many)), Room::WithoutSizes);
    let rows = tally.take();
    assert_eq!(rows[&0].iter().map(|row| row.count).collect::<Vec<_>>(), [1, 2]);
    assert!(rows[&1][0].packed.is_empty());
}

proptest! {
    #[test]
    fn no_pass_is_lost_or_counted_twice(lengths in proptest::collection::vec((0_u64..4, proptest::option::of(0_u64..9)), 0..200), cut in 0_usize..200) {
        let mut tally = Tally::default();
        let mut seen = Vec::new();
        for (index, (length, real)) in lengths.iter().enumerate() {
            if index == cut {
                seen.extend(tally.take().into_values().flatten());
            }
            tally.add(0, pass(*length, *real));
        }
        seen.extend(tally.take().into_values().flatten());
        let count: u64 = seen.iter().map(|row| row.count).sum();
        let real: u64 = seen.iter().filter_map(|row| row.real_tokens).sum();
        prop_assert_eq!(count, u64::try_from(lengths.len()).unwrap());
        prop_assert_eq!(real, lengths.iter().filter_map(|(_, real)| *real).sum::<u64>());
    }
}
