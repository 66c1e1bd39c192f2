//! `flopsmeter modifications show`: its runs and answers, what it is made from and what was made from it.

use flopsmeter_core::lineage::{Edge, Modification, Node, NodeKind, Picture};
use flopsmeter_core::rules::RuleSet;
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use super::reservations::{self, WithBudget};
use super::{base_name, existing};
use crate::args::ShowArguments;
use crate::exit::ExitStatus;
use crate::lineage::BehindProblem;
use crate::words::flop;
use crate::{base, lineage, output, settings};

/// A modification as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    modification: WithBudget<'a>,
    lineage: Picture,
}

pub(super) fn execute(arguments: ShowArguments) -> anyhow::Result<ExitStatus> {
    let ledger = settings::ledger_to_list(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &arguments.modification)?;
    let picture = picture(&ledger, &modification)?;
    if arguments.dot {
        output::data(&picture.dot())?;
    } else if arguments.json {
        output::json(&Shown { modification: WithBudget::of(&ledger, &modification), lineage: picture })?;
    } else {
        output::data(&(words(&modification, &picture) + &reservations::words(&ledger, &modification)))?;
    }
    Ok(ExitStatus::Done)
}

fn picture(ledger: &Ledger, modification: &Modification) -> anyhow::Result<Picture> {
    let rules = RuleSet::in_force(settings::as_of(None))?;
    let spent_of = |of: &Modification| Ok::<_, BehindProblem>(lineage::spent(ledger, of, rules)?.0);
    Ok(Picture::around(modification, &lineage::all(ledger)?, base::registry()?, spent_of)?)
}

fn words(modification: &Modification, picture: &Picture) -> String {
    let slug = &modification.slug;
    let mut text = format!("modification  {slug}\nbase model    {}\n", base_name(modification));
    if let Some(merge) = &modification.merge {
        text.push_str(&format!("merged        by {} on {}", merge.by, merge.date));
        let parent = merge.parent.as_ref();
        text.push_str(&parent.map_or_else(String::new, |parent| format!(", parent {}", parent.label())));
        text.push('\n');
    }
    for again in &modification.rebased {
        text.push_str(&format!(
            "rebased       on {} by {} on {}: {}\n",
            again.base.label(),
            again.by,
            again.date,
            again.reason
        ));
    }
    if let Some(closed) = &modification.closed {
        text.push_str(&format!("closed        by {} on {}\n", closed.by, closed.date));
    }
    for run in &modification.runs {
        let left_out = modification
            .exclusion_of(run)
            .map_or_else(String::new, |out| format!(", left out by {} on {}: {}", out.by, out.date, out.reason));
        text.push_str(&format!("run           {run}{left_out}\n"));
    }
    for (edge, parent) in picture.parents_of(slug) {
        text.push_str(&format!("made from     {}\n", on_the_way(edge, parent, "by this one")));
    }
    for (edge, child) in picture.children_of(slug) {
        text.push_str(&format!("made into     {}\n", on_the_way(edge, child, "by that one")));
    }
    for (question, answer) in modification.answers.iter() {
        text.push_str(&format!(
            "answer        {}: {}, {}, {}\n",
            question.name(),
            answer.value,
            answer.by,
            answer.date
        ));
    }
    text
}

/// The node at the other end of an edge, and what was spent on the edge.
fn on_the_way(edge: &Edge, node: &Node, by: &str) -> String {
    let is_sure = |sure: bool| if sure { "" } else { "at least " };
    let of_model = match node.kind {
        NodeKind::Model => format!(" ({}{})", is_sure(node.complete || node.flop.is_none()), flop(node.flop)),
        NodeKind::Modification | NodeKind::Merge => String::new(),
    };
    format!("{}{of_model}, {} {by}", node.id.strip_prefix("model:").unwrap_or(&node.id), flop(edge.flop))
}
