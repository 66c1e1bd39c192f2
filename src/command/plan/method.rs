//! How the model is trained: from flags to a method, with the contradictions among them.

use flopsmeter_core::facts::AdapterKind;
use flopsmeter_core::method::{Method, MethodProblem, Targets};

use crate::args::{MethodChoice, PlanArguments};
use crate::exit::UsageProblem;

/// Rank of the low-rank pairs where none is given.
const USUAL_RANK: u64 = 16;

/// Trained positions where none are given.
const USUAL_VIRTUAL_TOKENS: u64 = 20;

/// Blocks of `last-layers` among other methods where none are given.
const USUAL_LAST_LAYERS: u64 = 2;

/// Every linear module but the head.
const ALL_LINEAR: &str = "all-linear";

/// Starts a regular expression among the targets.
const PATTERN: &str = "re:";

/// The method that the flags ask for.
pub(super) fn method(arguments: &PlanArguments) -> Result<Method, UsageProblem> {
    check(arguments)?;
    of_choice(arguments.method, arguments, arguments.train_last.unwrap_or(0))
}

/// A method among others: what is not given has its default.
pub(super) fn compared(choice: MethodChoice, arguments: &PlanArguments, layers: usize) -> Result<Method, UsageProblem> {
    of_choice(choice, arguments, compared_layers(arguments, layers))
}

fn compared_layers(arguments: &PlanArguments, layers: usize) -> u64 {
    arguments.train_last.unwrap_or_else(|| USUAL_LAST_LAYERS.min(u64::try_from(layers).unwrap_or(u64::MAX)))
}

/// What a method was asked for, in words.
pub(super) fn details(choice: MethodChoice, arguments: &PlanArguments, layers: usize) -> String {
    match choice {
        MethodChoice::Lora | MethodChoice::Qlora | MethodChoice::Dora => pairs(arguments),
        MethodChoice::LastLayers => format!("{} blocks", compared_layers(arguments, layers)),
        MethodChoice::Prompt | MethodChoice::Prefix => {
            format!("{} virtual tokens", arguments.virtual_tokens.unwrap_or(USUAL_VIRTUAL_TOKENS))
        }
        MethodChoice::Full if !arguments.frozen.is_empty() => format!("without {}", arguments.frozen.join(", ")),
        MethodChoice::Full | MethodChoice::HeadOnly => String::new(),
    }
}

/// Defaults of a method that were used, as they would be typed.
pub(super) fn defaults(arguments: &PlanArguments) -> Vec<String> {
    let mut used = Vec::new();
    if matches!(arguments.method, MethodChoice::Lora | MethodChoice::Qlora | MethodChoice::Dora) {
        used.extend(arguments.lora_r.is_none().then(|| format!("--lora-r {USUAL_RANK}")));
        used.extend(arguments.lora_targets.is_empty().then(|| format!("--lora-targets {ALL_LINEAR}")));
    }
    if matches!(arguments.method, MethodChoice::Prompt | MethodChoice::Prefix) && arguments.virtual_tokens.is_none() {
        used.push(format!("--virtual-tokens {USUAL_VIRTUAL_TOKENS}"));
    }
    used
}

/// Trained positions or keys before each sequence, with the methods that have them.
pub(super) fn virtual_tokens(arguments: &PlanArguments) -> Option<u64> {
    let has_some = matches!(arguments.method, MethodChoice::Prompt | MethodChoice::Prefix);
    has_some.then(|| arguments.virtual_tokens.unwrap_or(USUAL_VIRTUAL_TOKENS))
}

/// Which flags a method that does not fit the model came from, where they contradict each other or the model.
pub(super) fn misfit(problem: MethodProblem) -> anyhow::Error {
    let flags = match &problem {
        MethodProblem::NoTargetInBlocks { .. } => "--lora-targets and --lora-layers exclude each other",
        MethodProblem::RankWithoutTarget { .. } => "--lora-targets and --lora-rank-pattern exclude each other",
        MethodProblem::NothingTrained { .. } => "--frozen",
        MethodProblem::Rank { .. } => "--lora-r",
        MethodProblem::Block { .. } => "--lora-layers",
        MethodProblem::Layers { .. } => "--train-last",
        MethodProblem::VirtualTokens { .. } => "--virtual-tokens",
        _ => return problem.into(),
    };
    UsageProblem(format!("{flags}: {problem}")).into()
}

fn pairs(arguments: &PlanArguments) -> String {
    let targets = match arguments.lora_targets.as_slice() {
        [] => ALL_LINEAR.to_owned(),
        given => given.join(","),
    };
    let mut text = format!("rank {} on {targets}", arguments.lora_r.unwrap_or(USUAL_RANK));
    for (name, rank) in &arguments.lora_rank_pattern {
        text.push_str(&format!(", {rank} on {name}"));
    }
    if !arguments.lora_layers.is_empty() {
        let layers: Vec<String> = arguments.lora_layers.iter().map(u64::to_string).collect();
        text.push_str(&format!(", in blocks {} only", layers.join(", ")));
    }
    if !arguments.modules_to_save.is_empty() {
        text.push_str(&format!(", whole {}", arguments.modules_to_save.join(", ")));
    }
    text
}

fn of_choice(choice: MethodChoice, arguments: &PlanArguments, last_layers: u64) -> Result<Method, UsageProblem> {
    let virtual_tokens = arguments.virtual_tokens.unwrap_or(USUAL_VIRTUAL_TOKENS);
    Ok(match choice {
        MethodChoice::Full => Method::Full { frozen: arguments.frozen.clone() },
        MethodChoice::Lora | MethodChoice::Qlora => lora(arguments, AdapterKind::Lora)?,
        MethodChoice::Dora => lora(arguments, AdapterKind::Dora)?,
        MethodChoice::LastLayers => Method::LastLayers { layers: last_layers },
        MethodChoice::HeadOnly => Method::HeadOnly,
        MethodChoice::Prompt => Method::Prompt { virtual_tokens },
        MethodChoice::Prefix => Method::Prefix { virtual_tokens },
    })
}

/// Flags that another method would silently ignore are refused.
fn check(arguments: &PlanArguments) -> Result<(), UsageProblem> {
    let refuse = |text: &str| Err(UsageProblem(text.to_owned()));
    refuse_nothing(arguments)?;
    if arguments.compare && arguments.method == MethodChoice::Full && arguments.virtual_tokens.is_none() {
        // The other methods of the comparison take the flags that are theirs.
        return Ok(());
    }
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
    Ok(())
}

/// What trains nothing whatever the model is.
fn refuse_nothing(arguments: &PlanArguments) -> Result<(), UsageProblem> {
    let numbers = [
        ("--train-last", arguments.train_last),
        ("--lora-r", arguments.lora_r),
        ("--virtual-tokens", arguments.virtual_tokens),
    ];
    match numbers.iter().find(|(_, number)| *number == Some(0)) {
        Some((flag, _)) => Err(UsageProblem(format!("{flag} 0 trains nothing; give at least 1"))),
        None => Ok(()),
    }
}

/// Blocks that the model does not have are refused beside other methods too, where only a row of the comparison would say so.
pub(super) fn refuse_missing_blocks(arguments: &PlanArguments, there: usize) -> Result<(), UsageProblem> {
    match arguments.train_last {
        Some(asked) if usize::try_from(asked).map_or(true, |asked| asked > there) => {
            let problem = MethodProblem::Layers { asked, there };
            Err(UsageProblem(format!("--train-last: {problem}")))
        }
        _ => Ok(()),
    }
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
        [only] if only == ALL_LINEAR => Targets::AllLinear,
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
