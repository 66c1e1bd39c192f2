//! The arithmetic: three quantities apart, then operations by run, kind of work and part of the network.

use std::collections::BTreeMap;

use flopsmeter_core::facts::Phase;
use flopsmeter_core::run::{Exit, PhaseSummary, RunState, RunSummary};
use flopsmeter_core::unit::Flops;

use super::composer::Composer;
use super::law::in_words;
use super::verdict;
use crate::document::{Align, Bar, Bars, Block, Cell, Figure, Inline, Row, RowKind, Section, Text, Words, per};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Bars of the chart; smaller parts stand in the table only.
const MOST_BARS: usize = 12;

pub(super) fn section(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?;
    let mut blocks = vec![composer.paragraph("arithmetic", "intro", &values)?, quantities(composer)?];
    let runs = &composer.input.runs;
    if runs.is_empty() {
        blocks.push(composer.paragraph("arithmetic", "no-runs", &values)?);
        return composer.section("arithmetic", "section_arithmetic", blocks);
    }
    blocks.push(run_table(composer)?);
    if !composer.totals.counting_complete {
        blocks.push(composer.paragraph("arithmetic", "incomplete", &values)?);
    }
    blocks.extend(bars(composer)?);
    for run in runs.iter().filter(|run| !run.phases.is_empty()) {
        blocks.push(phase_table(composer, run)?);
    }
    if runs.iter().any(|run| !run.models.is_empty()) {
        blocks.push(model_table(composer)?);
    }
    composer.section("arithmetic", "section_arithmetic", blocks)
}

/// Model operations, executed operations and ceiling, one line each, never mixed.
fn quantities(composer: &Composer<'_>) -> Result<Block, ReportProblem> {
    let totals = &composer.totals;
    let model = verdict::spent(composer)?;
    let model_flops = composer.input.assessment.training_compute;
    let executed = composer.flops(totals.executed, composer.computed("from_phases")?, "next_operations")?;
    let ceiling = composer.flops(totals.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?;
    let row = |name: &str, figure: Figure, flops: Option<Flops>| -> Result<Row, ReportProblem> {
        let meaning = composer.say("arithmetic", &format!("{name}-meaning"), &Values::default())?;
        Ok(Row {
            cells: vec![
                Cell(vec![Text::strong(composer.label(&format!("quantity_{name}"))?.as_str()), meaning]),
                figure.into(),
                utilisation(composer, flops)?,
            ],
            kind: RowKind::Plain,
        })
    };
    let rows = vec![
        row("model", model, model_flops)?,
        row("executed", executed, totals.executed)?,
        row("ceiling", ceiling, None)?,
    ];
    let columns = [("col_quantity", Align::Left), ("col_operations", Align::Right), ("col_of_ceiling", Align::Right)];
    composer.table("table_quantities", &columns, rows)
}

/// Share of the ceiling, which is the utilisation the figures imply.
fn utilisation(composer: &Composer<'_>, flops: Option<Flops>) -> Result<Cell, ReportProblem> {
    let Some((flops, ceiling)) = flops.zip(composer.totals.ceiling) else {
        return Ok(composer.label("none")?.as_str().into());
    };
    let share = Figure::share(flops, ceiling, composer.computed("from_utilisation")?);
    Ok(share.map_or_else(Cell::default, Cell::from))
}

fn run_table(composer: &Composer<'_>) -> Result<Block, ReportProblem> {
    let mut rows = composer.input.runs.iter().map(|run| run_row(composer, run)).collect::<Result<Vec<_>, _>>()?;
    let totals = &composer.totals;
    if composer.input.runs.len() > 1 {
        let sum = |flops: Flops| -> Result<Cell, ReportProblem> {
            Ok(Figure::flops(flops, composer.computed("from_runs")?).into())
        };
        rows.push(Row {
            cells: vec![
                composer.label("sum")?.as_str().into(),
                sum(totals.forward)?,
                sum(totals.backward)?,
                sum(totals.counted)?,
                of_line(composer, Some(totals.counted))?,
            ],
            kind: RowKind::Sum,
        });
    }
    let columns = [
        ("col_run", Align::Left),
        ("col_forward", Align::Right),
        ("col_backward", Align::Right),
        ("col_training", Align::Right),
        ("col_share", Align::Right),
    ];
    composer.table("table_runs", &columns, rows)
}

fn run_row(composer: &Composer<'_>, run: &RunSummary) -> Result<Row, ReportProblem> {
    let figure = |flops: Option<Flops>| -> Result<Cell, ReportProblem> {
        Ok(composer.flops(flops, composer.measured("by_hook")?, "next_operations")?.into())
    };
    Ok(Row {
        cells: vec![
            Cell(vec![Text::code(&run.run), when(composer, run)?]),
            figure(run.flops.map(|flops| flops.forward))?,
            figure(run.flops.map(|flops| flops.backward))?,
            figure(run.flops.map(|flops| flops.training))?,
            of_line(composer, run.flops.map(|flops| flops.training))?,
        ],
        kind: RowKind::Plain,
    })
}

/// Share of the line: the verdict is on the sum, what each run took of it stands beside.
fn of_line(composer: &Composer<'_>, flops: Option<Flops>) -> Result<Cell, ReportProblem> {
    let line = composer.input.assessment.line.as_ref();
    let origin = composer.computed("from_comparison")?;
    match flops.zip(line).and_then(|(flops, line)| Figure::share(flops, line.flop, origin)) {
        Some(share) => Ok(share.into()),
        None => Ok(composer.label("none")?.as_str().into()),
    }
}

/// From when to when, and how it ended.
fn when(composer: &Composer<'_>, run: &RunSummary) -> Result<Text, ReportProblem> {
    let origin = || composer.measured("by_meter");
    let ended = match run.ended {
        Some(ended) => Figure::instant(ended, origin()?),
        None => composer.missing("next_end")?,
    };
    let (exit, code) = match run.exit {
        Some(Exit::Code(code)) => ("code", code.to_string()),
        Some(Exit::Signal(signal)) => ("signal", signal.to_string()),
        None => ("none", String::new()),
    };
    let values = Values::default()
        .figure("started", Figure::instant(run.started, origin()?))
        .figure("ended", ended)
        .flag("open", run.state == RunState::Open)
        .flag("complete", run.complete)
        .words("exit", exit)
        .words("code", &code);
    let text = composer.say("arithmetic", "run-when", &values)?;
    Ok(Text(vec![Inline::Quiet(Words::new(&text.to_plain()))]))
}

fn phase_table(composer: &Composer<'_>, run: &RunSummary) -> Result<Block, ReportProblem> {
    let mut rows = Vec::new();
    for phase in &run.phases {
        rows.push(Row::group(phase_heading(composer, phase)?));
        for term in &phase.terms {
            let name = Cell::from(term_name(composer, &term.name).as_str());
            rows.push(Row::plain(counts(composer, name, (term.forward, term.backward, term.recompute))?));
        }
        let sum = Cell::from(composer.label("sum")?.as_str());
        rows.push(Row::sum(counts(composer, sum, (phase.forward, phase.backward, phase.recompute))?));
    }
    let columns = [
        ("col_part", Align::Left),
        ("col_forward", Align::Right),
        ("col_backward", Align::Right),
        ("col_training", Align::Right),
        ("col_recompute", Align::Right),
    ];
    let table = composer.table("table_phases", &columns, rows)?;
    let Block::Table(mut table) = table else { return Ok(table) };
    if composer.input.runs.len() > 1 {
        table.caption = Words::new(&format!("{} · {} {}", table.caption, composer.label("run")?, run.run));
    }
    Ok(Block::Table(table))
}

/// Kind of work and what was fed in it.
fn phase_heading(composer: &Composer<'_>, phase: &PhaseSummary) -> Result<Text, ReportProblem> {
    let hook = || composer.measured("by_hook");
    let values = Values::default()
        .words("phase", phase.phase.name())
        .figure("passes", Figure::count(phase.passes, hook()?))
        .figure("fed", Figure::tokens(phase.tokens.fed, hook()?))
        .flag("has_real", phase.tokens.real.is_some())
        .figure("real", Figure::tokens(phase.tokens.real.unwrap_or_default(), hook()?));
    composer.say("arithmetic", "phase", &values)
}

/// Forward, backward, their sum, and recomputation.
fn counts(
    composer: &Composer<'_>,
    name: Cell,
    (forward, backward, recompute): (Flops, Flops, Flops),
) -> Result<Vec<Cell>, ReportProblem> {
    let sum = Figure::flops(forward + backward, composer.computed("from_passes")?);
    Ok(vec![name, counted(composer, forward)?, counted(composer, backward)?, sum.into(), counted(composer, recompute)?])
}

fn counted(composer: &Composer<'_>, flops: Flops) -> Result<Cell, ReportProblem> {
    Ok(Figure::flops(flops, composer.measured("by_hook")?).into())
}

fn term_name(composer: &Composer<'_>, name: &str) -> Words {
    let known = composer.by_code("arithmetic", &format!("term-{name}"), &Values::default());
    Words::new(&known.map_or_else(|| in_words(name), |text| text.to_plain()))
}

/// Parts of the network by their share of the model operations, over all runs.
fn bars(composer: &Composer<'_>) -> Result<Option<Block>, ReportProblem> {
    let mut terms: BTreeMap<&str, Flops> = BTreeMap::new();
    let phases = composer.input.runs.iter().flat_map(|run| &run.phases).filter(|phase| phase.phase == Phase::Training);
    for term in phases.flat_map(|phase| &phase.terms) {
        *terms.entry(&term.name).or_default() += term.forward + term.backward;
    }
    let whole: Flops = terms.values().copied().sum();
    let mut longest_first: Vec<_> = terms.into_iter().filter(|(_, flops)| *flops > Flops::ZERO).collect();
    longest_first.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
    let Some((_, longest)) = longest_first.first().copied() else { return Ok(None) };
    let mut bars = Vec::new();
    for (name, flops) in longest_first.into_iter().take(MOST_BARS) {
        let Some(share) = Figure::share(flops, whole, composer.computed("from_phases")?) else { continue };
        bars.push(Bar {
            name: term_name(composer, name),
            figure: Figure::flops(flops, composer.computed("from_phases")?),
            share,
            length: per(10_000, flops, longest).and_then(|length| u32::try_from(length).ok()).unwrap_or(0),
        });
    }
    Ok(Some(Block::Bars(Bars { caption: composer.label("chart_terms")?, bars })))
}

fn model_table(composer: &Composer<'_>) -> Result<Block, ReportProblem> {
    let mut rows = Vec::new();
    for model in composer.input.runs.iter().flat_map(|run| &run.models) {
        let hook = || composer.measured("by_hook");
        let name = model.name_or_path.as_deref().filter(|name| !name.is_empty()).unwrap_or("–");
        let row = Row {
            cells: vec![
                Cell(vec![Text::plain(&model.class_name), Text::quiet(name)]),
                model.method.as_str().into(),
                Figure::count(model.parameters_total, hook()?).into(),
                Figure::count(model.parameters_trainable, hook()?).into(),
                model.gradient_checkpointing.as_str().into(),
            ],
            kind: RowKind::Plain,
        };
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let columns = [
        ("col_model", Align::Left),
        ("col_method", Align::Left),
        ("col_parameters", Align::Right),
        ("col_trainable", Align::Right),
        ("col_checkpointing", Align::Left),
    ];
    composer.table("table_models", &columns, rows)
}
