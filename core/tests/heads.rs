//! Which head a class has that `architectures` names; what each costs is held against PyTorch in `families.rs`.

#![expect(clippy::unwrap_used, reason = "a test")]

use flopsmeter_core::flops::{Batch, Network, Part};
use flopsmeter_core::method::{Method, MethodProblem, TrainingOptions};
use flopsmeter_core::shape::{Shape, ShapeProblem};
use serde_json::{Value, json};

fn config(model_type: &str, class: &str, more: &Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "architectures": [class], "vocab_size": 100, "hidden_size": 16, "n_embd": 16,
        "intermediate_size": 24, "ffn_dim": 24, "num_hidden_layers": 2, "n_layer": 2, "num_attention_heads": 2, "n_head": 2,
        "num_key_value_heads": 2,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn network(config: &Value) -> Network {
    let shape = Shape::from_config(config).unwrap_or_else(|problem| panic!("{config}: {problem}"));
    Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap()
}

/// The head's module and its parameters, if there is one.
fn head(config: &Value) -> Option<(String, u64)> {
    let head = network(config).products().find(|product| product.part == Part::OutputHead)?;
    Some((head.module, head.parameters))
}

#[test]
fn labels_are_those_that_are_named_or_numbered_and_two_otherwise() {
    let three = json!({"id2label": {"0": "a", "1": "b", "2": "c"}});
    let one = json!({"num_labels": 1});
    let both = json!({"num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}});
    let silent = json!({});
    let expected = [(&three, 3), (&one, 1), (&both, 3), (&silent, 2)];
    for (more, labels) in expected {
        let sequence = config("llama", "LlamaForSequenceClassification", more);
        assert_eq!(head(&sequence), Some(("score".to_owned(), 16 * labels)), "{more}");
        let token = config("gpt2", "GPT2ForTokenClassification", more);
        assert_eq!(head(&token), Some(("classifier".to_owned(), 16 * labels + labels)), "{more}");
    }
    assert_eq!(head(&config("phi", "PhiForSequenceClassification", &one)), Some(("score".to_owned(), 16)));
}

#[test]
fn the_first_class_counts_and_none_means_a_language_model() {
    let several = json!({"architectures": ["MistralForCausalLM", "MistralForSequenceClassification"]});
    assert_eq!(head(&config("mistral", "", &several)), Some(("lm_head".to_owned(), 1600)));
    assert_eq!(head(&config("mistral", "", &json!({"architectures": []}))), Some(("lm_head".to_owned(), 1600)));
    assert_eq!(head(&config("mistral", "", &json!({"architectures": null}))), Some(("lm_head".to_owned(), 1600)));
}

#[test]
fn a_class_without_a_head_costs_none_and_has_shorter_names() {
    let silent = json!({});
    let classes = [
        ("llama", "LlamaForCausalLM", "LlamaModel", "layers.1.mlp.down_proj"),
        ("gpt2", "GPT2LMHeadModel", "GPT2Model", "h.1.mlp.c_proj"),
        ("opt", "OPTForCausalLM", "OPTModel", "decoder.layers.1.fc2"),
    ];
    for (model_type, with_head, without, last) in classes {
        let forward = |config: &Value| network(config).cost().pass(false, &Batch::text(1, 5)).forward.0;
        let (whole, bare) = (config(model_type, with_head, &silent), config(model_type, without, &silent));
        assert_eq!(forward(&whole) - forward(&bare), 2 * 5 * 16 * 100, "{model_type}");
        assert_eq!(head(&bare), None, "{model_type}");
        assert!(network(&bare).products().any(|product| product.module == last), "{model_type}");
        let shape = Shape::from_config(&bare).unwrap();
        let problem = Network::from_method(&shape, &Method::HeadOnly, &TrainingOptions::default()).unwrap_err();
        assert!(matches!(problem, MethodProblem::NoSuchModule { .. }), "{model_type}: {problem}");
    }
}

#[test]
fn heads_that_no_class_of_the_family_has_are_refused_by_name() {
    let refused = [
        ("codegen", "CodeGenForSequenceClassification"),
        ("gemma", "GemmaForQuestionAnswering"),
        ("gpt2", "GPT2DoubleHeadsModel"),
        ("gptj", "GPTJForTokenClassification"),
        ("llama", "LlamaForMaskedLM"),
        ("olmo2", "Olmo2ForTokenClassification"),
        ("opt", "OPTForTokenClassification"),
    ];
    for (model_type, class) in refused {
        let problem = Shape::from_config(&config(model_type, class, &json!({}))).expect_err(class);
        assert!(matches!(&problem, ShapeProblem::UnknownHead { found } if found == class), "{class}: {problem}");
    }
}
