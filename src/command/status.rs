//! `flopsmeter status`: how all modifications of a ledger stand.

use flopsmeter_core::assess::Verdict;
use flopsmeter_core::budget::Balance;
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::records;
use serde::Serialize;

use crate::args::StatusArguments;
use crate::exit::ExitStatus;
use crate::judgement::Judgement;
use crate::output::{self, TextTable};
use crate::{judgement, settings};

/// One modification.
#[derive(Serialize)]
struct Standing {
    modification: String,
    base: Option<String>,
    runs: usize,
    /// On what was done.
    verdict: Verdict,
    share_of_line_percent: Option<String>,
    /// `None` where it cannot be judged.
    budget: Option<Balance>,
    /// Why it cannot be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Standing {
    fn of(modification: Modification, judged: Judgement) -> Self {
        Self {
            base: judged.base.as_ref().map(|base| base.name().to_owned()),
            runs: modification.runs.len(),
            verdict: judged.assessment.verdict,
            share_of_line_percent: judged.assessment.share_of_line_percent,
            budget: Some(judged.balance),
            problem: None,
            modification: modification.slug,
        }
    }

    fn unknown(modification: Modification, problem: String) -> Self {
        Self {
            base: modification.base.as_ref().map(|base| base.name().to_owned()),
            runs: modification.runs.len(),
            verdict: Verdict::Undetermined,
            share_of_line_percent: None,
            budget: None,
            problem: Some(problem),
            modification: modification.slug,
        }
    }
}

pub(crate) fn execute(arguments: StatusArguments) -> anyhow::Result<ExitStatus> {
    let ledger = settings::ledger_to_list(&settings::ledger_path(arguments.ledger.ledger))?;
    let as_of = settings::as_of(arguments.rules.as_of);
    let house = settings::house_rules(arguments.rules.house_rules);
    let rules = judgement::rule_set(&arguments.rules.rules, as_of, house)?;
    let mut all = Vec::new();
    for modification in records::modifications(&ledger)? {
        all.push(match judgement::under(&ledger, &modification, rules, as_of) {
            Ok(judged) => Standing::of(modification, judged),
            // The others can be told all the same.
            Err(problem) => Standing::unknown(modification, format!("{problem:#}")),
        });
    }
    for (one, problem) in all.iter().filter_map(|one| Some((one, one.problem.as_ref()?))) {
        output::talk(&format!("`{}` cannot be judged: {problem}", one.modification));
    }
    // The modifications of one base model stand together.
    all.sort_by(|one, other| (&one.base, &one.modification).cmp(&(&other.base, &other.modification)));
    if arguments.json {
        output::json(&all)?;
    } else {
        output::data(&table(&all).render())?;
    }
    Ok(ExitStatus::Done)
}

fn table(all: &[Standing]) -> TextTable {
    let mut table = TextTable::new(&[
        "base model",
        "modification",
        ">runs",
        ">spent",
        ">set aside",
        ">left until exceeds",
        ">% of line",
        "verdict",
    ]);
    let flop = |value: Option<Flops>| value.map_or_else(|| "-".to_owned(), |value| value.scientific(3));
    for one in all {
        table.row(vec![
            one.base.clone().unwrap_or_else(|| "none".to_owned()),
            one.modification.clone(),
            one.runs.to_string(),
            flop(one.budget.as_ref().and_then(|budget| budget.spent)),
            flop(one.budget.as_ref().map(|budget| budget.reserved)),
            flop(one.budget.as_ref().and_then(|budget| budget.exceeds).map(|room| room.flop_left)),
            one.share_of_line_percent.clone().unwrap_or_else(|| "-".to_owned()),
            one.verdict.name().to_owned(),
        ]);
    }
    table
}
