//! `flopsmeter models check`: for those who add rows to the registry.

use std::path::Path;

use flopsmeter_core::registry::{self, Defect, Registry};
use flopsmeter_core::rules::RuleSet;
use serde_json::json;

use crate::exit::ExitStatus;
use crate::input;
use crate::output;

pub(super) fn execute(file: Option<&Path>, rules: &RuleSet, json: bool) -> anyhow::Result<ExitStatus> {
    let next_step = "name a CSV file with the columns that `flopsmeter models table` prints";
    let text = file.map(|file| input::text(file, "base-model table", next_step)).transpose()?;
    let table = text.as_deref().unwrap_or(Registry::TABLE);
    let name = file.map_or_else(|| "the built-in table".to_owned(), |file| file.display().to_string());
    let registry::Checked { rows, defects } = registry::check(table, rules)?;
    if json {
        output::json(&json!({"table": name, "rows": rows, "rules": rules.id(), "defects": defects}))?;
    } else {
        let found = match defects.len() {
            0 => "no defect".to_owned(),
            1 => "1 defect".to_owned(),
            many => format!("{many} defects"),
        };
        let line = |defect: &Defect| format!("{}, `{}`: {}", defect.row, defect.column, defect.text);
        let mut lines: Vec<String> = defects.iter().map(line).collect();
        lines.push(format!("{name}: {rows} rows, {found} (held against {})\n", rules.id()));
        output::data(&lines.join("\n"))?;
    }
    Ok(if defects.is_empty() { ExitStatus::Done } else { ExitStatus::Failed })
}
