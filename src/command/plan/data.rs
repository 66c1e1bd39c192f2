//! What the job is fed, from flags and a length file.

use std::path::Path;

use anyhow::Context as _;
use flopsmeter_core::plan::{Batching, Beside, Dataset, Images, Job, Knowledge, Known, Lengths};
use flopsmeter_core::shape::{PositionTable, Stream};
use serde::Serialize;

use super::method;
use super::model::Model;
use crate::args::{BatchingChoice, PlanArguments};
use crate::exit::UsageProblem;
use crate::input;

/// Positions of a sequence where none are given.
const USUAL_LENGTH: u64 = 2048;

/// A length file of some millions of sequences; more are better told as `length<TAB>count`.
const MOST_LENGTH_BYTES: u64 = 64 << 20;

/// What is said of more positions than there are numbers for.
const TOO_MANY: &str = "an epoch has more tokens than 64 bits hold; correct --tokens, --sequences or --seq-len";

/// The data of the job, and how well it is known.
pub(super) struct Data {
    pub(super) job: Job,
    pub(super) beside: Beside,
    pub(super) known: Known,
    pub(super) size: JobSize,
    /// Defaults that were used, as they would be typed.
    pub(super) defaults: Vec<String>,
}

/// The data as JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobSize {
    /// Positions of each sequence or row; where lengths are given, where they are cut; `null` if nowhere.
    pub(super) seq_len: Option<u64>,
    /// Sequences (or rows) of a micro-batch.
    pub(super) sequences: u64,
    /// Micro-batches of each epoch.
    pub(super) micro_batches: u64,
    /// Sequences of the last one where it is smaller, else 0.
    pub(super) last_sequences: u64,
    /// Epochs.
    pub(super) epochs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decoder_len: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_grid: Option<[u64; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lengths: Option<LengthSummary>,
}

/// A length file in short.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LengthSummary {
    pub(super) file: String,
    pub(super) batching: Batching,
    pub(super) sequences: u64,
    pub(super) shortest: u64,
    pub(super) longest: u64,
    /// Sequences that are longer than `seq_len` and are cut.
    pub(super) cut: u64,
    /// Positions of an epoch without padding, as a decimal string.
    pub(super) tokens: String,
}

impl Data {
    pub(super) fn of(arguments: &PlanArguments, model: Option<&Model>) -> anyhow::Result<Self> {
        let mut defaults = Vec::new();
        let packs = arguments.batching == BatchingChoice::Packed;
        let settled = settled_length(arguments, model)?;
        refuse_beyond_table(arguments, model)?;
        let seq_len = match arguments.seq_len.or(settled) {
            None if arguments.lengths.is_none() || packs => {
                let (length, why) = usual_length(arguments, model);
                defaults.push(format!("--seq-len {length}{why}"));
                Some(length)
            }
            // Longer sequences find no row in the table, so that any trainer cuts them there.
            None => table(arguments, model, Stream::Text).map(|table| {
                defaults.push(format!("--seq-len {} ({}, which cuts longer sequences)", table.most, table.key));
                table.most
            }),
            given => given,
        };
        let default_length = seq_len.unwrap_or(USUAL_LENGTH);
        let sequences = arguments.sequences.unwrap_or_else(|| {
            defaults.push("--sequences 1".to_owned());
            1
        });
        let (lengths, knowledge) = match (&arguments.lengths, arguments.tokens) {
            (Some(_), _) => (read_lengths(arguments)?, Knowledge::Each),
            (None, tokens) => {
                let length = default_length;
                let count = tokens.map_or(sequences, |tokens| tokens.0.div_ceil(length));
                let lengths = Lengths::uniform(length, count).context(TOO_MANY)?;
                let knowledge = if settled.is_some() { Knowledge::Each } else { knowledge(arguments, model) };
                (lengths, knowledge)
            }
        };
        let batching = match arguments.batching {
            BatchingChoice::Padded => Batching::Padded,
            BatchingChoice::Packed => Batching::Packed,
            BatchingChoice::PaddingFree => Batching::PaddingFree,
        };
        let job = Job::new(Dataset { lengths, batching, sequences, seq_len, epochs: arguments.epochs });
        let known =
            Known { lengths: knowledge, micro_batch: arguments.sequences.is_some(), images: images(arguments, model) };
        let beside = beside(arguments, model, settled, seq_len, &mut defaults)?;
        Ok(Self { size: size(&job, &beside, arguments), job, beside, known, defaults })
    }
}

/// The table of positions of a line, without the rows that virtual tokens take.
fn table(arguments: &PlanArguments, model: Option<&Model>, stream: Stream) -> Option<PositionTable> {
    let table = model?.shape.position_tables().iter().find(|table| table.stream == stream)?;
    let virtual_tokens = method::virtual_tokens(arguments).unwrap_or(0);
    Some(PositionTable { most: table.most.saturating_sub(virtual_tokens), ..*table })
}

/// The length of a sequence where none is given, and why it is not the usual one.
fn usual_length(arguments: &PlanArguments, model: Option<&Model>) -> (u64, String) {
    if let Some(table) = table(arguments, model, Stream::Text).filter(|table| table.most < USUAL_LENGTH) {
        return (table.most.max(1), format!(" ({} of the model)", table.key));
    }
    match model.and_then(|model| model.positions).filter(|positions| *positions < USUAL_LENGTH) {
        Some(positions) => (positions, " (the model's positions)".to_owned()),
        None => (USUAL_LENGTH, String::new()),
    }
}

/// A position beyond a table has no row in it, and training stops there.
fn refuse_beyond_table(arguments: &PlanArguments, model: Option<&Model>) -> Result<(), UsageProblem> {
    let asked =
        [("--seq-len", arguments.seq_len, Stream::Text), ("--decoder-len", arguments.decoder_len, Stream::Decoder)];
    for (flag, length, stream) in asked {
        let Some(PositionTable { key, most, .. }) = table(arguments, model, stream) else { continue };
        if most == 0 {
            return Err(UsageProblem(format!(
                "--virtual-tokens leaves no position for the sequence: {key} of the model has no more; give fewer"
            )));
        }
        if let Some(length) = length.filter(|length| *length > most) {
            let less = if method::virtual_tokens(arguments).is_some() { " after the virtual tokens" } else { "" };
            return Err(UsageProblem(format!(
                "{flag} {length} is longer than the {most} positions that the model's table has{less} ({key}); give at most {most}"
            )));
        }
    }
    Ok(())
}

/// Some configurations settle how long a sequence is: the patches of an image, a stretch of sound.
fn settled_length(arguments: &PlanArguments, model: Option<&Model>) -> Result<Option<u64>, UsageProblem> {
    let Some(length) = model.and_then(|model| model.shape.sequence_length()) else { return Ok(None) };
    if let Some(given) = arguments.seq_len.filter(|given| *given != length) {
        return Err(UsageProblem(format!(
            "--seq-len {given} contradicts the configuration, by which each sequence has {length} positions; leave it out"
        )));
    }
    if arguments.lengths.is_some() {
        return Err(UsageProblem(format!(
            "--lengths contradicts the configuration, by which each sequence has {length} positions; leave it out"
        )));
    }
    Ok(Some(length))
}

/// What each sequence brings besides; what the model does not read, or cannot do without, is a contradiction.
fn beside(
    arguments: &PlanArguments,
    model: Option<&Model>,
    settled: Option<u64>,
    seq_len: Option<u64>,
    defaults: &mut Vec<String>,
) -> Result<Beside, UsageProblem> {
    let refuse = |text: &str| Err(UsageProblem(text.to_owned()));
    let Some(model) = model else {
        let given = arguments.decoder_len.is_some() || arguments.images.is_some();
        return if given {
            refuse("--decoder-len and --images are counted from the model's shape; give it with --config")
        } else {
            Ok(Beside::default())
        };
    };
    let decoder_length = match arguments.decoder_len {
        Some(_) if !model.decodes() => {
            return refuse("--decoder-len: this model has no decoder beside an encoder; leave it out");
        }
        Some(given) => given,
        None if !model.decodes() => 0,
        None => match seq_len.filter(|_| settled.is_none()) {
            Some(length) => {
                defaults.push(format!("--decoder-len {length}"));
                length
            }
            None => return refuse("this model has a decoder; give the positions that it reads with --decoder-len"),
        },
    };
    let images = arguments.images.unwrap_or(0);
    if images > 0 && !model.sees() {
        return refuse("--images: this model looks at no images beside its text; leave it out");
    }
    if images > 0 && model.sees_any_size() && arguments.image_grid.is_none() {
        return refuse("--images: this model takes images of any size; give their patches with --image-grid");
    }
    if arguments.image_grid.is_some() && !model.sees_any_size() {
        return refuse("--image-grid: the configuration settles the size of this model's images; leave it out");
    }
    if model.sees() && arguments.images.is_none() {
        defaults.push("--images 0".to_owned());
    }
    Ok(Beside { decoder_length, images, image_grid: arguments.image_grid })
}

/// What can be told from the flags alone, before anything is read.
pub(super) fn refuse_contradictions(arguments: &PlanArguments) -> Result<(), UsageProblem> {
    refuse_nothing(arguments)?;
    // Standard input is read once.
    let is_input = |path: Option<&Path>| path == Some(Path::new(input::STANDARD_INPUT));
    if is_input(arguments.config.as_deref()) && is_input(arguments.lengths.as_deref()) {
        return Err(UsageProblem(
            "--config and --lengths cannot both be standard input; give one as a file".to_owned(),
        ));
    }
    Ok(())
}

/// A size of zero is a slip of the hand.
fn refuse_nothing(arguments: &PlanArguments) -> Result<(), UsageProblem> {
    let sizes = [
        ("--seq-len", arguments.seq_len),
        ("--sequences", arguments.sequences),
        ("--epochs", Some(arguments.epochs)),
        ("--tokens", arguments.tokens.map(|tokens| tokens.0)),
        ("--decoder-len", arguments.decoder_len),
    ];
    match sizes.iter().find(|(_, value)| *value == Some(0)) {
        Some((flag, _)) => Err(UsageProblem(format!("{flag} 0 trains on nothing; give at least 1"))),
        None => Ok(()),
    }
}

fn knowledge(arguments: &PlanArguments, model: Option<&Model>) -> Knowledge {
    match (arguments.tokens, arguments.seq_len) {
        (None, _) => Knowledge::Each,
        (Some(_), Some(_)) => Knowledge::Longest,
        (Some(_), None) => Knowledge::Nothing { positions: model.and_then(|model| model.positions) },
    }
}

/// What a text model sees of images where nobody says: the count is of text alone, and says so.
fn images(arguments: &PlanArguments, model: Option<&Model>) -> Images {
    match model.filter(|model| model.sees() && arguments.images.is_none()) {
        None => Images::Told,
        Some(model) if model.sees_any_size() => Images::UntoldOfAnySize,
        Some(_) => Images::Untold,
    }
}

fn read_lengths(arguments: &PlanArguments) -> anyhow::Result<Lengths> {
    let path = arguments.lengths.as_deref().context("there is no length file")?;
    let next_step = "name a file with the length of one sequence on each line with --lengths";
    let text = input::text_or_standard_input(path, MOST_LENGTH_BYTES, "length file", next_step)?;
    Lengths::parse(&text).with_context(|| format!("{} is no length file", path.display()))
}

fn size(job: &Job, beside: &Beside, arguments: &PlanArguments) -> JobSize {
    let data = job.dataset();
    let rows = match data.batching {
        Batching::Packed => data.lengths.tokens().div_ceil(data.seq_len.unwrap_or(1)),
        Batching::Padded | Batching::PaddingFree => data.lengths.sequences(),
    };
    let packs = data.batching == Batching::Packed;
    let lengths = arguments.lengths.as_ref().map(|path| LengthSummary {
        file: path.display().to_string(),
        batching: data.batching,
        sequences: data.lengths.sequences(),
        shortest: data.lengths.shortest(),
        longest: data.lengths.longest(),
        cut: data.seq_len.filter(|_| !packs).map_or(0, |most| data.lengths.longer_than(most)),
        tokens: data.lengths.tokens().to_string(),
    });
    JobSize {
        seq_len: data.seq_len,
        sequences: data.sequences,
        micro_batches: job.micro_batches(),
        last_sequences: rows % data.sequences,
        epochs: data.epochs,
        decoder_len: Some(beside.decoder_length).filter(|length| *length > 0),
        images: Some(beside.images).filter(|images| *images > 0),
        image_grid: beside.image_grid,
        lengths,
    }
}
