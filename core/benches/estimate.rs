//! One estimate from a configuration: read the shape, lay a method over it, form the cost, count one micro-batch.

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use flopsmeter_core::facts::TrainingFacts;
use flopsmeter_core::flops::{Batch, Count, Network};
use flopsmeter_core::method::{Method, MethodProblem, Targets, TrainingOptions};
use flopsmeter_core::shape::Shape;

/// Llama-3.1-8B as its `config.json` has it.
const CONFIG: &str = include_str!("llama-3.1-8b.json");

fn estimate(shape: &Shape, method: &Method) -> Result<Count, MethodProblem> {
    let network = Network::from_method(shape, method, &TrainingOptions::default())?;
    black_box(network.parameters_trainable());
    Ok(network.cost().pass(true, &Batch::text(1, 2048)))
}

fn benches(criterion: &mut Criterion) {
    let Ok(config) = serde_json::from_str::<serde_json::Value>(CONFIG) else { return };
    let Ok(shape) = Shape::from_config(&config) else { return };
    let lora = Method::lora(16, Targets::AllLinear);
    let mut group = criterion.benchmark_group("estimate");
    group.bench_function("lora, from text", |bencher| {
        bencher.iter(|| {
            let config = serde_json::from_str::<serde_json::Value>(black_box(CONFIG)).ok()?;
            estimate(&Shape::from_config(&config).ok()?, &lora).ok()
        });
    });
    group.bench_function("lora, from parsed json", |bencher| {
        bencher.iter(|| estimate(&Shape::from_config(black_box(&config)).ok()?, &lora).ok());
    });
    group.bench_function("full, from parsed json", |bencher| {
        bencher.iter(|| estimate(&Shape::from_config(black_box(&config)).ok()?, &Method::full()).ok());
    });
    group.finish();
    let names = Network::from_method(&shape, &Method::full(), &TrainingOptions::default());
    let trained = names.iter().flat_map(Network::products).map(|it| format!("{}.weight", it.module)).collect();
    let facts = TrainingFacts { trained, ..TrainingFacts::default() };
    criterion.bench_function("network from live facts, 291 names", |bencher| {
        bencher.iter(|| Network::from_facts(&shape, black_box(&facts)).0.cost());
    });
}

criterion_group!(estimates, benches);
criterion_main!(estimates);
