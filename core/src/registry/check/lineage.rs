//! A row against its parent's.

use super::Findings;
use crate::registry::{Registry, RegistryProblem};
use crate::unit::Flops;

pub(super) fn check(found: &mut Findings<'_, '_>, registry: &Registry) -> Result<(), RegistryProblem> {
    let Some(parent) = found.row.text("parent_model")? else {
        if found.row.flop("parent_compute_flop")?.is_some() {
            found.say("parent_model", "there is a parent's compute, and no parent");
        }
        return Ok(());
    };
    if found.row.cell("parent_relation")?.is_none() {
        found.say("parent_relation", format!("say how it comes from {parent}"));
    }
    let listed = registry.lookup(&parent).ok();
    if listed.is_some_and(|listed| listed.id == found.row.id()) {
        found.say("parent_model", "a model is not its own parent");
        return Ok(());
    }
    if listed.is_some_and(|listed| descends(registry, listed.id.as_str(), found.row.id())) {
        found.say("parent_model", format!("{parent} itself descends from this model"));
        return Ok(());
    }
    cheaper(found, &parent, listed.and_then(|listed| listed.flop))
}

/// A model contains its parent's training; only a pruned or distilled one, or another way of counting, can come out lower.
fn cheaper(found: &mut Findings<'_, '_>, parent: &str, listed: Option<Flops>) -> Result<(), RegistryProblem> {
    let Some(own) = found.row.flop("flop")? else { return Ok(()) };
    let within = found.row.flop("parent_compute_flop")?;
    let Some(dearer) = [listed, within].into_iter().flatten().filter(|figure| own < *figure).max() else {
        return Ok(());
    };
    if !found.has_note()? {
        let (own, dearer) = (own.scientific(4), dearer.scientific(4));
        found.say("flop", format!("it is {own}, less than {dearer} of its parent {parent}; say why under `notes`"));
    }
    Ok(())
}

/// Whether the row of this id comes from `ancestor`; the number of rows bounds the walk.
fn descends(registry: &Registry, id: &str, ancestor: &str) -> bool {
    let mut at = id.to_owned();
    for _ in registry.models() {
        let Some(next) = registry.lookup(&at).ok().and_then(|row| row.parent.clone()) else { return false };
        let Ok(parent) = registry.lookup(&next) else { return false };
        if parent.id == ancestor {
            return true;
        }
        at.clone_from(&parent.id);
    }
    true
}
