//! Whatever is done to a chain shows.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::ledger::chain;

const STREAM: &str = "run/a";

fn chain_of(contents: &[(i64, String, String)]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, (micros, kind, body)) in contents.iter().enumerate() {
        let at = DateTime::from_timestamp_micros(*micros).unwrap();
        let kind = if index == 0 { RUN_OPENED } else { kind };
        let head = entries.last().map(Entry::head);
        entries.push(chain::append(head.as_ref(), STREAM, at, kind, body.as_str()));
    }
    entries
}

fn contents(least: usize) -> impl Strategy<Value = Vec<Entry>> {
    let one = (0_i64..4_000_000_000_000_000, "[a-z-]{0,6}", ".{0,12}");
    prop::collection::vec(one, least..12).prop_map(|contents| chain_of(&contents))
}

fn check(entries: &[Entry]) -> StreamReport {
    stream(STREAM, entries, &[])
}

/// One change to one field of one entry that leaves it different.
fn edit(entry: &mut Entry, field: u8) {
    match field % 7 {
        0 => entry.stream.push('x'),
        1 => entry.sequence += 1,
        2 => entry.at += chrono::TimeDelta::microseconds(1),
        3 => entry.kind.push('x'),
        4 => entry.body.push(' '),
        5 => entry.previous.0[0] ^= 1,
        _ => entry.digest.0[31] ^= 1,
    }
}

proptest! {
    #[test]
    fn an_untouched_chain_is_sound(entries in contents(0)) {
        let report = check(&entries);
        prop_assert!(report.is_sound(), "{:?}", report.problems);
        prop_assert_eq!(report.head, entries.last().map(Entry::head));
    }

    #[test]
    fn any_edit_is_found(mut entries in contents(1), place: prop::sample::Index, field: u8) {
        let place = place.index(entries.len());
        edit(&mut entries[place], field);
        prop_assert!(!check(&entries).is_sound());
    }

    #[test]
    fn an_edit_with_a_recomputed_digest_is_found(mut entries in contents(2), place: prop::sample::Index, field in 0_u8..6) {
        // Not the last one: nothing follows that could contradict it (see the anchors below).
        let place = place.index(entries.len() - 1);
        edit(&mut entries[place], field);
        entries[place].digest = crate::ledger::entry::digest(&entries[place]);
        prop_assert!(!check(&entries).is_sound());
    }

    #[test]
    fn any_removal_but_of_the_end_is_found(mut entries in contents(2), place: prop::sample::Index) {
        entries.remove(place.index(entries.len() - 1));
        prop_assert!(!check(&entries).is_sound());
    }

    #[test]
    fn any_swap_is_found(mut entries in contents(2), one: prop::sample::Index, other: prop::sample::Index) {
        let (one, other) = (one.index(entries.len()), other.index(entries.len()));
        prop_assume!(one != other);
        entries.swap(one, other);
        prop_assert!(!check(&entries).is_sound());
    }

    #[test]
    fn any_insertion_is_found(mut entries in contents(1), place: prop::sample::Index, copied: prop::sample::Index) {
        let inserted = entries[copied.index(entries.len())].clone();
        entries.insert(place.index(entries.len() + 1), inserted);
        prop_assert!(!check(&entries).is_sound());
    }

    #[test]
    fn a_cut_or_rewritten_end_is_found_with_an_anchor(entries in contents(2), kept: prop::sample::Index) {
        let anchor = entries.last().unwrap().head();
        let kept = 1 + kept.index(entries.len() - 1);
        prop_assert!(check(&entries[..kept]).is_sound(), "a cut is invisible without an anchor");
        prop_assert!(!stream(STREAM, &entries[..kept], core::slice::from_ref(&anchor)).is_sound());

        let mut rewritten = entries[..kept].to_vec();
        let mut last = rewritten.pop().unwrap();
        last.body.push('!');
        last.digest = crate::ledger::entry::digest(&last);
        rewritten.push(last);
        prop_assert!(!stream(STREAM, &rewritten, &[anchor]).is_sound());
    }
}

#[test]
fn removal_is_named() {
    let mut entries = chain_of(&vec![(0, "hook".to_owned(), String::new()); 6]);
    entries.drain(2..4);
    assert_eq!(check(&entries).problems, [Problem::Removed { from: 2, until: 3 }]);
}

#[test]
fn only_a_closing_entry_at_the_end_closes() {
    let open = chain_of(&vec![(0, RUN_CLOSED.to_owned(), String::new()); 2]);
    assert_eq!(check(&open).state, StreamState::Closed);
    let resumed =
        chain::append(open.last().map(Entry::head).as_ref(), STREAM, DateTime::UNIX_EPOCH, "segment-opened", "{}");
    assert_eq!(check(&[open, vec![resumed]].concat()).state, StreamState::Open);
    assert_eq!(check(&[]).state, StreamState::Open);
}

#[test]
fn fractions_of_a_microsecond_are_an_edit() {
    let mut entries = chain_of(&[(7, String::new(), String::new())]);
    entries[0].at += chrono::TimeDelta::nanoseconds(1);
    assert_eq!(check(&entries).problems, [Problem::Edited { sequence: 0 }]);
}

#[test]
fn a_flood_of_problems_is_counted_not_kept() {
    let mut entries = chain_of(&vec![(0, "hook".to_owned(), String::new()); 300]);
    for entry in &mut entries {
        entry.body.push('x');
    }
    let report = check(&entries);
    assert_eq!((report.problems.len(), report.problem_count), (MAXIMUM_LISTED, 300));
}
