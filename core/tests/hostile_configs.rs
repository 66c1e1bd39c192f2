//! Configurations that must be refused, each with a message that names the key, the value and the next step.

use flopsmeter_core::shape::{Shape, ShapeProblem};

/// One file of `tests/hostile/configs` and what its message has to contain.
macro_rules! hostile {
    ($($name:literal => $($part:literal),+;)+) => {
        [$(($name, include_str!(concat!("../../tests/hostile/configs/", $name, ".json")), &[$($part),+][..])),+]
    };
}

#[test]
fn each_bad_configuration_is_refused_by_name_value_and_next_step() {
    let files = hostile! {
        "attention-types-too-short" => "`attention_types` is a list of 12", "num_layers is 24", "correct";
        "attention-types-without-end" => "`attention_types` is a list of 25 or more", "num_layers is 24", "correct";
        "classification-head" => "architectures", "LlamaForMultipleChoice", "another class";
        "classification-head-of-no-class" => "architectures", "GraniteForSequenceClassification", "another class";
        "decoder-beside-an-encoder" => "`add_cross_attention` is true", "decoder", "correct";
        "default-key-value-heads-do-not-divide" => "`num_key_value_heads` is 32", "num_attention_heads, 14", "correct";
        "dropout-above-one" => "`resid_pdrop` is 3", "0 to 1", "correct";
        "escape-sequence-for-a-family" => "is not known", "…", "nearest by name: ";
        "exponent-for-a-number" => "`vocab_size` is 32000.0", "whole number", "correct";
        "expert-groups-do-not-divide" => "`n_group` is 3", "does not divide the number of experts, 8", "correct";
        "fraction-for-a-number" => "`intermediate_size` is 11008.5", "whole number", "correct";
        "falcon-heads-do-not-divide" => "`num_kv_heads` is 8", "num_attention_heads, 71", "correct";
        "heads-do-not-divide-n-embd" => "`n_embd` is 768", "n_head, 13", "correct";
        "heads-wider-than-the-projection" => "`head_dim` is 256", "hidden_size, 4096", "correct";
        "hidden-size-not-divisible" => "`hidden_size` is 4100", "num_attention_heads, 32", "head_dim", "correct";
        "key-value-heads-do-not-divide" => "`num_key_value_heads` is 5", "num_attention_heads, 32", "correct";
        "labels-disagree" => "`num_labels` is 3", "id2label names 2", "correct";
        "layer-types-too-short" => "`layer_types` is a list of 1", "num_hidden_layers is 32", "correct";
        "missing-ffn-dim" => "`ffn_dim` is missing", "add it";
        "missing-intermediate-size" => "`intermediate_size` is missing", "add it";
        "missing-n-embd" => "`n_embd` is missing", "add it";
        "more-layers-than-memory" => "`num_hidden_layers` is 4000000000", "between 1 and 4096", "correct";
        "more-expert-groups-than-there-are" => "`topk_group` is 5", "only 4 groups", "correct";
        "negative-hidden-size" => "`hidden_size` is -4096", "between 1 and", "correct";
        "no-labels" => "`id2label` is {}", "at least one entry", "correct";
        "no-layers" => "`num_hidden_layers` is 0", "between 1 and", "correct";
        "no-model-type" => "`model_type` is missing", "add it";
        "no-norm-between-branches" => "`parallel_attn` is false", "new_decoder_architecture", "correct";
        "not-an-object" => "no JSON object", "give the `config.json`";
        "null-hidden-size" => "`hidden_size` is missing", "add it";
        "number-among-layer-types" => "`layer_types` is", "list of texts", "correct";
        "number-for-model-type" => "`model_type` is 7", "a text", "correct";
        "number-of-forty-digits" => "`vocab_size` is 10000000000000000000000000000000000000000", "between 1 and", "correct";
        "own-code" => "auto_map", "`FooForCausalLM`", "`llama`", "leave `auto_map` out";
        "positions-without-number" => "`n_positions` is 0", "between 1 and", "correct";
        "pruned-heads" => "`pruned_heads` is {\"0\":[1]}", "flopsmeter run";
        "text-for-a-flag" => "`tie_word_embeddings` is \"yes\"", "true or false", "correct";
        "text-for-a-number" => "`hidden_size` is \"4096\"", "whole number", "correct";
        "text-for-attention-types" => "`attention_types` is \"global\"", "list of lists", "correct";
        "text-for-attn-config" => "`attn_config` is \"torch\"", "an object", "correct";
        "three-norms-in-parallel" => "`num_ln_in_parallel_attn` is 3", "between 1 and 2", "correct";
        "two-names-of-one-size" => "`hidden_size` is 1024", "n_embd, another name of the same, is 768", "correct";
        "two-norms-for-one-branch" => "`num_ln_in_parallel_attn` is 2", "new_decoder_architecture", "correct";
        "unknown-attention-type" => "`attention_types` is a list with `banded`", "`local`", "correct";
        "unknown-family" => "`llama9` is not known", "nearest by name: llama";
        "unknown-layer-type" => "`layer_types` is a list with `chunked_attention`", "sliding_attention", "correct";
        "zero-labels" => "`num_labels` is 0", "between 1 and", "correct";
        "wrapper" => "`gemma9` wraps", "text_config", "give `text_config`";
    };
    for (name, text, parts) in files {
        let config = serde_json::from_str(text).expect("the file holds JSON");
        let problem = Shape::from_config(&config).expect_err(name).to_string();
        for part in parts {
            assert!(problem.contains(part), "{name}: `{part}` is not in `{problem}`");
        }
        assert!(problem.len() < 400 && !problem.contains(char::is_control), "{name}: {problem:?}");
    }
}

#[test]
fn an_unknown_family_is_never_taken_for_a_known_one() {
    for model_type in ["", "Llama", "llama ", "llama4-text", "qwen3moe", "gemma9", "mixtral2", "gpt-2"] {
        let config = serde_json::json!({
            "model_type": model_type, "vocab_size": 100, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        });
        let problem = Shape::from_config(&config).expect_err(model_type);
        assert!(matches!(problem, ShapeProblem::UnknownFamily { .. }), "{model_type}: {problem}");
    }
}
