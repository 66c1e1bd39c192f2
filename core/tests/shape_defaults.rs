//! Keys that are absent take the defaults of the model classes: parameters and windows as transformers 5.23.0 builds them.

#![expect(clippy::unwrap_used, reason = "a test")]

use flopsmeter_core::facts::Checkpointing;
use flopsmeter_core::flops::{Batch, Network, Part};
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
#[expect(clippy::too_many_lines, reason = "one row for each family")]
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
        ("ministral", &narrow, 1_829_184, false),
        ("ministral3", &silent, 19_953_984, false),
        ("ministral3", &biases, 19_953_984, false),
        ("ministral3", &narrow, 1_829_184, false),
        ("vaultgemma", &silent, 35_676_224, true),
        ("vaultgemma", &biases, 35_985_344, true),
        ("vaultgemma", &narrow, 1_669_184, true),
        ("olmo", &silent, 780_800, false),
        ("olmo", &biases, 788_480, false),
        ("olmo", &narrow, 2_746_880, false),
        ("olmo2", &silent, 788_544, false),
        ("olmo2", &biases, 796_224, false),
        ("olmo2", &narrow, 2_769_984, false),
        ("olmo3", &silent, 788_544, false),
        ("olmo3", &biases, 796_224, false),
        ("olmo3", &narrow, 2_769_984, false),
        ("granite", &silent, 784_704, false),
        ("granite", &biases, 797_184, false),
        ("granite", &narrow, 2_750_784, false),
        ("cohere", &silent, 776_384, true),
        ("cohere", &biases, 784_064, true),
        ("cohere", &narrow, 2_742_464, true),
        ("cohere2", &silent, 776_384, true),
        ("cohere2", &biases, 784_064, true),
        ("cohere2", &narrow, 2_742_464, true),
        ("glm", &silent, 17_143_104, false),
        ("glm", &biases, 17_143_104, false),
        ("glm", &narrow, 1_609_584, false),
        ("glm4", &silent, 17_146_944, false),
        ("glm4", &biases, 17_146_944, false),
        ("glm4", &narrow, 1_613_424, false),
        ("exaone4", &silent, 784_824, false),
        ("exaone4", &biases, 784_824, false),
        ("exaone4", &narrow, 2_751_384, false),
        ("apertus", &silent, 692_724, false),
        ("apertus", &biases, 700_404, false),
        ("apertus", &narrow, 2_659_284, false),
        ("starcoder2", &silent, 467_088, true),
        ("starcoder2", &biases, 467_088, true),
        ("starcoder2", &narrow, 1_520_208, true),
        ("smollm3", &silent, 563_264, true),
        ("smollm3", &biases, 572_384, true),
        ("smollm3", &narrow, 1_669_184, true),
        ("ernie4_5", &silent, 16_998_464, true),
        ("ernie4_5", &biases, 16_998_464, true),
        ("ernie4_5", &narrow, 1_592_384, true),
        ("seed_oss", &silent, 20_138_304, false),
        ("seed_oss", &biases, 20_143_104, false),
        ("seed_oss", &narrow, 1_843_584, false),
        ("hunyuan_v1_dense", &narrow, 2_751_384, false),
        ("arcee", &silent, 692_544, false),
        ("arcee", &biases, 703_584, false),
        ("arcee", &narrow, 2_658_624, false),
        ("cwm", &silent, 19_953_984, false),
        ("cwm", &biases, 19_958_784, false),
        ("cwm", &narrow, 1_829_184, false),
        ("jais2", &silent, 707_488, false),
        ("jais2", &biases, 707_488, false),
        ("jais2", &narrow, 2_696_608, false),
        ("nanochat", &silent, 688_640, false),
        ("nanochat", &biases, 696_320, false),
        ("nanochat", &narrow, 2_654_720, false),
        ("gpt_neox", &silent, 707_488, false),
        ("gpt_neox", &biases, 707_488, false),
        ("phi", &silent, 703_748, false),
        ("phi", &biases, 703_748, false),
        ("phi", &narrow, 2_692_868, false),
        ("stablelm", &silent, 788_608, false),
        ("stablelm", &biases, 788_608, false),
        ("persimmon", &silent, 707_728, false),
        ("persimmon", &biases, 707_728, false),
        ("biogpt", &silent, 766_752, true),
        ("biogpt", &biases, 766_752, true),
        ("minicpm3", &silent, 89_466_944, true),
        ("minicpm3", &biases, 89_505_344, true),
    ];
    for (family, extra, parameters, tied) in built {
        let shape = shape(family, extra);
        let network = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap();
        let shares = network.products().any(|product| product.part == Part::OutputHead && product.parameters == 0);
        assert_eq!((network.parameters_total(), shares), (parameters, tied), "{family} {extra}");
    }
}

#[test]
fn families_with_keys_of_their_own_are_read_by_them() {
    let gpt = json!({"vocab_size": 100, "n_embd": 64, "n_layer": 30, "n_head": 32});
    let neo = json!({"vocab_size": 100, "hidden_size": 64, "num_layers": 24, "num_heads": 32});
    let xglm = json!({"vocab_size": 100, "d_model": 64, "num_layers": 30, "attention_heads": 32, "ffn_dim": 48});
    let bloom = json!({"vocab_size": 100, "hidden_size": 64, "n_layer": 30, "n_head": 32});
    let mpt = json!({"vocab_size": 100, "d_model": 64, "n_layers": 30, "n_heads": 32});
    let opt = json!({"vocab_size": 100, "hidden_size": 64, "ffn_dim": 48, "num_hidden_layers": 30, "num_attention_heads": 32});
    let falcon = json!({"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 30, "num_attention_heads": 32});
    let helium = json!({"vocab_size": 100, "hidden_size": 2560, "intermediate_size": 48, "num_hidden_layers": 30, "num_attention_heads": 20});
    let built = [
        ("helium", &helium, 798_159_360, false),
        ("falcon", &falcon, 1_246_848, true),
        ("opt", &opt, 832_288, true),
        ("gpt2", &gpt, 1_571_584, true),
        ("gpt_bigcode", &gpt, 1_329_784, true),
        ("gptj", &gpt, 1_501_028, false),
        ("codegen", &gpt, 1_501_028, false),
        ("gpt_neo", &neo, 1_332_608, true),
        ("xglm", &xglm, 701_088, true),
        ("bloom", &bloom, 1_506_176, true),
        ("mpt", &mpt, 1_484_864, true),
    ];
    for (family, keys, parameters, tied) in built {
        let mut config = keys.clone();
        config["model_type"] = family.into();
        let shape = Shape::from_config(&config).unwrap_or_else(|problem| panic!("{family}: {problem}"));
        let network = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap();
        let shares = network.products().any(|product| product.part == Part::OutputHead && product.parameters == 0);
        assert_eq!((network.parameters_total(), shares), (parameters, tied), "{family}");
    }
}

#[test]
fn dropout_that_is_on_where_the_key_is_absent_makes_a_block_run_to_its_end_again() {
    let recomputed = |config: &Value| {
        let shape = Shape::from_config(config).unwrap();
        let options =
            TrainingOptions { gradient_checkpointing: Some(Checkpointing::NonReentrant), ..TrainingOptions::default() };
        let network = Network::from_method(&shape, &Method::full(), &options).unwrap();
        network.cost().pass(true, &Batch::text(1, 8)).recompute
    };
    let gpt = json!({"vocab_size": 100, "n_embd": 64, "n_layer": 3, "n_head": 4});
    let usual = json!({
        "vocab_size": 100, "hidden_size": 64, "intermediate_size": 48, "ffn_dim": 48,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4,
    });
    // The dropout's key, and whether it is on in silence.
    let families = [
        ("gpt2", &gpt, "resid_pdrop", true),
        ("gpt_bigcode", &gpt, "resid_pdrop", true),
        ("gptj", &gpt, "resid_pdrop", false),
        ("codegen", &gpt, "resid_pdrop", false),
        ("opt", &usual, "dropout", true),
        ("biogpt", &usual, "hidden_dropout_prob", true),
        ("seed_oss", &usual, "residual_dropout", true),
        ("starcoder2", &usual, "residual_dropout", false),
        ("phi", &usual, "resid_pdrop", false),
        ("phi3", &usual, "resid_pdrop", false),
        ("gpt_neox", &usual, "hidden_dropout", false),
        ("falcon", &usual, "hidden_dropout", false),
        ("stablelm", &usual, "hidden_dropout", false),
        ("persimmon", &usual, "hidden_dropout", false),
    ];
    for (family, keys, key, on) in families {
        let mut config = keys.clone();
        config["model_type"] = family.into();
        let silent = recomputed(&config);
        config[key] = 0.0.into();
        let off = recomputed(&config);
        config[key] = 0.1.into();
        assert!(recomputed(&config) > off, "{family}");
        assert_eq!(silent > off, on, "{family}");
    }
}

#[test]
fn windows_lie_where_the_built_model_has_them() {
    let upper = json!({"use_sliding_window": true});
    let pattern = json!({"sliding_window_pattern": 3});
    let off = json!({"sliding_window": null});
    let listed = json!({"layer_types": vec!["sliding_attention"; 30]});
    let window = json!({"sliding_window": 4096});
    let unrotated = json!({"sliding_window": 4096, "use_sliding_window": true});
    let named = json!({"sliding_window_pattern": "LLLG", "layer_types": vec!["sliding_attention"; 30]});
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
        ("starcoder2", &silent, "c".repeat(30)),
        ("starcoder2", &window, "s".repeat(30)),
        ("ministral", &silent, "s".repeat(30)),
        ("ministral", &off, "c".repeat(30)),
        ("ministral3", &silent, "c".repeat(30)),
        ("vaultgemma", &silent, "sc".repeat(15)),
        ("olmo3", &silent, "sssc".repeat(7) + "ss"),
        ("olmo3", &pattern, "sssc".repeat(7) + "ss"),
        ("olmo3", &off, "c".repeat(30)),
        ("cohere2", &silent, "sssc".repeat(7) + "ss"),
        ("cohere2", &pattern, "ssc".repeat(10)),
        ("exaone4", &pattern, "ssc".repeat(10)),
        ("exaone4", &listed, "s".repeat(30)),
        ("exaone4", &named, "s".repeat(30)),
        ("cwm", &window, "csss".repeat(7) + "cs"),
        ("smollm3", &upper, "c".repeat(30)),
        ("smollm3", &unrotated, "cccs".repeat(7) + "cc"),
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
