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
        ("from = \"2026-07-27\"", "from = 2026-07-27", "header", "from"),
        ("date = \"2025-08-02\"", "date = 2025-08-02", "date.obligations-apply", "`date` is a date without quotes"),
        ("[[date]]", "[[dates]]", "header", "dates"),
        ("value = \"100000000000000000000000\"", "value = \"-5\"", "figure.gpai-criterion", "value"),
        ("value = \"100000000000000000000000\"", "value = \"0\"", "figure.gpai-criterion", "absurd"),
        ("value = \"100000000000000000000000\"", "value = \"1e38\"", "figure.gpai-criterion", "`value`"),
        (
            "value = \"14\"",
            "value = \"340282366920938463463374607431768211455\"",
            "figure.notification-period",
            "`value`",
        ),
        ("key = \"own-name\"", "key = \"own-names\"", "question.own-names", "own-names"),
        ("key = \"own-name\"", "key = \"sme\"", "question.own-name", "missing"),
        ("bears-on = [\"verdict\"]", "bears-on = []", "question.base-unknowable", "`bears-on`"),
        ("kind = \"choice\"", "kind = \"yes-no\"", "question.weights-controlled-by", "`choices`"),
        ("own-name = \"no\"", "own-name = \"never\"", "derivation.not-own-name", "never"),
        ("own-name = \"no\"", "own-name = \"is mine\"", "derivation.not-own-name", "`own-name`"),
        ("own-name = \"no\"", "own-names = \"no\"", "derivation.not-own-name", "own-names"),
        ("own-name = \"no\"", "placed-on-union-market = \"no\"", "derivation.not-own-name", "`when` rests on"),
        ("\"declared original-provider\"", "\"declared nobody\"", "status.hosted-fine-tuning", "no choice `nobody`"),
        ("\"before obligations-apply\"", "\"before christmas\"", "relief.legacy-model", "christmas"),
        ("defers-to = \"legacy-models\"", "defers-to = \"later\"", "relief.legacy-model", "`defers-to`"),
        (
            "obligations = [\"training-content-summary\"]",
            "obligations = [\"summary\"]",
            "relief.sme-domain-list",
            "`summary`",
        ),
        ("made-available-in-union = \"declared-yes\" } }", "} }", "derivation.supplied-is-not-internal", "`when`"),
        (
            "internal-use-only = \"declared-yes\", made-available-in-union = \"declared-yes\" }",
            "}",
            "contradiction.internal-and-supplied",
            "`answers`",
        ),
    ];
    for (from, to, row, key) in cases {
        let problem = broken(from, to);
        assert!(problem.contains(row) && problem.contains(key), "{from} -> {to}: {problem}");
    }
}

#[test]
fn no_row_does_without_its_citation() {
    let starts: Vec<usize> = NEWEST.match_indices("\ncite = ").map(|(start, _)| start).collect();
    assert!(starts.len() > 100);
    for start in starts {
        let end = start + 1 + NEWEST[start + 1..].find('\n').unwrap();
        let without = format!("{}{}", &NEWEST[..start], &NEWEST[end..]);
        let problem = RuleSet::parse(&without).unwrap_err().to_string();
        assert!(problem.contains("cite"), "{problem}");
        // The row that lacks it is the one that is named.
        let row = &NEWEST[NEWEST[..start].rfind("[[").unwrap()..start];
        let named = ["\ncode = \"", "\nkey = \"", "\nname = \""].iter().find_map(|key| {
            let (_, rest) = row.split_once(key)?;
            rest.split_once('"').map(|(name, _)| name)
        });
        assert!(problem.contains(named.unwrap()), "{row}: {problem}");
    }
}

/// law.md, section 2: what counts, what need not, and what is said of neither.
#[test]
fn the_phases_count_as_the_annex_says_in_every_set() {
    let says = [
        ("training", Counts::Training, 115),
        ("reference-model", Counts::Debatable, 115),
        ("rollout", Counts::Debatable, 117),
        ("policy-scoring", Counts::Debatable, 115),
        ("reward-model", Counts::Neither, 119),
        ("value-model", Counts::Neither, 119),
        ("teacher-training", Counts::Neither, 119),
        ("teacher-online", Counts::Debatable, 117),
        ("teacher-offline", Counts::Cumulative, 117),
        ("synthetic-data-private", Counts::Cumulative, 117),
        ("synthetic-data-discarded", Counts::Cumulative, 117),
        ("synthetic-data-public", Counts::Neither, 119),
        ("synthetic-data-experiment", Counts::Neither, 119),
        ("evaluation", Counts::Neither, 119),
        ("red-teaming", Counts::Neither, 119),
        ("sweep", Counts::Neither, 119),
        ("exploratory-research", Counts::Neither, 119),
        ("aborted", Counts::Neither, 119),
        ("rolled-back", Counts::Debatable, 115),
        ("merge", Counts::Cumulative, 118),
    ];
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        for (name, counts, paragraph) in says {
            let row = rules.phase(name).unwrap_or_else(|| panic!("{id}: {name}"));
            assert_eq!(row.counts, counts, "{id}: {name}");
            let place = rules.citation(&row.cite).place;
            // Both numberings are cited: the adopted text's, and three more as printed in July.
            let both = [paragraph, paragraph + 3].map(|number| number.to_string());
            assert!(both.iter().all(|number| place.contains(number)), "{id}: {name}: {place}");
        }
    }
}

#[test]
fn every_row_has_a_name_of_its_own_when_sets_are_compared() {
    let sections = ["figure", "line", "phase", "counting", "policy", "date", "question", "derivation", "contradiction"];
    let rows = NEWEST.matches("\n[[").count();
    assert!(sections.iter().all(|section| NEWEST.contains(&format!("[[{section}]]"))));
    // Against a set of which every citation is another, every row has changed; instruments and margins stand among them.
    let other = NEWEST.replace("confidence = \"primary text\"", "confidence = \"our reading\"");
    let other = other.replace("confidence = \"secondary source\"", "confidence = \"primary text\"");
    let other = other
        .replace("says = \"", "says = \"Or: ")
        .replace("asks = \"", "asks = \"Or: ")
        .replace("title = \"", "title = \"Or: ");
    let changes = RuleSet::parse(NEWEST).unwrap().changes_to(&RuleSet::parse(&other).unwrap());
    let mut names: Vec<&str> =
        changes.iter().map(|change| change.row.as_str()).filter(|row| *row != "header").collect();
    names.dedup();
    assert_eq!(names.len(), rows, "two rows share a name");
}

#[test]
fn the_dates_are_the_laws() {
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        assert_eq!(rules.date("obligations-apply"), Some(day("2025-08-02")));
        assert_eq!(rules.date("legacy-models"), Some(day("2027-08-02")));
        assert_eq!(rules.date("enforcement"), Some(day("2026-08-02")));
        assert_eq!(rules.date("never"), None);
    }
}

#[test]
fn what_was_not_read_is_not_cited_as_read() {
    for id in RuleSet::ids() {
        let rules = RuleSet::embedded(id).unwrap();
        let read = |key: &str| rules.instruments().iter().find(|instrument| instrument.key == key).unwrap().read;
        for row in rules.questions() {
            let instrument = &row.cite.instrument;
            if row.cite.confidence == Confidence::PrimaryText {
                assert_eq!(read(instrument), Confidence::PrimaryText, "{id}: {}", row.key.name());
            }
        }
    }
}

#[test]
fn the_digest_is_of_the_file() {
    let rules = RuleSet::embedded("eu-gpai-2026-07-27").unwrap();
    assert_eq!(rules.digest().to_string().len(), 64);
    assert_ne!(RuleSet::parse(&format!("{NEWEST}\n")).unwrap().digest(), rules.digest());
}
