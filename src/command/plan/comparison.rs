//! Several ways of training the same model on the same data, side by side.

use flopsmeter_core::assess::{Basis, Verdict};
use flopsmeter_core::facts::Checkpointing;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::method::TrainingOptions;
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use super::data::Data;
use super::estimate::{self, Estimate};
use super::headroom;
use super::method;
use super::model::Model;
use crate::args::{MethodChoice, PlanArguments};

/// The methods that are compared; one that was chosen and is not among them comes last.
const METHODS: [MethodChoice; 6] = [
    MethodChoice::Full,
    MethodChoice::Lora,
    MethodChoice::Qlora,
    MethodChoice::Dora,
    MethodChoice::LastLayers,
    MethodChoice::HeadOnly,
];

/// One way of training; `problem` says why there is no count.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) method: &'static str,
    /// What the method was asked for: rank and targets, number of blocks.
    pub(super) details: String,
    pub(super) gradient_checkpointing: Option<&'static str>,
    pub(super) trainable: Option<u64>,
    /// Model operations.
    pub(super) training: Option<Flops>,
    /// With recomputation.
    pub(super) executed: Option<Flops>,
    pub(super) share_of_line_percent: Option<String>,
    pub(super) verdict: Option<Verdict>,
    /// Tokens until the line is exceeded, as a decimal string.
    pub(super) tokens_until_exceeds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

/// Each method without and with checkpointing.
pub(super) fn rows(model: &Model, arguments: &PlanArguments, data: &Data, judge: &Judge) -> Vec<Row> {
    let asked = estimate::options(arguments);
    let kind = asked.gradient_checkpointing.unwrap_or(Checkpointing::NonReentrant);
    let exceeds = headroom::edges(judge, Basis::Operations).exceeds;
    let comparison = Comparison { model, arguments, data, judge, exceeds };
    let chosen = (!METHODS.contains(&arguments.method)).then_some(arguments.method);
    let ways = METHODS.into_iter().chain(chosen).flat_map(|choice| [(choice, None), (choice, Some(kind))]);
    ways.map(|(choice, gradient_checkpointing)| {
        comparison.row(choice, &TrainingOptions { gradient_checkpointing, ..asked })
    })
    .collect()
}

/// What all rows have in common.
struct Comparison<'a> {
    model: &'a Model,
    arguments: &'a PlanArguments,
    data: &'a Data,
    judge: &'a Judge,
    exceeds: Option<Flops>,
}

impl Comparison<'_> {
    fn row(&self, choice: MethodChoice, options: &TrainingOptions) -> Row {
        let layers = self.model.shape.layers();
        let row = Row {
            method: choice.name(),
            details: method::details(choice, self.arguments, layers),
            gradient_checkpointing: options.gradient_checkpointing.map(estimate::checkpointing_name),
            ..Row::default()
        };
        match self.estimate(choice, options, layers) {
            Ok(estimate) => self.counted(row, &estimate),
            Err(problem) => Row { problem: Some(problem.to_string()), ..row },
        }
    }

    fn estimate(&self, choice: MethodChoice, options: &TrainingOptions, layers: usize) -> anyhow::Result<Estimate> {
        let method = method::compared(choice, self.arguments, layers)?;
        Estimate::of_products(self.model, &method, options, estimate::attention(self.arguments), self.data)
    }

    fn counted(&self, row: Row, estimate: &Estimate) -> Row {
        let assessment = self.judge.assess_spent(estimate.spent.clone(), Vec::new());
        let extent = self.exceeds.and_then(|amount| estimate.reach(self.data, amount));
        Row {
            trainable: estimate.params.trainable,
            training: Some(estimate.flops.training),
            executed: Some(estimate.flops.executed),
            share_of_line_percent: assessment.share_of_line_percent,
            verdict: Some(assessment.verdict),
            tokens_until_exceeds: extent.map(|extent| extent.tokens.to_string()),
            ..row
        }
    }
}
