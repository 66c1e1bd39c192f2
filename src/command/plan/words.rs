//! What `plan` says to people. Figures that are estimates have two digits; `--json` has them in full.

mod figures;

use flopsmeter_core::assess::{Basis, Verdict};
use flopsmeter_core::plan::Batching;
use flopsmeter_core::unit::Flops;

use super::answer::Answer;
use super::budget::Budget;
use super::comparison::Row;
use super::data::{JobSize, LengthSummary};
use super::expectation::Expectation;
use super::headroom::Until;
use crate::output::{self, TextTable};
use crate::words;

/// Columns that a label takes.
const LABEL: usize = 11;

/// Columns of the comparison that a narrow terminal goes without, the first to go first.
const SPARED: [&str; 4] = ["asked for", "executed", "tokens until exceeds", "trained"];

/// The answer, for a terminal so wide.
pub(super) fn answer(answer: &Answer, width: Option<usize>) -> String {
    let mut text = job(answer);
    text.push_str(&method(answer));
    text.push_str(&operations(answer, width));
    text.push_str(&range(answer));
    text.push_str(&words::assessment(&answer.assessment));
    text.push_str(&headroom(answer));
    text.push_str(&answer.budget.as_ref().map_or_else(String::new, budget));
    for expectation in &answer.expected {
        text.push_str(&expected(expectation));
    }
    if let Some(rows) = &answer.comparison {
        text.push_str(&comparison(rows, width));
    }
    if !answer.defaults.is_empty() {
        text.push_str(&format!("defaults   {}\n", answer.defaults.join("; ")));
    }
    output::wrapped(&text, width, LABEL)
}

fn job(answer: &Answer) -> String {
    let job = &answer.job;
    let epochs = if job.epochs == 1 { "1 epoch".to_owned() } else { format!("each of {} epochs", job.epochs) };
    let micro_batches = match (&job.lengths, job.seq_len) {
        (Some(lengths), _) => of_lengths(job, lengths),
        (None, length) => of_one_length(job, length.unwrap_or(0)),
    };
    let mut text = format!("job        {} tokens: {micro_batches} in {epochs}\n", answer.tokens);
    if let Some(lengths) = &job.lengths {
        text.push_str(&file(job, lengths));
    }
    let mut beside = Vec::new();
    beside.extend(job.decoder_len.map(|positions| format!("{positions} decoder positions")));
    beside.extend(job.images.map(|images| format!("{images} images")));
    beside.extend(job.image_grid.map(|[time, height, width]| format!("{time} x {height} x {width} patches in each")));
    if !beside.is_empty() {
        text.push_str(&format!("           each sequence with {}\n", beside.join(", ")));
    }
    text
}

fn of_one_length(job: &JobSize, length: u64) -> String {
    let whole = job.micro_batches - u64::from(job.last_sequences > 0);
    let last = if job.last_sequences == 0 { String::new() } else { format!(" and one of {}", job.last_sequences) };
    let batches = if whole == 1 { "micro-batch" } else { "micro-batches" };
    format!("{whole} {batches} of {} x {length} positions{last}", job.sequences)
}

fn of_lengths(job: &JobSize, lengths: &LengthSummary) -> String {
    let (count, size) = (job.micro_batches, job.sequences);
    match lengths.batching {
        Batching::Packed => format!("{count} micro-batches of {size} x {} positions", job.seq_len.unwrap_or(0)),
        _ if size == 1 => format!("{count} sequences, each by itself,"),
        Batching::Padded => format!("{count} micro-batches of {size} sequences, padded to the longest of each,"),
        Batching::PaddingFree => format!("{count} micro-batches of {size} sequences, without padding,"),
    }
}

fn file(job: &JobSize, lengths: &LengthSummary) -> String {
    let cut = match (lengths.cut, job.seq_len) {
        (1.., Some(most)) => format!(", {} of them cut to {most}", lengths.cut),
        _ => String::new(),
    };
    let how = match lengths.batching {
        Batching::Padded if job.sequences > 1 => "; batched in the order of the file",
        Batching::Packed => "; laid end to end and cut into rows",
        _ => "",
    };
    format!(
        "lengths    {}: {} sequences of {} to {} positions, {} together{cut}{how}\n",
        lengths.file, lengths.sequences, lengths.shortest, lengths.longest, lengths.tokens
    )
}

fn method(answer: &Answer) -> String {
    let trainable = answer.params.trainable.map_or_else(|| "an unknown number".to_owned(), |count| count.to_string());
    let details =
        if answer.method_details.is_empty() { String::new() } else { format!(" ({})", answer.method_details) };
    let total = answer.params.total;
    let mut text = format!("method     {}{details}: {trainable} of {total} parameters trained\n", answer.method);
    if !answer.unmatched_targets.is_empty() {
        let names = answer.unmatched_targets.join(", ");
        text.push_str(&format!(
            "           no module of this model is named {names}: correct the targets or leave them out\n"
        ));
    }
    text
}

fn operations(answer: &Answer, width: Option<usize>) -> String {
    let flops = &answer.flops;
    if answer.basis == Basis::Parameters {
        let amount = match flops.lowest {
            Some(lowest) => format!(
                "between {} and {}: 6 P D and a third of it",
                words::flop(Some(lowest)),
                words::flop(Some(flops.training))
            ),
            None => format!("{}: 6 P D, not exact", words::flop(Some(flops.training))),
        };
        return format!(
            "training   {amount}\n           the registry holds no shapes: save the model's config.json (`hf download ID config.json`) and give it with --config for the count\n"
        );
    }
    let exact = products(answer, |flops| flops.to_string());
    let fits = width.is_none_or(|width| exact.width() <= width);
    let table = if fits { exact } else { products(answer, |flops| flops.scientific(3)) };
    let sum = |value: Option<Flops>| value.unwrap_or(Flops::ZERO);
    let recompute = if sum(flops.recompute).0 == 0 { "" } else { ", recomputation not counted by the law" };
    format!(
        "{}training   {} (forward + backward; attention {}{recompute})\n",
        table.render(),
        flops.training,
        answer.convention.attention
    )
}

/// The products by part of the network, and their sum.
fn products(answer: &Answer, show: fn(Flops) -> String) -> TextTable {
    let mut table = TextTable::new(&["FLOP", ">forward", ">backward", ">recompute"]);
    let cells = |name: &str, forward: Flops, backward: Flops, recompute: Flops| {
        vec![name.to_owned(), show(forward), show(backward), show(recompute)]
    };
    for term in answer.terms.iter().filter(|term| (term.forward + term.backward).0 > 0) {
        table.row(cells(&term.name, term.forward, term.backward, term.recompute));
    }
    let flops = &answer.flops;
    let sum = |value: Option<Flops>| value.unwrap_or(Flops::ZERO);
    table.row(cells("sum", sum(flops.forward), sum(flops.backward), sum(flops.recompute)));
    table
}

fn range(answer: &Answer) -> String {
    let flops = &answer.flops;
    let mut text =
        format!("range      {} to {}\n", words::flop(Some(flops.training_low)), words::flop(Some(flops.training_high)));
    for reason in &answer.uncertainty {
        let bounds = match (reason.training_low, reason.training_high) {
            (Some(low), Some(high)) => format!(" ({} to {})", low.scientific(3), high.scientific(3)),
            (Some(low), None) => format!(" (down to {})", low.scientific(3)),
            (None, Some(high)) => format!(" (up to {})", high.scientific(3)),
            (None, None) => String::new(),
        };
        text.push_str(&format!("           {}{bounds}: {}\n", reason.code, reason.text));
    }
    let own = answer.assessment.verdict;
    for (end, verdict) in [("low", answer.verdicts.low), ("high", answer.verdicts.high)] {
        if verdict != own && own != Verdict::Undetermined {
            text.push_str(&format!("           at the {end} end the verdict is {}\n", verdict.name()));
        }
    }
    text
}

fn headroom(answer: &Answer) -> String {
    let mut text = String::new();
    for until in [&answer.headroom.near, &answer.headroom.exceeds].into_iter().flatten() {
        let label = if text.is_empty() { "head-room " } else { "          " };
        text.push_str(&format!("{label} {}\n", left(until)));
    }
    text
}

fn left(until: &Until) -> String {
    let mut text = format!("{} from {}", until.verdict.name(), words::flop(Some(until.flop)));
    if let Some(by) = &until.by {
        text.push_str(&format!(" ({by} says so first)"));
    }
    if let Some(tokens) = until.tokens {
        text.push_str(&format!(", after {} tokens of such a job", figures::rounded(tokens)));
    }
    match (until.flop_left, until.tokens_left) {
        (Flops::ZERO, _) => text.push_str("; nothing left"),
        (left, Some(more)) => {
            text.push_str(&format!("; {} and {} tokens left", words::flop(Some(left)), figures::rounded(more)));
        }
        (left, None) => text.push_str(&format!("; {} left", words::flop(Some(left)))),
    }
    text
}

fn budget(budget: &Budget) -> String {
    let base = budget.base.as_ref().map_or_else(String::new, |base| format!(" on {base}"));
    let mut text = format!("budget     {}{base}: {}\n", budget.modification, words::budget::balance(&budget.balance));
    let planned = budget.plan;
    let house =
        planned.house_verdict.map_or_else(String::new, |verdict| format!(", by the house rule {}", verdict.name()));
    text.push_str(&format!(
        "           with this plan's {} at most beside what was there before it: {}{house}\n",
        words::flop(Some(planned.flop)),
        planned.verdict.name()
    ));
    if let Some(reserved) = &budget.reservation {
        let until = reserved.until.map_or_else(String::new, |until| format!(" until {until}"));
        text.push_str(&format!(
            "reserved   {}: {} held{until}; `flopsmeter run --modification {} --reservation {}` spends it\n",
            reserved.reservation,
            words::flop(Some(reserved.flop)),
            budget.modification,
            reserved.reservation
        ));
    }
    text
}

fn expected(row: &Expectation) -> String {
    let time = row.milliseconds.map_or_else(|| "unknown".to_owned(), figures::duration);
    let energy = match row.board_energy_joules {
        Some(joules) => format!("{} at the boards' rated power", figures::energy(joules)),
        None => "energy unknown, for no rated power is on record".to_owned(),
    };
    format!(
        "expected   {} x {}: {time}, {energy} ({} % of {} FLOP/s each; hosts, network and cooling not included)\n",
        row.count,
        row.gpu,
        row.utilisation_percent,
        row.nominal_flop_per_second.scientific(3)
    )
}

fn comparison(rows: &[Row], width: Option<usize>) -> String {
    let mut table = TextTable::new(&[
        "method",
        "asked for",
        "checkpointing",
        ">trained",
        ">training",
        ">executed",
        ">% of line",
        "verdict",
        ">tokens until exceeds",
    ]);
    let none = || "-".to_owned();
    let flop = |value: Option<Flops>| value.map_or_else(none, |value| value.scientific(3));
    for row in rows {
        table.row(vec![
            row.method.to_owned(),
            row.details.clone(),
            row.gradient_checkpointing.unwrap_or("none").to_owned(),
            row.trainable.map_or_else(none, |count| count.to_string()),
            flop(row.training),
            flop(row.executed),
            row.share_of_line_percent.clone().unwrap_or_else(none),
            row.verdict.map_or("-", Verdict::name).to_owned(),
            row.tokens_until_exceeds
                .as_ref()
                .and_then(|tokens| tokens.parse().ok())
                .map_or_else(none, figures::rounded),
        ]);
    }
    let left_out = table.fit(width, &SPARED);
    let mut text = table.render();
    if !left_out.is_empty() {
        text.push_str(&format!("           a wider terminal, or --json, shows {} too\n", left_out.join(", ")));
    }
    // The ways of one method have one problem.
    let mut problems: Vec<String> = rows.iter().filter_map(problem).collect();
    problems.dedup();
    text + &problems.concat()
}

/// Why a method has no count.
fn problem(row: &Row) -> Option<String> {
    row.problem.as_ref().map(|problem| format!("           {}: {problem}\n", row.method))
}
