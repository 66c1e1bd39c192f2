//! Published models by a `config.json` as sparse as the hub has it: parameters as transformers 5.23.0 builds them.
//!
//! `published/count.py` counts them anew.

use flopsmeter_core::flops::Network;
use flopsmeter_core::method::{Method, TrainingOptions};
use flopsmeter_core::shape::Shape;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Published {
    name: String,
    /// Distinct tensors of the model, built on the meta device from `config`.
    parameters: u64,
    config: Value,
}

#[test]
fn parameters_are_those_that_transformers_builds() {
    let models: Vec<Published> = serde_json::from_str(include_str!("published/models.json")).unwrap();
    let mut differ = Vec::new();
    for Published { name, parameters, config } in &models {
        match Shape::from_config(config) {
            Err(problem) => differ.push(format!("{name}: {problem}")),
            Ok(shape) => {
                let counted = Network::from_method(&shape, &Method::full(), &TrainingOptions::default())
                    .unwrap()
                    .parameters_total();
                if counted != *parameters {
                    differ.push(format!("{name}: {counted}, not {parameters}"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
