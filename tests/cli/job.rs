//! A small model, and jobs that tell the meter of it through a scripted hook.

use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Outcome, Place, finish_with_input, repository};

/// How the small model is trained.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Training {
    Full,
    /// Rank 8 on `q_proj` and `v_proj`.
    Lora,
    /// The same with activation recomputation.
    LoraCheckpointed,
}

impl Training {
    /// As `plan` takes it.
    pub(crate) fn options(self) -> &'static str {
        match self {
            Self::Full => "--method full",
            Self::Lora => "--method lora --lora-r 8 --lora-targets q_proj,v_proj",
            Self::LoraCheckpointed => {
                "--method lora --lora-r 8 --lora-targets q_proj,v_proj --gradient-checkpointing non-reentrant"
            }
        }
    }
}

pub(crate) fn tiny_config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": false
    })
}

/// Names of the plain model's parameters, as its checkpoint has them.
fn parameters() -> Vec<String> {
    let inside = |layer: usize| {
        let linear = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj"];
        let rest = ["mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"];
        linear.into_iter().chain(rest).map(move |module| format!("model.layers.{layer}.{module}.weight"))
    };
    let outside = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"].map(str::to_owned);
    (0..2).flat_map(inside).chain(outside).collect()
}

/// What `plan` says of `steps` micro-batches of 2 x 32 positions.
pub(crate) fn plan(place: &Place, training: Training, steps: u64) -> Value {
    let config = place.write_json("config.json", &tiny_config());
    let tokens = steps * 2 * 32;
    let options = training.options();
    let line =
        format!("plan --json --config {} {options} --sequences 2 --seq-len 32 --tokens {tokens}", config.display());
    place.flopsmeter(&line).json()
}

/// A sum of operations in JSON: a decimal string.
pub(crate) fn flop(value: &Value) -> u128 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no decimal string")).parse().unwrap()
}

/// The facts that a hook tells of the model, in `facts.json`.
pub(crate) fn write_facts(place: &Place, training: Training) {
    let params = &plan(place, training, 1)["params"];
    let adapters: Vec<Value> = (0..2)
        .flat_map(|layer| ["q_proj", "v_proj"].map(|module| format!("model.layers.{layer}.self_attn.{module}")))
        .map(|module| json!({ "module": module, "rank": 8, "kind": "lora", "trained": true }))
        .collect();
    let full = training == Training::Full;
    let checkpointing = (training == Training::LoraCheckpointed).then_some("non-reentrant");
    place.write_json(
        "facts.json",
        &json!({
            "model": 0,
            "class_name": "LlamaForCausalLM",
            "name_or_path": null,
            "config": tiny_config(),
            "parameters_total": params["total"],
            "parameters_trainable": params["trainable"],
            "training": {
                "trained": if full { parameters() } else { Vec::new() },
                "adapters": if full { Vec::new() } else { adapters },
                "copied": [],
                "gradient_checkpointing": checkpointing,
                "input_require_grads": checkpointing.is_some(),
                "attention_implementation": "eager"
            },
            "libraries": { "torch": "0" }
        }),
    );
}

/// A declared base of this compute, in `NAME.toml`.
pub(crate) fn write_base(place: &Place, name: &str, flop: u128) {
    let text = format!(
        "name = \"acme/{name}\"\nflop = \"{flop}\"\nsource = \"a test\"\ndeclared_by = \"Ada, trainer\"\ndate = \"2026-11-01\"\ngpai = true\n"
    );
    place.write(&format!("{name}.toml"), text);
}

/// `flopsmeter run OPTIONS -- python3 hooked.py facts.json`.
pub(crate) fn hooked(place: &Place, options: &str) -> Command {
    let words = ["run", "--device", "cpu"].into_iter().chain(options.split_whitespace()).chain(["--", "python3"]);
    let mut command = place.command(words);
    command.arg(repository("tests/fixtures/jobs/hooked.py")).arg("facts.json");
    command
}

/// A whole job: these lines, one after the other.
pub(crate) fn run_hooked(place: &Place, options: &str, lines: &[&str]) -> Outcome {
    finish_with_input(hooked(place, options), &(lines.join("\n") + "\n"))
}
