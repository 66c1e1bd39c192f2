//! Which base model an argument means: another modification, a declared file, a local model folder, or a name of the registry, in that
//! order of certainty.

mod folder;

use std::path::Path;

use anyhow::{Context as _, anyhow};
use flopsmeter_core::lineage::{BaseReference, MODIFICATION_SCHEME};
use flopsmeter_core::registry::{Base, DeclaredBase, Registry};

use crate::input;

/// What is recorded of `--base`, so that the same base is found again without the file; a miss is an error with suggestions, never a guess.
/// Whether the ledger has a modification that it names is for the caller to see.
pub(crate) fn reference(argument: &str) -> anyhow::Result<BaseReference> {
    if let Some(slug) = argument.strip_prefix(MODIFICATION_SCHEME) {
        let slug =
            crate::args::slug(slug).map_err(|problem| anyhow!("`{argument}` names no modification: {problem}"))?;
        return Ok(BaseReference::Modification { slug });
    }
    let path = Path::new(argument);
    if path.is_file() {
        return declared(path, argument);
    }
    if path.is_dir() {
        return referenced(&Base::Registry(folder::model(path, registry()?)?), "");
    }
    let model = registry()?.lookup_name_or_path(argument).map_err(|miss| {
        let is_path =
            path.extension().is_some_and(|extension| extension == "toml") || argument.starts_with(['/', '.', '~']);
        if is_path {
            anyhow!("there is no file or folder `{argument}`; correct the path, or name the base model by its Hugging Face id")
        } else {
            anyhow!(miss)
        }
    })?;
    referenced(&Base::Registry(model), "")
}

/// The base model that was recorded.
pub(crate) fn recorded(reference: &BaseReference) -> anyhow::Result<Base<'static>> {
    let context = || format!("the recorded base model {} cannot be read", reference.name());
    reference.resolve(registry()?).with_context(context)
}

pub(crate) fn registry() -> anyhow::Result<&'static Registry> {
    Registry::embedded().context("the built-in base-model registry cannot be read; please report this")
}

fn declared(path: &Path, argument: &str) -> anyhow::Result<BaseReference> {
    let text = input::text(path, "base declaration", "name a TOML file with name, flop, source, declared_by and date")?;
    let base = DeclaredBase::parse(&text, argument)?;
    referenced(&Base::Declared(Box::new(base)), &text)
}

fn referenced(base: &Base<'static>, declared_text: &str) -> anyhow::Result<BaseReference> {
    BaseReference::of(base, declared_text).context("a base model without a row or file has no reference")
}
