//! How the model is trained: from flags to a method, with the contradictions among them.

use flopsmeter_core::facts::AdapterKind;
use flopsmeter_core::method::{Method, Targets};

use crate::args::{MethodChoice, PlanArguments};
use crate::exit::UsageProblem;

/// Rank of the low-rank pairs where none is given.
const USUAL_RANK: u64 = 16;

/// Trained positions where none are given.
const USUAL_VIRTUAL_TOKENS: u64 = 20;

/// Starts a regular expression among the targets.
const PATTERN: &str = "re:";

/// The method that the flags ask for.
pub(super) fn method(arguments: &PlanArguments) -> Result<Method, UsageProblem> {
    check(arguments)?;
    let virtual_tokens = arguments.virtual_tokens.unwrap_or(USUAL_VIRTUAL_TOKENS);
    Ok(match arguments.method {
        MethodChoice::Full => Method::Full { frozen: arguments.frozen.clone() },
        MethodChoice::Lora | MethodChoice::Qlora => lora(arguments, AdapterKind::Lora)?,
        MethodChoice::Dora => lora(arguments, AdapterKind::Dora)?,
        MethodChoice::LastLayers => Method::LastLayers { layers: arguments.train_last.unwrap_or(0) },
        MethodChoice::HeadOnly => Method::HeadOnly,
        MethodChoice::Prompt => Method::Prompt { virtual_tokens },
        MethodChoice::Prefix => Method::Prefix { virtual_tokens },
    })
}

/// Flags that another method would silently ignore are refused.
fn check(arguments: &PlanArguments) -> Result<(), UsageProblem> {
    let refuse = |text: &str| Err(UsageProblem(text.to_owned()));
    if arguments.train_last.is_some() != (arguments.method == MethodChoice::LastLayers) {
        return refuse("--train-last N and --method last-layers belong together; give both or neither");
    }
    if !arguments.frozen.is_empty() && arguments.method != MethodChoice::Full {
        return refuse("--frozen belongs to --method full; the other methods freeze by themselves");
    }
    let has_pairs = matches!(arguments.method, MethodChoice::Lora | MethodChoice::Qlora | MethodChoice::Dora);
    if !arguments.modules_to_save.is_empty() && !has_pairs {
        return refuse("--modules-to-save belongs to --method lora, qlora or dora");
    }
    if (arguments.lora_r.is_some() || !arguments.lora_targets.is_empty()) && !has_pairs {
        return refuse("--lora-r and --lora-targets belong to --method lora, qlora or dora");
    }
    let narrows_pairs = !arguments.lora_rank_pattern.is_empty() || !arguments.lora_layers.is_empty();
    if narrows_pairs && !has_pairs {
        return refuse("--lora-rank-pattern and --lora-layers belong to --method lora, qlora or dora");
    }
    let has_virtual_tokens = matches!(arguments.method, MethodChoice::Prompt | MethodChoice::Prefix);
    if arguments.virtual_tokens.is_some() && !has_virtual_tokens {
        return refuse("--virtual-tokens belongs to --method prompt or prefix");
    }
    if arguments.virtual_tokens == Some(0) {
        return refuse("--virtual-tokens 0 trains nothing; give at least 1");
    }
    Ok(())
}

fn lora(arguments: &PlanArguments, kind: AdapterKind) -> Result<Method, UsageProblem> {
    Ok(Method::Lora {
        kind,
        rank: arguments.lora_r.unwrap_or(USUAL_RANK),
        rank_pattern: arguments.lora_rank_pattern.clone(),
        targets: targets(&arguments.lora_targets)?,
        layers_to_transform: arguments.lora_layers.clone(),
        modules_to_save: arguments.modules_to_save.clone(),
    })
}

/// A pattern may hold commas, so it stands alone; names are cut at theirs.
fn targets(given: &[String]) -> Result<Targets, UsageProblem> {
    if let [only] = given
        && let Some(pattern) = only.strip_prefix(PATTERN)
    {
        return Ok(Targets::Pattern(pattern.to_owned()));
    }
    if let Some(pattern) = given.iter().find(|text| text.starts_with(PATTERN)) {
        return Err(UsageProblem(format!(
            "--lora-targets {pattern} stands beside other targets; give one regular expression, or names alone"
        )));
    }
    let names: Vec<String> = given.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    Ok(match names.as_slice() {
        [] => Targets::AllLinear,
        [only] if only == "all-linear" => Targets::AllLinear,
        _ => Targets::Named(names),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[&str]) -> Result<Targets, String> {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        targets(&given).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_pattern_keeps_its_commas_and_stands_alone() {
        assert_eq!(read(&["re:.*\\.[qv]_proj{1,2}"]), Ok(Targets::Pattern(".*\\.[qv]_proj{1,2}".to_owned())));
        assert!(read(&["q_proj", "re:x"]).unwrap_err().contains("beside other targets"));
        assert_eq!(read(&["a,b", "c"]), Ok(Targets::Named(["a", "b", "c"].map(str::to_owned).to_vec())));
        assert_eq!(read(&["all-linear"]), Ok(Targets::AllLinear));
    }
}
