//! Bad input: the exit code is the documented one, nothing is printed, and the message names the thing, the cause and the next
//! step.

mod ledger;

use crate::job::tiny_config;
use crate::place::{Place, repository};

/// Each of these command lines ends with `code` and says this, after `error: `.
fn refused(place: &Place, code: i32, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let outcome = place.flopsmeter(line);
        let said = outcome.refusal(code);
        let message = said.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}: {said}"));
        assert_eq!(message.lines().next().unwrap(), *expected, "{line}");
    }
}

#[test]
fn plan_refuses_what_it_cannot_read() {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    place.write("bad.json", "{");
    place.write("binary.json", b"\xff\xfe");
    place.write("martian.json", r#"{"model_type": "martian"}"#);
    place.write("empty.json", "{}");
    place.write("large.json", vec![b' '; 11_000_000]);
    refused(
        &place,
        1,
        &[
            (
                "plan --config nope.json",
                "nope.json cannot be read; name a config.json, or the folder it is in, with --config",
            ),
            (
                "plan --config tmp",
                "tmp/config.json cannot be read; name a config.json, or the folder it is in, with --config",
            ),
            (
                "plan --config large.json",
                "large.json is larger than 10 MiB, which is no model configuration; name a config.json, or the folder it is in, with --config",
            ),
            (
                "plan --config /dev/zero",
                "/dev/zero is larger than 10 MiB, which is no model configuration; name a config.json, or the folder it is in, with --config",
            ),
            ("plan --config bad.json", "bad.json is no JSON; name a config.json of the Hugging Face form"),
            (
                "plan --config binary.json",
                "binary.json is no text; name a config.json, or the folder it is in, with --config",
            ),
            ("plan --config martian.json", "martian.json cannot be counted"),
            ("plan --config empty.json", "empty.json cannot be counted"),
        ],
    );
    let outcome = place.flopsmeter("plan --config martian.json");
    let cause = outcome.stderr.lines().nth(1).unwrap();
    assert!(cause.starts_with("  because: model_type `martian` is not known; "), "{cause}");
    let outcome = place.flopsmeter("plan --config nope.json");
    assert!(outcome.stderr.contains("No such file or directory"), "{}", outcome.stderr);
}

#[test]
fn no_hostile_configuration_ends_in_a_panic() {
    let place = Place::new();
    let folder = repository("tests/hostile/configs");
    let mut tried = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let outcome = place.flopsmeter(&format!("plan --json --config {}", path.display()));
        tried += 1;
        let said = outcome.refusal(1);
        assert!(said.starts_with("error: ") && said.contains(path.file_name().unwrap().to_str().unwrap()), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn plan_refuses_an_unknown_base_and_suggests() {
    let place = Place::new();
    place.write("incomplete.toml", "name = \"x\"\n");
    refused(
        &place,
        1,
        &[
            (
                "plan --base no-model-is-called-so",
                "no base model is called `no-model-is-called-so`; use an exact id, or declare the base in a TOML file and name that file",
            ),
            (
                "plan --base ./nope.toml",
                "there is no file or folder `./nope.toml`; correct the path, or name the base model by its Hugging Face id",
            ),
            ("plan --base incomplete.toml", "incomplete.toml does not say `flop`; add `flop = \"8.4e22\"`"),
            (
                "plan --base tmp",
                "tmp/config.json cannot be read; name a folder with a model's config.json, a Hugging Face id, or a declared base file",
            ),
        ],
    );
    for line in [
        "plan --base meta-llama/Llama-3.1-8BB",
        "models show meta-llama/Llama-3.1-8BB",
        "modifications create x --base meta-llama/Llama-3.1-8BB",
    ] {
        let outcome = place.flopsmeter(line);
        let said = outcome.refusal(1);
        assert!(said.contains("`meta-llama/Llama-3.1-8BB` (did you mean meta-llama/Llama-3.1-8B,"), "{said}");
    }
}

#[test]
fn contradictions_are_errors_of_usage() {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    let contradiction = "--train-last N and --method last-layers belong together; give both or neither";
    let lora = "--lora-r and --lora-targets belong to --method lora, qlora or dora";
    refused(
        &place,
        2,
        &[
            ("plan --config config.json --train-last 1", contradiction),
            ("plan --config config.json --method lora --train-last 1", contradiction),
            ("plan --config config.json --method last-layers", contradiction),
            (
                "plan --config config.json --method lora --frozen lm_head",
                "--frozen belongs to --method full; the other methods freeze by themselves",
            ),
            (
                "plan --config config.json --modules-to-save lm_head",
                "--modules-to-save belongs to --method lora, qlora or dora",
            ),
            ("plan --config config.json --lora-r 8", lora),
            ("plan --config config.json --method head-only --lora-targets q_proj", lora),
            ("plan", "the following required arguments were not provided:"),
            (
                "run --device cpu --quiet --progress 5s -- true",
                "the argument '--quiet' cannot be used with '--progress <TIME>'",
            ),
            ("run --device cpu", "the following required arguments were not provided:"),
            (
                "run --device cpu --gpus x,y -- true",
                "--gpus `x,y` is no list of GPUs; write `all`, `none`, or indices and UUIDs separated by commas",
            ),
            (
                "run --device cpu --progress 0s -- true",
                "invalid value '0s' for '--progress <TIME>': `0s` is no time span; write 500ms, 10s, 5m or 1h",
            ),
            (
                "run --device cpu --modification A/B -- true",
                "invalid value 'A/B' for '--modification <NAME>': a modification's name has 1 to 64 of a-z, 0-9, `-`, `_`, `.`, and starts with a letter or digit",
            ),
            ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ],
    );
    assert!(!place.ledger().exists());
}

#[test]
fn sizes_without_sense_are_refused() {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    let not_whole = |text: &str| {
        format!(
            "invalid value '{text}' for '--tokens <N>': `{text}` is not a whole, non-negative number that can be counted with; write it as 7000000 or as 7e6"
        )
    };
    refused(
        &place,
        2,
        &[
            ("plan --config config.json --seq-len 0", "--seq-len 0 trains on nothing; give at least 1"),
            ("plan --config config.json --sequences 0", "--sequences 0 trains on nothing; give at least 1"),
            ("plan --config config.json --epochs 0", "--epochs 0 trains on nothing; give at least 1"),
            ("plan --config config.json --tokens 0", "--tokens 0 trains on nothing; give at least 1"),
            ("plan --config config.json --tokens 1.5", &not_whole("1.5")),
            ("plan --config config.json --tokens 1e30", &not_whole("1e30")),
            ("plan --config config.json --tokens=-7", &not_whole("-7")),
        ],
    );
    assert_eq!(place.flopsmeter("plan --config config.json --seq-len -5").code(), Some(2));
    let largest = u64::MAX;
    let too_many_blocks = "--train-last: cannot train the last 3 blocks of 2; choose a number from 1 to 2";
    let virtual_tokens = format!(
        "--virtual-tokens: {largest} virtual tokens are not between 1 and 1048576; usual numbers are 10 to 100"
    );
    refused(
        &place,
        2,
        &[
            ("plan --config config.json --tokens -7", &not_whole("-7")),
            ("plan --config config.json --method lora --lora-r 0", "--lora-r 0 trains nothing; give at least 1"),
            (
                "plan --config config.json --method lora --lora-r 1048577",
                "--lora-r: rank 1048577 is not between 1 and 1048576; usual ranks are 8 to 256",
            ),
            (
                "plan --config config.json --method last-layers --train-last 0",
                "--train-last 0 trains nothing; give at least 1",
            ),
            ("plan --config config.json --method last-layers --train-last 3", too_many_blocks),
            ("plan --config config.json --compare --train-last 3", too_many_blocks),
            ("plan --config config.json --compare --train-last 0", "--train-last 0 trains nothing; give at least 1"),
            (&format!("plan --config config.json --method prefix --virtual-tokens {largest}"), &virtual_tokens),
            (&format!("plan --config config.json --method prompt --virtual-tokens {largest}"), &virtual_tokens),
        ],
    );
    for sizes in [
        format!("--seq-len {largest}"),
        format!("--tokens {largest} --epochs {largest}"),
        format!("--seq-len {largest} --sequences {largest}"),
    ] {
        let outcome = place.flopsmeter(&format!("plan --json --config config.json {sizes}"));
        assert!(outcome.refusal(1).contains(" bits hold; correct --tokens, "), "{outcome:?}");
    }
}

#[test]
fn a_method_that_trains_nothing_names_the_flags_that_exclude_each_other() {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    refused(
        &place,
        2,
        &[
            (
                "plan --config config.json --method lora --lora-targets lm_head --lora-layers 0",
                "--lora-targets and --lora-layers exclude each other: no target lies in the chosen blocks 0, so that nothing gets a low-rank pair; name targets within blocks, or choose no blocks",
            ),
            (
                "plan --config config.json --frozen model,lm_head",
                "--frozen: nothing is left to train without model, lm_head; leave one of them out",
            ),
            (
                "plan --config config.json --method lora --lora-targets q_proj --lora-rank-pattern down_proj=8",
                "--lora-targets and --lora-rank-pattern exclude each other: rank pattern `down_proj` names no module that gets a low-rank pair; add it to the targets, or leave its rank out",
            ),
        ],
    );
}

#[test]
fn a_sequence_longer_than_the_table_of_positions_is_refused() {
    let place = Place::new();
    place.write_json("gpt2.json", &gpt2());
    let longer = |flag: &str, length: u64, most: u64, less: &str| {
        format!(
            "{flag} {length} is longer than the {most} positions that the model's table has{less} (n_positions); give at most {most}"
        )
    };
    refused(
        &place,
        2,
        &[
            ("plan --config gpt2.json --seq-len 17", &longer("--seq-len", 17, 16, "")),
            (
                "plan --config gpt2.json --method prompt --virtual-tokens 4 --seq-len 13",
                &longer("--seq-len", 13, 12, " after the virtual tokens"),
            ),
        ],
    );
    assert_eq!(place.flopsmeter("plan --config gpt2.json --seq-len 16").code(), Some(0));
}

fn gpt2() -> serde_json::Value {
    serde_json::json!({ "model_type": "gpt2", "vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16 })
}

#[test]
fn code_of_its_own_and_pruned_heads_are_refused() {
    let place = Place::new();
    let mut config = tiny_config();
    config["architectures"] = serde_json::json!(["FooForCausalLM"]);
    config["auto_map"] = serde_json::json!({ "AutoModelForCausalLM": "modeling_foo.FooForCausalLM" });
    place.write_json("foo.json", &config);
    let mut pruned = tiny_config();
    pruned["pruned_heads"] = serde_json::json!({ "0": [1] });
    place.write_json("pruned.json", &pruned);
    for (file, cause) in
        [("foo", "auto_map makes `FooForCausalLM` the model's class"), ("pruned", "key `pruned_heads` is ")]
    {
        let outcome = place.flopsmeter(&format!("plan --config {file}.json"));
        assert!(outcome.refusal(1).contains(&format!("because: {cause}")), "{outcome:?}");
    }
}

#[test]
fn modules_that_are_not_there_are_named_with_those_that_are() {
    let place = Place::new();
    place.write_json("config.json", &tiny_config());
    for (options, thing) in [
        (
            "--method lora --lora-targets nothing_like_it",
            "target `nothing_like_it` matches no module that takes a low-rank pair",
        ),
        ("--method lora --modules-to-save nothing_like_it", "module to save `nothing_like_it` matches no module"),
        ("--frozen nothing_like_it", "frozen module `nothing_like_it` matches no module"),
    ] {
        let outcome = place.flopsmeter(&format!("plan --config config.json {options}"));
        let said = outcome.refusal(1);
        assert!(
            said.contains(thing)
                && said.contains("; there are: model.embed_tokens, ")
                && said.contains("mlp.gate_proj"),
            "{said}"
        );
    }
}
