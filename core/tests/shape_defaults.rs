//! Keys that are absent take the defaults of the model classes: parameters and windows as transformers 5.23.0 builds them.

#![expect(clippy::unwrap_used, reason = "a test")]

use flopsmeter_core::flops::Network;
use flopsmeter_core::method::{Method, TrainingOptions};
use flopsmeter_core::shape::{Mask, Shape};
use serde_json::{Value, json};

fn shape(family: &str, extra: &Value) -> Shape {
    let mut config = json!({
        "model_type": family, "vocab_size": 100, "hidden_size": 64, "intermediate_size": 48,
        "num_hidden_layers": 30, "num_attention_heads": 32,
    });
    let keys = config.as_object_mut().unwrap();
    keys.extend(extra.as_object().unwrap().clone());
    Shape::from_config(&config).unwrap()
}

#[test]
fn parameters_are_those_of_the_built_model() {
    let biases = json!({"attention_bias": true, "mlp_bias": true});
    let silent = json!({});
    let narrow = json!({"head_dim": 10});
    let ungrouped = json!({"num_key_value_heads": null});
    let built = [
        ("llama", &silent, 784_704, false),
        ("llama", &ungrouped, 784_704, false),
        ("llama", &biases, 797_184, false),
        ("llama", &narrow, 2_750_784, false),
        ("mistral", &silent, 600_384, false),
        ("mistral", &biases, 600_384, false),
        ("mistral", &narrow, 1_829_184, false),
        ("qwen2", &silent, 790_464, false),
        ("qwen2", &ungrouped, 790_464, false),
        ("qwen2", &biases, 790_464, false),
        ("qwen2", &narrow, 2_779_584, false),
        ("qwen3", &silent, 31_758_144, false),
        ("qwen3", &biases, 32_128_704, false),
        ("qwen3", &narrow, 2_751_384, false),
        ("gemma", &silent, 47_472_704, true),
        ("gemma", &biases, 47_966_144, true),
        ("gemma", &narrow, 2_129_984, true),
        ("gemma2", &silent, 35_680_064, true),
        ("gemma2", &biases, 35_989_184, true),
        ("gemma2", &narrow, 1_673_024, true),
        ("gemma3_text", &silent, 35_695_424, true),
        ("gemma3_text", &biases, 36_004_544, true),
        ("gemma3_text", &narrow, 1_673_624, true),
        ("phi3", &silent, 784_704, false),
        ("phi3", &biases, 784_704, false),
        ("phi3", &narrow, 2_750_784, false),
    ];
    for (family, extra, parameters, tied) in built {
        let shape = shape(family, extra);
        let network = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap();
        let shares = network.products().any(|product| product.module == "lm_head" && product.parameters == 0);
        assert_eq!((network.parameters_total(), shares), (parameters, tied), "{family} {extra}");
    }
}

#[test]
fn windows_lie_where_the_built_model_has_them() {
    let upper = json!({"use_sliding_window": true});
    let pattern = json!({"sliding_window_pattern": 3});
    let off = json!({"sliding_window": null});
    let listed = json!({"layer_types": vec!["sliding_attention"; 30]});
    let both_ways = json!({"use_bidirectional_attention": true});
    let silent = json!({});
    let built = [
        ("llama", &upper, "c".repeat(30)),
        ("mistral", &silent, "s".repeat(30)),
        ("mistral", &off, "c".repeat(30)),
        ("qwen2", &silent, "c".repeat(30)),
        ("qwen2", &upper, "c".repeat(28) + "ss"),
        ("qwen3", &listed, "c".repeat(30)),
        ("gemma", &silent, "c".repeat(30)),
        ("gemma", &both_ways, "b".repeat(30)),
        ("gemma2", &silent, "sc".repeat(15)),
        ("gemma2", &pattern, "sc".repeat(15)),
        ("gemma2", &off, "c".repeat(30)),
        ("gemma2", &listed, "s".repeat(30)),
        ("gemma3_text", &silent, "sssssc".repeat(5)),
        ("gemma3_text", &pattern, "ssc".repeat(10)),
        ("phi3", &silent, "c".repeat(30)),
    ];
    for (family, extra, expected) in built {
        let letters = shape(family, extra).masks().into_iter().map(|mask| match mask {
            Mask::Causal => 'c',
            Mask::Sliding(window) => {
                assert_eq!(window, 4096, "{family} {extra}");
                's'
            }
            Mask::Bidirectional => 'b',
            other => panic!("{family} {extra}: {other:?}"),
        });
        assert_eq!(letters.collect::<String>(), expected, "{family} {extra}");
    }
}
