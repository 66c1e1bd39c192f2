use super::*;

const NEWEST: &str = include_str!("../../data/rules/eu-gpai-2026-07-27.toml");

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn every_embedded_set_is_valid_and_called_by_its_id() {
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap_or_else(|problem| panic!("{id}: {problem}"));
        assert_eq!(rules.id(), id);
        assert!(id.ends_with(&rules.from().to_string()));
    }
}

#[test]
fn the_sets_follow_each_other_without_gap_or_overlap() {
    let sets: Vec<_> = RuleSet::ids().map(|id| RuleSet::embedded(id).unwrap()).collect();
    for pair in sets.windows(2) {
        assert_eq!(pair[0].until().and_then(|last| last.succ_opt()), Some(pair[1].from()));
    }
    assert_eq!(sets.last().and_then(|newest| newest.until()), None);
}

#[test]
fn the_day_chooses_the_set() {
    let id = |text| RuleSet::in_force(day(text)).map(RuleSet::id);
    assert_eq!(id("2025-07-18"), Ok("eu-gpai-2025-07-18"));
    assert_eq!(id("2025-11-18"), Ok("eu-gpai-2025-07-18"));
    assert_eq!(id("2025-11-19"), Ok("eu-gpai-2025-11-19"));
    assert_eq!(id("2026-07-26"), Ok("eu-gpai-2025-11-19"));
    assert_eq!(id("2026-07-27"), Ok("eu-gpai-2026-07-27"));
    let problem = RuleSet::in_force(day("2025-07-17")).unwrap_err().to_string();
    assert!(problem.contains("2025-07-17") && problem.contains("eu-gpai-2025-07-18"), "{problem}");
    assert!(RuleSet::embedded("eu-gpai-1999").unwrap_err().to_string().contains("eu-gpai-2025-11-19"));
}

#[test]
fn the_figures_are_the_laws() {
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        assert_eq!(rules.flop_figure(FigureKey::GpaiCriterion), "1e23".parse().unwrap());
        assert_eq!(rules.flop_figure(FigureKey::SystemicRiskPresumption), "1e25".parse().unwrap());
        assert_eq!(rules.figure(FigureKey::NotificationPeriod).value, 14);
        assert_eq!(rules.line(LineKey::ThirdOfBase).multiplier.to_string(), "1/3");
        assert_eq!(rules.margin().value.to_string(), "3/10");
    }
}

#[test]
fn both_numberings_are_cited() {
    let place = |id: &str| {
        let rules = RuleSet::embedded(id).unwrap();
        rules.citation(&rules.line(LineKey::ThirdOfBase).cite)
    };
    let july = place("eu-gpai-2025-07-18");
    assert_eq!(july.place, "paragraph 63 as printed (60 in C(2025) 7719 final)");
    assert_eq!(july.confidence, "primary text");
    let november = place("eu-gpai-2026-07-27");
    assert_eq!(november.instrument, "Guidelines C(2025) 7719 final");
    assert_eq!(november.place, "paragraph 60 (63 as printed in C(2025) 5045)");
    assert_eq!(november.confidence, "secondary source", "the adopted text was not read, so it is not cited as read");
}

#[test]
fn every_phase_of_the_hook_has_a_row() {
    use crate::facts::Phase;
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        for phase in Phase::ALL {
            assert!(rules.phase(phase.name()).is_some(), "{id}: {}", phase.name());
        }
        assert_eq!(rules.counts("never heard of"), Counts::Debatable);
    }
}

#[test]
fn a_problem_names_row_and_key() {
    let broken = |from: &str, to: &str| {
        assert!(NEWEST.contains(from), "the test is out of date: {from}");
        RuleSet::parse(&NEWEST.replacen(from, to, 1)).unwrap_err().to_string()
    };
    let cases = [
        ("key = \"third-of-base\"\n", "key = \"third-of-base\"\nfoo = 1\n", "line.third-of-base", "foo"),
        ("value = \"100000000000000000000000\"", "value = \"1.5\"", "figure.gpai-criterion", "value"),
        ("value = \"100000000000000000000000\"", "value = 1e23", "figure.gpai-criterion", "string"),
        ("near = \"7/39\"", "near = \"7/38\"", "line.third-of-base", "near"),
        ("multiplier = \"1/3\"", "multiplier = \"0.333\"", "line.third-of-base", "0.333"),
        ("place = \"paragraph 17\"", "place = \" \"", "figure.gpai-criterion", "cite.place"),
        ("key = \"guidelines\"", "key = \"guide\"", "margin.estimation", "cite.instrument"),
        ("key = \"notification-period\"", "key = \"period\"", "figure.period", "period"),
        ("id = ", "identity = ", "header", "id"),
        ("from = \"2026-07-27\"", "from = \"27 July\"", "header", "from"),
        ("[[date]]", "[[dates]]", "header", "dates"),
    ];
    for (from, to, row, key) in cases {
        let problem = broken(from, to);
        assert!(problem.contains(row) && problem.contains(key), "{from} -> {to}: {problem}");
    }
}

#[test]
fn a_row_without_citation_is_refused() {
    let start = NEWEST.find("cite = ").unwrap();
    let end = start + NEWEST[start..].find('\n').unwrap();
    let without = format!("{}{}", &NEWEST[..start], &NEWEST[end..]);
    let problem = RuleSet::parse(&without).unwrap_err().to_string();
    assert!(problem.contains("figure.gpai-criterion") && problem.contains("cite"), "{problem}");
}

#[test]
fn the_digest_is_of_the_file() {
    let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
    assert_eq!(rules.digest().to_string().len(), 64);
    assert_ne!(RuleSet::parse(&format!("{NEWEST}\n")).unwrap().digest(), rules.digest());
}
