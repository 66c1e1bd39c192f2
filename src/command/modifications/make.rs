//! `flopsmeter modifications create`, `merge`, `rebase` and `close`: how a modification comes to be before its first run, what it is made
//! from after all, and that it is done after its last.

use std::path::Path;

use anyhow::bail;
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{ModificationClosed, ModificationCreated, ModificationMerged, ModificationRebased};
use flopsmeter_core::lineage::{BaseReference, MODIFICATION_SCHEME, Merge, Modification, Modifications, check};
use flopsmeter_meter::binding::bind;
use flopsmeter_meter::store::Ledger;

use super::{append, existing};
use crate::args::{CloseArguments, Declarer, LedgerArguments, MergeArguments, RebaseArguments, RunDeclaration, slug};
use crate::command::runs::declared_on;
use crate::exit::{ExitStatus, UsageProblem};
use crate::{base, lineage, output, settings};

pub(super) fn create(slug: &str, base: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let base = base::reference(base)?;
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let made = Modification { slug: slug.to_owned(), base: Some(base.clone()), ..Modification::default() };
    check(&made, &lineage::all(&ledger)?)?;
    let name = base.label();
    let body = Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base: Some(base) });
    begin(&mut ledger, slug, &body)?;
    output::data(&format!("made modification {slug} on {name}\n"))?;
    Ok(ExitStatus::Done)
}

pub(super) fn merge(arguments: MergeArguments) -> anyhow::Result<ExitStatus> {
    let date = declared_on(arguments.declarer.date)?;
    if arguments.of.len() < 2 {
        return Err(UsageProblem("a merge has two models or more: give each with --of".to_owned()).into());
    }
    let slug = &arguments.modification;
    let mut ledger = Ledger::open(&settings::ledger_path(arguments.ledger.ledger))?;
    let all = lineage::all(&ledger)?;
    let mut of: Vec<BaseReference> = Vec::new();
    for argument in &arguments.of {
        let model = weights(argument, &all)?;
        if of.iter().any(|known| known.is_same(&model)) {
            return Err(UsageProblem(format!("`--of {argument}` is given twice: weights are merged once")).into());
        }
        of.push(model);
    }
    let parent = arguments.parent.as_deref().map(|parent| weights(parent, &all)).transpose()?;
    if let Some(parent) = parent.as_ref().filter(|parent| !of.iter().any(|model| model.is_same(parent))) {
        return Err(
            UsageProblem(format!("`--parent` names {}, which is none of the models `--of`", parent.label())).into()
        );
    }
    let names = of.iter().map(BaseReference::label).collect::<Vec<_>>().join(", ");
    let merge = Merge { of, parent, by: arguments.declarer.by.clone(), date };
    let made = Modification { slug: slug.clone(), merge: Some(merge.clone()), ..Modification::default() };
    check(&made, &all)?;
    begin(&mut ledger, slug, &Body::ModificationMerged(ModificationMerged { slug: slug.clone(), merge }))?;
    output::data(&format!("made modification {slug} by merging {names}, as {} declares\n", arguments.declarer.by))?;
    Ok(ExitStatus::Done)
}

/// Declares that a modification is made from another model than was recorded: a new entry, which holds from then on.
pub(super) fn rebase(arguments: RebaseArguments) -> anyhow::Result<ExitStatus> {
    let RunDeclaration { reason, declarer: Declarer { by, date } } = arguments.declaration;
    let (slug, date) = (arguments.modification, declared_on(date)?);
    let base = base::reference(&arguments.base)?;
    let mut ledger = Ledger::open(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &slug)?;
    if modification.merge.is_some() {
        bail!(
            "modification `{slug}` is a merge: what was merged stands as it was declared; make another merge of the right models"
        );
    }
    if modification.base.as_ref().is_some_and(|known| known.is_same(&base)) {
        bail!("modification `{slug}` is made from {} already", base.label());
    }
    let made = Modification { slug: slug.clone(), base: Some(base.clone()), ..Modification::default() };
    check(&made, &lineage::all(&ledger)?)?;
    let before = modification.base.as_ref().map_or_else(|| "no model".to_owned(), BaseReference::label);
    let words = format!("modification {slug} is made from {} and not from {before}, as {by} declares\n", base.label());
    bind(
        &mut ledger,
        &slug,
        settings::now(),
        &Body::ModificationRebased(ModificationRebased { base, reason, by, date }),
    )??;
    output::data(&words)?;
    Ok(ExitStatus::Done)
}

pub(super) fn close(arguments: CloseArguments) -> anyhow::Result<ExitStatus> {
    let date = declared_on(arguments.declarer.date)?;
    let (slug, by) = (arguments.modification, arguments.declarer.by);
    let mut ledger = Ledger::open(&settings::ledger_path(arguments.ledger.ledger))?;
    if let Some(closed) = existing(&ledger, &slug)?.closed {
        bail!("modification `{slug}` was closed already, by {} on {}", closed.by, closed.date);
    }
    let words = format!("closed modification {slug}, as {by} declares: no run is counted to it any more\n");
    append(&mut ledger, &slug, &Body::ModificationClosed(ModificationClosed { by, date }))?;
    output::data(&words)?;
    Ok(ExitStatus::Done)
}

/// A model whose weights are merged: a name that only a modification has means that one, a name that a model has as well means neither.
fn weights(argument: &str, all: &Modifications) -> anyhow::Result<BaseReference> {
    let of_modification = all.contains_key(argument);
    let is_model =
        || base::registry().map(|registry| registry.lookup(argument).is_ok() || Path::new(argument).exists());
    if of_modification && is_model()? {
        let cause = format!("`{argument}` is a modification of this ledger and a model");
        return Err(UsageProblem(format!(
            "{cause}: write {MODIFICATION_SCHEME}{argument}, ./{argument} or the model's full id"
        ))
        .into());
    }
    if of_modification {
        return Ok(BaseReference::Modification { slug: argument.to_owned() });
    }
    base::reference(argument).map_err(|problem| match slug(argument) {
        Ok(_) if !all.is_empty() => {
            let known = all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            problem.context(format!("`{argument}` is no modification of this ledger ({known}) and no model"))
        }
        _ => problem,
    })
}

fn begin(ledger: &mut Ledger, slug: &str, body: &Body) -> anyhow::Result<()> {
    if bind(ledger, slug, settings::now(), body)??.is_none() {
        bail!("modification `{slug}` exists already: `flopsmeter modifications show {slug}`");
    }
    Ok(())
}
