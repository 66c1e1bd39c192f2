//! `flopsmeter models`: the base-model registry.

mod check;

use std::fmt::Write as _;

use flopsmeter_core::registry::{BaseModel, Registry};
use flopsmeter_core::rules::{LineKey, RuleSet};
use flopsmeter_core::unit::Flops;
use serde_json::json;

use crate::args::ModelsCommand;
use crate::base;
use crate::exit::ExitStatus;
use crate::output::{self, TextTable};
use crate::settings;

pub(crate) fn execute(command: ModelsCommand) -> anyhow::Result<ExitStatus> {
    let registry = base::registry()?;
    let attribution = registry.attribution();
    let rules = RuleSet::in_force(settings::as_of(None))?;
    match command {
        ModelsCommand::Search { text, json } => {
            let found = registry.search(&text);
            if json {
                output::json(
                    &json!({"models": found.iter().map(|model| value(model, rules)).collect::<Vec<_>>(), "attribution": attribution}),
                )?;
            } else {
                output::data(&table(&found, rules, attribution))?;
            }
        }
        ModelsCommand::Show { id, json } => {
            let model = registry.lookup(&id)?;
            if json {
                output::json(&json!({"model": with_lineage(registry, model, rules), "attribution": attribution}))?;
            } else {
                output::data(&words(registry, model, rules))?;
            }
        }
        ModelsCommand::Table => output::data(Registry::TABLE)?,
        ModelsCommand::Check { file, json } => return check::execute(file.as_deref(), rules, json),
    }
    Ok(ExitStatus::Done)
}

/// The line that the rule set in force draws over a base whose compute is known.
fn line_of(model: &BaseModel, rules: &RuleSet) -> Option<Flops> {
    model.flop.map(|flop| rules.line(LineKey::ThirdOfBase).multiplier.floor_of(flop))
}

fn third(model: &BaseModel, rules: &RuleSet) -> String {
    line_of(model, rules).map_or_else(|| "unknown".to_owned(), |line| line.scientific(4))
}

fn table(models: &[&BaseModel], rules: &RuleSet, attribution: &[String]) -> String {
    let mut table = TextTable::new(&["id", ">FLOP", ">a third", "from", "confidence"]);
    for model in models {
        table.row(vec![
            model.id.clone(),
            model.flop.map_or_else(|| "unknown".to_owned(), |flop| flop.scientific(4)),
            third(model, rules),
            model.flop_basis.clone(),
            model.confidence.clone(),
        ]);
    }
    format!("{}{}\n", table.render(), attribution.join("\n"))
}

fn words(registry: &Registry, model: &BaseModel, rules: &RuleSet) -> String {
    let mut text = String::new();
    let figure = model.flop.map_or_else(|| "unknown".to_owned(), |flop| format!("{} FLOP", flop.scientific(4)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}  {value}");
    };
    line("model", &model.id);
    line("also", &model.aliases.join(", "));
    line("developer", &format!("{}, {}, {}", model.developer, model.family, model.release_date));
    for (name, count) in [
        ("parameters", model.total_parameters),
        ("active", model.active_parameters.filter(|active| Some(*active) != model.total_parameters)),
        ("tokens", model.pretrain_tokens),
    ] {
        if let Some(count) = count {
            line(name, &count.to_string());
        }
    }
    line("compute", &format!("{figure}, {} ({})", model.flop_basis, model.confidence));
    line("a third", &third(model, rules));
    for figure in &model.figures {
        line("figure", &format!("{} FLOP, {}", figure.flop.scientific(4), figure.source));
    }
    if let Some(formula) = &model.estimate_formula {
        let method = model.estimate_method.as_deref().map_or_else(String::new, |method| format!(": {method}"));
        line("estimate", &format!("{formula}{method}"));
    }
    if let Some((hours, gpu)) = model.gpu_hours.zip(model.gpu_type.as_ref()) {
        line("GPU-hours", &format!("{hours} of {gpu}"));
    }
    if let Some(parent) = &model.parent {
        let relation = model.parent_relation.as_deref().unwrap_or("how is not on record");
        line("comes from", &format!("{}: {relation}", registry.parent(model).map_or(parent, |row| &row.id)));
    }
    for child in registry.children(model) {
        line(
            "became",
            &format!("{}: {}", child.id, child.parent_relation.as_deref().unwrap_or("how is not on record")),
        );
    }
    if let Some(reason) = &model.unknown_reason {
        line("unknown as", reason);
    }
    if let Some(notes) = &model.notes {
        line("notes", notes);
    }
    for source in &model.sources {
        line("source", source);
    }
    line("licence", &model.licence);
    for attribution in registry.attribution() {
        line("data", attribution);
    }
    text
}

/// The row, and the rows it comes from and led to.
fn with_lineage(registry: &Registry, model: &BaseModel, rules: &RuleSet) -> serde_json::Value {
    let mut row = value(model, rules);
    row["parent"] = json!(model.parent.as_ref().map(|name| {
        json!({"name": name, "id": registry.parent(model).map(|row| &row.id), "relation": model.parent_relation})
    }));
    row["children"] =
        registry.children(model).map(|child| json!({"id": child.id, "relation": child.parent_relation})).collect();
    row
}

fn value(model: &BaseModel, rules: &RuleSet) -> serde_json::Value {
    json!({
        "id": model.id,
        "aliases": model.aliases,
        "developer": model.developer,
        "family": model.family,
        "release_date": model.release_date,
        "total_parameters": model.total_parameters.map(|count| count.to_string()),
        "active_parameters": model.active_parameters.map(|count| count.to_string()),
        "pretrain_tokens": model.pretrain_tokens.map(|count| count.to_string()),
        "gpu_hours": model.gpu_hours.map(|hours| hours.to_string()),
        "gpu_type": model.gpu_type,
        "flop": model.flop,
        "flop_bound": model.flop_bound,
        "flop_basis": model.flop_basis,
        "flop_lowest": model.flop_lowest,
        "third_of_flop": line_of(model, rules),
        "confidence": model.confidence,
        "estimate_formula": model.estimate_formula,
        "unknown_reason": model.unknown_reason,
        "notes": model.notes,
        "sources": model.sources,
        "licence": model.licence,
        "digest": model.digest().to_string(),
    })
}
