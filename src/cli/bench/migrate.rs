//! `durum bench migrate`.

use clap::ValueEnum as _;
use durum_bench::migrate::{self, LoadRow, MigrateReport, MigrateRow, MigrateSettings};
use serde_json::json;

use super::args::BenchMigrateArgs;
use super::{debug_build, hundredths, tenths};
use crate::cli::args::VerifyArg;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchMigrateArgs) -> Outcome {
    context.check_config()?;
    let program = super::program()?;
    let objects = match (args.objects.is_empty(), args.quick) {
        (false, _) => args.objects.clone(),
        (true, true) => vec![MigrateSettings::OBJECTS_QUICK],
        (true, false) => vec![MigrateSettings::OBJECTS],
    };
    let settings = MigrateSettings {
        engines: args.engines.clone(),
        with: args.with.clone(),
        objects,
        size: args.size,
        verify: verify(args.verify),
        rounds: usize::from(args.rounds),
        seed: args.seed,
        program,
    };
    let progress = context.progress();
    progress.begin("bench migrate", None);
    let report = migrate::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    let object = json!({
        "rows": report.rows,
        "loads": report.loads,
        "size": report.size,
        "verify": report.verify,
        "seed": report.seed,
        "machine": report.machine,
    });
    context.print(&object, || text(&report))?;
    Ok(DONE)
}

/// The name as on the command line.
fn verify(how: VerifyArg) -> String {
    let value = how.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A column: its heading, and what it shows of a row.
type Column<R> = (&'static str, fn(&R) -> String);

const MIGRATIONS: [Column<MigrateRow>; 16] = [
    ("objects/s", |row| output::number(row.per_second as u64)),
    ("seconds", |row| seconds(row.seconds)),
    ("open", |row| part(row, "open")),
    ("copy", |row| part(row, "copy")),
    ("link", |row| part(row, "link")),
    ("verify", |row| part(row, "verify")),
    ("publish", |row| part(row, "publish")),
    ("raw", |row| {
        row.raw_seconds.map(seconds).unwrap_or_default()
    }),
    ("cpu", |row| hundredths(row.cpu_seconds)),
    ("raw cpu", |row| hundredths(row.raw_cpu_seconds)),
    ("ratio", |row| hundredths(row.ratio_to_raw)),
    ("verified", |row| hundredths(row.ratio_to_raw_verified)),
    ("peak MiB", |row| mebibytes(row.peak_memory)),
    ("anonymous", |row| mebibytes(row.peak_anonymous)),
    ("raw's", |row| mebibytes(row.raw_peak_anonymous)),
    ("disk MiB", |row| mebibytes(Some(row.disk_bytes))),
];
const LOADS: [Column<LoadRow>; 5] = [
    ("objects/s", |row| {
        output::number((row.objects as f64 / row.seconds) as u64)
    }),
    ("seconds", |row| seconds(row.seconds)),
    ("peak MiB", |row| mebibytes(row.peak_memory)),
    ("anonymous", |row| mebibytes(row.peak_anonymous)),
    ("disk MiB", |row| mebibytes(Some(row.disk_bytes))),
];

fn text(report: &MigrateReport) -> String {
    let machine = &report.machine;
    format!(
        "Seed {}, objects of {} bytes with three references each, on {} with {} threads.{}\n\n\
         Migrations, verified by {}. Seconds, in all and by part; of the engine alone, for the same\n\
         records; of processor time, of both; and the ratio to the engine alone, without verification and\n\
         with it. Peak memory, that of no file, and that of the engine alone:\n\n{}\n\
         The same objects loaded into a store from memory:\n\n{}",
        report.seed,
        report.size,
        machine.processor,
        machine.threads,
        debug_build(machine),
        report.verify,
        migrations(&report.rows),
        loads(&report.loads),
    )
}

pub(super) fn migrations(rows: &[MigrateRow]) -> String {
    let heads = [
        ("from", Side::Left),
        ("to", Side::Left),
        ("objects", Side::Right),
    ];
    let first = |row: &MigrateRow| {
        vec![
            row.source.clone(),
            row.destination.clone(),
            output::number(row.objects),
        ]
    };
    table(rows, &heads, first, &MIGRATIONS)
}

fn loads(rows: &[LoadRow]) -> String {
    let heads = [("to", Side::Left), ("objects", Side::Right)];
    let first = |row: &LoadRow| vec![row.engine.clone(), output::number(row.objects)];
    table(rows, &heads, first, &LOADS)
}

fn table<R>(
    rows: &[R],
    first_heads: &[(&'static str, Side)],
    first: impl Fn(&R) -> Vec<String>,
    columns: &[Column<R>],
) -> String {
    let mut heads = first_heads.to_vec();
    heads.extend(columns.iter().map(|(name, _)| (*name, Side::Right)));
    let mut table = Table::new(&heads);
    for row in rows {
        let mut cells = first(row);
        cells.extend(columns.iter().map(|(_, cell)| cell(row)));
        table.row(cells);
    }
    table.render("")
}

fn seconds(figure: f64) -> String {
    hundredths(Some(figure))
}

fn part(row: &MigrateRow, name: &str) -> String {
    hundredths(row.phases.get(name).copied())
}

fn mebibytes(bytes: Option<u64>) -> String {
    tenths(bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)))
}
