//! Which head the class has that a configuration names in `architectures`.

use super::ShapeProblem;
use super::config::{Config, most, shortened_text};

/// Labels where a configuration is silent.
const USUAL_LABELS: u64 = 2;

/// What a model ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Logits over the vocabulary.
    Language,
    /// So many logits for each sequence, though the product happens at every position.
    Sequence(u64),
    /// So many logits for each position.
    Token(u64),
    /// A start and an end.
    Question,
    /// Nothing: the class is the model without a head.
    None,
}

/// Reads the head of the first class that `architectures` names; that of a language model where it names none.
pub(super) fn read(config: Config<'_>) -> Result<Head, ShapeProblem> {
    let classes = config.texts("architectures")?.unwrap_or_default();
    let Some(class) = classes.first() else { return Ok(Head::Language) };
    let ends = |ending: &str| class.ends_with(ending);
    if ends("ForCausalLM") || ends("LMHeadModel") {
        Ok(Head::Language)
    } else if ends("ForSequenceClassification") {
        Ok(Head::Sequence(labels(config)?))
    } else if ends("ForTokenClassification") {
        Ok(Head::Token(labels(config)?))
    } else if ends("ForQuestionAnswering") {
        Ok(Head::Question)
    } else if ends("Model") && !class.contains("For") && !class.contains("Heads") {
        Ok(Head::None)
    } else {
        Err(unknown(config))
    }
}

/// The head of the class that `architectures` names is none that is counted.
pub(super) fn unknown(config: Config<'_>) -> ShapeProblem {
    let classes = config.texts("architectures").ok().flatten().unwrap_or_default();
    ShapeProblem::UnknownHead { found: shortened_text(classes.first().copied().unwrap_or_default()) }
}

/// What the first class that `architectures` names is for: `MaskedLM` of `BertForMaskedLM`, `Model` of `BertModel`.
pub(super) fn ending(config: Config<'_>) -> Result<Option<&str>, ShapeProblem> {
    let classes = config.texts("architectures")?.unwrap_or_default();
    let Some(class) = classes.first().copied() else { return Ok(None) };
    let purpose = class.split_once("For").map(|(_, purpose)| purpose);
    let model =
        || ["LMHeadModel", "Model"].into_iter().find_map(|name| class.find(name).and_then(|at| class.get(at..)));
    Ok(Some(purpose.or_else(model).unwrap_or(class)))
}

/// Names of the labels, or their number, which `transformers` no longer writes but still reads.
pub(super) fn labels(config: Config<'_>) -> Result<u64, ShapeProblem> {
    let named = config.entries("id2label")?;
    let counted = config.size("num_labels", most::VOCABULARY)?;
    match (named, counted) {
        (Some(named), Some(counted)) if named != counted => Err(ShapeProblem::Contradiction {
            key: "num_labels".to_owned(),
            found: counted.to_string(),
            conflict: format!("id2label names {named}"),
        }),
        (named, counted) => Ok(named.or(counted).unwrap_or(USUAL_LABELS)),
    }
}
