//! Inventories made by hand; those of live models are held against PyTorch's counter in the Python tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::facts::{Adapter, AdapterKind, Checkpointing, Inventory, TrainingFacts};
use crate::flops::{Batch, Network};
use crate::run::Finding;
use crate::shape::Shape;

/// A table, two linear modules with a bias in one that can be recomputed, and a head that has the table's weight.
fn inventory() -> Value {
    let linear = |inputs, outputs| json!({"kind": "linear", "inputs": inputs, "outputs": outputs});
    json!({
        "scales": "sequences-and-length", "sequences": 2, "length": 5,
        "modules": [
            {"name": "embed", "parameters": [{"name": "weight", "elements": 40, "slot": 0, "role": {"kind": "embedding", "rows": 10, "width": 4}}]},
            {"name": "up", "parameters": [
                {"name": "weight", "elements": 12, "slot": 1, "role": linear(4, 3)}, {"name": "bias", "elements": 3, "slot": 2},
            ]},
            {"name": "norm", "parameters": [{"name": "weight", "elements": 3, "slot": 3}]},
            {"name": "down", "parameters": [{"name": "weight", "elements": 12, "slot": 4, "role": linear(3, 4)}]},
            {"name": "head", "parameters": [{"name": "weight", "elements": 40, "slot": 0, "role": linear(4, 10), "tied_to": "embed.weight"}]},
        ],
        "steps": [
            {"op": "look-up", "table": 0, "output": 5, "positions": {"per_token": 1}},
            {"op": "product", "operands": [5, 1], "output": 6, "forward": {"per_token": 24}, "part": "mlp"},
            {"op": "join", "operands": [2, 6], "output": 7},
            {"op": "join", "operands": [3, 7], "output": 8},
            {"op": "save", "slot": 8},
            {"op": "product", "operands": [8, 4], "output": 9, "forward": {"per_token": 24}, "part": "mlp"},
            {"op": "product", "operands": [9, 0], "output": 10, "forward": {"per_token": 80}, "part": "output-head"},
        ],
        "checkpoints": [{"module": "block", "first": 1, "end": 6}],
        "input_embeddings": [5],
    })
}

fn network(facts: &TrainingFacts) -> (Network, Vec<Finding>) {
    let inventory: Inventory = serde_json::from_value(inventory()).unwrap();
    Network::from_facts(&Shape::from_inventory("Custom", &inventory).unwrap(), facts)
}

fn count(facts: &TrainingFacts) -> (u128, u128, u128) {
    let (network, findings) = network(facts);
    assert_eq!(findings, []);
    let count = network.cost().pass(true, &Batch::text(1, 1));
    (count.forward.0, count.backward.0, count.recompute.0)
}

fn training(trained: &[&str]) -> TrainingFacts {
    TrainingFacts { trained: trained.iter().map(ToString::to_string).collect(), ..TrainingFacts::default() }
}

#[test]
fn gradients_end_at_what_is_trained() {
    assert_eq!(count(&training(&[])), (128, 0, 0));
    assert_eq!(count(&training(&["down.weight"])), (128, 24 + 80, 0));
    assert_eq!(count(&training(&["norm.weight"])), (128, 24 + 80, 0));
    assert_eq!(count(&training(&["up.bias"])), (128, 24 + 80, 0));
    assert_eq!(count(&training(&["up.weight"])), (128, 24 + 24 + 80, 0));
    // The table is the head's weight as well, so everything has both gradients but what has no trained weight.
    assert_eq!(count(&training(&["embed.weight"])), (128, 24 + 24 + 2 * 80, 0));
}

#[test]
fn parameters_are_there_once() {
    let (network, _) = network(&training(&["embed.weight", "up.bias"]));
    assert_eq!((network.parameters_total(), network.parameters_trainable()), (70, 43));
}

#[test]
fn a_run_is_repeated_up_to_what_it_saved_last() {
    let recomputed = |trained: &[&str], kind, input_require_grads| {
        let gradient_checkpointing = Some(kind);
        count(&TrainingFacts { gradient_checkpointing, input_require_grads, ..training(trained) })
    };
    // The last product of the run saves its operands before it is formed, so it is not formed again.
    assert_eq!(recomputed(&["up.weight"], Checkpointing::NonReentrant, false), (128, 128, 24));
    assert_eq!(recomputed(&["up.weight"], Checkpointing::Reentrant, true), (128, 24 + 24 + 24 + 80, 48));
    // Nothing that goes in requires gradients, so nothing in it is trained.
    let gradient_checkpointing = Some(Checkpointing::Reentrant);
    let (cut, findings) = network(&TrainingFacts { gradient_checkpointing, ..training(&["up.weight"]) });
    assert_eq!(cut.cost().pass(true, &Batch::text(1, 1)).executed().0, 128);
    assert_eq!(findings.first().map(|finding| finding.code.as_str()), Some(Network::CUT_GRADIENTS));
    let facts = TrainingFacts {
        gradient_checkpointing: Some(Checkpointing::NonReentrant),
        not_recomputed: vec!["block".to_owned()],
        ..training(&["up.weight"])
    };
    assert_eq!(count(&facts), (128, 128, 0));
}

#[test]
fn low_rank_pairs_stand_beside_whole_weights() {
    let adapter = |module: &str| Adapter {
        module: module.to_owned(),
        rank: 2,
        kind: AdapterKind::Lora,
        trained: true,
        dropout: Some(false),
    };
    let facts = TrainingFacts { adapters: vec![adapter("up")], ..TrainingFacts::default() };
    // Down 2·4·2 and up 2·2·3 forward; both weights and what is between them backward, then the rest towards the loss.
    assert_eq!(count(&facts), (128 + 16 + 12, 16 + 2 * 12 + 24 + 80, 0));
    let unplaced = TrainingFacts { adapters: vec![adapter("norm")], ..TrainingFacts::default() };
    assert_eq!(network(&unplaced).1.first().map(|finding| finding.code.as_str()), Some("unplaced-adapters"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let changes: [(&str, Value); 3] =
        [("/steps/1/operands/0", json!(77)), ("/steps/1/output", json!(5)), ("/checkpoints/0/end", json!(99))];
    for (place, value) in changes {
        let mut broken = inventory();
        *broken.pointer_mut(place).unwrap() = value;
        let inventory: Inventory = serde_json::from_value(broken).unwrap();
        let problem = Shape::from_inventory("Custom", &inventory).unwrap_err();
        assert!(problem.to_string().contains("inventory"), "{place}: {problem}");
    }
}

proptest! {
    /// Sizes and slots as a hostile hook could send them.
    #[test]
    fn no_inventory_panics(
        numbers in proptest::collection::vec(prop_oneof![0_u64..12, Just(u64::MAX), Just(u64::from(u32::MAX))], 40),
    ) {
        let mut numbers = numbers.into_iter();
        let mut value = inventory();
        replace(&mut value, &mut numbers);
        if let Ok(inventory) = serde_json::from_value::<Inventory>(value)
            && let Ok(shape) = Shape::from_inventory("Custom", &inventory)
        {
            let (network, _) = Network::from_facts(&shape, &training(&["up.weight", "embed.weight"]));
            network.cost().pass(true, &Batch::text(3, 4));
        }
    }
}

/// Puts the numbers in place of the value's own, until there are none left.
fn replace(value: &mut Value, numbers: &mut impl Iterator<Item = u64>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, numbers)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, numbers)),
        Value::Number(_) => {
            if let Some(number) = numbers.next() {
                *value = json!(number);
            }
        }
        _ => {}
    }
}
