//! `durum bench gc`.

use durum_bench::gc::{self, GcReport, GcRow, GcSettings};
use serde_json::json;

use super::args::BenchGcArgs;
use super::{debug_build, hundredths, tenths, whole};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchGcArgs) -> Outcome {
    context.check_config()?;
    let mut settings = match args.quick {
        true => GcSettings::quick(),
        false => GcSettings::full(),
    };
    settings.engines.clone_from(&args.engines);
    settings.workloads.clone_from(&args.workloads);
    settings.seed = args.seed;
    if !args.objects.is_empty() {
        settings.sizes.clone_from(&args.objects);
    }
    let progress = context.progress();
    progress.begin("bench gc", None);
    let report = gc::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    let object = json!({
        "rows": report.rows,
        "seed": report.seed,
        "machine": report.machine,
    });
    context.print(&object, || text(&report))?;
    Ok(DONE)
}

/// A column: its heading, and what it shows of a row.
type Column = (&'static str, fn(&GcRow) -> String);

/// Commits one by one.
const COMMITS: [Column; 14] = [
    ("commits", |row| output::number(row.commits)),
    ("collecting", |row| whole(row.collecting_commits)),
    ("collected", |row| whole(row.collected)),
    ("reads mean", |row| tenths(row.reads_mean)),
    ("p50", |row| whole(row.reads_p50)),
    ("p99", |row| whole(row.reads_p99)),
    ("max", |row| whole(row.reads_max)),
    ("per garbage", |row| tenths(row.reads_per_garbage)),
    ("degree", |row| tenths(row.degree)),
    ("age", |row| whole(row.age_commits_max)),
    ("pause ms p50", |row| hundredths(row.pause_ms_p50)),
    ("p99", |row| hundredths(row.pause_ms_p99)),
    ("max", |row| hundredths(row.pause_ms_max)),
    ("bytes", |row| hundredths(row.bytes_ratio)),
];
/// Large structures.
const LARGE: [Column; 11] = [
    ("collected", |row| whole(row.collected)),
    ("per garbage", |row| tenths(row.reads_per_garbage)),
    ("cut ms", |row| tenths(row.cut_ms)),
    ("condemned", |row| tenths(row.condemned_ms)),
    ("first", |row| tenths(row.first_deletion_ms)),
    ("gone", |row| tenths(row.gone_ms)),
    ("alone", |row| tenths(row.alone_ms)),
    ("engine", |row| tenths(row.raw_delete_ms)),
    ("others p99", |row| hundredths(row.others_ms_p99)),
    ("before p99", |row| hundredths(row.others_before_ms_p99)),
    ("memory MiB", |row| {
        tenths(
            row.memory_bytes
                .map(|bytes| bytes as f64 / f64::from(1 << 20)),
        )
    }),
];
/// What is left on the disk.
const DISK: [Column; 8] = [
    ("collected", |row| whole(row.collected)),
    ("p99 ms", |row| hundredths(row.others_before_ms_p99)),
    ("with worker", |row| hundredths(row.others_ms_p99)),
    ("disk/live", |row| hundredths(row.disk_ratio)),
    ("worker max", |row| hundredths(row.disk_ratio_worker_max)),
    ("worker", |row| hundredths(row.disk_ratio_worker)),
    ("reclaimed", |row| hundredths(row.disk_ratio_reclaimed)),
    ("compacted", |row| hundredths(row.disk_ratio_compacted)),
];

fn text(report: &GcReport) -> String {
    let machine = &report.machine;
    let debug = debug_build(machine);
    let mut text = format!(
        "Seed {}, on {} with {} threads. Commits are written as weakly as each engine can.{debug}\n",
        report.seed, machine.processor, machine.threads
    );
    let is_large = |row: &&GcRow| row.raw_delete_ms.is_some();
    let is_disk = |row: &&GcRow| row.disk_ratio.is_some();
    let rows = |wanted: &dyn Fn(&&GcRow) -> bool| report.rows.iter().filter(wanted).collect();
    let parts: [(&str, Vec<&GcRow>, &[Column]); 3] = [
        (
            "Rows read for collection in a commit that collected, and for each object collected; age of \
             garbage in\ncommits; time added to a commit; bytes written over those of a store that never \
             collects:",
            rows(&|row| !is_large(row) && !is_disk(row)),
            &COMMITS,
        ),
        (
            "A large structure is cut off. Milliseconds until it is gone for everyone, until the first \
             object and\nuntil all is deleted; without other commits; by the engine alone; commits of \
             others meanwhile and before:",
            rows(&is_large),
            &LARGE,
        ),
        (
            "Everything is replaced five times. How long commits take, and that while the worker gives \
             space back; bytes\non the disk for each live byte, without that, with it at most and in the \
             end, and by commands:",
            rows(&is_disk),
            &DISK,
        ),
    ];
    for (title, rows, columns) in parts {
        if !rows.is_empty() {
            text.push_str(&format!("\n{title}\n\n{}", table(&rows, columns)));
        }
    }
    text
}

fn table(rows: &[&GcRow], columns: &[Column]) -> String {
    let mut heads = vec![
        ("engine", Side::Left),
        ("workload", Side::Left),
        ("objects", Side::Right),
    ];
    heads.extend(columns.iter().map(|(name, _)| (*name, Side::Right)));
    let mut table = Table::new(&heads);
    for row in rows {
        let mut cells = vec![
            row.engine.clone(),
            row.workload.to_owned(),
            output::number(row.objects),
        ];
        cells.extend(columns.iter().map(|(_, cell)| cell(row)));
        table.row(cells);
    }
    table.render("")
}
