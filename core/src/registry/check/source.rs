//! Where a row's figures are from.

use super::Findings;
use crate::registry::RegistryProblem;

const CONFIDENCES: [&str; 3] = ["confident", "likely", "speculative"];

pub(super) fn check(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    documents(found)?;
    for (figure, origin) in [
        ("flop_developer", "flop_developer_by"),
        ("flop_epoch", "epoch_snapshot"),
        ("flop_epoch", "flop_epoch_scope"),
        ("total_params", "params_source"),
        ("pretrain_tokens", "tokens_source"),
        ("gpu_hours", "gpu_type"),
        ("gpu_hours", "gpu_hours_source"),
    ] {
        if found.row.cell(figure)?.is_some() && found.row.cell(origin)?.is_none() {
            found.say(origin, format!("`{figure}` has a value; say where it is from"));
        }
    }
    let confidence = found.row.cell("confidence")?;
    if found.row.cell("flop")?.is_some() && !confidence.is_some_and(|word| CONFIDENCES.contains(&word)) {
        found.say("confidence", format!("write one of {}", CONFIDENCES.join(", ")));
    }
    if found.row.cell("licence")?.is_none() {
        found.say("licence", "say under which licence the weights are, or `unknown`");
    }
    if !found.row.cell("release_date")?.is_none_or(is_year_or_month) {
        found.say("release_date", "write a year, or a year and a month joined by a hyphen");
    }
    Ok(())
}

fn documents(found: &mut Findings<'_, '_>) -> Result<(), RegistryProblem> {
    let documents = found.row.cell("sources")?.unwrap_or_default();
    let mut addresses = documents.split('|').map(str::trim).filter(|address| !address.is_empty()).peekable();
    if addresses.peek().is_none() && found.row.cell("flop")?.is_some() {
        found.say("sources", "name the document that the figure is from");
    }
    if let Some(other) = addresses.find(|address| !address.starts_with("https://") && !address.starts_with("http://")) {
        found.say("sources", format!("`{other}` is no address; separate several by ` | `"));
    }
    Ok(())
}

fn is_year_or_month(text: &str) -> bool {
    let is_number = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        None => is_number(text, 4),
        Some((year, rest)) => {
            is_number(year, 4)
                && rest
                    .split('-')
                    .all(|part| is_number(part, 2) && part.parse::<u8>().is_ok_and(|n| (1..=31).contains(&n)))
        }
    }
}
