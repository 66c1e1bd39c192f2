use super::*;
use crate::unit::Flops;

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

/// Value of a row's own arithmetic: sums of products and quotients.
fn evaluate(formula: &str) -> f64 {
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("`{text}` in `{formula}`"));
    let product = |text: &str| {
        text.split('*').map(|part| part.split('/').map(number).reduce(|a, b| a / b).unwrap()).product::<f64>()
    };
    if let Some((above, below)) = formula.split_once("/(") {
        return product(above) / product(below.trim_end_matches(')'));
    }
    formula.replace("e+", "e").split('+').map(product).sum()
}

fn float(flops: Flops) -> f64 {
    flops.to_string().parse().unwrap()
}

#[test]
fn every_estimate_is_reproducible_from_its_own_row() {
    let mut checked = 0;
    for model in registry().models() {
        let Some(formula) = &model.estimate_formula else { continue };
        let own = model.figures.iter().find(|figure| figure.source == "estimate").map(|figure| figure.flop);
        let own = float(own.unwrap_or_else(|| panic!("{} has a formula and no estimate", model.id)));
        let value = evaluate(formula);
        assert!((value / own - 1.0).abs() < 6e-4, "{}: {formula} = {value:e}, the row says {own:e}", model.id);
        checked += 1;
    }
    assert!(checked > 300, "only {checked} rows were checked");
}

#[test]
fn no_row_disagrees_threefold_with_six_parameters_tokens_without_a_note() {
    let mut checked = 0;
    for model in registry().models() {
        let Some(((flop, parameters), tokens)) = model.flop.zip(model.active_parameters).zip(model.pretrain_tokens)
        else {
            continue;
        };
        let estimate = crate::estimate::six_parameters_tokens(parameters, tokens).unwrap();
        let agrees = flop.0 <= 3 * estimate.0 && estimate.0 <= 3 * flop.0;
        assert!(agrees || model.notes.is_some(), "{}: {flop} against {estimate}", model.id);
        checked += 1;
    }
    assert!(checked > 200, "only {checked} rows were checked");
}

/// Rows that are cheaper than their parent without a note, and why.
const CHEAPER: [(&str, &str); 10] = [
    ("Qwen/Qwen3-VL-8B-Instruct", "same 6ND of the parent as a lower bound; the parent's row has Epoch's rounding"),
    ("Qwen/Qwen3-VL-32B-Instruct", "same 6ND of the parent as a lower bound; the parent's row has Epoch's rounding"),
    ("Qwen/Qwen3-Embedding-0.6B", "same 6ND of the parent as a lower bound; the parent's row has Epoch's rounding"),
    ("Qwen/Qwen3-Embedding-8B", "same 6ND of the parent as a lower bound; the parent's row has Epoch's rounding"),
    (
        "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B",
        "same 6ND of the parent as a lower bound; the parent's row has Epoch's rounding",
    ),
    (
        "nvidia/Llama-3_3-Nemotron-Super-49B-v1",
        "6ND of the parent as a lower bound; Epoch's figure of the parent averages in GPU-hours",
    ),
    ("distilbert/distilbert-base-uncased", "distilled into a smaller network; the teacher is not in the figure"),
    ("facebook/dinov2-small", "distilled; the relation says that the teacher is not in the figure"),
    ("facebook/dinov2-base", "distilled; the relation says that the teacher is not in the figure"),
    ("facebook/dinov2-large", "distilled; the relation says that the teacher is not in the figure"),
];

#[test]
fn no_child_is_cheaper_than_its_parent_without_a_note() {
    let mut cheaper: Vec<&str> = Vec::new();
    for model in registry().models() {
        let parent = model.parent.as_ref().and_then(|parent| registry().lookup(parent).ok());
        let Some((own, of_parent)) = model.flop.zip(parent.and_then(|parent| parent.flop)) else { continue };
        if own < of_parent && model.notes.is_none() {
            cheaper.push(&model.id);
        }
    }
    let explained: Vec<&str> = CHEAPER.iter().map(|(id, _)| *id).collect();
    assert_eq!(cheaper, explained, "a new row needs a note, a mended one leaves this list");
}

#[test]
fn every_parent_is_a_row_or_named_as_none() {
    for model in registry().models().iter().filter(|model| model.parent.is_some()) {
        assert!(model.parent_relation.is_some(), "{} names a parent and no relation", model.id);
    }
}
