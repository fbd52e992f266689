//! `durum bench oo7`.

use durum_bench::oo7::{self, Oo7Report, Oo7Row, Oo7Settings, Size};
use serde_json::json;

use super::args::{BenchOo7Args, Oo7SizeArg};
use super::debug_build;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchOo7Args) -> Outcome {
    context.check_config()?;
    let size = |size: &Oo7SizeArg| match size {
        Oo7SizeArg::Small => Size::Small,
        Oo7SizeArg::Medium => Size::Medium,
    };
    let settings = Oo7Settings {
        engines: args.engines.clone(),
        sizes: args.sizes.iter().map(size).collect(),
        operations: oo7::operations(&args.operations)?,
        rounds: usize::from(args.rounds),
        seed: args.seed,
    };
    let progress = context.progress();
    progress.begin("bench oo7", None);
    let report = oo7::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    let object = json!({
        "rows": report.rows,
        "seed": report.seed,
        "machine": report.machine,
    });
    context.print(&object, || text(&report, &settings))?;
    Ok(DONE)
}

fn text(report: &Oo7Report, settings: &Oo7Settings) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "OO7 on {} with {} threads, seed {}.{}\n",
        machine.processor,
        machine.threads,
        report.seed,
        debug_build(machine)
    );
    for size in &settings.sizes {
        let rows: Vec<&Oo7Row> = report.rows.iter().filter(|row| row.size == *size).collect();
        text.push_str(&format!(
            "\n{}: milliseconds cold and hot\n\n{}",
            size.name(),
            table(&rows, settings)
        ));
    }
    text
}

/// Operations below each other, engines beside each other.
fn table(rows: &[&Oo7Row], settings: &Oo7Settings) -> String {
    let mut engines: Vec<&str> = rows.iter().map(|row| row.engine.as_str()).collect();
    engines.dedup();
    let mut heads = vec![
        ("operation".to_owned(), Side::Left),
        ("visits".to_owned(), Side::Right),
    ];
    for engine in &engines {
        heads.push((format!("{engine} cold"), Side::Right));
        heads.push(("hot".to_owned(), Side::Right));
    }
    let mut table = Table::of(heads);
    for operation in &settings.operations {
        let of = |engine: &str| {
            let mut rows = rows.iter();
            rows.find(|row| row.operation == *operation && row.engine == engine)
        };
        let visits = engines.first().and_then(|engine| of(engine));
        let mut cells = vec![
            operation.name().to_owned(),
            visits
                .map(|row| output::number(row.visits))
                .unwrap_or_default(),
        ];
        for engine in &engines {
            let row = of(engine);
            cells.push(
                row.map(|row| format!("{:.1}", row.cold_ms))
                    .unwrap_or_default(),
            );
            cells.push(
                row.map(|row| format!("{:.1}", row.hot_ms))
                    .unwrap_or_default(),
            );
        }
        table.row(cells);
    }
    table.render("")
}
