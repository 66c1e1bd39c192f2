//! Runs of the samples.

use flopsmeter_core::facts::Phase;
use flopsmeter_core::run::{
    Ceiling, CeilingLayer, DeviceCeiling, DeviceEnergy, EnergyBoundary, EnergySource, Exit, ModelSummary, PhaseSummary,
    RUN_SCHEMA, Reconciliation, RunFlops, RunState, RunSummary, RunTokens, Term,
};
use flopsmeter_core::unit::{Flops, Joules, Tokens};

use super::at;

/// A device of a run; `share` is busy time in hundredths.
fn device(number: u8, held: f64, busy: f64) -> DeviceCeiling {
    let strict = Flops(1_070_530_560_000_000);
    DeviceCeiling {
        device: format!("GPU-5f2c9e1a-77b0-4c1d-9e8e-3d1f6a2b0c0{number}"),
        name: "NVIDIA H100 80GB HBM3".to_owned(),
        flop: Some(Flops(160_000_000_000_000_000_000_000)),
        layer: Some("L1".to_owned()),
        layers: vec![
            CeilingLayer {
                layer: "L0".to_owned(),
                flop: Some(Flops(166_000_000_000_000_000_000_000)),
                note: "time held times strict peak".to_owned(),
                holds_if: None,
            },
            CeilingLayer {
                layer: "L1".to_owned(),
                flop: Some(Flops(160_000_000_000_000_000_000_000)),
                note: "busy share from the driver's ring buffer, plus one point".to_owned(),
                holds_if: None,
            },
        ],
        held_seconds: held,
        hold: None,
        busy_seconds: Some(busy),
        strict_peak: Some(strict),
        nominal_peak: Some(Flops(989_400_000_000_000)),
        energy_joules: Some(Joules::from_millijoules(41_300_000_000)),
        energy: Some(DeviceEnergy {
            joules: Joules::from_millijoules(41_300_000_000),
            source: EnergySource::Counter,
            boundary: EnergyBoundary::GpuBoard,
            board: None,
            coverage_seconds: held - 1.25,
            counter_joules: Some(Joules::from_millijoules(41_300_000_000)),
            power_integral_joules: Some(Joules::from_millijoules(41_100_000_000)),
        }),
        assumptions: vec![
            "The peak is that of dense FP8, the fastest format the chip has, because the job's format is not known."
                .to_owned(),
            "One point is added to each reading of the busy share, because the driver rounds.".to_owned(),
        ],
    }
}

fn term(name: &str, forward: u128, backward: u128, recompute: u128) -> Term {
    Term { name: name.to_owned(), forward: Flops(forward), backward: Flops(backward), recompute: Flops(recompute) }
}

/// A run whose training took `units` of 10^18 operations in all, in round parts.
pub(crate) fn run(id: &str, units: u128, minutes: i64) -> RunSummary {
    let unit = units * 1_000_000_000_000_000_000;
    let terms = vec![
        term("attention-projections", unit / 100 * 9, unit / 100 * 10, unit / 100 * 9),
        term("attention-scores", unit / 100 * 4, unit / 100 * 8 + 17, unit / 100 * 4),
        term("mlp", unit / 100 * 28, unit / 100 * 29 + 5, unit / 100 * 28),
        term("adapters", unit / 100, unit / 100 * 2, unit / 100),
        term("output-head", unit / 100 * 4, unit / 100 * 5 - 22, 0),
    ];
    let sum = |part: fn(&Term) -> Flops| terms.iter().map(part).sum::<Flops>();
    let (forward, backward, recompute) =
        (sum(|term| term.forward), sum(|term| term.backward), sum(|term| term.recompute));
    let evaluation = Flops(unit / 1000 * 7);
    let tokens = RunTokens { fed: Tokens(2_147_483_648), real: Some(Tokens(1_998_234_112)) };
    let flops = RunFlops {
        forward,
        backward,
        recompute,
        training: forward + backward,
        executed: forward + backward + recompute + evaluation,
    };
    let ceiling = Ceiling {
        flop: Some(Flops(320_000_000_000_000_000_000_000)),
        layer: Some("L1".to_owned()),
        complete: true,
        devices: vec![device(0, 155_232.412, 149_801.007), device(1, 155_232.398, 149_655.12)],
    };
    RunSummary {
        schema: RUN_SCHEMA.to_owned(),
        run: id.to_owned(),
        modification: Some("contracts-assistant".to_owned()),
        job: None,
        phase: None,
        state: RunState::Closed,
        started: at(0),
        ended: Some(at(minutes)),
        command: vec!["python".to_owned(), "train.py".to_owned(), "--config".to_owned(), "lora.yaml".to_owned()],
        exit: Some(Exit::Code(0)),
        flops: Some(flops),
        complete: true,
        tokens,
        phases: vec![
            PhaseSummary {
                phase: Phase::Training,
                passes: 65_536,
                tokens,
                forward,
                backward,
                recompute,
                terms,
                treatment: None,
            },
            PhaseSummary {
                phase: Phase::Evaluation,
                passes: 1_024,
                tokens: RunTokens { fed: Tokens(33_554_432), real: None },
                forward: evaluation,
                backward: Flops(0),
                recompute: Flops(0),
                terms: vec![term("mlp", evaluation.0, 0, 0)],
                treatment: None,
            },
        ],
        models: vec![ModelSummary {
            class_name: "LlamaForCausalLM".to_owned(),
            model_type: Some("llama".to_owned()),
            name_or_path: Some("meta-llama/Llama-3.1-8B".to_owned()),
            parameters_total: 8_072_204_288,
            parameters_trainable: 41_943_040,
            method: "lora".to_owned(),
            gradient_checkpointing: "non-reentrant".to_owned(),
            attention_implementation: Some("sdpa".to_owned()),
        }],
        reconciliation: Some(Reconciliation::of(&flops, Flops(flops.executed.0 / 100 * 97), &ceiling)),
        ceiling,
        energy_joules: Some(Joules::from_millijoules(82_600_000_000)),
        energy_bounds: None,
        gaps: Vec::new(),
        findings: Vec::new(),
        alerts: Vec::new(),
        assessment: None,
    }
}
