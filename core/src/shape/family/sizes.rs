//! Sizes that most families give under the same keys.

use super::super::ShapeProblem;
use super::super::config::{Config, most};

/// Defaults of a family's heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Key and value heads where the key is absent; `None` for one to each query head, as an explicit `null` always means.
    pub(super) key_value: Option<u64>,
    /// Size of each; `None` where it follows from the width.
    pub(super) size: Option<u64>,
}

/// Query heads, key and value heads, and the size of each.
pub(super) fn heads(config: Config<'_>, family: Heads, hidden: u64) -> Result<(u64, u64, u64), ShapeProblem> {
    let heads = config.required_size("num_attention_heads", most::HEADS)?;
    let key_value = match (config.size("num_key_value_heads", most::HEADS)?, family.key_value) {
        (Some(given), _) => given,
        (None, Some(count)) if !config.has("num_key_value_heads") => count,
        (None, _) => heads,
    };
    if !heads.is_multiple_of(key_value) {
        return Err(ShapeProblem::Contradiction {
            key: "num_key_value_heads".to_owned(),
            found: key_value.to_string(),
            conflict: format!("does not divide num_attention_heads, {heads}"),
        });
    }
    let size = match (config.size("head_dim", most::HEAD_SIZE)?, family.size) {
        (Some(given), _) | (None, Some(given)) => given,
        (None, None) if hidden.is_multiple_of(heads) => hidden / heads,
        (None, None) => {
            return Err(ShapeProblem::Contradiction {
                key: "hidden_size".to_owned(),
                found: hidden.to_string(),
                conflict: format!("is no multiple of num_attention_heads, {heads}, and there is no head_dim"),
            });
        }
    };
    Ok((heads, key_value, size))
}
