use super::*;

fn registry() -> &'static Registry {
    Registry::embedded().unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn ids_and_aliases_resolve_in_any_case() {
    for name in [
        "meta-llama/Llama-3.1-8B",
        "META-LLAMA/llama-3.1-8b",
        " meta-llama/Meta-Llama-3.1-8B ",
        "meta-llama/Llama-3.1-8B-Instruct",
    ] {
        assert_eq!(registry().lookup(name).map(|model| model.id.as_str()), Ok("meta-llama/Llama-3.1-8B"), "{name}");
    }
}

#[test]
fn every_name_resolves_to_its_own_row() {
    for model in registry().models() {
        for name in model.names() {
            assert_eq!(registry().lookup(name).map(|found| &found.id), Ok(&model.id));
        }
    }
}

#[test]
fn a_miss_suggests_and_never_guesses() {
    let miss = registry().lookup("meta-lama/Llama-3.1-8").unwrap_err();
    assert!(miss.suggestions.len() <= 5);
    assert!(miss.suggestions.iter().any(|name| name == "meta-llama/Llama-3.1-8B"), "{:?}", miss.suggestions);
    assert!(miss.to_string().contains("did you mean"));
    for name in ["Llama-3.1-8B", "", "/", "meta-llama", "a\u{0}b", &"x".repeat(100_000)] {
        assert!(registry().lookup(name).is_err(), "{name} was guessed");
    }
    assert!(registry().lookup("zzzzqqqq/zzzzqqqqxxxx").unwrap_err().suggestions.is_empty());
}

#[test]
fn search_needs_every_word() {
    let found = registry().search("qwen3 8b base");
    assert!(found.iter().any(|model| model.id == "Qwen/Qwen3-8B-Base"));
    assert!(found.iter().all(|model| model.developer.contains("Qwen") || model.id.contains("Qwen")));
}

#[test]
fn known_rows_give_known_figures() {
    let model = registry().lookup("meta-llama/Llama-3.1-8B").unwrap();
    assert_eq!(model.flop, "7.227e23".parse().ok());
    assert_eq!(model.flop_lowest, "7.2e23".parse().ok());
    assert_eq!((model.flop_bound, model.has_systemic_risk), (FlopBound::Point, Some(false)));
    let largest = registry().lookup("meta-llama/Llama-3.1-405B").unwrap();
    assert_eq!((largest.flop, largest.has_systemic_risk), ("3.8e25".parse().ok(), Some(true)));
    let pruned = registry().lookup("meta-llama/Llama-3.2-1B").unwrap();
    assert_eq!(pruned.flop_bound, FlopBound::Lower);
    assert_eq!(registry().models().len(), 420);
    assert_eq!(registry().models().iter().filter(|model| model.flop.is_none()).count(), 69);
}

#[test]
fn every_row_with_a_figure_says_where_it_is_from() {
    for model in registry().models().iter().filter(|model| model.flop.is_some()) {
        let crate::assess::Origin::Registry { source, date } = model.origin() else { panic!("{}", model.id) };
        assert!(source.len() > 8 && date.len() >= 7, "{}: {source}, {date}", model.id);
        assert!(!model.sources.is_empty(), "{} names no document", model.id);
    }
}

#[test]
fn the_lowest_figure_is_never_above_the_recommended_one() {
    for model in registry().models() {
        assert!(model.flop_lowest <= model.flop, "{}", model.id);
        assert_eq!(model.flop.is_some(), model.flop_lowest.is_some(), "{}", model.id);
    }
}

#[test]
fn each_row_has_its_own_digest() {
    let mut digests: Vec<_> = registry().models().iter().map(BaseModel::digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), registry().models().len());
}

#[test]
fn a_problem_names_row_and_column() {
    let header = ROWS.lines().next().unwrap();
    let row = ROWS.lines().nth(1).unwrap();
    let broken = |row: String| Registry::parse(&format!("{header}\n{row}\n"), ABOUT).unwrap_err().to_string();
    for (from, to, key) in [
        ("4.043e22,estimated", "-4,estimated", "flop"),
        ("4.043e22,estimated", "0,estimated", "flop"),
        ("4.043e22,estimated", ",estimated", "unknown_reason"),
        (",point,", ",about,", "flop_bound"),
        ("6738415616,6738415616", "6.5,1", "total_params"),
    ] {
        assert!(row.contains(from), "the test is out of date: {from}");
        let problem = broken(row.replacen(from, to, 1));
        assert!(problem.contains("huggyllama/llama-7b") && problem.contains(key), "{to}: {problem}");
    }
    assert!(
        broken(format!("{row}\n{}", row.replacen("huggyllama/llama-7b,", "other/model,huggyllama/LLAMA-7b", 1)))
            .contains("other/model")
    );
    assert!(broken("a,b".to_owned()).contains("cannot be read"));
    let headless = Registry::parse("hf_id\nx\n", ABOUT).unwrap_err().to_string();
    assert!(headless.contains("column is missing"), "{headless}");
}

#[test]
fn the_schema_describes_the_columns_of_the_table_in_their_order() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../data/base_models.schema.json")).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let described: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    let columns: Vec<&str> = ROWS.lines().next().unwrap().split(',').collect();
    assert_eq!(described, columns);
    assert!(fields.iter().all(|field| field["description"].as_str().is_some_and(|text| !text.is_empty())));
}
