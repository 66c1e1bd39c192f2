//! Methods laid over a small model: what they train, and how they are refused.

#![expect(clippy::unwrap_used, reason = "a test")]

use flopsmeter_core::facts::AdapterKind;
use flopsmeter_core::flops::Network;
use flopsmeter_core::method::{Method, MethodProblem, Targets, TrainingOptions};
use flopsmeter_core::shape::Shape;

fn shape(tied: bool) -> Shape {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 12, "num_attention_heads": 2, "tie_word_embeddings": tied,
    });
    Shape::from_config(&config).unwrap()
}

fn plan(tied: bool, method: &Method) -> Result<Network, MethodProblem> {
    Network::from_method(&shape(tied), method, &TrainingOptions::default())
}

fn lora(targets: &[&str], saved: &[&str]) -> Method {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let targets = Targets::Named(owned(targets));
    Method::Lora {
        kind: AdapterKind::Lora,
        rank: 4,
        rank_pattern: Vec::new(),
        targets,
        layers_to_transform: Vec::new(),
        modules_to_save: owned(saved),
    }
}

fn frozen(names: &[&str]) -> Method {
    Method::Full { frozen: names.iter().map(|name| (*name).to_owned()).collect() }
}

/// Modules that have a low-rank pair.
fn adapted(targets: &[&str], saved: &[&str]) -> Vec<String> {
    let network = plan(false, &lora(targets, saved)).unwrap();
    network.products().filter(|product| !product.ranks.is_empty()).map(|product| product.module).collect()
}

#[test]
fn targets_match_as_peft_matches_a_list() {
    let every = |module: &str| (0..12).map(|layer| format!("model.layers.{layer}.{module}")).collect::<Vec<_>>();
    assert_eq!(adapted(&["q_proj"], &[]), every("self_attn.q_proj"));
    assert_eq!(adapted(&["self_attn.q_proj"], &[]), every("self_attn.q_proj"));
    assert_eq!(adapted(&["1.mlp.up_proj"], &[]), ["model.layers.1.mlp.up_proj"]);
    assert_eq!(adapted(&["layers.11.mlp.up_proj"], &[]), ["model.layers.11.mlp.up_proj"]);
    assert_eq!(adapted(&["model.layers.0.mlp.up_proj", "lm_head"], &[]), ["model.layers.0.mlp.up_proj", "lm_head"]);
    assert_eq!(adapted(&["output-head"], &[]), ["lm_head"]);
    assert_eq!(adapted(&["embed_tokens"], &[]), ["model.embed_tokens"]);
    assert_eq!(adapted(&["q_proj", "v_proj"], &["self_attn.v_proj"]), every("self_attn.q_proj"));
}

#[test]
fn targets_that_match_nothing_are_refused_with_names_that_would() {
    for target in
        ["query", "proj", "_proj", "", ".q_proj", "12.mlp.up_proj", "01.mlp.up_proj", "norm", "mlp", "layers.3"]
    {
        let problem = plan(false, &lora(&[target], &[])).expect_err(target);
        let MethodProblem::NoSuchModule { ref name, ref known, .. } = problem else { panic!("{target}: {problem}") };
        assert_eq!(name, target);
        assert!(known.contains("model.layers.*.self_attn.q_proj") && !known.contains("norm"), "{known}");
    }
    assert!(matches!(plan(false, &lora(&[], &[])), Err(MethodProblem::NoTargets { .. })));
}

#[test]
fn targets_that_match_nothing_beside_others_are_told() {
    let network = plan(false, &lora(&["query", "q_proj", "norm"], &[])).unwrap();
    assert_eq!(network.unmatched_targets(), ["query", "norm"]);
    assert_eq!(adapted(&["query", "q_proj"], &[]), adapted(&["q_proj"], &[]));
}

#[test]
fn modules_to_save_match_any_ending() {
    let copies = |saved: &[&str]| {
        let network = plan(false, &lora(&["q_proj"], saved)).unwrap();
        network.products().filter(|product| product.weight_trained).count()
    };
    assert_eq!(copies(&["lm_head"]), 1);
    assert_eq!(copies(&["layernorm"]), 24);
    assert_eq!(copies(&["norm"]), 25);
    assert_eq!(copies(&["mlp"]), 36);
    assert_eq!(copies(&["layers.3.mlp"]), 3);
    for saved in ["score", "3", ""] {
        assert!(
            matches!(plan(false, &lora(&["q_proj"], &[saved])), Err(MethodProblem::NoSuchModule { .. })),
            "{saved}"
        );
    }
    let problem = plan(false, &lora(&["q_proj"], &["proj"])).expect_err("one module in both lists");
    assert!(
        matches!(problem, MethodProblem::AdaptedAndSaved { ref module, .. } if module == "self_attn.q_proj"),
        "{problem}"
    );
}

#[test]
fn freezing_takes_names_roles_and_what_lies_beneath() {
    let all = plan(false, &Method::full()).unwrap().parameters_total();
    let rest = |tied, names: &[&str]| plan(tied, &frozen(names)).unwrap().parameters_trainable();
    let block = (all - 2 * 32 * 16 - 16) / 12;
    assert_eq!(rest(false, &["input-embeddings"]), all - 32 * 16);
    assert_eq!(rest(false, &["model.embed_tokens", "lm_head"]), all - 2 * 32 * 16);
    assert_eq!(rest(false, &["layers.0", "11"]), all - 2 * block);
    assert_eq!(rest(false, &["model.layers"]), all - 12 * block);
    assert_eq!(rest(false, &["mlp"]), all - 12 * 3 * 16 * 24);
    assert_eq!(rest(false, &["model"]), 32 * 16);
    let tied = all - 32 * 16;
    assert_eq!(rest(true, &[]), tied);
    assert_eq!(rest(true, &["output-head"]), tied - 32 * 16);
    assert_eq!(rest(true, &["input-embeddings"]), tied - 32 * 16);
    assert_eq!(rest(true, &["norm"]), tied - 16);
    assert!(matches!(plan(false, &frozen(&["layers.12"])), Err(MethodProblem::NoSuchModule { .. })));
}

#[test]
fn numbers_that_no_model_has_are_refused() {
    for layers in [0, 13, u64::MAX] {
        let problem = plan(false, &Method::LastLayers { layers }).expect_err("too many or too few");
        assert_eq!(problem, MethodProblem::Layers { asked: layers, there: 12 });
    }
    for rank in [0, u64::MAX] {
        let problem = plan(false, &Method::lora(rank, Targets::AllLinear)).expect_err("no such rank");
        assert!(problem.to_string().starts_with(&format!("rank {rank} is not between 1 and")), "{problem}");
    }
}

#[test]
fn the_last_layers_are_counted_from_the_end() {
    let network = plan(false, &Method::LastLayers { layers: 12 }).unwrap();
    let outside = 2 * 32 * 16 + 16;
    assert_eq!(network.parameters_trainable(), network.parameters_total() - outside);
    let network = plan(false, &Method::LastLayers { layers: 1 }).unwrap();
    let trained: Vec<String> = network.products().filter(|it| it.weight_trained).map(|it| it.module).collect();
    assert!(trained.iter().all(|module| module.starts_with("model.layers.11.")), "{trained:?}");
    assert_eq!(trained.len(), 9);
}
