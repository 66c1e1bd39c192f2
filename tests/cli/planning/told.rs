//! What a configuration settles by itself, and what nobody told of: images, lengths, routed experts, cut gradients.

use serde_json::{Value, json};

use super::{DAY, json_of, place, reason};
use crate::job::{flop, tiny_config};

/// A small vision transformer: four patches and the position of the class.
fn tiny_vit() -> Value {
    json!({
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": 4, "num_channels": 3
    })
}

#[test]
fn a_length_that_the_configuration_settles_is_not_asked_for() {
    let place = place();
    place.write_json("vit.json", &tiny_vit());
    let plan = |options: &str| place.flopsmeter(&format!("plan --json --config vit.json {options}"));
    let derived = plan("--sequences 3").json();
    assert_eq!((&derived["job"]["seq_len"], &derived["tokens"]), (&json!(5), &json!("15")));
    assert_eq!(derived["flops"], plan("--sequences 3 --seq-len 5").json()["flops"]);
    assert!(derived["uncertainty"].as_array().unwrap().is_empty(), "{}", derived["uncertainty"]);
    assert!(plan("--seq-len 6").refusal(2).contains("--seq-len 6 contradicts the configuration"));
}

#[test]
fn a_decoder_and_images_are_counted_or_refused() {
    let place = place();
    let t5 = json!({
        "model_type": "t5", "vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
        "architectures": ["T5ForConditionalGeneration"]
    });
    place.write_json("t5.json", &t5);
    let plan = |options: &str| place.flopsmeter(&format!("plan --json --config t5.json --seq-len 12 {options}"));
    let alike = plan("").json();
    assert_eq!(alike["flops"], plan("--decoder-len 12").json()["flops"], "a default that is said");
    assert!(alike["defaults"].to_string().contains("--decoder-len 12"));
    let shorter = plan("--decoder-len 3").json();
    assert!(flop(&shorter["flops"]["training"]) < flop(&alike["flops"]["training"]));
    let refused =
        |options: &str| place.flopsmeter(&format!("plan --config config.json {options}")).refusal(2).to_owned();
    assert!(refused("--decoder-len 3").contains("this model has no decoder"));
    assert!(refused("--images 1").contains("this model looks at no images"));
}

/// A vision tower of pictures of one size before a small text model.
fn tiny_llava() -> Value {
    let mut text = tiny_config();
    text["model_type"] = json!("llama");
    let vision = json!({
        "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "projection_dim": 16
    });
    json!({ "model_type": "llava", "image_token_index": 3, "vision_feature_layer": -1, "vision_config": vision, "text_config": text })
}

#[test]
fn images_that_nobody_told_of_are_a_reason_and_never_silence() {
    let place = place();
    place.write_json("llava.json", &tiny_llava());
    let command =
        |options: &str| format!("plan --config llava.json --base base.toml {DAY} --seq-len 32 --sequences 2 {options}");
    let of = |options: &str| place.flopsmeter(&command(&format!("--json {options}"))).json();
    let (untold, none, one) = (of(""), of("--images 0"), of("--images 1"));
    assert_eq!(untold["flops"]["training"], none["flops"]["training"], "text alone is counted");
    assert_eq!(untold["defaults"], json!(["--images 0"]));
    let images = reason(&untold, "images-not-told");
    assert_eq!(images["training_high"], one["flops"]["training"]);
    assert!(images.get("training_low").is_none());
    assert_eq!(untold["flops"]["training_high"], one["flops"]["training"]);
    assert!(flop(&one["flops"]["training"]) > flop(&none["flops"]["training"]));
    for told in [&none, &one] {
        assert!(!told["uncertainty"].to_string().contains("images-not-told"), "{}", told["uncertainty"]);
    }
    let table = place.flopsmeter(&command(""));
    assert!(table.data().contains("\n           images-not-told (up to "), "{}", table.data());
    assert!(table.data().contains("text alone is counted"), "{}", table.data());
}

#[test]
fn a_verdict_hears_of_images_that_nobody_told_of() {
    let place = place();
    place.write_json("llava.json", &tiny_llava());
    let of = |options: &str| {
        place
            .flopsmeter(&format!("plan --json --config llava.json --base base.toml {DAY} --seq-len 32 {options}"))
            .json()
    };
    let (text, seen) = (flop(&of("--images 0")["flops"]["training"]), flop(&of("--images 1")["flops"]["training"]));
    // As many sequences as reach the near edge with an image each, and do not without.
    let near = (3_000_000_000_000_u128 * 7).div_ceil(39);
    let sequences = near.div_ceil(seen);
    assert!(sequences * text < near, "{sequences} x {text} < {near}");
    let tokens = sequences * 32;
    assert_eq!(of(&format!("--images 0 --tokens {tokens}"))["verdicts"]["high"], "below");
    assert_eq!(of(&format!("--tokens {tokens}"))["assessment"]["verdict"], "near");
}

#[test]
fn routed_experts_have_bounds() {
    let place = place();
    let mixtral = json!({
        "model_type": "mixtral", "vocab_size": 97, "hidden_size": 8, "intermediate_size": 10, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": false, "num_local_experts": 4,
        "num_experts_per_tok": 2
    });
    place.write_json("mixtral.json", &mixtral);
    let plan = place.flopsmeter("plan --json --config mixtral.json --seq-len 6 --sequences 2").json();
    let best = flop(&plan["flops"]["training"]);
    let terms = plan["terms"].as_array().unwrap();
    let experts = terms.iter().find(|term| term["name"] == "experts").unwrap();
    let routed = flop(&experts["forward"]) + flop(&experts["backward"]);
    let reason = reason(&plan, "routed-experts");
    assert_eq!((flop(&reason["training_low"]), flop(&reason["training_high"])), (best - routed, best + routed));
    assert!(flop(&plan["flops"]["training_low"]) <= best - routed);
    assert!(flop(&plan["flops"]["training_high"]) >= best + routed);
}

#[test]
fn the_usual_length_is_no_longer_than_the_model_takes() {
    let place = place();
    let gpt2 = json!({
        "model_type": "gpt2", "vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16
    });
    let bert = json!({
        "model_type": "bert", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 32
    });
    let roberta = json!({
        "model_type": "roberta", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 34
    });
    for (config, most, key) in
        [(gpt2, 16, "n_positions"), (bert, 32, "max_position_embeddings"), (roberta, 32, "max_position_embeddings")]
    {
        place.write_json("short.json", &config);
        let plan = |options: &str| place.flopsmeter(&format!("plan --json --config short.json {options}"));
        let usual = plan("").json();
        assert_eq!(usual["job"]["seq_len"], most);
        assert_eq!(usual["defaults"][0], format!("--seq-len {most} ({key} of the model)"));
        assert_eq!(usual["flops"], plan(&format!("--seq-len {most}")).json()["flops"]);
        assert_eq!(plan(&format!("--seq-len {}", most + 1)).code(), Some(2));
        place.write("long.txt", "8\n4000\n");
        let cut = plan("--lengths long.txt").json();
        assert_eq!((&cut["job"]["seq_len"], &cut["job"]["lengths"]["cut"]), (&json!(most), &json!(1)));
    }
}

#[test]
fn gradients_that_a_checkpoint_cuts_are_a_reason() {
    let place = place();
    place.write_json("vit.json", &tiny_vit());
    let plan =
        |options: &str| place.flopsmeter(&format!("plan --json --config vit.json --method lora {options}")).json();
    let cut = plan("--gradient-checkpointing reentrant");
    assert!(reason(&cut, "checkpoint-cuts-gradients")["text"].as_str().unwrap().contains("are not trained"));
    let whole = plan("--gradient-checkpointing non-reentrant");
    assert!(flop(&cut["flops"]["backward"]) < flop(&whole["flops"]["backward"]));
    for sound in [whole, plan("--gradient-checkpointing reentrant --input-require-grads"), plan("")] {
        assert!(!sound["uncertainty"].to_string().contains("checkpoint-cuts-gradients"), "{}", sound["uncertainty"]);
    }
}

#[test]
fn a_class_of_its_own_code_is_a_reason() {
    let place = place();
    let mut config = tiny_config();
    config["architectures"] = json!(["LlamaForCausalLM"]);
    config["auto_map"] = json!({ "AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM" });
    place.write_json("own.json", &config);
    let plan = place.flopsmeter("plan --json --config own.json --seq-len 32").json();
    assert!(reason(&plan, "own-code")["text"].as_str().unwrap().starts_with("auto_map names code of its own"));
    assert_eq!(plan["flops"]["training"], json_of(&place, "--seq-len 32")["flops"]["training"]);
}

#[test]
fn head_room_ends_where_another_basis_of_counting_is_near_first() {
    let place = place();
    place.write(
        "base.toml",
        "name = \"acme/base\"\nflop = \"3e12\"\nsource = \"log\"\ndeclared_by = \"Ada\"\ndate = \"2026-11-01\"\ngpai = true\ntotal_parameters = \"1e6\"\n",
    );
    let options = "--config config.json --base base.toml --method head-only --seq-len 32";
    let plan = place.flopsmeter(&format!("plan --json {options} {DAY}")).json();
    let near = &plan["headroom"]["near"];
    assert_eq!(near["by"], "six-parameters-tokens");
    assert_eq!(plan["headroom"]["exceeds"].get("by"), None);
    // 7/39 of 3e12 at 6e6 for each token.
    let tokens = flop(&near["tokens"]);
    assert_eq!(tokens, 538_461_538_462_u128.div_ceil(6_000_000).next_multiple_of(32));
    let verdict = |tokens: u128| {
        place.flopsmeter(&format!("plan --json {options} --tokens {tokens} {DAY}")).json()["assessment"]["verdict"]
            .clone()
    };
    assert_eq!((verdict(tokens - 32), verdict(tokens)), (json!("below"), json!("near")));
}
