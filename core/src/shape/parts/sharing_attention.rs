//! Attention whose keys and values later blocks ask again.

use super::super::build::Builder;
use super::super::program::{Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::attention::scores_and_values;
use crate::flops::Part;

/// `self_attn` with `q_proj`, `k_proj`, `v_proj`, `o_proj` and normed heads, causal or sliding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharingAttention {
    pub(crate) heads: u64,
    pub(crate) key_value_heads: u64,
    pub(crate) head_size: u64,
    pub(crate) bias: bool,
    pub(crate) mask: Mask,
    /// The key projection gives the values too.
    pub(crate) keys_are_values: bool,
    pub(crate) sharing: Sharing,
}

/// Where the keys and values of a block come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The block has its own.
    Own,
    /// The same, and later blocks ask them too.
    Stored(Kept),
    /// Those of an earlier block.
    Reused(Kept),
}

/// Which of the kept keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Those of the last block that sees everything.
    Full,
    /// Those of the last one whose window slides.
    Sliding,
}

impl Kept {
    /// Keys and values.
    const fn slots(self) -> [Slot; 2] {
        let [full_keys, full_values, sliding_keys, sliding_values] = Slot::LATER;
        match self {
            Self::Full => [full_keys, full_values],
            Self::Sliding => [sliding_keys, sliding_values],
        }
    }
}

impl SharingAttention {
    /// Leads an activation through it.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let width = self.heads.saturating_mul(self.head_size);
        let part = Part::AttentionProjections;
        let query = block.linear("self_attn.q_proj", (hidden, width), self.bias, part, input);
        let query = block.norm("self_attn.q_norm", self.head_size, query);
        let (key, value) = match self.sharing {
            Sharing::Reused(kept) => kept.slots().into(),
            Sharing::Own | Sharing::Stored(_) => self.keys_and_values(block, hidden, input),
        };
        if let Sharing::Stored(kept) = self.sharing {
            let [keys, values] = kept.slots();
            block.step(Step::HandOn { from: key, to: keys });
            block.step(Step::HandOn { from: value, to: values });
        }
        let mixed = scores_and_values(block, (query, key, value), (width, width), Stream::Text, self.mask, false);
        block.linear("self_attn.o_proj", (width, hidden), self.bias, part, mixed)
    }

    fn keys_and_values(&self, block: &mut Builder, hidden: u64, input: Slot) -> (Slot, Slot) {
        let widths = (hidden, self.key_value_heads.saturating_mul(self.head_size));
        let part = Part::AttentionProjections;
        let projected = block.linear("self_attn.k_proj", widths, self.bias, part, input);
        let value = if self.keys_are_values {
            projected
        } else {
            block.linear("self_attn.v_proj", widths, self.bias, part, input)
        };
        block.keep(value); // a norm without parameters
        (block.norm("self_attn.k_norm", self.head_size, projected), value)
    }
}
