//! The model's shape, from wherever it is given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flopsmeter_core::flops::Network;
use flopsmeter_core::method::{Method, MethodProblem, TrainingOptions};
use flopsmeter_core::shape::{Quantity, Shape, Stream, read_json};
use serde_json::Value;

use crate::args::PlanArguments;
use crate::input;

/// A configuration and what it describes.
pub(super) struct Model {
    pub(super) shape: Shape,
    /// The most positions of a sequence, where the configuration says.
    pub(super) positions: Option<u64>,
    /// The lines of positions that the network reads.
    pub(super) streams: BTreeSet<Stream>,
}

impl Model {
    /// It has a decoder beside its encoder.
    pub(super) fn decodes(&self) -> bool {
        self.streams.contains(&Stream::Decoder)
    }

    /// It looks at images beside its text.
    pub(super) fn sees(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream, Stream::Image(_) | Stream::Grid(_)))
    }

    /// Its images have any size.
    pub(super) fn sees_any_size(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream, Stream::Grid(_)))
    }
}

/// Reads `--config`, else the folder that `--base` names; `None` where neither holds a configuration.
pub(super) fn read(arguments: &PlanArguments) -> anyhow::Result<Option<Model>> {
    let folder = arguments.base.as_deref().map(Path::new).filter(|path| path.is_dir());
    // An adapter's folder has no shape of its own.
    let folder = folder.filter(|folder| !folder.join("adapter_config.json").exists());
    let path = arguments.config.as_deref().or(folder);
    path.map(read_config).transpose()
}

fn read_config(path: &Path) -> anyhow::Result<Model> {
    let file = if path.is_dir() { path.join("config.json") } else { PathBuf::from(path) };
    let next_step = "name a config.json, or the folder it is in, with --config";
    let text = input::configuration(&file, "model configuration", next_step)?;
    let not_json = || format!("{} is no JSON; name a config.json of the Hugging Face form", file.display());
    let config: Value = read_json(&text).with_context(not_json)?;
    let shape = Shape::from_config(&config).with_context(|| format!("{} cannot be counted", file.display()))?;
    let streams = streams(&shape).with_context(|| format!("{} cannot be counted", file.display()))?;
    Ok(Model { shape, positions: positions(&config), streams })
}

fn streams(shape: &Shape) -> Result<BTreeSet<Stream>, MethodProblem> {
    let network = Network::from_method(shape, &Method::full(), &TrainingOptions::default())?;
    let mut streams = BTreeSet::new();
    for term in network.cost().terms() {
        match term.quantity {
            Quantity::Positions(stream) => streams.extend([stream]),
            Quantity::Pairs { query, key, .. } => streams.extend([query, key]),
            _ => {}
        }
    }
    Ok(streams)
}

/// `max_position_embeddings`, or what a family calls it.
fn positions(config: &Value) -> Option<u64> {
    const KEYS: [&str; 4] = ["max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len"];
    let text = config.get("text_config").unwrap_or(config);
    KEYS.iter().find_map(|key| text.get(key)?.as_u64()).filter(|positions| *positions > 0)
}
