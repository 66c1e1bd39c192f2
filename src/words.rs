//! Results in words, for people at a terminal: the same wording at the end of a job, in `runs show` and in `assess`.

pub(crate) mod budget;
mod energy;
pub(crate) mod law;

use flopsmeter_core::assess::{Assessment, Band, LineKind, Missing, Status, Verdict};
use flopsmeter_core::rules::Bearing;
use flopsmeter_core::run::{Ceiling, DeviceCeiling, Exit, RunState, RunSummary, UTILISATION_CONVENTION};
use flopsmeter_core::unit::Flops;

use crate::output::TextTable;

/// `1.23e15 FLOP`, or `not counted`.
pub(crate) fn flop(value: Option<Flops>) -> String {
    value.map_or_else(|| "not counted".to_owned(), |value| format!("{} FLOP", value.scientific(3)))
}

/// The verdict as one sentence.
pub(crate) fn verdict(assessment: &Assessment) -> String {
    let share =
        assessment.share_of_line_percent.as_deref().map_or(String::new(), |share| format!(" at {share} % of it"));
    match assessment.verdict {
        Verdict::Below => format!("below the line{share}"),
        Verdict::Near => format!("near the line{share}: {}", near_reason(assessment)),
        Verdict::Exceeds => format!("over the line{share}: treated as provider of the modified model (indicative)"),
        Verdict::Undetermined => {
            let missing: Vec<&str> = for_verdict(assessment).map(|missing| missing.fact.as_str()).collect();
            format!(
                "undetermined, missing {}",
                if missing.is_empty() { "facts".to_owned() } else { missing.join(", ") }
            )
        }
    }
}

/// Missing facts that bear on the compute line.
fn for_verdict(assessment: &Assessment) -> impl Iterator<Item = &Missing> {
    assessment.missing.iter().filter(|missing| !decides_status(assessment, missing))
}

/// Legal questions without an answer.
fn for_status(assessment: &Assessment) -> impl Iterator<Item = &Missing> {
    assessment.missing.iter().filter(|missing| decides_status(assessment, missing))
}

/// Whether a missing fact is an open question whose answer leaves the compute line where it is: it bears on who is provider or on
/// what they owe, and the verdict either does not hang on it or is there without it.
fn decides_status(assessment: &Assessment, missing: &Missing) -> bool {
    let question = assessment.questions.iter().find(|question| question.key.name() == missing.fact);
    question.is_some_and(|question| {
        let bears_on = |what| question.bears_on.contains(&what);
        let settled = assessment.verdict != Verdict::Undetermined || !bears_on(Bearing::Verdict);
        settled && (bears_on(Bearing::Status) || bears_on(Bearing::Duties))
    })
}

fn near_reason(assessment: &Assessment) -> &'static str {
    match assessment.band {
        Some(Band::Inside) => "inside the permitted margin of estimation",
        _ => "another source or reading of the same facts would change the verdict",
    }
}

fn line_kind(kind: LineKind) -> &'static str {
    match kind {
        LineKind::ThirdOfBase => "a third of the base model's training compute",
        LineKind::ThirdOfLowerBound => "a third of a lower bound of the base model's training compute",
        LineKind::ThirdOfGpaiThreshold => "a third of the threshold for general-purpose AI models",
        LineKind::ThirdOfSystemicRiskThreshold => "a third of the threshold for systemic risk",
        LineKind::ResultAboveGpaiThreshold => {
            "base and modification against the threshold for general-purpose AI models"
        }
    }
}

/// The assessment as lines of text.
pub(crate) fn assessment(assessment: &Assessment) -> String {
    let mut text = format!("verdict    {}\n", verdict(assessment));
    let status = match assessment.status {
        Status::Provider => "provider of the modified model",
        Status::NotProvider => "not a provider of the modified model",
        Status::Open => "open: compute alone does not decide it",
    };
    text.push_str(&format!("status     {status}\n"));
    if let Some(line) = &assessment.line {
        text.push_str(&format!("line       {}: {}\n", flop(Some(line.flop)), line_kind(line.kind)));
        text.push_str(&format!("           {}, {}\n", line.citation.instrument, line.citation.place));
    }
    text.push_str(&format!("spent      {}\n", flop(assessment.training_compute)));
    if let Some(ratio) = &assessment.ratio {
        text.push_str(&format!("ratio      {ratio} of the base model's compute\n"));
    }
    text.push_str(&format!("rules      {} as of {}\n", assessment.rules, assessment.as_of));
    text.push_str(&law::house(assessment));
    for missing in for_verdict(assessment) {
        text.push_str(&format!("missing    {}: {}\n", missing.fact, missing.next_step));
    }
    let questions: Vec<&str> = for_status(assessment).map(|missing| missing.fact.as_str()).collect();
    if !questions.is_empty() {
        text.push_str(&format!(
            "questions  {}: `flopsmeter modifications answer` records answers\n",
            questions.join(", ")
        ));
    }
    for finding in &assessment.findings {
        text.push_str(&format!("finding    {}\n", finding.text));
    }
    text
}

fn end(run: &RunSummary) -> String {
    match (run.state, run.exit) {
        (RunState::Open, _) => "open".to_owned(),
        (RunState::Closed, Some(Exit::Code(code))) => format!("ended with code {code}"),
        (RunState::Closed, Some(Exit::Signal(signal))) => format!("ended by signal {signal}"),
        (RunState::Closed, None) => "ended".to_owned(),
    }
}

/// A device's name, with the beginning of its UUID where others are called the same.
fn told_apart(device: &DeviceCeiling, ceiling: &Ceiling) -> String {
    let alike = ceiling.devices.iter().filter(|other| other.name == device.name).count();
    match device.device.get(..SHORT_UUID) {
        Some(beginning) if alike > 1 => format!("{} {beginning}", device.name),
        _ => device.name.clone(),
    }
}

/// Length of `GPU-12345678`.
const SHORT_UUID: usize = 12;

/// Code of the finding that names the rule of the claim.
const GPUS_CLAIMED: &str = "gpus-claimed";

/// A run as lines of text.
pub(crate) fn run(run: &RunSummary) -> String {
    let modification = run.modification.as_deref().unwrap_or("none");
    let mut text = format!("run        {} ({}), modification {modification}\n", run.run, end(run));
    text.push_str(&format!("command    {}\n", run.command.join(" ")));
    if let Some(job) = &run.job {
        text.push_str(&format!("job        {job}\n"));
    }
    if let Some(phase) = &run.phase {
        text.push_str(&format!("phase      {phase}, as declared on the command line\n"));
    }
    for model in &run.models {
        text.push_str(&format!(
            "model      {}, {} of {} parameters trained ({}), gradient checkpointing {}\n",
            model.class_name,
            model.parameters_trainable,
            model.parameters_total,
            model.method,
            model.gradient_checkpointing
        ));
    }
    text.push_str(&operations(run));
    let real = run.tokens.real.map_or_else(|| "unknown".to_owned(), |real| real.to_string());
    text.push_str(&format!("tokens     {} fed to training, {real} without padding\n", run.tokens.fed));
    let complete = if run.ceiling.complete { "" } else { " (incomplete)" };
    text.push_str(&format!("ceiling    {}{complete}\n", flop(run.ceiling.flop)));
    for device in &run.ceiling.devices {
        let layer = device.layer.as_deref().unwrap_or("none");
        let busy =
            device.busy_seconds.map_or_else(String::new, |busy| format!(", of which {busy:.1} s were reported busy"));
        let held = device.held_seconds;
        text.push_str(&format!(
            "           {}: {} (layer {layer}, held {held:.1} s{busy})\n",
            told_apart(device, &run.ceiling),
            flop(device.flop)
        ));
    }
    text.push_str(&utilisation(run));
    text.push_str(&energy::lines(run));
    if !run.gaps.is_empty() {
        let seconds: f64 = run.gaps.iter().map(|gap| gap.duration_seconds).sum();
        text.push_str(&format!(
            "gaps       {} in {seconds:.1} s, charged as fully busy where nothing tells of them\n",
            run.gaps.len()
        ));
    }
    for alert in &run.alerts {
        text.push_str(&format!("alert      {} {}\n", alert.at.format("%H:%M:%S"), alert.text));
    }
    for finding in &run.findings {
        // Which GPUs were claimed is said of every run that has any: no fault.
        let label = if finding.code == GPUS_CLAIMED { "claim" } else { "finding" };
        text.push_str(&format!("{label:<9}  {}\n", finding.text));
    }
    if let Some(result) = &run.assessment {
        text.push_str(&assessment(result));
    }
    text
}

/// How much of what the GPUs could have done was done.
fn utilisation(run: &RunSummary) -> String {
    let Some(sides) = &run.reconciliation else { return String::new() };
    let of_nominal = sides.model_utilisation.as_ref().zip(sides.hardware_utilisation.as_ref());
    let of_nominal = of_nominal
        .map(|(model, hardware)| format!("used       MFU {model} %, HFU {hardware} %: {UTILISATION_CONVENTION}\n"));
    let of_ceiling = sides.share_of_ceiling.as_ref().map(|share| {
        let visible = sides.executed_visible.scientific(3);
        format!("used       {share} % of the ceiling executed ({visible}, attention over visible pairs only)\n")
    });
    of_nominal.into_iter().chain(of_ceiling).collect()
}

fn operations(run: &RunSummary) -> String {
    let Some(flops) = &run.flops else { return "operations not counted\n".to_owned() };
    let complete = if run.complete { "" } else { ", not complete" };
    let mut table = TextTable::new(&["operations", ">FLOP", ""]);
    let mut row = |name: &str, value: Flops, note: &str| {
        table.row(vec![name.to_owned(), value.to_string(), note.to_owned()]);
    };
    row("  forward", flops.forward, "");
    row("  backward", flops.backward, "");
    row("  training", flops.training, &format!("model operations, the legal basis{complete}"));
    row("  recompute", flops.recompute, "not counted by the law");
    row("  executed", flops.executed, "with recomputation and passes without gradient");
    table.render()
}
