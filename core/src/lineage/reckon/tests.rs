use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::assess::{Answers, Basis, Cumulated, Inputs, Question, Verdict};
use crate::budget::{Balance, ToCome};
use crate::judge::Judge;
use crate::lineage::{BaseReference, LineageProblem, Merge, Modification, Modifications};
use crate::registry::Registry;
use crate::rules::RuleSet;

fn registry() -> &'static Registry {
    Registry::embedded().unwrap()
}

fn model(name: &str, flop: u128) -> BaseReference {
    file(
        name,
        &format!(
            "name = \"{name}\"\nflop = \"{flop}\"\nsource = \"log\"\ndeclared_by = \"me\"\ndate = 2026-11-21\ngpai = true\n"
        ),
    )
}

fn file(name: &str, text: &str) -> BaseReference {
    let digest = crate::ledger::Digest::of(text.as_bytes()).to_string();
    BaseReference::Declared { name: name.to_owned(), text: text.to_owned(), digest }
}

fn made(slug: &str) -> BaseReference {
    BaseReference::Modification { slug: slug.to_owned() }
}

fn on(slug: &str, base: BaseReference) -> Modification {
    Modification { slug: slug.to_owned(), base: Some(base), ..Modification::default() }
}

fn merged(slug: &str, of: Vec<BaseReference>, parent: Option<BaseReference>) -> Modification {
    let merge = Merge { of, parent, by: "Ada".to_owned(), date: chrono::NaiveDate::MIN };
    Modification { slug: slug.to_owned(), merge: Some(merge), ..Modification::default() }
}

fn ledger(modifications: Vec<Modification>) -> Modifications {
    modifications.into_iter().map(|modification| (modification.slug.clone(), modification)).collect()
}

fn counted(flop: u128) -> Spent {
    Spent::counted(Flops(flop), Basis::Operations)
}

fn trace(of: &str, all: &Modifications, spent: &BTreeMap<&str, u128>) -> Result<Ancestry, LineageProblem> {
    let of_one = |modification: &Modification| {
        Ok(spent.get(modification.slug.as_str()).map_or_else(Spent::nothing, |flop| counted(*flop)))
    };
    Ancestry::trace(all.get(of).unwrap(), all, registry(), of_one)
}

/// Every way as (key, base, base's compute, spent, merged).
fn ways(ancestry: &Ancestry, spent: u128) -> Vec<(&'static str, String, u128, u128, u128)> {
    let told = |way: Reckoning| {
        let base = way.base.unwrap();
        let flop = |flop: Option<Flops>| flop.unwrap_or_default().0;
        (way.key.name(), base.name().to_owned(), flop(base.flop()), flop(way.spent.training), flop(way.spent.merged))
    };
    ancestry.reckon(&counted(spent), None).into_iter().map(told).collect()
}

fn row(
    key: &'static str,
    base: &str,
    flop: u128,
    spent: u128,
    merged: u128,
) -> (&'static str, String, u128, u128, u128) {
    (key, base.to_owned(), flop, spent, merged)
}

const SAME: &str = "own-modifications-of-same-original";

#[test]
fn a_modification_of_an_original_is_read_in_one_way() {
    let all = ledger(vec![on("a", model("o", 900))]);
    let ancestry = trace("a", &all, &BTreeMap::new()).unwrap();
    assert!(ancestry.is_trivial());
    assert_eq!(ways(&ancestry, 100), [row(SAME, "o", 900, 100, 0)]);
}

#[test]
fn a_modification_of_a_modification_is_held_against_the_original_with_what_it_is_made_from() {
    let all = ledger(vec![on("a", model("o", 900)), on("b", made("a")), on("c", made("b"))]);
    let ancestry = trace("c", &all, &BTreeMap::from([("a", 100), ("b", 50), ("c", 7)])).unwrap();
    assert_eq!(
        ways(&ancestry, 25),
        [
            row(SAME, "o", 900, 175, 0),
            row("chain-loaded", "modification:b", 1050, 25, 0),
            row("chain-original", "o", 900, 25, 150)
        ]
    );
}

#[test]
fn others_work_on_the_way_is_told_apart_from_ours() {
    let text = |by: &str| {
        format!(
            "name = \"team/b\"\nflop = \"1000\"\nsource = \"log\"\ndeclared_by = \"Eve\"\ndate = 2026-11-21\ngpai = true\nparent = \"o\"\nown_flop = \"100\"\nmodified_by = \"{by}\"\n"
        )
    };
    let all = ledger(vec![on("a", file("team/b", &text("others")))]);
    assert_eq!(
        ways(&trace("a", &all, &BTreeMap::new()).unwrap(), 20),
        [
            row(SAME, "o", 900, 20, 100),
            row("chain-loaded", "team/b", 1000, 20, 0),
            row("chain-with-others", "o", 900, 120, 0)
        ]
    );
    let all = ledger(vec![on("a", file("team/b", &text("us")))]);
    assert_eq!(
        ways(&trace("a", &all, &BTreeMap::new()).unwrap(), 20),
        [
            row(SAME, "o", 900, 120, 0),
            row("chain-loaded", "team/b", 1000, 20, 0),
            row("chain-original", "o", 900, 20, 100)
        ]
    );
}

#[test]
fn a_parent_of_the_registry_has_the_registrys_figure() {
    let text = "name = \"team/b\"\nflop = \"1e24\"\nsource = \"log\"\ndeclared_by = \"Eve\"\ndate = 2026-11-21\nparent = \"meta-llama/llama-3.1-8b\"\nown_flop = \"1e22\"\nmodified_by = \"others\"\n";
    let ancestry = trace("a", &ledger(vec![on("a", file("team/b", text))]), &BTreeMap::new()).unwrap();
    let original = ancestry.originals().next().unwrap();
    assert_eq!((original.name(), original.flop()), ("meta-llama/Llama-3.1-8B", Some("7.227e23".parse().unwrap())));
    let whole: Flops = "1e24".parse().unwrap();
    let way = &ancestry.reckon(&counted(0), None)[0];
    let behind = original.flop().unwrap() + way.spent.merged.unwrap();
    assert_eq!(behind, whole, "what the file declares is behind it all the same");
    let findings = ancestry.findings(RuleSet::embedded("eu-gpai-2026-07-27").unwrap());
    assert!(findings.iter().any(|finding| finding.code == "parent-compute-disagrees"), "{findings:?}");
}

#[test]
fn the_smaller_figure_that_a_file_leaves_of_a_listed_parent_decides_too() {
    let text = "name = \"team/b\"\nflop = \"4e23\"\nsource = \"log\"\ndeclared_by = \"Eve\"\ndate = 2026-11-21\ngpai = true\nparent = \"meta-llama/llama-3.1-8b\"\nown_flop = \"1e22\"\nmodified_by = \"us\"\n";
    let ancestry = trace("a", &ledger(vec![on("a", file("team/b", text))]), &BTreeMap::new()).unwrap();
    let own = 10_u128.pow(22);
    let got = ways(&ancestry, 12 * own);
    let by_file = "meta-llama/Llama-3.1-8B (by the file of team/b)";
    assert!(got.contains(&row(SAME, by_file, 39 * own, 13 * own, 332_700_000_000_000_000_000_000)), "{got:?}");
    assert!(got.contains(&row(SAME, "meta-llama/Llama-3.1-8B", 722_700_000_000_000_000_000_000, 13 * own, 0)));
    // 14 of 39 is over a third, though 14 of 72 is not: the declared figure is the user's own.
    assert_eq!(verdict(&ancestry, 12 * own), Verdict::Near);
    assert_eq!(verdict(&ancestry, 13 * own), Verdict::Exceeds);
}

#[test]
fn two_files_that_name_one_unlisted_parent_are_both_heard_in_either_order() {
    let text = |name: &str, flop: &str| {
        file(
            name,
            &format!(
                "name = \"{name}\"\nflop = \"{flop}\"\nsource = \"log\"\ndeclared_by = \"Eve\"\ndate = 2026-11-21\ngpai = true\nparent = \"team/o\"\nown_flop = \"100\"\nmodified_by = \"others\"\n"
            ),
        )
    };
    let of = |one: &str, other: &str| {
        let all = ledger(vec![merged("m", vec![text("team/b", one), text("team/c", other)], None)]);
        trace("m", &all, &BTreeMap::new()).unwrap()
    };
    for (ancestry, smaller) in [(of("700", "1000"), "team/b"), (of("1000", "700"), "team/c")] {
        let originals: Vec<_> = ancestry.originals().map(|base| (base.name(), base.flop())).collect();
        assert_eq!(originals, [("team/o", Some(Flops(900)))], "the larger one is behind the result");
        let got = ways(&ancestry, 10);
        // A third of 600, and of 900; the larger one and both stages are behind either.
        assert!(got.contains(&row(SAME, "team/o", 900, 10, 200)), "{got:?}");
        assert!(got.contains(&row(SAME, &format!("team/o (by the file of {smaller})"), 600, 10, 500)), "{got:?}");
        let findings = ancestry.findings(RuleSet::embedded("eu-gpai-2026-07-27").unwrap());
        assert!(findings.iter().any(|finding| finding.code == "parent-compute-disagrees"), "{findings:?}");
    }
    assert_eq!(verdict(&of("700", "1000"), 201), Verdict::Exceeds);
    assert_ne!(verdict(&of("1000", "1000"), 201), Verdict::Exceeds);
}

#[test]
fn a_merge_is_read_against_the_largest_the_sum_and_the_named_parent() {
    let merge = |parent| merged("m", vec![made("a"), model("p", 500)], parent);
    let spent = BTreeMap::from([("a", 100)]);
    let all = ledger(vec![on("a", model("o", 900)), merge(Some(model("p", 500)))]);
    let ancestry = trace("m", &all, &spent).unwrap();
    assert_eq!(ancestry.merges(), ["m"]);
    let mut got = ways(&ancestry, 0);
    got.sort();
    let mut expected = vec![
        row(SAME, "o", 900, 100, 500),
        row(SAME, "p", 500, 0, 1000),
        row("merge-sum", "o + p", 1400, 100, 0),
        row("merge-named", "p", 500, 100, 900),
    ];
    if let Some(sum) = got.iter().find(|way| way.0 == "merge-sum") {
        expected[2].1.clone_from(&sum.1);
    }
    expected.sort();
    // Against the largest the same stands against the same as by the default, so it is told once.
    assert_eq!(got, expected);
    // Nobody named a parent: nothing is guessed.
    let all = ledger(vec![on("a", model("o", 900)), merge(None)]);
    assert!(ways(&trace("m", &all, &spent).unwrap(), 0).iter().all(|way| way.0 != "merge-named"));
}

#[test]
fn a_diamond_counts_what_both_sides_share_once() {
    let all = ledger(vec![
        on("a", model("o", 900)),
        on("left", made("a")),
        on("right", made("a")),
        merged("m", vec![made("left"), made("right")], None),
    ]);
    let spent = BTreeMap::from([("a", 100), ("left", 20), ("right", 3)]);
    let found = ways(&trace("m", &all, &spent).unwrap(), 0);
    assert_eq!(found.first(), Some(&row(SAME, "o", 900, 123, 0)));
}

#[test]
fn circles_and_missing_parents_are_named() {
    let all = ledger(vec![on("a", made("b")), on("b", made("c")), on("c", made("b"))]);
    let problem = trace("a", &all, &BTreeMap::new()).unwrap_err().to_string();
    assert!(problem.contains("`b` from `c` from `b`"), "{problem}");
    let all = ledger(vec![on("a", made("a"))]);
    assert!(trace("a", &all, &BTreeMap::new()).unwrap_err().to_string().contains("`a` from `a`"));
    let all = ledger(vec![on("a", made("gone"))]);
    let problem = trace("a", &all, &BTreeMap::new()).unwrap_err().to_string();
    assert!(problem.contains("`a` is made from `gone`") && problem.contains("there are: a"), "{problem}");
}

#[test]
fn a_chain_may_be_as_long_as_it_likes() {
    let mut chain = vec![on("m0", model("o", 900))];
    chain.extend((1..20_000).map(|at| on(&format!("m{at}"), made(&format!("m{}", at - 1)))));
    let ancestry = trace("m19999", &ledger(chain), &BTreeMap::from([("m5", 4)])).unwrap();
    assert_eq!(ways(&ancestry, 1).first(), Some(&row(SAME, "o", 900, 5, 0)));
}

#[test]
fn a_base_that_nobody_named_leaves_it_open() {
    let all = ledger(vec![Modification { slug: "a".to_owned(), ..Modification::default() }, on("b", made("a"))]);
    assert_eq!(verdict(&trace("b", &all, &BTreeMap::new()).unwrap(), 1), Verdict::Undetermined);
}

#[test]
fn what_was_not_counted_on_the_way_leaves_it_open() {
    let all = ledger(vec![on("a", model("o", 9_000)), on("b", made("a"))]);
    let of_one = |_: &Modification| Ok::<_, LineageProblem>(Spent::default());
    let ancestry = Ancestry::trace(all.get("b").unwrap(), &all, registry(), of_one).unwrap();
    assert!(!ancestry.is_complete() && ancestry.as_complete().is_complete());
    assert_eq!(verdict(&ancestry, 1), Verdict::Undetermined);
    assert_eq!(verdict(&ancestry, 3_001), Verdict::Exceeds);
    assert_eq!(verdict(&ancestry.as_complete(), 1), Verdict::Below);
}

fn verdict(ancestry: &Ancestry, spent: u128) -> Verdict {
    judged(&ancestry.reckon(&counted(spent), None))
}

fn judged(ways: &[Reckoning]) -> Verdict {
    let answers = Answers::default();
    let question = Question {
        spent: Spent::default(),
        base: None,
        rules: RuleSet::embedded("eu-gpai-2026-07-27").unwrap(),
        as_of: "2026-11-21".parse().unwrap(),
        answers: &answers,
        inputs: Inputs::default(),
    };
    Cumulated { question: &question, reckonings: ways }.verdict()
}

/// Any lineage without circles: each modification is made from an original or from earlier ones.
fn any_lineage() -> impl Strategy<Value = (Modifications, BTreeMap<String, u128>)> {
    let one = (prop::collection::vec(any::<prop::sample::Index>(), 1..4), 0..1_000_u128, 0..3_u128);
    prop::collection::vec(one, 1..9).prop_map(|drawn| {
        let mut spent = BTreeMap::new();
        let modifications = drawn.iter().enumerate().map(|(at, (parents, own, original))| {
            let slug = format!("m{at}");
            let mut of: Vec<BaseReference> = parents
                .iter()
                .map(|parent| match parent.index(at + 1) {
                    0 => model(&format!("o{original}"), 1_000 * (original + 1)),
                    earlier => made(&format!("m{}", earlier - 1)),
                })
                .collect();
            spent.insert(slug.clone(), *own);
            if of.len() == 1 { on(&slug, of.remove(0)) } else { merged(&slug, of, None) }
        });
        (ledger(modifications.collect()), spent)
    })
}

fn last(all: &Modifications) -> String {
    format!("m{}", all.len() - 1)
}

/// Own modifications behind the last, found in another way than the walk does.
fn behind(all: &Modifications, of: &str, found: &mut BTreeSet<String>) {
    for parent in all[of].parent_slugs() {
        if found.insert(parent.to_owned()) {
            behind(all, parent, found);
        }
    }
}

proptest! {
    #[test]
    fn shared_compute_counts_once_and_order_does_not_matter((all, spent) in any_lineage()) {
        let of = last(&all);
        let spent: BTreeMap<&str, u128> = spent.iter().map(|(slug, flop)| (slug.as_str(), *flop)).collect();
        let ancestry = trace(&of, &all, &spent).unwrap();
        let mut found = BTreeSet::new();
        behind(&all, &of, &mut found);
        let expected: u128 = found.iter().map(|slug| spent[slug.as_str()]).sum();
        let sum: Flops = ancestry.stages().filter_map(|stage| stage.spent.training).sum();
        prop_assert_eq!(sum, Flops(expected));
        // The parents of every merge the other way round.
        let turned = all.iter().map(|(slug, modification)| {
            let mut modification = modification.clone();
            modification.merge.iter_mut().for_each(|merge| merge.of.reverse());
            (slug.clone(), modification)
        });
        let mut other = trace(&of, &turned.collect(), &spent).unwrap();
        other.loaded.clone_from(&ancestry.loaded);
        other.merges.clone_from(&ancestry.merges);
        prop_assert_eq!(other, ancestry);
    }

    #[test]
    fn every_way_has_the_same_whole_behind_it((all, spent) in any_lineage(), own in 0..1_000_u128) {
        let of = last(&all);
        let spent: BTreeMap<&str, u128> = spent.iter().map(|(slug, flop)| (slug.as_str(), *flop)).collect();
        let ancestry = trace(&of, &all, &spent).unwrap();
        let wholes: BTreeSet<u128> =
            ways(&ancestry, own).into_iter().map(|(_, _, base, spent, merged)| base + spent + merged).collect();
        prop_assert_eq!(wholes.len(), 1);
    }

    #[test]
    fn the_default_is_never_looser_than_single_jobs((all, spent) in any_lineage(), jobs in prop::collection::vec(0..1_000_u128, 1..4)) {
        let of = last(&all);
        let spent: BTreeMap<&str, u128> = spent.iter().map(|(slug, flop)| (slug.as_str(), *flop)).collect();
        let ancestry = trace(&of, &all, &spent).unwrap();
        let together = counted(jobs.iter().sum());
        let largest = counted(jobs.iter().copied().max().unwrap_or_default());
        let ways = ancestry.reckon(&together, Some(&largest));
        let rank = |verdict| match verdict {
            Verdict::Below => 0,
            Verdict::Near => 1,
            Verdict::Undetermined => 2,
            Verdict::Exceeds => 3,
        };
        let all_ways = judged(&ways);
        for way in &ways {
            prop_assert!(rank(judged(core::slice::from_ref(way))) <= rank(all_ways), "{:?}", way.key);
        }
    }
}

fn judge_of(ancestry: Ancestry) -> Judge {
    let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
    let rules = RuleSet::in_force(as_of).unwrap();
    Judge { base: None, rules, as_of, answers: Answers::default(), ancestry: Some(ancestry) }
}

#[test]
fn what_is_to_come_behind_leaves_less_here() {
    let all = ledger(vec![on("v1", model("a/b", 3900)), on("v2", made("v1")), on("v3", made("v2"))]);
    let judge = judge_of(trace("v3", &all, &BTreeMap::from([("v1", 200), ("v2", 100)])).unwrap());
    let balance = |behind: u128| {
        let behind = BTreeMap::from([("v1".to_owned(), Flops(behind))]);
        Balance::of(&judge, &counted(100), &ToCome { own: Flops(50), behind })
    };
    let left = |behind: u128| balance(behind).exceeds.unwrap().flop_left;
    assert_eq!((left(0), left(300), left(850), left(2000)), (Flops(851), Flops(551), Flops(1), Flops::ZERO));
    assert_eq!(balance(0).exceeds.unwrap().flop, balance(300).exceeds.unwrap().flop, "the line is where it was");
    let verdicts = [0, 300, 850, 851].map(|behind| balance(behind).verdict_with_reserved);
    assert_eq!(verdicts, [Verdict::Below, Verdict::Near, Verdict::Near, Verdict::Exceeds]);
    assert_eq!((balance(300).reserved, balance(300).reserved_behind), (Flops(50), Flops(300)));
}

#[test]
fn what_was_counted_behind_is_a_lower_bound_as_well() {
    let all = ledger(vec![on("v1", model("a/b", 3900)), on("v2", made("v1"))]);
    let part = |_: &Modification| Ok::<_, LineageProblem>(Spent { complete: false, ..counted(800) });
    let judge = judge_of(Ancestry::trace(all.get("v2").unwrap(), &all, registry(), part).unwrap());
    assert_eq!(judge.verdict(counted(100)), Verdict::Undetermined);
    assert_eq!(judge.verdict_at_least(&counted(100)), Verdict::Near);
}
