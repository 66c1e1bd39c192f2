//! The hardware's side: what each device could have done at most, and what its gaps were charged.

use flopsmeter_core::assess::Origin;
use flopsmeter_core::run::{DeviceCeiling, Gap, RunSummary};

use super::composer::Composer;
use super::{energy, reconciliation, verdict};
use crate::document::{Align, Block, Cell, Figure, Item, Row, RowKind, Section, Text, Words};
use crate::problem::ReportProblem;
use crate::wording::Values;

/// Gaps shown one by one; the rest is summed up.
const MOST_GAPS: usize = 40;

pub(super) fn section(composer: &Composer<'_>) -> Result<Section, ReportProblem> {
    let values = verdict::values(composer)?
        .flag("complete", composer.totals.ceiling_complete)
        .flag("has_ceiling", composer.totals.ceiling.is_some())
        .flag("has_gaps", composer.totals.gaps > 0)
        .number("gaps", composer.totals.gaps)
        .figure("charged", Figure::flops(composer.totals.charged, composer.computed("from_gaps")?));
    let mut blocks = vec![composer.paragraph("ceiling", "intro", &values)?];
    let runs = &composer.input.runs;
    if runs.iter().all(|run| run.ceiling.devices.is_empty()) {
        blocks.push(composer.paragraph("ceiling", "no-devices", &values)?);
        return composer.section("ceiling", "section_ceiling", blocks);
    }
    blocks.push(composer.paragraph("ceiling", "result", &values)?);
    blocks.push(device_table(composer)?);
    blocks.extend(reconciliation::blocks(composer)?);
    blocks.extend(layer_table(composer)?);
    blocks.extend(energy::blocks(composer)?);
    blocks.extend(assumptions(composer)?);
    if composer.totals.gaps > 0 {
        blocks.push(composer.paragraph("ceiling", "gaps", &values)?);
        blocks.push(gap_table(composer)?);
    }
    composer.section("ceiling", "section_ceiling", blocks)
}

fn device_table(composer: &Composer<'_>) -> Result<Block, ReportProblem> {
    let several = composer.input.runs.len() > 1;
    let mut rows = Vec::new();
    for run in &composer.input.runs {
        if several {
            rows.push(run_heading(composer, run)?);
        }
        for device in &run.ceiling.devices {
            rows.push(device_row(composer, run, device)?);
        }
    }
    rows.push(Row {
        cells: vec![
            composer.label("sum")?.as_str().into(),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            Cell::default(),
            composer.flops(composer.totals.ceiling, composer.computed("from_ceilings")?, "next_ceiling")?.into(),
        ],
        kind: RowKind::Sum,
    });
    let columns = [
        ("col_device", Align::Left),
        ("col_layer", Align::Left),
        ("col_held", Align::Right),
        ("col_peak", Align::Right),
        ("col_charged", Align::Right),
        ("col_ceiling", Align::Right),
    ];
    composer.table("table_ceiling", &columns, rows)
}

fn run_heading(composer: &Composer<'_>, run: &RunSummary) -> Result<Row, ReportProblem> {
    Ok(Row::group(composer.say("ceiling", "run", &Values::default().words("run", &run.run))?))
}

fn device_row(composer: &Composer<'_>, run: &RunSummary, device: &DeviceCeiling) -> Result<Row, ReportProblem> {
    let name = vec![Text::plain(&device.name), Text::code(&device.device)];
    let layer = device.layer.as_deref();
    let layer_words = match layer {
        Some(layer) => composer
            .by_code("ceiling", &format!("layer-{layer}"), &Values::default())
            .map_or_else(Cell::default, Cell::from),
        None => Cell::default(),
    };
    let mut layer_cell = vec![Text::strong(layer.unwrap_or("–"))];
    layer_cell.extend(layer_words.0);
    let ceiling_origin = match layer {
        Some(layer) => Origin::Computed { from: format!("{} {layer}", composer.label("from_layer")?) },
        None => composer.computed("from_counters")?,
    };
    Ok(Row {
        cells: vec![
            Cell(name),
            Cell(layer_cell),
            times(composer, device)?,
            peaks(composer, device)?,
            charged(composer, run, &device.device)?,
            composer.flops(device.flop, ceiling_origin, "next_ceiling")?.into(),
        ],
        kind: RowKind::Plain,
    })
}

/// Held time, and the busy time below it where the device tells.
fn times(composer: &Composer<'_>, device: &DeviceCeiling) -> Result<Cell, ReportProblem> {
    let mut cell: Vec<Text> = vec![Figure::duration(device.held_seconds, composer.measured("by_meter")?).into()];
    let mut values = Values::default().flag("known", device.busy_seconds.is_some());
    values = match device.busy_seconds {
        Some(busy) => values.figure("busy", Figure::duration(busy, composer.measured("by_driver")?)),
        None => values.figure("busy", composer.missing("next_busy")?),
    };
    cell.push(composer.say("ceiling", "busy", &values)?);
    Ok(Cell(cell))
}

/// The strict peak, and the data sheet's below it for comparison.
fn peaks(composer: &Composer<'_>, device: &DeviceCeiling) -> Result<Cell, ReportProblem> {
    let strict = match device.strict_peak {
        Some(peak) => Figure::rate(peak, composer.computed("from_clock")?),
        None => composer.missing("next_peak")?,
    };
    let mut cell: Vec<Text> = vec![strict.into()];
    if let Some(nominal) = device.nominal_peak {
        let origin = composer.computed("from_gpu_table")?;
        cell.push(composer.say(
            "ceiling",
            "nominal",
            &Values::default().figure("nominal", Figure::rate(nominal, origin)),
        )?);
    }
    Ok(Cell(cell))
}

/// What the device's gaps added.
fn charged(composer: &Composer<'_>, run: &RunSummary, device: &str) -> Result<Cell, ReportProblem> {
    let gaps: Vec<&Gap> = run.gaps.iter().filter(|gap| gap.device == device).collect();
    if gaps.is_empty() {
        return Ok(composer.label("none")?.as_str().into());
    }
    let sum = gaps.iter().map(|gap| gap.charged).sum();
    Ok(composer.flops(sum, composer.computed("from_gaps")?, "next_ceiling")?.into())
}

/// Every bound that was formed or tried, where there is more than the one that was taken.
fn layer_table(composer: &Composer<'_>) -> Result<Option<Block>, ReportProblem> {
    let devices = || composer.input.runs.iter().flat_map(|run| &run.ceiling.devices);
    if devices().all(|device| device.layers.len() < 2) {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for (run, device) in
        composer.input.runs.iter().flat_map(|run| run.ceiling.devices.iter().map(move |device| (run, device)))
    {
        if composer.input.runs.len() > 1 && run.ceiling.devices.first() == Some(device) {
            rows.push(run_heading(composer, run)?);
        }
        for layer in &device.layers {
            let origin = Origin::Computed { from: format!("{} {}", composer.label("from_layer")?, layer.layer) };
            rows.push(Row::plain(vec![
                Cell(vec![Text::plain(&device.name), Text::code(&device.device)]),
                layer.layer.as_str().into(),
                composer.flops(layer.flop, origin, "next_ceiling")?.into(),
                match &layer.holds_if {
                    None => layer.note.as_str().into(),
                    Some(condition) => Cell(vec![
                        Text::plain(&layer.note),
                        composer.say("ceiling", "condition", &Values::default().words("condition", condition))?,
                    ]),
                },
            ]));
        }
    }
    let columns = [
        ("col_device", Align::Left),
        ("col_layer", Align::Left),
        ("col_ceiling", Align::Right),
        ("col_note", Align::Left),
    ];
    composer.table("table_layers", &columns, rows).map(Some)
}

/// What was assumed for each device, said once.
fn assumptions(composer: &Composer<'_>) -> Result<Vec<Block>, ReportProblem> {
    let mut items: Vec<Item> = Vec::new();
    let devices = composer.input.runs.iter().flat_map(|run| &run.ceiling.devices);
    for device in devices {
        for assumption in &device.assumptions {
            let item = Item { label: Some(Words::new(&device.name)), text: Text::plain(assumption) };
            if !items.contains(&item) {
                items.push(item);
            }
        }
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Block::Heading { title: composer.label("assumptions")? }, Block::List { items }])
}

fn gap_table(composer: &Composer<'_>) -> Result<Block, ReportProblem> {
    let gaps = composer.input.runs.iter().flat_map(|run| &run.gaps);
    let rows = gaps
        .take(MOST_GAPS)
        .map(|gap| {
            Ok(Row {
                cells: vec![
                    Text::code(&gap.device).into(),
                    Figure::instant(gap.started, composer.measured("by_meter")?).into(),
                    Figure::duration(gap.duration_seconds, composer.measured("by_meter")?).into(),
                    gap.reason.as_str().into(),
                    composer.flops(gap.charged, composer.computed("from_gaps")?, "next_ceiling")?.into(),
                ],
                kind: RowKind::Plain,
            })
        })
        .collect::<Result<Vec<_>, ReportProblem>>()?;
    let columns = [
        ("col_device", Align::Left),
        ("col_from", Align::Left),
        ("col_length", Align::Right),
        ("col_reason", Align::Left),
        ("col_charged", Align::Right),
    ];
    let caption = if composer.totals.gaps > MOST_GAPS { "table_gaps_first" } else { "table_gaps" };
    composer.table(caption, &columns, rows)
}
