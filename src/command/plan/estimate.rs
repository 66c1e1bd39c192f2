//! What the job takes: counted from the model's products, or estimated from its parameters.

use anyhow::{Context as _, bail};
use flopsmeter_core::assess::{Basis, Measures, OtherCount, Spent};
use flopsmeter_core::estimate::six_parameters_tokens;
use flopsmeter_core::facts::Checkpointing;
use flopsmeter_core::flops::{Attention, Cost, Network};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::method::{Method, TrainingOptions};
use flopsmeter_core::plan::{Passes, Range, Reach, Reason};
use flopsmeter_core::registry::Base;
use flopsmeter_core::run::Term;
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use super::data::Data;
use super::method;
use super::model::Model;
use crate::args::{AttentionChoice, CheckpointingChoice, MethodChoice, PlanArguments};

/// What is said of a class that `auto_map` names.
const OWN_CODE: &str =
    "auto_map names code of its own for the model's class; what it computes is taken to be what transformers computes";

/// An estimate with everything that is asked of it.
pub(super) struct Estimate {
    pub(super) params: PlannedParameters,
    pub(super) flops: PlannedFlops,
    pub(super) terms: Vec<Term>,
    pub(super) range: Range,
    pub(super) spent: Spent,
    /// Targets that no module of the model has.
    pub(super) unmatched: Vec<String>,
    way: Way,
}

/// What more of the same costs.
enum Way {
    Products(Cost),
    /// Operations of each position.
    Parameters(u128),
}

#[derive(Debug, Default, Serialize)]
pub(super) struct PlannedParameters {
    pub(super) total: u64,
    /// Not known without a shape, unless all are trained.
    pub(super) trainable: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct PlannedFlops {
    pub(super) forward: Option<Flops>,
    pub(super) backward: Option<Flops>,
    pub(super) recompute: Option<Flops>,
    /// Model operations: forward and backward. With `lowest`, the upper end of a range.
    pub(super) training: Flops,
    /// The range around it; `uncertainty` says why.
    pub(super) training_low: Flops,
    pub(super) training_high: Flops,
    /// What the hardware does: with recomputation.
    pub(super) executed: Flops,
    /// Lower end, where there is no shape to count from and not everything is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lowest: Option<Flops>,
}

impl Estimate {
    /// Counts every product of the network.
    pub(super) fn of_products(
        model: &Model,
        method: &Method,
        options: &TrainingOptions,
        attention: Attention,
        data: &Data,
    ) -> anyhow::Result<Self> {
        let network = Network::from_method(&model.shape, method, options).map_err(method::misfit)?;
        let cost = network.cost().with_attention(attention);
        let passes = Passes::new(&cost).with(data.beside);
        let count = data.job.count(&passes);
        // Sums stop at the largest number there is; one that has is no count.
        if count.executed().0 == u128::MAX {
            bail!(
                "a job of {} tokens takes more operations than 128 bits hold; correct --tokens, --epochs, --sequences or --seq-len",
                data.job.tokens()
            );
        }
        let mut range = Range::of_job(&data.job, &passes, &count, data.known);
        range.reasons.extend(network.cut_gradients().map(|it| Reason::unbounded(Network::CUT_GRADIENTS, it.text)));
        range.reasons.extend(model.shape.has_own_code().then(|| Reason::unbounded("own-code", OWN_CODE.to_owned())));
        let mut spent = Spent::counted(count.training(), Basis::Operations);
        spent.measures = Measures {
            attention_context: Some(Measures::attention_context_of(&count.terms)),
            tokens: Some(data.job.tokens()),
            hardware: None,
        };
        if range.high > range.best {
            spent.other_counts.push(OtherCount { code: "highest-estimate".to_owned(), training: range.high });
        }
        Ok(Self {
            params: PlannedParameters {
                total: network.parameters_total(),
                trainable: Some(network.parameters_trainable()),
            },
            flops: PlannedFlops {
                forward: Some(count.forward),
                backward: Some(count.backward),
                recompute: Some(count.recompute),
                training: count.training(),
                training_low: range.low,
                training_high: range.high,
                executed: count.executed(),
                lowest: None,
            },
            range,
            spent,
            unmatched: network.unmatched_targets().to_vec(),
            terms: count.terms,
            way: Way::Products(cost),
        })
    }

    /// Without a shape: 6 P D, exact for nothing and near for large dense models that are trained in full.
    pub(super) fn of_parameters(arguments: &PlanArguments, judge: &Judge, data: &Data) -> anyhow::Result<Self> {
        let base = model_of(judge)?;
        let (total, active) = match base {
            Base::Registry(model) => (model.total_parameters, model.active_parameters),
            Base::Declared(declared) => (declared.total_parameters, declared.active_parameters),
            Base::Composed(_) | Base::Unresolved { .. } => (None, None),
        };
        let parameters = active.or(total).with_context(|| {
            format!(
                "the parameters of {} are not on record; give the model's shape with --config config.json",
                base.name()
            )
        })?;
        let tokens = data.job.tokens();
        let too_large = || format!("{parameters} parameters times {tokens} tokens leave 128 bits; give fewer --tokens");
        let training = six_parameters_tokens(parameters, tokens).with_context(too_large)?;
        let all_trained = arguments.method == MethodChoice::Full && arguments.frozen.is_empty();
        // A forward pass is a third of it and happens with every method; what of the rest is saved depends on the shape.
        let lowest = (!all_trained).then_some(Flops(training.0 / 3));
        let mut spent = Spent::counted(lowest.unwrap_or(training), Basis::Parameters);
        if lowest.is_some() {
            spent.other_counts.push(OtherCount { code: "six-parameters-tokens".to_owned(), training });
        }
        let total = u64::try_from(total.unwrap_or(parameters)).unwrap_or(u64::MAX);
        let range = Range::of_parameters(training, all_trained, judge.rules.margin().value);
        Ok(Self {
            params: PlannedParameters { total, trainable: all_trained.then_some(total) },
            flops: PlannedFlops {
                training,
                training_low: range.low,
                training_high: range.high,
                executed: training,
                lowest,
                ..PlannedFlops::default()
            },
            range,
            spent,
            terms: Vec::new(),
            unmatched: Vec::new(),
            way: Way::Parameters(six_parameters_tokens(parameters, 1).with_context(too_large)?.0),
        })
    }

    /// What such a job has spent once it has reached an amount.
    pub(super) fn spent_at(&self, data: &Data, amount: Flops) -> Spent {
        let is_counted = matches!(self.way, Way::Products(_));
        let tokens = self.reach(data, amount).filter(|_| is_counted).map(|extent| extent.tokens);
        let measures = Measures { tokens, ..Measures::default() };
        Spent { measures, ..Spent::counted(amount, self.spent.basis) }
    }

    /// After how much of such a job an amount is reached.
    pub(super) fn reach(&self, data: &Data, amount: Flops) -> Option<Extent> {
        match &self.way {
            Way::Products(cost) => {
                let Reach { micro_batches, tokens } = data.job.reach(&Passes::new(cost).with(data.beside), amount)?;
                Some(Extent { micro_batches: Some(micro_batches), tokens })
            }
            // A model has parameters, so that each position costs something.
            Way::Parameters(each) => Some(Extent { micro_batches: None, tokens: amount.0.div_ceil((*each).max(1)) }),
        }
    }
}

/// The model whose parameters are trained: those of a model on the way are its original's, where it has one.
fn model_of(judge: &Judge) -> anyhow::Result<&Base<'static>> {
    let behind = judge.ancestry.as_ref().map(|ancestry| ancestry.originals().collect::<Vec<_>>());
    match (&judge.base, behind.as_deref()) {
        (Some(base), _) => Ok(base),
        (None, Some([original])) => Ok(original),
        (None, Some(_)) => bail!(
            "what is made from several models has parameters that none of them tells; give its shape with --config config.json"
        ),
        (None, None) => bail!("plan needs --config or --base"),
    }
}

/// How much of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Not known without a shape.
    pub(super) micro_batches: Option<u128>,
    pub(super) tokens: u128,
}

pub(super) fn options(arguments: &PlanArguments) -> TrainingOptions {
    let gradient_checkpointing = arguments.gradient_checkpointing.map(|kind| match kind {
        CheckpointingChoice::NonReentrant => Checkpointing::NonReentrant,
        CheckpointingChoice::Reentrant => Checkpointing::Reentrant,
    });
    TrainingOptions {
        gradient_checkpointing,
        checkpoint_every: arguments.checkpoint_every.unwrap_or(1),
        input_require_grads: arguments.input_require_grads,
    }
}

/// As it is typed and written to JSON.
pub(super) const fn checkpointing_name(kind: Checkpointing) -> &'static str {
    match kind {
        Checkpointing::Reentrant => "reentrant",
        _ => "non-reentrant",
    }
}

pub(super) fn attention(arguments: &PlanArguments) -> Attention {
    match arguments.attention {
        AttentionChoice::Full => Attention::Full,
        AttentionChoice::Visible => Attention::Visible,
    }
}
