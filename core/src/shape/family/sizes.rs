//! Sizes that most families give under the same keys.

use super::super::ShapeProblem;
use super::super::config::{Config, most, shortened_text};

/// Defaults of a family's heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Key and value heads where the key is absent; `None` for one to each query head, as an explicit `null` always means.
    pub(super) key_value: Option<u64>,
    /// Size of each; `None` where it follows from the width.
    pub(super) size: Option<u64>,
}

/// A size under one of several names, and what it is where none of them is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Names of the same size; the first one that is there holds.
    names: &'static [&'static str],
    /// `None` where the size must be there.
    default: Option<u64>,
}

impl Key {
    pub(super) const fn new(names: &'static [&'static str], default: u64) -> Self {
        Self { names, default: Some(default) }
    }

    pub(super) const fn required(names: &'static [&'static str]) -> Self {
        Self { names, default: None }
    }

    /// The first name, for messages.
    pub(super) fn name(self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// A size from 1 to `most`.
    pub(super) fn size(self, config: Config<'_>, most: u64) -> Result<u64, ShapeProblem> {
        for name in self.names {
            if let Some(size) = config.size(name, most)? {
                return Ok(size);
            }
        }
        self.default.ok_or_else(|| ShapeProblem::Missing { key: self.name().to_owned() })
    }

    /// The same, where 0 is a size too.
    pub(super) fn count(self, config: Config<'_>, most: u64) -> Result<u64, ShapeProblem> {
        for name in self.names {
            if config.count(name)? == Some(0) {
                return Ok(0);
            }
        }
        self.size(config, most)
    }
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

/// For each block the place of its kind among the known ones, or `None` where no list is there.
///
/// Names that files had before version 5 of `transformers` stand for those that took their place.
pub(super) fn layer_kinds(
    config: Config<'_>,
    keys: &[&str],
    layers: Option<u64>,
    known: &[&str],
) -> Result<Option<Vec<usize>>, ShapeProblem> {
    for key in keys {
        let Some(types) = config.texts(key)? else { continue };
        if layers.is_some_and(|layers| u64::try_from(types.len()) != Ok(layers)) {
            return Err(ShapeProblem::Contradiction {
                key: (*key).to_owned(),
                found: format!("a list of {}", types.len()),
                conflict: format!("num_hidden_layers is {}", layers.unwrap_or_default()),
            });
        }
        let kind = |found: &str| {
            let current = match found {
                "mamba" => "linear_attention",
                "attention" => "full_attention",
                current => current,
            };
            known.iter().position(|it| *it == current).ok_or_else(|| ShapeProblem::WrongType {
                key: (*key).to_owned(),
                found: format!("a list with `{}`", shortened_text(found)),
                expected: "a list of the kinds of block that this family has",
            })
        };
        return types.into_iter().map(kind).collect::<Result<_, _>>().map(Some);
    }
    Ok(None)
}
