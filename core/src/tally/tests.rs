//! A run as its entries tell it.

mod energy;
mod parts;
mod unread;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{SPOOL_FULL, Tally};
use crate::facts::{Fed, HookFinding, HookMessage, ImageGrids, ModelFacts, Passes, Phase, Process, TrainingFacts};
use crate::flops::{Batch, Network};
use crate::ledger::Body;
use crate::ledger::body::{DevicesSeen, Hook, HookLost, RunOpened, SegmentClosed, SegmentOpened};
use crate::run::{Exit, RunState, RunSummary};
use crate::sample::{Device, DeviceFacts, GpuFacts};
use crate::shape::Shape;
use crate::unit::Flops;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn config() -> serde_json::Value {
    json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
    })
}

fn network() -> Network {
    let shape = Shape::from_config(&config()).unwrap();
    Network::from_facts(
        &shape,
        &TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() },
    )
    .0
}

fn model() -> HookMessage {
    let network = network();
    HookMessage::Model(Box::new(ModelFacts {
        model: 0,
        class_name: "LlamaForCausalLM".to_owned(),
        name_or_path: None,
        config: config(),
        parameters_total: network.parameters_total(),
        parameters_trainable: network.parameters_trainable(),
        training: TrainingFacts { trained: vec!["lm_head.weight".to_owned()], ..TrainingFacts::default() },
        libraries: [].into(),
        inventory: None,
        parallel: None,
    }))
}

fn hello() -> HookMessage {
    let process = Process { pid: 1, host: "node".to_owned(), rank: 0, local_rank: 0, world_size: 1 };
    HookMessage::Hello { protocol: 1, process }
}

fn fed(phase: Phase, gradient: bool, count: u64) -> HookMessage {
    let (sequences, length) = (2, 8);
    let passes =
        vec![Passes { real_tokens: Some(10 * count), ..Passes::text(phase, gradient, sequences, length, count) }];
    HookMessage::Fed(Fed { model: 0, passes })
}

fn hook(connection: u32, message: HookMessage) -> Body {
    Body::Hook(Hook { connection, message })
}

fn closed() -> Body {
    let exit = Some(Exit::Code(0));
    Body::SegmentClosed(SegmentClosed { segment: 0, ended: at(9), exit, cpu_time_nanoseconds: 1, left_running: false })
}

fn tally(bodies: impl IntoIterator<Item = Body>) -> Tally {
    let opened = [Body::RunOpened(RunOpened::default()), Body::SegmentOpened(SegmentOpened::default())];
    let mut tally = Tally::new();
    for body in opened.into_iter().chain(bodies) {
        tally.add(at(0), &body);
    }
    tally
}

#[test]
fn evaluation_is_executed_and_not_trained() {
    let messages =
        [hello(), model(), fed(Phase::Training, true, 3), fed(Phase::Evaluation, false, 2), HookMessage::Goodbye];
    let summary = tally(messages.map(|message| hook(0, message)).into_iter().chain([closed()])).summary();
    let pass = network().cost().pass(true, &Batch::text(2, 8));
    let flops = summary.flops.unwrap();
    assert_eq!(flops.training, Flops(3 * pass.training().0));
    assert_eq!(flops.executed, Flops(3 * pass.training().0 + 2 * pass.forward.0));
    assert_eq!((summary.tokens.fed.0, summary.tokens.real.unwrap().0), (48, 30));
    assert!(summary.complete);
    assert_eq!((summary.state, summary.ended), (RunState::Closed, Some(at(9))));
    for phase in &summary.phases {
        let terms: Flops = phase.terms.iter().map(|term| term.forward + term.backward).sum();
        assert_eq!(terms, phase.forward + phase.backward, "{:?}", phase.phase);
    }
}

#[test]
fn two_ranks_count_once_each() {
    let of =
        |connection| [hello(), model(), fed(Phase::Training, true, 1)].map(move |message| hook(connection, message));
    let one = tally(of(0)).summary().flops.unwrap();
    let two = tally(of(0).into_iter().chain(of(1))).summary();
    assert_eq!(two.flops.unwrap().training, Flops(2 * one.training.0));
    assert_eq!(two.models.len(), 1);
}

#[test]
fn a_hook_that_was_cut_leaves_the_count_incomplete() {
    let messages = || [hello(), model(), fed(Phase::Training, true, 1)].map(|message| hook(0, message));
    assert!(tally(messages()).is_complete(), "a running job is complete so far");
    assert!(!tally(messages().into_iter().chain([closed()])).is_complete(), "no goodbye");
    let lost = Body::HookLost(HookLost { connection: 0, reason: "cut".to_owned() });
    assert!(!tally(messages().into_iter().chain([lost])).is_complete(), "lost");
}

/// All that spoke by then may have said goodbye; those who came later stand nowhere.
#[test]
fn a_record_that_took_nothing_more_is_incomplete() {
    let said = [hello(), model(), fed(Phase::Training, true, 1), HookMessage::Goodbye].map(|message| hook(0, message));
    assert!(tally(said.clone().into_iter().chain([closed()])).is_complete());
    let full = Body::Finding(crate::run::Finding { code: SPOOL_FULL.to_owned(), text: "full".to_owned() });
    assert!(!tally(said.into_iter().chain([full, closed()])).is_complete());
}

#[test]
fn an_unknown_family_is_recorded_and_not_counted() {
    let HookMessage::Model(mut facts) = model() else { unreachable!() };
    facts.config = json!({"model_type": "from-next-year"});
    let messages = [hello(), HookMessage::Model(facts), fed(Phase::Training, true, 1), HookMessage::Goodbye];
    let summary = tally(messages.map(|message| hook(0, message)).into_iter().chain([closed()])).summary();
    assert_eq!(summary.flops, None);
    assert!(!summary.complete);
    assert_eq!(summary.tokens.fed.0, 16);
    assert!(summary.findings.iter().any(|finding| finding.code == "model-not-countable"), "{:?}", summary.findings);
}

#[test]
fn parameters_that_nothing_describes_leave_a_lower_bound() {
    let HookMessage::Model(mut facts) = model() else { unreachable!() };
    facts.parameters_total += 1;
    let messages = [hello(), HookMessage::Model(facts), fed(Phase::Training, true, 1), HookMessage::Goodbye];
    let summary = tally(messages.map(|message| hook(0, message)).into_iter().chain([closed()])).summary();
    assert!(summary.flops.is_some() && !summary.complete);
    assert_eq!(summary.findings.iter().filter(|finding| finding.code == "parameters-differ").count(), 1);
}

#[test]
fn a_run_nobody_hooked_has_no_count() {
    let summary = tally([closed()]).summary();
    assert_eq!((summary.flops, summary.complete), (None, false));
    assert!(!summary.ceiling.complete);
}

/// One rank of a world on a node of its own: all its entries, from the opening of its segment to its end.
fn node(segment: u32, rank: u32, world_size: u32, ended: i64) -> Vec<Body> {
    let process = Process { pid: 1, host: format!("node-{segment}"), rank, local_rank: 0, world_size };
    let said =
        [HookMessage::Hello { protocol: 1, process }, model(), fed(Phase::Training, true, 1), HookMessage::Goodbye];
    let opened = Body::SegmentOpened(SegmentOpened { segment, ..SegmentOpened::default() });
    let closed = SegmentClosed {
        segment,
        ended: at(ended),
        exit: Some(Exit::Code(0)),
        cpu_time_nanoseconds: 1,
        left_running: false,
    };
    let said = said.into_iter().map(|message| hook(0, message));
    [opened].into_iter().chain(said).chain([Body::SegmentClosed(closed)]).collect()
}

fn whole(bodies: impl IntoIterator<Item = Body>) -> Tally {
    let mut tally = Tally::new();
    tally.add(at(0), &Body::RunOpened(RunOpened::default()));
    for body in bodies {
        tally.add(at(0), &body);
    }
    tally
}

fn misses_ranks(tally: &Tally) -> bool {
    tally.summary().findings.iter().any(|finding| finding.code == "ranks-missing")
}

#[test]
fn the_order_in_which_nodes_begin_and_end_does_not_matter() {
    let parts = |mut bodies: Vec<Body>| (bodies.pop().unwrap(), bodies);
    let ((a_ends, a), (b_ends, b)) = (parts(node(0, 0, 2, 5)), parts(node(1, 1, 2, 9)));
    let orders = [
        [a.clone(), vec![a_ends.clone()], b.clone(), vec![b_ends.clone()]],
        [b.clone(), vec![b_ends.clone()], a.clone(), vec![a_ends.clone()]],
        [a.clone(), b.clone(), vec![a_ends.clone()], vec![b_ends.clone()]],
        [b, a, vec![a_ends], vec![b_ends]],
    ];
    let summaries: Vec<_> = orders.map(|order| whole(order.into_iter().flatten()).summary()).into();
    for summary in &summaries {
        assert!(summary.complete, "{:?}", summary.findings);
        assert!(summary.findings.is_empty(), "{:?}", summary.findings);
        assert_eq!((summary.state, summary.ended), (RunState::Closed, Some(at(9))));
        assert_eq!(summary.flops, summaries[0].flops);
    }
}

/// A node that nobody metered may have computed anything: what was read of the others bounds nothing.
#[test]
fn a_rank_that_has_not_spoken_leaves_the_ceiling_incomplete() {
    let facts = DeviceFacts::Gpu(GpuFacts::default());
    let gpu = Device { id: "GPU-aa".to_owned(), name: "NVIDIA H200".to_owned(), facts };
    let of = |world_size, closed: bool| {
        let mut bodies = node(0, 0, world_size, 5);
        bodies.insert(1, Body::DevicesSeen(DevicesSeen { devices: vec![gpu.clone()] }));
        bodies.truncate(if closed { bodies.len() } else { bodies.len() - 1 });
        whole(bodies).ceiling().complete
    };
    assert!(of(1, true));
    assert!(!of(2, true));
    assert!(!of(2, false), "while it may still speak");
}

#[test]
fn a_rank_that_really_is_missing_leaves_the_count_incomplete() {
    let one = whole(node(0, 0, 2, 5));
    assert!(!one.is_complete() && misses_ranks(&one), "one of two nodes");
    let two_of_three = whole(node(0, 0, 3, 5).into_iter().chain(node(1, 2, 3, 9)));
    assert!(!two_of_three.is_complete() && misses_ranks(&two_of_three));
    let twice_the_same = whole(node(0, 0, 2, 5).into_iter().chain(node(1, 0, 2, 9)));
    assert!(!twice_the_same.is_complete() && misses_ranks(&twice_the_same), "one rank, resumed, is no other rank");
    let first_without = node(0, 0, 2, 3).into_iter().chain(node(1, 0, 2, 5)).chain(node(2, 1, 2, 9));
    let first_without = whole(first_without);
    assert!(
        !first_without.is_complete() && misses_ranks(&first_without),
        "the other rank spoke after the resume alone"
    );
    let resumed = [(0, 0, 3), (1, 1, 4), (2, 0, 8), (3, 1, 9)];
    let resumed = whole(resumed.into_iter().flat_map(|(segment, rank, ended)| node(segment, rank, 2, ended)));
    assert!(resumed.is_complete() && !misses_ranks(&resumed));
}

/// The same entries with their times: a segment begins when it is opened.
fn timed(parts: impl IntoIterator<Item = (i64, Vec<Body>)>) -> Tally {
    let mut tally = Tally::new();
    tally.add(at(0), &Body::RunOpened(RunOpened::default()));
    for (began, bodies) in parts {
        for body in bodies {
            tally.add(at(began), &body);
        }
    }
    tally
}

#[test]
fn halves_of_two_launches_are_no_launch() {
    let apart = timed([(0, node(0, 0, 2, 5)), (6, node(1, 1, 2, 9))]);
    assert!(!apart.is_complete() && misses_ranks(&apart), "half of each was never heard");
    let beside = timed([(0, node(0, 0, 2, 5)), (4, node(1, 1, 2, 9))]);
    assert!(beside.is_complete() && !misses_ranks(&beside), "two nodes of one launch");
    let both = [(0, node(0, 0, 2, 5)), (1, node(1, 1, 2, 5)), (7, node(2, 0, 2, 9)), (8, node(3, 1, 2, 9))];
    assert!(timed(both).is_complete(), "a launch that was resumed as a whole");
}

#[test]
fn a_part_without_an_end_leaves_what_follows_incomplete() {
    let mut killed = node(0, 0, 1, 5);
    killed.truncate(killed.len() - 2);
    let gpu = Device {
        id: "GPU-aa".to_owned(),
        name: "NVIDIA H200".to_owned(),
        facts: DeviceFacts::Gpu(GpuFacts::default()),
    };
    let mut resumed = node(1, 0, 1, 9);
    for part in [&mut killed, &mut resumed] {
        part.insert(1, Body::DevicesSeen(DevicesSeen { devices: vec![gpu.clone()] }));
    }
    assert!(timed([(6, resumed.clone())]).ceiling().complete);
    let resumed = timed([(0, killed), (6, resumed)]).summary();
    assert!(!resumed.complete);
    assert!(!resumed.ceiling.complete, "what the killed part's hardware did after its last entry is in no figure");
    assert!(resumed.findings.iter().any(|finding| finding.code == "segment-open"), "{:?}", resumed.findings);
}

#[test]
fn a_node_that_ended_without_a_goodbye_is_cut_while_others_go_on() {
    let mut a = node(0, 0, 2, 5);
    a.retain(|body| !matches!(body, Body::Hook(Hook { message: HookMessage::Goodbye, .. })));
    let a_ends = a.pop().unwrap();
    let mut b = node(1, 1, 2, 9);
    b.pop();
    let both = whole(a.into_iter().chain(b).chain([a_ends]));
    assert!(!both.is_complete());
    assert!(!misses_ranks(&both), "ranks may yet speak while a segment is open");
}

#[test]
fn images_of_a_size_that_nobody_told_leave_the_count_incomplete() {
    let HookMessage::Model(mut facts) = model() else { unreachable!() };
    facts.config = json!({
        "model_type": "qwen2_vl", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": false,
        "vision_config": { "depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2, "patch_size": 2 },
    });
    facts.training = TrainingFacts::default();
    let network = Network::from_facts(&Shape::from_config(&facts.config).unwrap(), &facts.training).0;
    (facts.parameters_total, facts.parameters_trainable) = (network.parameters_total(), 0);
    let summary = |images: u64, image_grid: Vec<ImageGrids>| {
        let passes = Passes { images, image_grid, ..Passes::text(Phase::Training, true, 2, 8, 3) };
        let fed = HookMessage::Fed(Fed { model: 0, passes: vec![passes] });
        let messages = [hello(), HookMessage::Model(facts.clone()), fed, HookMessage::Goodbye];
        tally(messages.map(|message| hook(0, message)).into_iter().chain([closed()])).summary()
    };
    let grids = |count| vec![ImageGrids { grid: [1, 4, 4], count }];
    let (none, all) = (summary(0, Vec::new()), summary(2, grids(6)));
    assert!(none.complete && all.complete, "{:?}", all.findings);
    assert!(all.flops.unwrap().training > none.flops.unwrap().training);
    assert!(!summary(2, Vec::new()).complete, "no size at all");
    assert!(!summary(2, grids(5)).complete, "one of six is missing");
}

#[test]
fn sizes_that_the_hook_gave_up_on_leave_the_count_incomplete() {
    let finding = HookFinding { code: "sizes-overflow".to_owned(), text: "too many sizes".to_owned() };
    let messages =
        [hello(), model(), fed(Phase::Training, true, 1), HookMessage::Finding(finding), HookMessage::Goodbye];
    assert!(!tally(messages.map(|message| hook(0, message)).into_iter().chain([closed()])).is_complete());
}

#[test]
fn what_a_fed_model_lacked_stays_lacking_when_it_is_described_anew() {
    let HookMessage::Model(whole) = model() else { unreachable!() };
    let mut holed = whole.clone();
    holed.parameters_total += 1;
    holed.class_name = "CustomForCausalLM".to_owned();
    let summary = |fed_between: bool| {
        let between = fed_between.then(|| fed(Phase::Training, true, 1));
        let first = [hello(), HookMessage::Model(holed.clone())];
        let last = [HookMessage::Model(whole.clone()), fed(Phase::Training, true, 1), HookMessage::Goodbye];
        let messages = first.into_iter().chain(between).chain(last);
        tally(messages.map(|message| hook(0, message)).chain([closed()])).summary()
    };
    let names =
        |summary: &RunSummary| -> Vec<String> { summary.models.iter().map(|model| model.class_name.clone()).collect() };
    let unfed = summary(false);
    assert!(unfed.complete, "nothing was fed to the first description");
    assert_eq!(names(&unfed), ["LlamaForCausalLM"]);
    let fed = summary(true);
    assert!(!fed.complete);
    assert_eq!(names(&fed), ["CustomForCausalLM", "LlamaForCausalLM"]);
}

#[test]
fn the_sums_are_those_of_the_summary() {
    let goodbye = hook(0, HookMessage::Goodbye);
    let bodies = [hook(0, hello()), hook(0, model()), hook(0, fed(Phase::Training, true, 3)), goodbye, closed()];
    for count in 0..=bodies.len() {
        let tally = tally(bodies[..count].to_vec());
        let summary = tally.summary();
        let left_out = RunSummary {
            models: Vec::new(),
            ceiling: crate::run::Ceiling::default(),
            reconciliation: None,
            energy_joules: None,
            energy_bounds: None,
            gaps: Vec::new(),
            findings: Vec::new(),
            alerts: Vec::new(),
            ..summary
        };
        assert_eq!(tally.sums(), left_out, "after {count} entries");
    }
}
