//! `flopsmeter plan`: what a job will cost and where that puts it, before it runs.

mod answer;
mod method;
mod size;

use std::path::Path;

use anyhow::Context as _;
use flopsmeter_core::assess::{Answers, Basis, OtherCount, Spent};
use flopsmeter_core::estimate::six_parameters_tokens;
use flopsmeter_core::facts::Checkpointing;
use flopsmeter_core::flops::{Attention, Network};
use flopsmeter_core::method::{Method, TrainingOptions};
use flopsmeter_core::registry::Base;
use flopsmeter_core::shape::Shape;
use flopsmeter_core::unit::Flops;

use crate::args::{AttentionChoice, CheckpointingChoice, MethodChoice, PlanArguments};
use crate::exit::ExitStatus;
use crate::{base, input, judgement, output, settings};
use answer::{Answer, PlannedFlops, PlannedParameters};
use size::JobSize;

pub(crate) fn execute(arguments: &PlanArguments) -> anyhow::Result<ExitStatus> {
    let size = JobSize::of(arguments)?;
    let base = arguments.base.as_deref().map(base::resolve).transpose()?.map(|resolved| resolved.base);
    let method = method::method(arguments)?;
    let mut answer = match &arguments.config {
        Some(path) => from_shape(arguments, &read_shape(path)?, &method, &size)?,
        None => from_parameters(arguments, base.as_ref(), &size)?,
    };
    let judge = judgement::judge(base, Answers::default(), judgement::IN_FORCE, settings::as_of(arguments.as_of))?;
    let mut assessment = judge.assess_spent(answer.spent.clone(), Vec::new());
    if answer.flops.lowest.is_some() {
        // The verdict weighs both ends of the range; neither of them is what the job will spend.
        (assessment.training_compute, assessment.cumulative_compute) = (None, None);
        (assessment.ratio, assessment.share_of_line_percent) = (None, None);
    }
    answer.assessment = Some(assessment);
    if arguments.json {
        output::json(&answer)?;
    } else {
        output::data(&answer.words())?;
    }
    Ok(ExitStatus::Done)
}

fn read_shape(path: &Path) -> anyhow::Result<Shape> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    let text = input::text(&file, "model configuration", "name a config.json, or the folder it is in, with --config")?;
    let not_json = || format!("{} is no JSON; name a config.json of the Hugging Face form", file.display());
    let config: serde_json::Value = serde_json::from_str(&text).with_context(not_json)?;
    Shape::from_config(&config).with_context(|| format!("{} cannot be counted", file.display()))
}

/// Counts every product of the network.
fn from_shape(arguments: &PlanArguments, shape: &Shape, method: &Method, size: &JobSize) -> anyhow::Result<Answer> {
    let gradient_checkpointing = arguments.gradient_checkpointing.map(|kind| match kind {
        CheckpointingChoice::NonReentrant => Checkpointing::NonReentrant,
        CheckpointingChoice::Reentrant => Checkpointing::Reentrant,
    });
    let options = TrainingOptions {
        gradient_checkpointing,
        checkpoint_every: arguments.checkpoint_every.unwrap_or(1),
        input_require_grads: arguments.input_require_grads,
    };
    let network = Network::from_method(shape, method, &options)?;
    let attention = attention(arguments);
    let count = size.count(&network.cost().with_attention(attention));
    // Sums stop at the largest number there is; one that has is no count.
    if count.executed().0 == u128::MAX {
        anyhow::bail!(
            "a job of {} tokens takes more operations than 128 bits hold; correct --tokens, --epochs, --sequences or --seq-len",
            size.tokens()
        );
    }
    let spent = Spent::counted(count.training(), Basis::Operations);
    Ok(Answer {
        params: PlannedParameters {
            total: network.parameters_total(),
            trainable: Some(network.parameters_trainable()),
        },
        flops: PlannedFlops {
            forward: Some(count.forward),
            backward: Some(count.backward),
            recompute: Some(count.recompute),
            training: count.training(),
            lowest: None,
        },
        terms: count.terms,
        ..Answer::new(arguments, attention, size, spent)
    })
}

fn attention(arguments: &PlanArguments) -> Attention {
    match arguments.attention {
        AttentionChoice::Full => Attention::Full,
        AttentionChoice::Visible => Attention::Visible,
    }
}

/// Without a shape: 6 P D, exact for nothing and near for large dense models that are trained in full.
fn from_parameters(arguments: &PlanArguments, base: Option<&Base<'_>>, size: &JobSize) -> anyhow::Result<Answer> {
    let base = base.context("plan needs --config or --base")?;
    let (total, active) = match base {
        Base::Registry(model) => (model.total_parameters, model.active_parameters),
        Base::Declared(declared) => (declared.total_parameters, declared.active_parameters),
        Base::Unresolved { .. } => (None, None),
    };
    let parameters = active.or(total).with_context(|| {
        format!("the parameters of {} are not on record; give the model's shape with --config config.json", base.name())
    })?;
    let too_large =
        || format!("{parameters} parameters times {} tokens leave 128 bits; give fewer --tokens", size.tokens());
    let full = six_parameters_tokens(parameters, size.tokens()).with_context(too_large)?;
    // A forward pass is a third of it and happens with every method; what of the rest is saved depends on the shape.
    let lowest = (arguments.method != MethodChoice::Full).then_some(Flops(full.0 / 3));
    let mut spent = Spent::counted(lowest.unwrap_or(full), Basis::Parameters);
    if lowest.is_some() {
        spent.other_counts.push(OtherCount { code: "six-parameters-tokens".to_owned(), training: full });
    }
    let total = u64::try_from(total.unwrap_or(parameters)).unwrap_or(u64::MAX);
    let trainable = (arguments.method == MethodChoice::Full).then_some(total);
    Ok(Answer {
        params: PlannedParameters { total, trainable },
        flops: PlannedFlops { training: full, lowest, ..PlannedFlops::default() },
        ..Answer::new(arguments, attention(arguments), size, spent)
    })
}
