//! `durum bench objects`.

use durum_bench::typed::{self, Shape, System, TypedFigure, TypedReport, TypedRow, TypedSettings};
use serde_json::json;

use super::args::{BenchObjectsArgs, BenchPartArgs, TypedShapeArg};
use super::{debug_build, judged, tenths};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchObjectsArgs) -> Outcome {
    context.check_config()?;
    let program = super::program()?;
    let (objects, entries) = match args.quick {
        true => (5000, 20_000),
        false => (TypedSettings::OBJECTS, TypedSettings::ENTRIES),
    };
    let shape = |shape: &TypedShapeArg| match shape {
        TypedShapeArg::Objects => Shape::Objects,
        TypedShapeArg::Tree => Shape::Tree,
    };
    let settings = TypedSettings {
        engines: args.engines.clone(),
        served: args.served.clone(),
        shapes: args.shapes.iter().map(shape).collect(),
        objects: args.objects.unwrap_or(objects),
        entries: args.entries.unwrap_or(entries),
        cache: args.cache << 20,
        rounds: usize::from(args.rounds),
        durus: args.durus.clone(),
        zodb: args.zodb.clone(),
        seed: args.seed,
        program,
    };
    let progress = context.progress();
    progress.begin("bench objects", None);
    let report = typed::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    context.print(&json!(report), || text(&report))?;
    Ok(DONE)
}

/// Does what a JSON object says.
pub(crate) fn part(context: &Context, args: &BenchPartArgs) -> Outcome {
    let report = typed::run_part(&context.registry, &args.part)?;
    context.print(&json!(report), || format!("{report:?}\n"))?;
    Ok(DONE)
}

fn text(report: &TypedReport) -> String {
    let machine = &report.machine;
    format!(
        "{} objects, trees of {} entries, caches of {} MiB, seed {}, on {} with {} threads; the disk confirms {} small \
         appends a second.{}\n\n{}\n{}",
        output::number(report.objects),
        output::number(report.entries),
        report.cache >> 20,
        report.seed,
        machine.processor,
        machine.threads,
        output::number(report.sync_per_second as u64),
        debug_build(machine),
        rows(&report.rows),
        figures(&report.figures),
    )
}

const fn name(system: System) -> &'static str {
    match system {
        System::Durum => "Durum",
        System::Raw => "the engine alone",
        System::Durus => "Durus",
        System::Zodb => "ZODB",
    }
}

fn through(engine: &str, served: bool) -> String {
    match served {
        true => format!("{engine}, served"),
        false => engine.to_owned(),
    }
}

fn rows(rows: &[TypedRow]) -> String {
    let mut table = Table::new(&[
        ("workload", Side::Left),
        ("whose", Side::Left),
        ("engine", Side::Left),
        ("a second", Side::Right),
        ("unit", Side::Left),
        ("spread %", Side::Right),
        ("own memory MiB", Side::Right),
        ("mapped MiB", Side::Right),
    ]);
    let mib = |bytes: Option<u64>| super::whole(bytes.map(|bytes| bytes >> 20));
    for row in rows {
        table.row([
            row.workload.name().to_owned(),
            name(row.system).to_owned(),
            through(&row.engine, row.served),
            output::number(row.per_second as u64),
            row.unit.to_owned(),
            tenths(Some(row.spread * 100.0)),
            mib(row.memory),
            mib(row.mapped),
        ]);
    }
    table.render("")
}

fn figures(figures: &[TypedFigure]) -> String {
    judged(
        &["workload", "engine", "over"],
        figures.iter().map(|figure| {
            let engine = through(&figure.engine, figure.served);
            let over = name(figure.over).to_owned();
            let cells = [figure.workload.name().to_owned(), engine, over];
            (cells, &figure.judged)
        }),
    )
}
