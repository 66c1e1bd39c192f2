//! A base model whose compute is put together from what stands behind it: stages on an original, or several originals.

use super::FlopBound;
use crate::unit::Flops;

/// What is known of such a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposedBase {
    /// What people call it.
    pub name: String,
    /// Its training compute; `None` where a part is not known.
    pub flop: Option<Flops>,
    /// Lower where a part is a lower bound.
    pub flop_bound: FlopBound,
    /// Whether a part of it is a general-purpose model, if declared.
    pub gpai: Option<bool>,
    /// Whether a part of it has systemic risk, if that is known.
    pub systemic_risk: Option<bool>,
    /// From what the figure is put together, for people.
    pub from: String,
}
