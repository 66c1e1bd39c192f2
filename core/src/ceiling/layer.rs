//! One way to bound a device.

use crate::run::CeilingLayer;
use crate::unit::Flops;

/// A layer while it is formed.
#[derive(Clone, Debug)]
pub(super) struct Layer(CeilingLayer);

impl Layer {
    /// A bound that rests on the readings alone.
    pub(super) fn strict(layer: &str, flop: Flops, note: String) -> Self {
        Self(CeilingLayer { layer: layer.to_owned(), flop: Some(flop), note, holds_if: None })
    }

    /// A layer that cannot be formed.
    pub(super) fn missing(layer: &str, reason: &str) -> Self {
        Self(CeilingLayer { layer: layer.to_owned(), flop: None, note: reason.to_owned(), holds_if: None })
    }

    /// What else has to be true.
    pub(super) fn if_true(mut self, condition: &str) -> Self {
        self.0.holds_if = Some(condition.to_owned());
        self
    }

    /// What else has to be true where the rate is that of 16-bit products.
    pub(super) fn if_sixteen_bit(self) -> Self {
        self.if_true("every product ran in a 16-bit format with FP32 accumulation, or in a slower one")
    }

    pub(super) fn into_told(self) -> CeilingLayer {
        self.0
    }
}
