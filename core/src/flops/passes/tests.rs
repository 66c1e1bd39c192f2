//! Each way of running a model, by hand.

use serde_json::json;

use super::*;
use crate::facts::{Adapter, AdapterKind, ImageGrids, PackedSequences, Phase, TrainingFacts};
use crate::flops::Network;
use crate::shape::Shape;

const HIDDEN: u128 = 16;
const VOCABULARY: u128 = 64;
const LAYERS: u128 = 2;

fn shape() -> Shape {
    Shape::from_config(&json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
    }))
    .unwrap()
}

fn cost(facts: &TrainingFacts) -> Cost {
    let (network, findings) = Network::from_facts(&shape(), facts);
    assert_eq!(findings, []);
    network.cost()
}

fn head_trained() -> Cost {
    cost(&TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() })
}

fn passes(gradient: bool, sequences: u64, length: u64, count: u64) -> Passes {
    Passes::text(Phase::Training, gradient, sequences, length, count)
}

#[test]
fn a_head_at_some_positions_costs_those() {
    let cost = head_trained();
    let whole = count_passes(&cost, &passes(true, 2, 8, 3));
    let some = count_passes(&cost, &Passes { head_positions: Some(7), ..passes(true, 2, 8, 3) });
    let per_position = 2 * HIDDEN * VOCABULARY;
    assert_eq!(whole.forward.0 - some.forward.0, (2 * 8 * 3 - 7) * per_position);
    // Below the head nothing is trained: its input needs no gradient, so its backward pass is the weight's alone.
    assert_eq!(some.backward.0, 7 * per_position);
    assert_eq!(whole.recompute, Flops::ZERO);
}

#[test]
fn a_head_that_keeps_no_logits_does_its_product_again() {
    let cost = head_trained();
    let plain = Passes { head_positions: Some(7), ..passes(true, 2, 8, 1) };
    let fused = Passes { head_recomputed: true, ..plain.clone() };
    let (plain, with) = (count_passes(&cost, &plain), count_passes(&cost, &fused));
    assert_eq!((plain.forward, plain.backward), (with.forward, with.backward));
    assert_eq!(with.recompute.0, 7 * 2 * HIDDEN * VOCABULARY);
    let without_gradient = Passes { gradient: false, ..fused };
    assert_eq!(count_passes(&cost, &without_gradient).recompute, Flops::ZERO);
}

#[test]
fn variable_length_kernels_are_counted_by_the_true_sequences() {
    let packed = vec![PackedSequences { count: 2, length: 3 }, PackedSequences { count: 1, length: 4 }];
    let row = Passes { packed, ..passes(false, 1, 10, 1) };
    let live = |packing| LiveCost::new(head_trained(), None, packing).count(&row).forward.0;
    // Scores and values: 2 · 2 · heads · head size for each pair.
    let of_pairs = |pairs: u128| 4 * HIDDEN * pairs * LAYERS;
    let apart = 2 * 9 + 16;
    assert_eq!(live(Packing::Whole) - live(Packing::Apart), of_pairs(100 - apart));
    assert_eq!(Packing::of_kernel(Some("flash_attention_2")), Packing::Apart);
    assert_eq!(Packing::of_kernel(Some("kernels-community/flash-attn3")), Packing::Apart);
    assert_eq!(Packing::of_kernel(Some("sdpa")), Packing::Whole);
    assert_eq!(Packing::of_kernel(None), Packing::Whole);
}

#[test]
fn adapters_that_are_off_do_no_products() {
    let adapter = Adapter {
        module: "model.layers.0.self_attn.q_proj".to_owned(),
        rank: 4,
        kind: AdapterKind::Lora,
        trained: true,
        dropout: Some(false),
    };
    let training = TrainingFacts { adapters: vec![adapter], ..TrainingFacts::default() };
    let (network, findings) = Network::from_facts(&shape(), &training);
    assert_eq!(findings, []);
    let live = LiveCost::of(&shape(), &network, &training);
    let on = live.count(&passes(false, 1, 5, 1)).forward.0;
    let off = live.count(&Passes { adapters_disabled: true, ..passes(false, 1, 5, 1) }).forward.0;
    assert_eq!(on - off, 2 * 5 * 4 * (HIDDEN + HIDDEN));
    let trained = Passes { adapters_disabled: true, ..passes(true, 1, 5, 1) };
    assert_eq!(live.count(&trained).forward.0, on, "with a gradient nothing is left out");
}

#[test]
fn counts_add_over_passes_of_one_form() {
    let cost = head_trained();
    let one = count_passes(&cost, &passes(true, 2, 8, 1));
    assert_eq!(count_passes(&cost, &passes(true, 2, 8, 5)), one.times(5));
    assert_eq!(count_passes(&cost, &passes(true, 2, 0, 5)), Count::default());
}

#[test]
fn a_step_of_generation_does_not_run_the_encoder_again() {
    let t5 = json!({
        "model_type": "t5", "vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2,
    });
    let whisper = json!({
        "model_type": "whisper", "vocab_size": 64, "d_model": 16, "max_source_positions": 7,
        "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
        "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32,
    });
    for config in [t5, whisper] {
        let shape = Shape::from_config(&config).unwrap();
        let cost = Network::from_facts(&shape, &TrainingFacts::default()).0.cost();
        let step = Passes { decoder_length: 1, cached_length: 3, encoder_skipped: true, ..passes(false, 2, 7, 1) };
        // Its own queries, keys, values and output, the questions to the encoder's, whose keys and values are kept.
        let linear = (4 + 2) * HIDDEN * HIDDEN + 2 * HIDDEN * 32 + HIDDEN * VOCABULARY;
        let scores_and_values = 2 * HIDDEN * ((3 + 1) + 7);
        assert_eq!(count_passes(&cost, &step).forward.0, 2 * 2 * (linear + scores_and_values), "{config}");
    }
}

#[test]
fn images_that_lie_in_one_row_are_multiplied_as_one_by_most_kernels() {
    let shape = Shape::from_config(&json!({
        "model_type": "mistral3", "image_token_index": 3, "spatial_merge_size": 1,
        "text_config": {
            "model_type": "mistral", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "head_dim": 4,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        },
        "vision_config": {
            "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 32, "image_size": 32, "patch_size": 4,
            "num_hidden_layers": 2, "num_attention_heads": 4,
        },
    }));
    let cost = Network::from_facts(&shape.unwrap(), &TrainingFacts::default()).0.cost();
    let grid = |grid| ImageGrids { count: 1, grid };
    let count = |packing, count, image_grid| {
        let images = Passes { images: 2, image_grid, ..passes(false, 1, 20, count) };
        LiveCost::new(cost.clone(), None, packing).count(&images).forward.0
    };
    let of_pairs = |pairs: u128| 4 * HIDDEN * pairs * LAYERS;
    let two = || vec![grid([1, 2, 3]), grid([1, 1, 4])];
    assert_eq!(count(Packing::Whole, 1, two()) - count(Packing::Apart, 1, two()), of_pairs(100 - (36 + 16)));
    // Two passes of two pictures each: at most, the large ones lie together.
    let four = || vec![grid([1, 1, 1]), grid([1, 2, 3]), grid([1, 1, 4]), grid([1, 1, 2])];
    let (rows, apart) = (10 * 10 + 3 * 3, 36 + 16 + 4 + 1);
    assert_eq!(count(Packing::Whole, 2, four()) - count(Packing::Apart, 2, four()), of_pairs(rows - apart));
    let of_one_size = || vec![ImageGrids { count: 6, grid: [1, 1, 5] }];
    let (rows, apart) = (3 * 10 * 10, 6 * 5 * 5);
    assert_eq!(
        count(Packing::Whole, 3, of_one_size()) - count(Packing::Apart, 3, of_one_size()),
        of_pairs(rows - apart)
    );
}
