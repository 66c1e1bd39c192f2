//! DeBERTa: encoders whose scores add what content and distance have to do with each other.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, Encoder, FeedForward, MaskedHead};
use super::super::positions::PositionTable;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Quantity, Stream};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 2] = ["deberta", "deberta-v2"];

const MASKED: MaskedHead = MaskedHead {
    dense: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    decoder: "cls.predictions.decoder",
    bias: Some("cls.predictions.bias"),
};

/// Attention with distances.
struct Disentangled {
    hidden: u64,
    /// Query, key and value in one module, without a bias but two of their own: the first version.
    fused: bool,
    distances: Option<Distances>,
}

/// What is known of distances.
#[derive(Clone, Copy)]
struct Distances {
    /// Distances that are told apart.
    stream: Stream,
    /// Rows of their table.
    rows: u64,
    /// The table goes through a norm.
    normed: bool,
    /// Distances go through the projections that queries and keys go through.
    shares: bool,
    /// Content by position, and position by content.
    products: [bool; 2],
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    refuse(config)?;
    let first = config.text("model_type")? == Some("deberta");
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let distances = distances(config, first)?;
    let encoder = encoder(config, hidden)?;
    let heads = config.required_size("num_attention_heads", most::HEADS)?;
    check_heads(config, hidden, heads, first)?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let branch = Branch::of_sum(hidden, config.is_positive_or("hidden_dropout_prob", true)?);
    let attention = Disentangled { hidden, fused: first, distances };
    let feed_forward = FeedForward::plain(inner, "intermediate.dense", "output.dense");
    let convolution = convolution(config, first, &encoder)?;
    let convolves = convolution.is_some();
    let joins: Vec<bool> = (0..layers).map(|index| convolves && index == 1).collect();
    let mut build = |joins: &bool| block(&attention, branch, &feed_forward, *joins);
    let mut program = encoder.program(Piece::stack(encoder.name(encoder.blocks), &joins, &mut build));
    if convolves && layers == 1 {
        program.pieces.push(Piece::once(joined(Builder::new(Stream::Text)).finish()));
    }
    let tables = distances.map(|it| it.table(&encoder));
    let ahead: Vec<Piece> = tables.into_iter().chain(convolution).map(Piece::once).collect();
    program.last_layers = Some(ahead.len().saturating_add(1));
    program.pieces.splice(1..1, ahead);
    let pooled = [Cow::Borrowed("pooler.dense"), Cow::Borrowed("classifier")];
    match head::ending(config)? {
        None | Some("MaskedLM") => {
            encoder.mask_words(&mut program, MASKED, config.flag("tie_word_embeddings")?.unwrap_or(true));
        }
        Some("SequenceClassification") => {
            encoder.classify(&mut program, Stream::Pooled, &pooled, head::labels(config)?);
        }
        Some("TokenClassification") => {
            let [_, classifier] = pooled;
            encoder.classify(&mut program, Stream::Text, &[classifier], head::labels(config)?);
        }
        Some("QuestionAnswering") => {
            encoder.classify(&mut program, Stream::Text, &[Cow::Borrowed("qa_outputs")], head::labels(config)?);
        }
        Some("Model") => {}
        Some(_) => return Err(head::unknown(config)),
    }
    if config.flag("position_biased_input")?.unwrap_or(true) {
        program.position_tables = vec![PositionTable::of_text("max_position_embeddings", positions(config)?)];
    }
    Ok(program)
}

/// Settings that change what is computed and that nobody has described.
fn refuse(config: Config<'_>) -> Result<(), ShapeProblem> {
    let not_counted = |key: &str, found: String| Err(ShapeProblem::NotCounted { key: key.to_owned(), found });
    let hidden = config.size("hidden_size", most::WIDTH)?;
    for key in ["embedding_size", "pooler_hidden_size"] {
        if let Some(size) = config.size(key, most::WIDTH)?
            && Some(size) != hidden
        {
            return not_counted(key, size.to_string());
        }
    }
    if config.flag("talking_head")?.unwrap_or(false) {
        return not_counted("talking_head", "true".to_owned());
    }
    if !config.flag("legacy")?.unwrap_or(true) {
        return not_counted("legacy", "false".to_owned());
    }
    Ok(())
}

/// Heads have to fill the width of the blocks, whether or not their size is written: the projection back reads no other.
fn check_heads(config: Config<'_>, hidden: u64, heads: u64, first: bool) -> Result<(), ShapeProblem> {
    Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    match config.size("attention_head_size", most::WIDTH)? {
        Some(size) if !first && size.checked_mul(heads) != Some(hidden) => {
            let conflict = format!("{heads} heads of it do not make up the width of the blocks, {hidden}");
            let key = "attention_head_size".to_owned();
            Err(ShapeProblem::Contradiction { key, found: size.to_string(), conflict })
        }
        _ => Ok(()),
    }
}

fn encoder(config: Config<'_>, hidden: u64) -> Result<Encoder, ShapeProblem> {
    let biased = config.flag("position_biased_input")?.unwrap_or(true);
    let kinds = if config.count("type_vocab_size")? == Some(0) {
        0
    } else {
        config.size("type_vocab_size", most::VOCABULARY)?.unwrap_or(0)
    };
    Ok(Encoder {
        inside: if head::ending(config)? == Some("Model") { "" } else { "deberta" },
        words: "embeddings.word_embeddings",
        tables: [
            ("embeddings.position_embeddings", if biased { positions(config)? } else { 0 }),
            ("embeddings.token_type_embeddings", kinds),
        ],
        norm: "embeddings.LayerNorm",
        blocks: "encoder.layer",
        vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        embedded: hidden,
        hidden,
        widening: None,
    })
}

fn positions(config: Config<'_>) -> Result<u64, ShapeProblem> {
    Ok(config.size("max_position_embeddings", most::VOCABULARY)?.unwrap_or(512))
}

fn distances(config: Config<'_>, first: bool) -> Result<Option<Distances>, ShapeProblem> {
    if !config.flag("relative_attention")?.unwrap_or(false) {
        return Ok(None);
    }
    let above_zero = |key: &str| {
        let given = config.integers(key)?.and_then(|found| found.first().copied());
        Ok::<Option<u64>, ShapeProblem>(given.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0))
    };
    let most_far = above_zero("max_relative_positions")?.map_or_else(|| positions(config), Ok)?.min(most::WIDTH);
    let buckets = if first { None } else { above_zero("position_buckets")? };
    let span = buckets.unwrap_or(most_far).min(most::WIDTH);
    let joined = match config.texts("pos_att_type") {
        Ok(kinds) => kinds.unwrap_or_default().join("|"),
        Err(_) => config.text("pos_att_type")?.unwrap_or_default().to_owned(),
    };
    let has = |kind: &str| joined.split('|').any(|it| it.trim().eq_ignore_ascii_case(kind));
    let norms = config.text("norm_rel_ebd")?.unwrap_or("none");
    let rows = span.saturating_mul(2);
    Ok(Some(Distances {
        stream: if first { Stream::Distances(most_far) } else { Stream::Fixed(rows) },
        rows,
        normed: !first && norms.split('|').any(|it| it.trim().eq_ignore_ascii_case("layer_norm")),
        shares: !first && config.flag("share_att_key")?.unwrap_or(false),
        products: [has("c2p"), has("p2c")],
    }))
}

impl Distances {
    /// The table of distances, left in `SIDE`.
    fn table(self, encoder: &Encoder) -> Block {
        let mut block = Builder::new(self.stream);
        let none = block.slot();
        let kind = ModuleKind::Embedding { rows: self.rows, width: encoder.hidden };
        let mut table = block.apply(encoder.name("encoder.rel_embeddings"), kind, Part::InputEmbeddings, none);
        if self.normed {
            table = block.layer_norm(encoder.name("encoder.LayerNorm"), encoder.hidden, table);
        }
        block.rename(table, Slot::SIDE);
        block.finish()
    }
}

/// The convolution that large models of the second version have beside their first block, left in `MEMORY`.
///
/// It reads what the first block reads and joins what that block gives. Ahead of the block it costs the same.
fn convolution(config: Config<'_>, first: bool, encoder: &Encoder) -> Result<Option<Block>, ShapeProblem> {
    if first || config.count("conv_kernel_size")?.unwrap_or(0) == 0 {
        return Ok(None);
    }
    let kernel = config.required_size("conv_kernel_size", most::WIDTH)?;
    let contradiction = |key: &str, found: u64, conflict: &str| {
        Err(ShapeProblem::Contradiction {
            key: key.to_owned(),
            found: found.to_string(),
            conflict: conflict.to_owned(),
        })
    };
    if kernel.is_multiple_of(2) {
        return contradiction(
            "conv_kernel_size",
            kernel,
            "leaves another number of positions than it reads: only odd ones fit",
        );
    }
    let (hidden, groups) = (encoder.hidden, config.size("conv_groups", most::WIDTH)?.unwrap_or(1));
    if !hidden.is_multiple_of(groups) {
        return contradiction("conv_groups", groups, "does not divide `hidden_size`");
    }
    let mut block = Builder::new(Stream::Text);
    let kind = ModuleKind::Convolution { inputs: hidden, outputs: hidden, kernel, groups, bias: true };
    let convolved = block.apply(encoder.name("encoder.conv.conv"), kind, Part::Convolutions, Slot::RESIDUAL);
    let normed = block.layer_norm(encoder.name("encoder.conv.LayerNorm"), hidden, convolved);
    block.rename(normed, Slot::MEMORY);
    Ok(Some(block.finish()))
}

/// What the convolution gave joins the stream.
fn joined(mut block: Builder) -> Builder {
    block.add_to_residual(Slot::MEMORY);
    block
}

fn block(attention: &Disentangled, branch: Branch, feed_forward: &FeedForward, joins: bool) -> Block {
    let mut block = Builder::new(Stream::Text);
    if joins {
        block = joined(block);
    }
    branch.build(&mut block, "attention.output.LayerNorm", |block, input| attention.build(block, input));
    branch.build(&mut block, "output.LayerNorm", |block, input| feed_forward.build(block, branch.hidden, input));
    block.finish()
}

impl Disentangled {
    fn build(&self, block: &mut Builder, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let square = |bias| ModuleKind::Linear { inputs: self.hidden, outputs: self.hidden, bias };
        let [query, key, value] = if self.fused {
            self.fused_projections(block, input)
        } else {
            ["query_proj", "key_proj", "value_proj"]
                .map(|name| block.apply(format!("attention.self.{name}"), square(true), part, input))
        };
        let factor = u128::from(self.hidden).saturating_mul(2);
        let pairs = block.pairs(Stream::Text, Mask::Bidirectional);
        let mut scores = block.product(query, key, factor, pairs, Part::AttentionScores);
        if let Some(distances) = self.distances {
            scores = self.with_distances(block, distances, (query, key), scores);
        }
        block.keep(scores); // the softmax, and a dropout that is on
        let mixed = block.product(scores, value, factor, pairs, Part::AttentionScores);
        block.apply("attention.output.dense", square(true), part, mixed)
    }

    fn fused_projections(&self, block: &mut Builder, input: Slot) -> [Slot; 3] {
        let outputs = self.hidden.saturating_mul(3);
        let kind = ModuleKind::Linear { inputs: self.hidden, outputs, bias: false };
        let all = block.apply("attention.self.in_proj", kind, Part::AttentionProjections, input);
        let mut biased = |name: &'static str| {
            let none = block.slot();
            let bias = block.apply(name, ModuleKind::Parameter { elements: self.hidden }, Part::Norms, none);
            block.add(all, bias)
        };
        [biased("attention.self.q_bias"), all, biased("attention.self.v_bias")]
    }

    /// What is added to the scores: content by distance, and distance by content.
    fn with_distances(
        &self,
        block: &mut Builder,
        distances: Distances,
        (query, key): (Slot, Slot),
        mut scores: Slot,
    ) -> Slot {
        let names = if self.fused { ["pos_proj", "pos_q_proj"] } else { ["pos_key_proj", "pos_query_proj"] };
        let factor = u128::from(self.hidden).saturating_mul(2);
        let pairs = block.pairs(distances.stream, Mask::Bidirectional);
        // The shared projections are computed both, whichever is used.
        let shared = distances.shares.then(|| {
            let query = self.project(block, distances, "query_proj", true);
            (self.project(block, distances, "key_proj", true), query)
        });
        let [by_position, by_content] = distances.products;
        let wanted = [
            (by_position, query, names[0], !self.fused, shared.map(|(key, _)| key)),
            (by_content, key, names[1], true, shared.map(|(_, query)| query)),
        ];
        for (_, content, name, bias, shared) in wanted.into_iter().filter(|(wanted, ..)| *wanted) {
            let position = shared.unwrap_or_else(|| self.project(block, distances, name, bias));
            let added = block.product(content, position, factor, pairs, Part::AttentionScores);
            scores = block.add(scores, added);
        }
        scores
    }

    /// Distances through a projection, once for each pass: all sequences share them.
    fn project(&self, block: &mut Builder, distances: Distances, name: &str, bias: bool) -> Slot {
        let name = format!("attention.self.{name}");
        let kind = ModuleKind::Linear { inputs: self.hidden, outputs: self.hidden, bias };
        let module = match block.find(&name) {
            Some(module) => module,
            None => block.module(name, kind, Part::AttentionProjections),
        };
        let to = block.slot();
        let rows = Quantity::Shared(distances.stream);
        block.step(Step::Apply { module, from: Slot::SIDE, to, rows });
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str, value: u64) -> Option<ShapeProblem> {
        let mut config = serde_json::json!({
            "model_type": "deberta-v2", "vocab_size": 96, "hidden_size": 48, "intermediate_size": 80,
            "num_hidden_layers": 3, "num_attention_heads": 4, "conv_kernel_size": 3,
        });
        config[key] = value.into();
        Config::new(&config).and_then(read).err()
    }

    #[test]
    fn convolutions_and_heads_that_do_not_fit_the_width_are_refused_by_name() {
        for (key, value) in [("conv_kernel_size", 2), ("conv_groups", 5), ("attention_head_size", 16)] {
            let found = problem(key, value);
            assert!(
                matches!(&found, Some(ShapeProblem::Contradiction { key: named, .. }) if named == key),
                "{found:?}"
            );
        }
        assert_eq!(problem("attention_head_size", 12), None);
    }
}
