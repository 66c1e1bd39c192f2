//! Which keys the queries of each block see.

use super::config::{Config, most, shortened_text};
use super::{Mask, ShapeProblem};

/// Window of the families that have one and whose configuration is silent.
pub(super) const USUAL_WINDOW: u64 = 4096;

/// Window and pairs of blocks of GPT-Neo where the configuration is silent.
const LOCAL_WINDOW: u64 = 256;
const LOCAL_PAIRS: u64 = 12;

/// How a family chooses the blocks that see a sliding window only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// None slide.
    Never,
    /// None slide, but `use_bidirectional_attention` can lift the mask.
    Bidirectional,
    /// All slide where `sliding_window` is set; the default where the key is absent.
    All(Option<u64>),
    /// Where `use_sliding_window` is true, those that `layer_types` names, else those from `max_window_layers` on.
    Upper,
    /// Those that `layer_types` names, else those from `max_window_layers` on, each with this default.
    FromLayer {
        /// `sliding_window` where absent.
        window: u64,
        /// `max_window_layers` where absent.
        first: u64,
    },
    /// Those that `layer_types` calls chunked, else those with rotary positions (`no_rope_layers`, else all but each
    /// `no_rope_layer_interval`-th), see chunks of `attention_chunk_size`.
    Llama4,
    /// Those that `layer_types` names, else all but each `every`-th; `use_bidirectional_attention` can lift the mask.
    Alternating {
        /// One block in so many sees everything.
        every: u64,
        /// `sliding_window_pattern` overrides `every`.
        adjustable: bool,
    },
    /// Those that `layer_types` names, else all, where `sliding_window` is set; the default where that key is absent.
    Listed(Option<u64>),
    /// Those that `layer_types` names, else all but one in each `every`, the last or the first of them.
    Repeating {
        /// One block in so many sees everything.
        every: u64,
        /// It is the first of them.
        first: bool,
        /// `sliding_window_pattern` overrides `every`.
        adjustable: bool,
        /// `sliding_window` where the key is absent.
        window: u64,
    },
    /// Where `use_sliding_window` is true and `sliding_window` set, those that `layer_types` names, else those without
    /// rotary positions (`no_rope_layers`, else each `no_rope_layer_interval`-th).
    Unrotated,
    /// Those that `attention_types` calls local; `window_size` long.
    Local,
}

/// Blocks below this number see everything where Qwen's `max_window_layers` is absent.
const USUAL_FULL_LAYERS: u64 = 28;

/// The mask of each block.
pub(super) fn read(windows: Windows, config: Config<'_>, layers: u64) -> Result<Vec<Mask>, ShapeProblem> {
    let all = |mask: Mask| Ok((0..layers).map(|_| mask).collect());
    if lifts_mask(windows, config)? {
        return all(Mask::Bidirectional);
    }
    match windows {
        Windows::Never | Windows::Bidirectional => all(Mask::Causal),
        Windows::All(default) => all(window(config, default)?),
        Windows::Upper | Windows::Unrotated if !config.flag("use_sliding_window")?.unwrap_or(false) => {
            all(Mask::Causal)
        }
        Windows::Upper => {
            let sliding = window(config, Some(USUAL_WINDOW))?;
            let first = config.count("max_window_layers")?.unwrap_or(USUAL_FULL_LAYERS);
            chosen(config, layers, sliding, |layer| layer >= first)
        }
        Windows::FromLayer { window: default, first } => {
            let first = config.count("max_window_layers")?.unwrap_or(first);
            chosen(config, layers, window(config, Some(default))?, |layer| layer >= first)
        }
        Windows::Llama4 => {
            let size = config.size("attention_chunk_size", most::WINDOW)?;
            let size = if config.has("attention_chunk_size") { size } else { Some(8192) };
            chosen(config, layers, size.map_or(Mask::Causal, Mask::Chunked), rotary(config)?)
        }
        Windows::Alternating { every, adjustable } => {
            let given = if adjustable { pattern(config)? } else { None };
            let every = given.unwrap_or(every);
            chosen(config, layers, window(config, Some(USUAL_WINDOW))?, |layer| !(layer + 1).is_multiple_of(every))
        }
        Windows::Listed(default) => chosen(config, layers, window(config, default)?, |_| true),
        Windows::Repeating { every, first, adjustable, window: default } => {
            let listed = config.texts("layer_types")?.is_some();
            let adjusts = adjustable && !listed;
            let given = if adjusts { pattern(config)? } else { None };
            let every = given.unwrap_or(every);
            let place = u64::from(!first);
            chosen(config, layers, window(config, Some(default))?, |layer| !(layer + place).is_multiple_of(every))
        }
        Windows::Unrotated => {
            let rotary = rotary(config)?;
            chosen(config, layers, window(config, None)?, |layer| !rotary(layer))
        }
        Windows::Local => local(config, layers),
    }
}

/// Which blocks have rotary positions: `no_rope_layers`, which says 0 of those without, else all but each
/// `no_rope_layer_interval`-th.
fn rotary(config: Config<'_>) -> Result<impl Fn(u64) -> bool, ShapeProblem> {
    let interval = config.size("no_rope_layer_interval", most::LAYERS)?.unwrap_or(4);
    let rotary = config.counts("no_rope_layers")?.filter(|listed| !listed.is_empty());
    Ok(move |layer: u64| {
        let entry = usize::try_from(layer).ok().and_then(|layer| rotary.as_ref()?.get(layer).copied());
        entry.map_or_else(|| !(layer + 1).is_multiple_of(interval), |entry| entry != 0)
    })
}

/// GPT-Neo's list: groups of kinds, and how often each group is repeated.
fn local(config: Config<'_>, layers: u64) -> Result<Vec<Mask>, ShapeProblem> {
    let window = Mask::Sliding(config.size("window_size", most::WINDOW)?.unwrap_or(LOCAL_WINDOW));
    let groups = config.repeated_texts("attention_types")?;
    let groups = groups.unwrap_or_else(|| vec![(vec!["global", "local"], LOCAL_PAIRS)]);
    let wrong = |found: String, expected: &'static str| ShapeProblem::WrongType {
        key: "attention_types".to_owned(),
        found,
        expected,
    };
    let mut masks = Vec::new();
    for (kinds, times) in groups.into_iter().filter(|(kinds, _)| !kinds.is_empty()) {
        let kinds = kinds.into_iter().map(|kind| match kind {
            "global" => Ok(Mask::Causal),
            "local" => Ok(window),
            other => Err(wrong(format!("a list with `{}`", shortened_text(other)), "a list of `global` and `local`")),
        });
        let kinds: Vec<Mask> = kinds.collect::<Result<_, _>>()?;
        // One more than there are blocks is enough to see that there are too many.
        let wanted = usize::try_from(layers).unwrap_or(usize::MAX).saturating_add(1).saturating_sub(masks.len());
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        masks.extend(std::iter::repeat_n(kinds, times).flatten().take(wanted));
    }
    if u64::try_from(masks.len()) == Ok(layers) {
        return Ok(masks);
    }
    Err(ShapeProblem::Contradiction {
        key: "attention_types".to_owned(),
        found: format!("a list of {} or more", masks.len()),
        conflict: format!("num_layers is {layers}"),
    })
}

/// Gemma alone has this key. A window that looks both ways is then counted as if it hid nothing: too high, never too low.
fn lifts_mask(windows: Windows, config: Config<'_>) -> Result<bool, ShapeProblem> {
    match windows {
        Windows::Bidirectional | Windows::Alternating { .. } => {
            Ok(config.flag("use_bidirectional_attention")?.unwrap_or(false))
        }
        _ => Ok(false),
    }
}

/// One block in so many sees everything; where a list says which, the pattern may be a text and is not read.
fn pattern(config: Config<'_>) -> Result<Option<u64>, ShapeProblem> {
    if config.is_there("layer_types") { Ok(None) } else { config.size("sliding_window_pattern", most::LAYERS) }
}

/// The mask of a block that slides; an explicit `null` switches the window off.
fn window(config: Config<'_>, default: Option<u64>) -> Result<Mask, ShapeProblem> {
    let given = config.size("sliding_window", most::WINDOW)?;
    let window = if config.has("sliding_window") { given } else { default };
    Ok(window.map_or(Mask::Causal, Mask::Sliding))
}

/// Masks by `layer_types`, or by the family's rule where that is absent.
fn chosen(
    config: Config<'_>,
    layers: u64,
    sliding: Mask,
    slides: impl Fn(u64) -> bool,
) -> Result<Vec<Mask>, ShapeProblem> {
    let mask = |slides: bool| if slides { sliding } else { Mask::Causal };
    let Some(types) = config.texts("layer_types")? else {
        return Ok((0..layers).map(|layer| mask(slides(layer))).collect());
    };
    if u64::try_from(types.len()) != Ok(layers) {
        return Err(ShapeProblem::Contradiction {
            key: "layer_types".to_owned(),
            found: format!("a list of {}", types.len()),
            conflict: format!("num_hidden_layers is {layers}"),
        });
    }
    types.into_iter().map(|kind| slides_by_type(kind, sliding).map(mask)).collect()
}

fn slides_by_type(kind: &str, sliding: Mask) -> Result<bool, ShapeProblem> {
    match kind {
        "sliding_attention" => Ok(true),
        "chunked_attention" if matches!(sliding, Mask::Chunked(_)) => Ok(true),
        "full_attention" => Ok(false),
        other => Err(ShapeProblem::WrongType {
            key: "layer_types".to_owned(),
            found: format!("a list with `{}`", shortened_text(other)),
            expected: "a list of `full_attention` and `sliding_attention`",
        }),
    }
}
