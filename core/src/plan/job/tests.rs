use proptest::prelude::*;

use super::*;
use crate::facts::AdapterKind;
use crate::flops::Network;
use crate::method::{Method, Targets, TrainingOptions};
use crate::plan::{Images, Knowledge, Known, Range};
use crate::shape::Shape;

fn cost(method: &Method) -> Cost {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 97, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
    });
    let shape = Shape::from_config(&config).unwrap();
    Network::from_method(&shape, method, &TrainingOptions::default()).unwrap().cost()
}

/// DoRA does something once in each pass, whatever is fed.
fn dora() -> Method {
    Method::Lora {
        kind: AdapterKind::Dora,
        rank: 4,
        rank_pattern: Vec::new(),
        targets: Targets::AllLinear,
        layers_to_transform: Vec::new(),
        modules_to_save: Vec::new(),
    }
}

fn job(lengths: &[u64], batching: Batching, sequences: u64, seq_len: Option<u64>, epochs: u64) -> Job {
    let lengths = Lengths::of_runs(lengths.iter().map(|&length| (length, 1))).unwrap();
    Job::new(Dataset { lengths, batching, sequences, seq_len, epochs })
}

/// Model operations of each micro-batch of an epoch and the positions fed in it, formed the plain way.
fn micro_batches(job: &Job, cost: &Cost) -> Vec<(u128, u128)> {
    let all: Vec<u64> = job
        .dataset()
        .lengths
        .runs()
        .iter()
        .flat_map(|run| std::iter::repeat_n(run.length, run.count.try_into().unwrap()))
        .collect();
    let size = job.dataset().sequences.try_into().unwrap();
    let pass = |sequences: u64, length: u64| Passes::new(cost).pass(sequences, length).training().0;
    let cut = |length: &u64| (*length).min(job.dataset().seq_len.unwrap_or(u64::MAX));
    match job.dataset().batching {
        Batching::Packed => {
            let row = job.dataset().seq_len.unwrap();
            let rows = all.iter().sum::<u64>().div_ceil(row);
            let sizes = (0..rows).collect::<Vec<_>>();
            sizes
                .chunks(size)
                .map(|rows| rows.len() as u64)
                .map(|rows| (pass(rows, row), u128::from(rows * row)))
                .collect()
        }
        Batching::Padded => all
            .chunks(size)
            .map(|batch| (batch.len() as u64, batch.iter().map(cut).max().unwrap()))
            .map(|(rows, longest)| (pass(rows, longest), u128::from(rows * longest)))
            .collect(),
        Batching::PaddingFree => {
            let once = 2 * pass(1, 1) - pass(2, 1);
            all.chunks(size)
                .map(|batch| {
                    let own: u128 = batch.iter().map(|length| pass(1, cut(length)) - once).sum();
                    (own + once, batch.iter().map(|length| u128::from(cut(length))).sum())
                })
                .collect()
        }
    }
}

fn jobs() -> impl Strategy<Value = Job> {
    let batching = prop_oneof![Just(Batching::Padded), Just(Batching::Packed), Just(Batching::PaddingFree)];
    (prop::collection::vec(1_u64..40, 1..30), batching, 1_u64..6, 1_u64..50, any::<bool>(), 1_u64..4).prop_map(
        |(lengths, batching, sequences, seq_len, cuts, epochs)| {
            let seq_len = (cuts || batching == Batching::Packed).then_some(seq_len);
            job(&lengths, batching, sequences, seq_len, epochs)
        },
    )
}

proptest! {
    #[test]
    fn a_job_costs_what_its_micro_batches_cost(job in jobs(), of_dora: bool) {
        let cost = cost(&if of_dora { dora() } else { Method::full() });
        let passes = Passes::new(&cost);
        let all = micro_batches(&job, &cost);
        let count = job.count(&passes);
        let sum = all.iter().map(|(spent, _)| spent).sum::<u128>() * u128::from(job.dataset().epochs);
        prop_assert_eq!(count.training(), Flops(sum));
        prop_assert_eq!(job.tokens(), all.iter().map(|(_, fed)| fed).sum::<u128>() * u128::from(job.dataset().epochs));
        prop_assert_eq!(u128::from(job.micro_batches()), all.len() as u128);
        let terms: Flops = count.terms.iter().map(|term| term.forward + term.backward).sum();
        prop_assert_eq!(terms, count.training());
    }

    #[test]
    fn an_amount_is_reached_by_the_first_micro_batch_that_reaches_it(job in jobs(), of_dora: bool, share in 1_u128..4000) {
        let cost = cost(&if of_dora { dora() } else { Method::full() });
        let passes = Passes::new(&cost);
        let epoch = micro_batches(&job, &cost);
        let wanted = epoch.iter().map(|(spent, _)| spent).sum::<u128>() * share / 1000 + 1;
        let (mut spent, mut reach) = (0, Reach { micro_batches: 0, tokens: 0 });
        for (each, fed) in epoch.iter().cycle() {
            if spent >= wanted {
                break;
            }
            spent += each;
            reach = Reach { micro_batches: reach.micro_batches + 1, tokens: reach.tokens + fed };
        }
        prop_assert_eq!(job.reach(&passes, Flops(wanted)), Some(reach));
    }

    #[test]
    fn the_range_holds_every_order_of_the_data(job in jobs(), shuffled in any::<proptest::sample::Index>()) {
        let cost = cost(&Method::full());
        let count = job.count(&Passes::new(&cost));
        let range = Range::of_job(&job, &Passes::new(&cost), &count, Known { lengths: Knowledge::Each, micro_batch: true, images: Images::Told });
        prop_assert!(range.low <= range.best && range.best <= range.high);
        let mut lengths: Vec<u64> =
            job.dataset().lengths.runs().iter().flat_map(|run| std::iter::repeat_n(run.length, run.count.try_into().unwrap())).collect();
        let middle = shuffled.index(lengths.len());
        lengths.rotate_left(middle);
        lengths.sort_by_key(|length| length * 7919 % 31);
        let lengths = Lengths::of_runs(lengths.into_iter().map(|length| (length, 1))).unwrap();
        let job = Job::new(Dataset { lengths, ..*job.dataset() });
        let other = job.count(&Passes::new(&cost)).training();
        prop_assert!(range.low <= other && other <= range.high, "{} <= {other} <= {}", range.low, range.high);
    }
}

#[test]
fn a_huge_job_is_searched_at_once() {
    let cost = cost(&Method::full());
    let lengths = Lengths::uniform(2048, u64::MAX / 4096).unwrap();
    let job = Job::new(Dataset { lengths, batching: Batching::Padded, sequences: 3, seq_len: None, epochs: 1 });
    let pass = Passes::new(&cost).pass(3, 2048).training().0;
    let reach = job.reach(&Passes::new(&cost), Flops(pass * 1_000_000_007 + 1)).unwrap();
    assert_eq!(reach, Reach { micro_batches: 1_000_000_008, tokens: 1_000_000_008 * 3 * 2048 });
}

#[test]
fn unknown_lengths_reach_from_one_position_to_the_models() {
    let cost = cost(&Method::full());
    let job = job(&[64, 64], Batching::Padded, 1, None, 1);
    let count = job.count(&Passes::new(&cost));
    let range = |lengths| {
        Range::of_job(&job, &Passes::new(&cost), &count, Known { lengths, micro_batch: false, images: Images::Told })
    };
    let nothing = range(Knowledge::Nothing { positions: Some(128) });
    let one = Passes::new(&cost).pass(1, 128).training();
    assert_eq!(nothing.high, one);
    let lengths = nothing.reasons.iter().find(|reason| reason.code == "sequence-lengths").unwrap();
    assert_eq!(lengths.training_low, Some(Passes::new(&cost).pass(128, 1).training()));
    assert_eq!(lengths.training_high, Some(one));
    assert_eq!(range(Knowledge::Longest).high, count.training());
    assert_eq!(range(Knowledge::Longest).low, nothing.low);
}

#[test]
fn adapters_that_build_weights_in_each_pass_cost_less_in_larger_micro_batches() {
    let cost = cost(&dora());
    let job = job(&[8, 8, 8], Batching::Padded, 1, None, 2);
    let count = job.count(&Passes::new(&cost));
    let range = |micro_batch| {
        Range::of_job(
            &job,
            &Passes::new(&cost),
            &count,
            Known { lengths: Knowledge::Each, micro_batch, images: Images::Told },
        )
    };
    let reason = range(false).reasons.into_iter().find(|reason| reason.code == "micro-batch-size").unwrap();
    assert_eq!(reason.training_low, Some(Passes::new(&cost).pass(3, 8).times(2).training()));
    assert!(range(true).reasons.iter().all(|reason| reason.code != "micro-batch-size"));
    assert!(range(false).low < range(true).low);
}

fn range_of(cost: &Cost, job: &Job, beside: Beside, known: Known) -> (Range, Flops) {
    let passes = Passes::new(cost).with(beside);
    let count = job.count(&passes);
    (Range::of_job(job, &passes, &count, known), count.training())
}

fn bounds(range: &Range, code: &str) -> (Option<Flops>, Option<Flops>) {
    let reason = range.reasons.iter().find(|reason| reason.code == code).unwrap_or_else(|| panic!("no {code}"));
    (reason.training_low, reason.training_high)
}

const KNOWN: Known = Known { lengths: Knowledge::Each, micro_batch: true, images: Images::Told };

/// Four experts of eight channels that are widened to ten.
fn mixture(chosen: u64, method: &Method) -> Cost {
    let config = serde_json::json!({
        "model_type": "mixtral", "vocab_size": 97, "hidden_size": 8, "intermediate_size": 10, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": false, "num_local_experts": 4,
        "num_experts_per_tok": chosen,
    });
    let shape = Shape::from_config(&config).unwrap();
    Network::from_method(&shape, method, &TrainingOptions::default()).unwrap().cost()
}

#[test]
fn routed_experts_lie_between_none_and_twice_the_rows_but_no_more_than_there_are() {
    let job = job(&[6, 6], Batching::Padded, 2, None, 3);
    for (chosen, more) in [(1, 1), (2, 2), (3, 1), (4, 0)] {
        let (range, best) = range_of(&mixture(chosen, &Method::full()), &job, Beside::default(), KNOWN);
        // Forward and twice as much backward of gate, up and down, for each of 36 positions.
        let each = 3 * 2 * 36 * 3 * 8 * 10;
        let routed = u128::from(chosen) * each;
        let high = (more > 0).then(|| best + Flops(more * each));
        assert_eq!(bounds(&range, "routed-experts"), (Some(Flops(best.0 - routed)), high), "{chosen} of 4");
        assert!(range.low <= Flops(best.0 - routed) && range.high >= high.unwrap_or(best), "{chosen} of 4");
    }
}

#[test]
fn what_pairs_on_a_stack_of_experts_build_once_in_a_pass_is_never_dropped() {
    let method = Method::Lora {
        kind: AdapterKind::Lora,
        rank: 2,
        rank_pattern: Vec::new(),
        targets: Targets::AllLinear,
        layers_to_transform: Vec::new(),
        modules_to_save: Vec::new(),
    };
    let cost = mixture(2, &method);
    let job = |micro_batch| job(&[6, 6], Batching::Padded, micro_batch, None, 1);
    let once = Passes::new(&cost).done_once(6).training();
    assert!(once > Flops::ZERO, "each pass builds the weights of all experts");
    let (together, one_pass) = range_of(&cost, &job(2), Beside::default(), KNOWN);
    let (apart, two_passes) = range_of(&cost, &job(1), Beside::default(), KNOWN);
    assert_eq!(two_passes, one_pass + once);
    let dropped = |range: &Range, best: Flops| best.0 - bounds(range, "routed-experts").0.unwrap().0;
    assert_eq!(dropped(&together, one_pass), dropped(&apart, two_passes), "the same positions, however they are fed");
    assert!(apart.low.0 >= 2 * once.0);
}

/// A decoder that asks a text of an encoder.
fn translator() -> Cost {
    let config = serde_json::json!({
        "model_type": "t5", "vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
        "architectures": ["T5ForConditionalGeneration"]
    });
    let shape = Shape::from_config(&config).unwrap();
    Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap().cost()
}

#[test]
fn unknown_lengths_are_bounded_below_where_sequences_bring_more() {
    let cost = translator();
    let beside = Beside { decoder_length: 5, ..Beside::default() };
    let job = job(&[64, 64], Batching::Padded, 2, None, 1);
    let of = |lengths| range_of(&cost, &job, beside, Known { lengths, ..KNOWN });
    let (longest, best) = of(Knowledge::Longest);
    let pass = |sequences, length, beside| Passes::new(&cost).with(beside).pass(sequences, length).training().0;
    // The encoder's text one by one; the decoder's as often as there are sequences at least.
    let least = pass(128, 1, Beside::default()) + pass(2, 64, beside) - pass(2, 64, Beside::default());
    assert_eq!(bounds(&longest, "sequence-lengths"), (Some(Flops(least)), None));
    // Sequences of 32 bring twice as many decoder positions, and none of them brings fewer.
    assert!(longest.low.0 <= least && least < best.0 && least < pass(4, 32, beside));
    let (nothing, _) = of(Knowledge::Nothing { positions: Some(128) });
    let fewest = pass(128, 1, Beside::default()) + pass(1, 128, beside) - pass(1, 128, Beside::default());
    let most = pass(1, 128, Beside::default()) + pass(2, 64, beside) - pass(2, 64, Beside::default());
    assert_eq!(bounds(&nothing, "sequence-lengths"), (Some(Flops(fewest)), Some(Flops(most))));
    let (open, _) = of(Knowledge::Nothing { positions: None });
    assert_eq!(bounds(&open, "sequence-lengths"), (Some(Flops(pass(128, 1, Beside::default()))), None));
}

#[test]
fn images_that_nobody_told_of_are_bounded_by_one_each_where_their_size_is_known() {
    let config = serde_json::json!({
        "model_type": "llava", "image_token_index": 3, "vision_feature_layer": -1,
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "projection_dim": 16,
        },
        "text_config": {
            "model_type": "llama", "vocab_size": 97, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
        },
    });
    let shape = Shape::from_config(&config).unwrap();
    let cost = Network::from_method(&shape, &Method::full(), &TrainingOptions::default()).unwrap().cost();
    let job = job(&[9, 9], Batching::Padded, 1, None, 1);
    let (range, best) = range_of(&cost, &job, Beside::default(), Known { images: Images::Untold, ..KNOWN });
    let seen = job.count(&Passes::new(&cost).with(Beside { images: 1, ..Beside::default() })).training();
    assert!(seen > best);
    assert_eq!(bounds(&range, "images-not-told"), (None, Some(seen)));
    assert_eq!(range.high, seen);
    let (range, _) = range_of(&cost, &job, Beside::default(), Known { images: Images::UntoldOfAnySize, ..KNOWN });
    assert_eq!(bounds(&range, "images-not-told"), (None, None));
    let (range, _) = range_of(&cost, &job, Beside::default(), KNOWN);
    assert!(range.reasons.iter().all(|reason| reason.code != "images-not-told"));
}
