//! Counting without a meter, by the same rules that a run's records go through.

use flopsmeter_core::facts::{Inventory, ModelFacts, Passes};
use flopsmeter_core::flops::{Count, LiveCost, Network};
use flopsmeter_core::run::Finding;
use flopsmeter_core::shape::Shape;
use flopsmeter_core::unit::Flops;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;

/// What passes through one model cost, under the names of a run's summary.
#[derive(Serialize)]
struct Counted {
    forward: Flops,
    backward: Flops,
    recompute: Flops,
    training: Flops,
    executed: Flops,
    parameters_total: u64,
    parameters_trainable: u64,
    findings: Vec<Finding>,
}

/// Counts passes (JSON of an array) through a model (JSON of its facts); the result is JSON, FLOP as decimal strings.
#[pyfunction]
pub(crate) fn count(py: Python<'_>, facts: &str, passes: &str) -> PyResult<String> {
    py.detach(|| counted(facts, passes)).map_err(PyValueError::new_err)
}

fn counted(facts: &str, passes: &str) -> Result<String, String> {
    let facts: ModelFacts =
        serde_json::from_str(facts).map_err(|problem| format!("not the facts of a model: {problem}"))?;
    let passes: Vec<Passes> =
        serde_json::from_str(passes).map_err(|problem| format!("not a list of passes: {problem}"))?;
    let shape =
        Shape::of_model(&facts).map_err(|problem| format!("{} cannot be counted: {problem}", facts.class_name))?;
    let (network, mut findings) = Network::from_facts(&shape, &facts.training);
    findings.extend(facts.inventory.as_ref().and_then(Inventory::inexactness));
    let cost = LiveCost::of(&shape, &network, &facts.training);
    let sum = |gradient: bool| -> Count {
        passes.iter().filter(|row| row.gradient == gradient).map(|row| cost.count(row)).sum()
    };
    let training = sum(true);
    let counted = Counted {
        forward: training.forward,
        backward: training.backward,
        recompute: training.recompute,
        training: training.training(),
        executed: training.executed() + sum(false).forward,
        parameters_total: network.parameters_total(),
        parameters_trainable: network.parameters_trainable(),
        findings,
    };
    serde_json::to_string(&counted).map_err(|problem| problem.to_string())
}

/// Whether a configuration (JSON) is that of a family whose products are known without a look at the live model.
#[pyfunction]
pub(crate) fn known(config: &str) -> bool {
    serde_json::from_str(config).is_ok_and(|config| Shape::from_config(&config).is_ok())
}
