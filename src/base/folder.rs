//! Which base model a local model folder comes from: as its files say, and as its weights bear out.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use flopsmeter_core::registry::{BaseModel, Registry, StoredWeights};
use serde_json::Value;

use crate::input;

const NEXT_STEP: &str = "name a folder with a model's config.json, a Hugging Face id, or a declared base file";

/// Weights in one file; with several, an index names them.
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The row that a folder comes from.
///
/// # Errors
///
/// A folder that is no model's, one whose files name no row (the rows with as many parameters are told), and one whose weights
/// cannot be those of the row that it names.
pub(super) fn model<'registry>(folder: &Path, registry: &'registry Registry) -> anyhow::Result<&'registry BaseModel> {
    if let Some(adapter) = json_of(folder, "adapter_config.json")? {
        let base = text(&adapter, "base_model_name_or_path").with_context(|| {
            format!("{} is an adapter whose adapter_config.json names no base model; {NEXT_STEP}", folder.display())
        })?;
        return registry.lookup_name_or_path(base).map_err(|miss| anyhow!(miss));
    }
    let config = json(&folder.join("config.json"))?;
    let parameters = parameters(folder)?;
    // A folder in the hub's cache carries the id in its own path.
    let name = text(&config, "_name_or_path").map_or_else(|| folder.to_string_lossy().into_owned(), str::to_owned);
    let model = registry.lookup_name_or_path(&name).map_err(|miss| match parameters {
        Some(parameters) => anyhow!(alike(folder, registry, parameters)).context(miss),
        None => anyhow!(miss),
    })?;
    if let Some((parameters, listed)) = parameters.zip(model.total_parameters)
        && !StoredWeights::may_be_of(parameters, listed)
    {
        bail!(
            "{} says that it comes from {}, which has {listed} parameters, and its weights are {parameters}; name its base model by the Hugging Face id, or declare it in a file",
            folder.display(),
            model.id
        );
    }
    Ok(model)
}

/// A count is no proof of origin, so that it only suggests.
fn alike(folder: &Path, registry: &Registry, parameters: u128) -> String {
    let rows: Vec<&str> = registry.of_size(parameters).map(|model| model.id.as_str()).take(5).collect();
    let like =
        if rows.is_empty() { "as no listed model has".to_owned() } else { format!("as {} has", rows.join(", ")) };
    format!("{} does not name its base model; its weights are {parameters} parameters, {like}", folder.display())
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// One of the folder's JSON files; `None` where there is none of that name.
fn json_of(folder: &Path, name: &str) -> anyhow::Result<Option<Value>> {
    let path = folder.join(name);
    if path.exists() { json(&path).map(Some) } else { Ok(None) }
}

fn json(path: &Path) -> anyhow::Result<Value> {
    let text = input::text(path, "model configuration", NEXT_STEP)?;
    flopsmeter_core::shape::read_json(&text).with_context(|| format!("{} is no JSON; {NEXT_STEP}", path.display()))
}

/// How many parameters the folder's weights are, by their files' headers; `None` where there are none, or they are packed.
fn parameters(folder: &Path) -> anyhow::Result<Option<u128>> {
    let files = match json_of(folder, INDEX)? {
        Some(index) => StoredWeights::files_of_index(&index).into_iter().map(|name| folder.join(name)).collect(),
        None => vec![folder.join(WEIGHTS)],
    };
    let mut sum = 0_u128;
    for file in files.iter().filter(|file| file.exists()) {
        let Some(parameters) = StoredWeights::of_header(&header(file)?)
            .with_context(|| format!("{} cannot be read as safetensors; restore it, or {NEXT_STEP}", file.display()))?
            .parameters
        else {
            return Ok(None);
        };
        sum = sum.saturating_add(parameters);
    }
    Ok(Some(sum).filter(|sum| *sum > 0 && files.iter().all(|file| file.exists())))
}

/// The JSON at the head of a safetensors file: its length in eight bytes, then that many.
fn header(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("{} cannot be read; {NEXT_STEP}", path.display());
    let mut file = fs_err::File::open(path).with_context(unreadable)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).with_context(unreadable)?;
    let length = u64::from_le_bytes(length);
    if length > StoredWeights::LONGEST_HEADER {
        bail!("{} is no safetensors file: its header would be {length} bytes long; {NEXT_STEP}", path.display());
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).with_context(unreadable)?;
    Ok(header)
}
