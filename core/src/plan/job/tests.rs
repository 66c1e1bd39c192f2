use proptest::prelude::*;

use super::*;
use crate::facts::AdapterKind;
use crate::flops::Network;
use crate::method::{Method, Targets, TrainingOptions};
use crate::plan::{Knowledge, Known, Range};
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
        let range = Range::of_job(&job, &Passes::new(&cost), &count, Known { lengths: Knowledge::Each, micro_batch: true });
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
    let range = |lengths| Range::of_job(&job, &Passes::new(&cost), &count, Known { lengths, micro_batch: false });
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
    let range =
        |micro_batch| Range::of_job(&job, &Passes::new(&cost), &count, Known { lengths: Knowledge::Each, micro_batch });
    let reason = range(false).reasons.into_iter().find(|reason| reason.code == "micro-batch-size").unwrap();
    assert_eq!(reason.training_low, Some(Passes::new(&cost).pass(3, 8).times(2).training()));
    assert!(range(true).reasons.iter().all(|reason| reason.code != "micro-batch-size"));
    assert!(range(false).low < range(true).low);
}
