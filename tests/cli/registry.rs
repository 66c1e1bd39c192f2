//! The base-model registry as people ask it, add to it, and name its rows by a folder.

use serde_json::{Value, json};

use crate::place::Place;

const DAY: &str = "--as-of 2026-11-21";

#[test]
fn the_built_in_table_holds_and_can_be_printed_and_checked_again() {
    let place = Place::new();
    let check = place.flopsmeter("models check");
    assert_eq!(check.data(), "the built-in table: 420 rows, no defect (held against eu-gpai-2026-07-27)\n");
    let table = place.flopsmeter("models table");
    place.write("mine.csv", table.data());
    let again = place.flopsmeter("models check mine.csv --json").json();
    assert_eq!((again["rows"].as_u64(), again["defects"].as_array().map(Vec::len)), (Some(420), Some(0)));
}

#[test]
fn a_row_that_does_not_hold_is_told_by_row_and_column() {
    let place = Place::new();
    let table = place.flopsmeter("models table");
    let two: Vec<&str> = table.data().lines().take(2).collect();
    let row = two[1].replace("6*6738415616*1e12", "6*6738415616*1e13").replace(",1.348e22,", ",1.5e22,");
    place.write("mine.csv", format!("{}\n{row}\n", two[0]));
    let check = place.flopsmeter("models check mine.csv");
    assert_eq!((check.code(), check.stderr.as_str()), (Some(1), ""));
    assert_eq!(
        check.stdout,
        "huggyllama/llama-7b, `flop_estimate`: the row's own arithmetic gives 4.043e23\n\
huggyllama/llama-7b, `third_of_flop`: it is no third of `flop`\n\
mine.csv: 1 rows, 2 defects (held against eu-gpai-2026-07-27)\n"
    );
    place.write("mine.csv", format!("{}\n{}\n", two[0], two[1].replace("4.043e22,estimated", "-4,estimated")));
    let refused = place.flopsmeter("models check mine.csv");
    assert!(refused.refusal(1).contains("base-model row `huggyllama/llama-7b`, column `flop`"), "{refused:?}");
    let nothing = place.flopsmeter("models check nothing.csv");
    assert!(nothing.refusal(1).contains("nothing.csv cannot be read"), "{nothing:?}");
}

#[test]
fn a_row_shows_where_it_comes_from_and_what_became_of_it() {
    let place = Place::new();
    let shown = place.flopsmeter("models show meta-llama/Llama-3.1-8B --json").json();
    let children = shown["model"]["children"].as_array().unwrap();
    assert!(children.iter().any(|child| child["id"] == "meta-llama/Llama-3.2-1B"), "{children:?}");
    assert_eq!(shown["model"]["parent"], Value::Null);
    assert_eq!(shown["model"]["gpu_hours"], "1460000");
    let words = place.flopsmeter("models show meta-llama/Llama-3.2-1B");
    assert!(words.data().contains("comes from    meta-llama/Llama-3.1-8B: pruned + distilled"), "{}", words.stdout);
}

/// Writes a safetensors file of such tensors; their bytes are a hole.
fn write_weights(place: &Place, name: &str, tensors: &Value) {
    let header = tensors.to_string();
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    fs_err::write(place.path(name), bytes).unwrap();
}

fn folder(place: &Place, config: &Value) {
    fs_err::create_dir_all(place.path("model")).unwrap();
    place.write_json("model/config.json", config);
}

/// The base that a plan by a folder resolves to.
fn resolved(place: &Place) -> Value {
    let plan = place.flopsmeter(&format!("plan --json --base model --method full --tokens 1000 {DAY}")).json();
    plan["assessment"]["inputs"]["base_model"]["name"].clone()
}

#[test]
fn an_adapters_folder_leads_to_its_base() {
    let place = Place::new();
    fs_err::create_dir_all(place.path("model")).unwrap();
    place.write_json("model/adapter_config.json", &json!({"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}));
    write_weights(&place, "model/adapter_model.safetensors", &json!({}));
    assert_eq!(resolved(&place), "meta-llama/Llama-3.1-8B");
    place.write_json("model/adapter_config.json", &json!({"r": 8}));
    let refused = place.flopsmeter("plan --base model --tokens 1000");
    assert!(refused.refusal(1).contains("names no base model"), "{refused:?}");
}

#[test]
fn weights_that_cannot_be_the_named_bases_are_refused() {
    let place = Place::new();
    folder(&place, &json!({"_name_or_path": "openai-community/gpt2", "model_type": "unheard-of"}));
    let tensor = |rows: u64| json!({"w": {"dtype": "BF16", "shape": [rows, 1024], "data_offsets": [0, 0]}});
    write_weights(&place, "model/model.safetensors", &tensor(7_844_000));
    let refused = place.flopsmeter("plan --base model --tokens 1000");
    let said = refused.refusal(1);
    assert!(said.contains("says that it comes from openai-community/gpt2") && said.contains("8032256000"), "{said}");
}

#[test]
fn weights_without_a_name_suggest_and_never_guess() {
    let place = Place::new();
    folder(&place, &json!({"model_type": "llama"}));
    // Two files that an index names: 8030261248 parameters, as Llama 3 and 3.1 have.
    let tensor = |size: u64| json!({"w": {"dtype": "BF16", "shape": [size], "data_offsets": [0, 0]}});
    write_weights(&place, "model/a.safetensors", &tensor(8_000_000_000));
    write_weights(&place, "model/b.safetensors", &tensor(30_261_248));
    let index = json!({"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "b.safetensors"}});
    place.write_json("model/model.safetensors.index.json", &index);
    let refused = place.flopsmeter("plan --base model --tokens 1000");
    let said = refused.refusal(1);
    assert!(said.contains("8030261248 parameters") && said.contains("meta-llama/Llama-3.1-8B"), "{said}");
}

#[test]
fn a_broken_weight_file_is_named() {
    let place = Place::new();
    folder(&place, &json!({"_name_or_path": "openai-community/gpt2"}));
    for (bytes, cause) in [
        (&b"\x02\0\0\0\0\0\0\0[]"[..], "cannot be read as safetensors"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "is no safetensors file"),
        (b"\x01", "cannot be read"),
    ] {
        fs_err::write(place.path("model/model.safetensors"), bytes).unwrap();
        let refused = place.flopsmeter("plan --base model --tokens 1000");
        assert!(
            refused.refusal(1).contains("model/model.safetensors") && refused.stderr.contains(cause),
            "{refused:?}"
        );
    }
}
