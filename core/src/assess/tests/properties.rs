//! What must hold of every assessment, whatever is asked.

use proptest::prelude::*;

use super::*;
use crate::rules::LineKey;

/// Bases of every kind, with figures around the lines.
fn any_base() -> impl Strategy<Value = Option<CaseBase>> {
    let flop = prop_oneof![Just(23_u32), Just(22), Just(25), Just(12)]
        .prop_flat_map(|power| (1..40_u128).prop_map(move |lead| format!("{}", lead * 10_u128.pow(power))));
    let declared = (flop, any::<Option<bool>>(), any::<Option<bool>>(), any::<bool>()).prop_map(
        |(flop, gpai, systemic_risk, lower)| {
            let bound = lower.then(|| "lower".to_owned());
            CaseBase { flop: Some(flop), gpai, systemic_risk, bound, ..CaseBase::default() }
        },
    );
    let rows = Registry::embedded().unwrap().models();
    let registry = (0..rows.len())
        .prop_map(move |index| CaseBase { registry: Some(rows[index].id.clone()), ..CaseBase::default() });
    let nobody = Just(CaseBase { unresolved: Some("acme/secret".to_owned()), ..CaseBase::default() });
    prop_oneof![4 => declared.prop_map(Some), 4 => registry.prop_map(Some), 1 => nobody.prop_map(Some), 1 => Just(None)]
}

fn any_amount() -> impl Strategy<Value = u128> {
    let near_lines = (0..39_u32).prop_flat_map(|power| {
        (1..1000_u128, 0..3_u128)
            .prop_map(move |(lead, more)| lead.saturating_mul(10_u128.saturating_pow(power)).saturating_add(more))
    });
    prop_oneof![near_lines, any::<u128>(), Just(0), Just(u128::MAX)]
}

/// Any answers to any questions, also such as contradict each other.
fn any_answers() -> impl Strategy<Value = BTreeMap<AnswerKey, AnswerValue>> {
    let value = prop_oneof![
        4 => any::<bool>().prop_map(AnswerValue::YesNo),
        1 => (0..4000_u64).prop_map(|days| AnswerValue::Day(day() - chrono::Days::new(days))),
        1 => prop::sample::select(vec!["modifier", "original-provider", "nonsense"])
            .prop_map(|choice| AnswerValue::Choice(choice.to_owned())),
    ];
    prop::collection::btree_map(prop::sample::select(AnswerKey::ALL.to_vec()), value, 0..8)
}

fn question_case(base: Option<CaseBase>, answers: BTreeMap<AnswerKey, AnswerValue>, spent: CaseSpent) -> Case {
    let expect = Expect::default();
    Case { name: String::new(), rules: None, as_of: None, base, spent, answers, house: None, expect }
}

/// Rank of the verdicts that compute alone decides.
fn rank(verdict: Verdict) -> Option<u8> {
    match verdict {
        Verdict::Below => Some(0),
        Verdict::Near => Some(1),
        Verdict::Exceeds => Some(2),
        Verdict::Undetermined => None,
    }
}

proptest! {
    #[test]
    fn more_spent_is_never_judged_milder(base in any_base(), answers in any_answers(), first in any_amount(), second in any_amount()) {
        let (less, more) = (first.min(second), first.max(second));
        let judge = |amount| {
            let spent = CaseSpent { training: Some(Flops(amount)), ..CaseSpent::default() };
            run(&question_case(base.clone(), answers.clone(), spent)).verdict
        };
        let (milder, harder) = (judge(less), judge(more));
        if let (Some(milder), Some(harder)) = (rank(milder), rank(harder)) {
            prop_assert!(milder <= harder, "{} is {}, {} is {}", less, milder, more, harder);
        }
    }

    #[test]
    fn over_a_third_of_a_known_general_purpose_base_is_never_below(flop in 1..=u128::MAX, spent in any_amount(), complete: bool) {
        prop_assume!(spent > flop / 3);
        let base = CaseBase { flop: Some(flop.to_string()), gpai: Some(true), ..CaseBase::default() };
        let spent = CaseSpent { training: Some(Flops(spent)), complete, ..CaseSpent::default() };
        prop_assert_eq!(run(&question_case(Some(base), BTreeMap::new(), spent)).verdict, Verdict::Exceeds);
    }

    #[test]
    fn the_verdict_is_the_inequality(flop in 1..=u128::MAX / 39, share in 0..=u128::MAX / 39) {
        let amount = share % flop;
        let base = CaseBase { flop: Some(flop.to_string()), gpai: Some(true), systemic_risk: Some(false), ..CaseBase::default() };
        let spent = CaseSpent { training: Some(Flops(amount)), ..CaseSpent::default() };
        let expected = if 3 * amount > flop {
            Verdict::Exceeds
        } else if amount > 0 && 39 * amount >= 7 * flop {
            Verdict::Near
        } else {
            Verdict::Below
        };
        prop_assert_eq!(run(&question_case(Some(base), BTreeMap::new(), spent)).verdict, expected);
    }

    #[test]
    fn a_ceiling_proves_below_or_nothing(base in any_base(), answers in any_answers(), ceiling in any_amount()) {
        let spent = CaseSpent { complete: false, ceiling: Some(Flops(ceiling)), ceiling_complete: true, ..CaseSpent::default() };
        let assessment = run(&question_case(base, answers, spent));
        prop_assert!(matches!(
            (assessment.verdict, assessment.basis),
            (Verdict::Below, Basis::Ceiling) | (Verdict::Undetermined, Basis::None)
        ));
    }

    #[test]
    fn the_verdict_alone_is_the_assessments(base in any_base(), answers in any_answers(), training in any_amount(), complete: bool) {
        let spent = CaseSpent { training: Some(Flops(training)), complete, ..CaseSpent::default() };
        let case = question_case(base, answers, spent);
        prop_assert_eq!(ask(&case, verdict_on_compute), run(&case).verdict);
    }

    #[test]
    fn a_house_rule_is_never_milder_than_the_law(base in any_base(), answers in any_answers(), training in any_amount(), near in 1_u64..200, more in 0_u64..200) {
        // Every line at a fraction up to the law's: multiplier `(near + more) / 1600`, edge `near / 1600`.
        prop_assume!(near * 39 <= 7 * 1600 && (near + more) * 3 <= 1600);
        let head = "name = \"h\"\ndeclared_by = \"Ada\"\ndate = 2026-11-21\nsays = \"early\"\n";
        let line = |key: &str| format!("[[line]]\nkey = \"{key}\"\nmultiplier = \"{}/1600\"\nnear = \"{near}/1600\"\n", near + more);
        let lines: String = LineKey::ALL.map(|key| line(key.name())).concat();
        let spent = CaseSpent { training: Some(Flops(training)), ..CaseSpent::default() };
        let with = Case { house: Some(format!("{head}{lines}")), ..question_case(base.clone(), answers.clone(), spent) };
        let spent = CaseSpent { training: Some(Flops(training)), ..CaseSpent::default() };
        let law = run(&question_case(base, answers, spent));
        let both = run(&with);
        prop_assert_eq!(both.verdict, law.verdict);
        prop_assert_eq!(both.line, law.line);
        let house = both.house.unwrap().verdict;
        prop_assert_eq!(ask(&with, house_verdict_on_compute), Some(house));
        if let (Some(house), Some(law)) = (rank(house), rank(law.verdict)) {
            prop_assert!(house >= law, "house {}, law {}", house, law);
        }
    }

    #[test]
    fn the_same_question_gives_the_same_bytes(base in any_base(), answers in any_answers(), training in any_amount(), debatable in any_amount(), complete: bool) {
        let spent = CaseSpent { training: Some(Flops(training)), debatable: Some(Flops(debatable)), complete, ..CaseSpent::default() };
        let case = question_case(base, answers, spent);
        let bytes = serde_json::to_string(&run(&case)).unwrap();
        prop_assert_eq!(&bytes, &serde_json::to_string(&run(&case)).unwrap());
        let read: Assessment = serde_json::from_str(&bytes).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), bytes);
    }
}
