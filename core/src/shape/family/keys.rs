//! The sizes that every decoder has, under the names its family gives them.

use super::super::ShapeProblem;
use super::super::config::{Config, most};

/// Keys of the sizes; where there are several, each is accepted.
pub(super) struct Keys {
    pub(super) hidden: &'static [&'static str],
    pub(super) layers: &'static [&'static str],
    pub(super) heads: &'static [&'static str],
}

/// The sizes.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) vocabulary: u64,
    pub(super) hidden: u64,
    pub(super) layers: u64,
    pub(super) heads: u64,
}

impl Keys {
    /// `hidden_size`, `num_hidden_layers`, `num_attention_heads`.
    pub(super) const USUAL: Self =
        Self { hidden: &["hidden_size"], layers: &["num_hidden_layers"], heads: &["num_attention_heads"] };

    /// `n_embd`, `n_layer`, `n_head`.
    pub(super) const GPT: Self = Self {
        hidden: &["n_embd", "hidden_size"],
        layers: &["n_layer", "num_hidden_layers"],
        heads: &["n_head", "num_attention_heads"],
    };

    /// Reads the sizes.
    pub(super) fn read(&self, config: Config<'_>) -> Result<Sizes, ShapeProblem> {
        Ok(Sizes {
            hidden: config.required_size_of(self.hidden, most::WIDTH)?,
            layers: config.required_size_of(self.layers, most::LAYERS)?,
            heads: config.required_size_of(self.heads, most::HEADS)?,
            vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        })
    }

    /// The sizes, and the size of a head where it can only follow from them.
    pub(super) fn read_whole_heads(&self, config: Config<'_>) -> Result<(Sizes, u64), ShapeProblem> {
        let sizes = self.read(config)?;
        if sizes.hidden.is_multiple_of(sizes.heads) {
            return Ok((sizes, sizes.hidden / sizes.heads));
        }
        let first = |names: &[&str]| names.first().copied().unwrap_or_default().to_owned();
        Err(ShapeProblem::Contradiction {
            key: first(self.hidden),
            found: sizes.hidden.to_string(),
            conflict: format!("is no multiple of {}, {}", first(self.heads), sizes.heads),
        })
    }
}

/// Key and value heads share out the query heads evenly.
pub(super) fn check_groups(key: &str, heads: u64, key_value_heads: u64) -> Result<(), ShapeProblem> {
    if heads.is_multiple_of(key_value_heads) {
        return Ok(());
    }
    Err(ShapeProblem::Contradiction {
        key: key.to_owned(),
        found: key_value_heads.to_string(),
        conflict: format!("does not divide num_attention_heads, {heads}"),
    })
}
