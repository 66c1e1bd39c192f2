//! What must hold of every count, whatever the shape, the method and the batch.

#![expect(clippy::unwrap_used, reason = "a test")]

use flopsmeter_core::facts::{Adapter, AdapterKind, Checkpointing, Passes, Phase, TrainingFacts};
use flopsmeter_core::flops::{Attention, Batch, Count, Network, TermCost, count_passes};
use flopsmeter_core::method::{Method, Targets, TrainingOptions};
use flopsmeter_core::shape::{Quantity, Shape, Stream};
use flopsmeter_core::unit::Flops;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const LINEAR: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

fn shapes() -> impl Strategy<Value = Shape> {
    let family = select(vec!["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"]);
    let sizes = (1_u64..64, 1_u64..64, 1_u64..8, 1_u64..4, 1_u64..3, 1_u64..32);
    (family, sizes, any::<bool>(), 1_u64..40).prop_map(|(family, sizes, tied, window)| {
        let (vocabulary, inner, layers, key_value_heads, group, head_size) = sizes;
        let config = serde_json::json!({
            "model_type": family, "vocab_size": vocabulary, "hidden_size": 24, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": key_value_heads * group,
            "num_key_value_heads": key_value_heads, "head_dim": head_size, "tie_word_embeddings": tied,
            "sliding_window": window, "use_sliding_window": true, "max_window_layers": 2,
        });
        Shape::from_config(&config).unwrap()
    })
}

fn methods() -> impl Strategy<Value = Method> {
    let targets = prop_oneof![
        Just(Targets::AllLinear),
        subsequence(LINEAR.to_vec(), 1..=LINEAR.len())
            .prop_map(|names| Targets::Named(names.into_iter().map(str::to_owned).collect())),
    ];
    let saved = subsequence(vec!["input-embeddings", "output-head"], 0..=2);
    prop_oneof![
        Just(Method::full()),
        Just(Method::Full { frozen: vec!["input-embeddings".to_owned(), "layers.0".to_owned()] }),
        Just(Method::LastLayers { layers: 1 }),
        Just(Method::HeadOnly),
        (targets, 1_u64..40, saved).prop_map(|(targets, rank, saved)| Method::Lora {
            kind: AdapterKind::Lora,
            rank,
            rank_pattern: Vec::new(),
            targets,
            layers_to_transform: Vec::new(),
            modules_to_save: saved.into_iter().map(str::to_owned).collect(),
        }),
    ]
}

fn options() -> impl Strategy<Value = TrainingOptions> {
    let checkpointing = select(vec![None, Some(Checkpointing::NonReentrant), Some(Checkpointing::Reentrant)]);
    (checkpointing, any::<bool>()).prop_map(|(gradient_checkpointing, input_require_grads)| TrainingOptions {
        gradient_checkpointing,
        input_require_grads,
        ..TrainingOptions::default()
    })
}

fn networks() -> impl Strategy<Value = Network> {
    (shapes(), methods(), options())
        .prop_map(|(shape, method, options)| Network::from_method(&shape, &method, &options).unwrap())
}

fn passes() -> impl Strategy<Value = Passes> {
    (any::<bool>(), 1_u64..5, 1_u64..50, 0_u64..60, 0_u64..4).prop_map(
        |(gradient, sequences, length, cached_length, count)| Passes {
            cached_length,
            ..Passes::text(Phase::Training, gradient, sequences, length, count)
        },
    )
}

/// All parameters of a network without biases, by name.
fn parameter_names(network: &Network) -> Vec<String> {
    network.products().map(|product| format!("{}.weight", product.module)).collect()
}

proptest! {
    #[test]
    fn a_batch_costs_what_its_sequences_cost(network in networks(), a in 1_u64..9, b in 1_u64..9, length in 1_u64..99) {
        let cost = network.cost();
        let pass = |sequences: u64| cost.pass(true, &Batch::text(sequences, length));
        prop_assert_eq!(pass(a) + pass(b), pass(a + b));
    }

    #[test]
    fn no_order_of_adding_shows(network in networks(), passes in prop::collection::vec(passes(), 0..8)) {
        let cost = network.cost();
        let forwards: Count = passes.iter().map(|it| count_passes(&cost, it)).sum();
        let backwards: Count = passes.iter().rev().map(|it| count_passes(&cost, it)).sum();
        prop_assert_eq!(forwards, backwards);
    }

    #[test]
    fn terms_add_up_and_repeating_is_part_of_the_forward_pass(network in networks(), passes in passes()) {
        let count = count_passes(&network.cost(), &passes);
        let sum = |pick: fn(&flopsmeter_core::run::Term) -> Flops| count.terms.iter().map(pick).sum::<Flops>();
        prop_assert_eq!(sum(|term| term.forward), count.forward);
        prop_assert_eq!(sum(|term| term.backward), count.backward);
        prop_assert_eq!(sum(|term| term.recompute), count.recompute);
        prop_assert!(count.recompute <= count.forward);
        prop_assert!(passes.gradient || (count.backward + count.recompute == Flops::ZERO));
    }

    #[test]
    fn what_is_visible_is_part_of_the_full_matrix(network in networks(), passes in passes()) {
        let full = count_passes(&network.cost(), &passes);
        let visible = count_passes(&network.cost().with_attention(Attention::Visible), &passes);
        prop_assert!(visible.forward <= full.forward);
        prop_assert!(visible.backward <= full.backward);
        prop_assert!(visible.recompute <= full.recompute);
    }

    #[test]
    fn the_full_matrix_is_a_polynomial_of_the_batch(network in networks(), lengths in prop::collection::vec(1_u64..99, 0..6)) {
        let cost = network.cost();
        let tokens: u128 = lengths.iter().map(|length| u128::from(*length)).sum();
        let squares: u128 = lengths.iter().map(|length| u128::from(*length).pow(2)).sum();
        let amount = |quantity: Quantity| match quantity {
            Quantity::Positions(Stream::Text) => tokens,
            Quantity::Pairs { query: Stream::Text, key: Stream::Text, .. } => squares,
            other => panic!("a plain decoder has no {other:?}"),
        };
        let sum = |pick: fn(&TermCost) -> u128| Flops(cost.terms().iter().map(|it| pick(it) * amount(it.quantity)).sum());
        let count: Count = lengths.iter().map(|length| cost.pass(true, &Batch::text(1, *length))).sum();
        prop_assert_eq!(count.forward, sum(|term| term.forward));
        prop_assert_eq!(count.backward, sum(|term| term.backward));
        prop_assert_eq!(count.recompute, sum(|term| term.recompute));
    }

    #[test]
    fn a_full_fine_tune_goes_back_at_twice_the_cost(shape in shapes(), passes in passes()) {
        let network = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap();
        let count = count_passes(&network.cost(), &Passes { gradient: true, ..passes });
        prop_assert_eq!(count.backward, count.forward + count.forward);
        prop_assert_eq!(network.parameters_trainable(), network.parameters_total());
    }

    #[test]
    fn training_more_never_costs_less(
        shape in shapes(), options in options(), seed in any::<u64>(), extra in any::<u64>(), passes in passes(),
    ) {
        let names = parameter_names(&Network::from_facts(&shape, &TrainingFacts::default()).0);
        let chosen = |bits: u64| -> Vec<String> {
            let marked = names.iter().zip(0_u32..).filter(|(_, index)| bits.rotate_right(index % 64) & 1 == 1);
            marked.map(|(name, _)| name.clone()).collect()
        };
        let count = |trained: Vec<String>| {
            let facts = TrainingFacts {
                trained,
                gradient_checkpointing: options.gradient_checkpointing,
                input_require_grads: options.input_require_grads,
                ..TrainingFacts::default()
            };
            let (network, _) = Network::from_facts(&shape, &facts);
            (network.parameters_trainable(), count_passes(&network.cost(), &Passes { gradient: true, ..passes.clone() }))
        };
        let (fewer, less) = count(chosen(seed));
        let (more, greater) = count(chosen(seed | extra));
        prop_assert!(fewer <= more);
        prop_assert!(less.backward <= greater.backward);
        prop_assert!(less.recompute <= greater.recompute);
        prop_assert_eq!(less.forward, greater.forward);
    }

    #[test]
    fn absurd_batches_saturate(network in networks(), gradient in any::<bool>(), length in (u64::MAX - 9)..=u64::MAX) {
        for attention in [Attention::Full, Attention::Visible] {
            let cost = network.cost().with_attention(attention);
            let count = cost.pass(gradient, &Batch::text(u64::MAX, length).after(u64::MAX)).times(u64::MAX);
            prop_assert_eq!(count.forward, Flops(u128::MAX));
        }
    }
}

#[test]
fn names_that_fit_nothing_are_listed_and_the_rest_is_counted() {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2,
    });
    let shape = Shape::from_config(&config).unwrap();
    let adapter =
        |module: &str, kind| Adapter { module: module.to_owned(), rank: 4, kind, trained: true, dropout: None };
    let facts = TrainingFacts {
        trained: vec![
            "score.weight".to_owned(),
            "model.layers.2.mlp.up_proj.weight".to_owned(),
            "model.layers.01.mlp.up_proj.weight".to_owned(),
            "model.layers.1.mlp.up_proj.bias".to_owned(),
            "model.norm.weight".to_owned(),
        ],
        adapters: vec![
            adapter("model.layers.1.self_attn.q_proj", AdapterKind::Lora),
            adapter("model.embed_tokens", AdapterKind::Dora),
            adapter("model.norm", AdapterKind::Lora),
        ],
        copied: vec!["classifier".to_owned()],
        ..TrainingFacts::default()
    };
    let (network, findings) = Network::from_facts(&shape, &facts);
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["unplaced-copies", "unplaced-parameters", "unplaced-adapters", "dora-dropout-not-counted"]);
    assert!(
        findings[1].text.contains("score.weight") && findings[1].text.contains("up_proj.bias"),
        "{}",
        findings[1].text
    );
    assert!(!findings[1].text.contains("model.norm.weight"), "{}", findings[1].text);
    assert_eq!(network.parameters_trainable(), 16 + 4 * (16 + 16));
}
