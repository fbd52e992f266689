//! `durum bench database`.

use std::time::Duration;

use durum_bench::database::{
    self, DatabaseFigure, DatabaseLink, DatabaseReport, DatabaseRow, DatabaseSettings,
    DatabaseWorkload,
};
use durum_core::Result;
use serde_json::json;

use super::args::BenchDatabaseArgs;
use super::{debug_build, hundredths, judged, migrate, tenths};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchDatabaseArgs) -> Outcome {
    context.check_config()?;
    let (objects, migrated, seconds, rounds) = match args.quick {
        true => (
            DatabaseSettings::OBJECTS_QUICK,
            DatabaseSettings::MIGRATED_QUICK,
            0.4,
            1,
        ),
        false => (
            DatabaseSettings::OBJECTS,
            DatabaseSettings::MIGRATED,
            2.0,
            3,
        ),
    };
    let named = args
        .workloads
        .iter()
        .map(|name| DatabaseWorkload::named(name));
    let settings = DatabaseSettings {
        url: args.url.clone(),
        workloads: named.collect::<Result<_>>()?,
        delays: args.delays.clone(),
        objects: args.objects.unwrap_or(objects),
        size: args.size,
        migrated: args.migrated.unwrap_or(migrated),
        time: Duration::from_secs_f64(args.seconds.unwrap_or(seconds)),
        rounds: usize::from(args.rounds.unwrap_or(rounds)),
        raw: args.raw,
        seed: args.seed,
        program: super::program()?,
    };
    let progress = context.progress();
    progress.begin("bench database", None);
    // Those of other benchmarks lie in directories.
    let registry = durum_backends::registry();
    let report = database::run(&registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    context.print(&json!(report), || text(&report))?;
    Ok(DONE)
}

fn text(report: &DatabaseReport) -> String {
    let machine = &report.machine;
    let server: Vec<String> = report
        .server
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let mut text = format!(
        "{} objects of {} bytes, seed {}, on {} with {} threads; PostgreSQL with {}.{}\n\n\
         Round trips, with what is added to them; opening a store takes {}:\n\n{}\n\
         Microseconds are those of a call by Durum and by the raw client, cpu those of this process; trips are round\n\
         trips of a call, on all connections together; the ratio is that of times:\n\n{}",
        output::number(report.objects),
        report.size,
        report.seed,
        machine.processor,
        machine.threads,
        server.join(", "),
        debug_build(machine),
        report.open_round_trips,
        links(&report.links),
        rows(&report.rows),
    );
    if !report.migrations.is_empty() {
        text.push_str(&format!(
            "\nMigrations, verified, and the raw client's COPY of the same records (raw), in seconds:\n\n{}\n{}",
            migrate::migrations(&report.migrations),
            figures(&report.figures),
        ));
    }
    text
}

fn links(links: &[DatabaseLink]) -> String {
    let mut table = Table::new(&[("delay ms", Side::Right), ("round trip us", Side::Right)]);
    for link in links {
        table.row([delay(link.delay_ms), tenths(Some(link.round_trip_us))]);
    }
    table.render("")
}

fn delay(milliseconds: f64) -> String {
    milliseconds.to_string()
}

fn rows(rows: &[DatabaseRow]) -> String {
    let mut table = Table::new(&[
        ("workload", Side::Left),
        ("delay ms", Side::Right),
        ("a second", Side::Right),
        ("unit", Side::Left),
        ("spread %", Side::Right),
        ("median us", Side::Right),
        ("99 % us", Side::Right),
        ("cpu us", Side::Right),
        ("trips", Side::Right),
        ("raw a second", Side::Right),
        ("raw median us", Side::Right),
        ("raw cpu us", Side::Right),
        ("raw trips", Side::Right),
        ("ratio", Side::Right),
    ]);
    for row in rows {
        let (own, raw) = (row.latency.as_ref(), row.raw_latency.as_ref());
        table.row([
            row.workload.name().to_owned(),
            delay(row.delay_ms),
            output::number(row.per_second as u64),
            row.unit.to_owned(),
            tenths(Some(row.spread * 100.0)),
            super::whole(own.map(|latency| latency.p50_us as u64)),
            super::whole(own.map(|latency| latency.p99_us as u64)),
            hundredths(Some(row.processor_us)),
            tenths(row.round_trips),
            super::whole(row.raw_per_second.map(|rate| rate as u64)),
            super::whole(raw.map(|latency| latency.p50_us as u64)),
            hundredths(row.raw_processor_us),
            tenths(row.raw_round_trips),
            hundredths(row.ratio_to_raw),
        ]);
    }
    table.render("")
}

fn figures(figures: &[DatabaseFigure]) -> String {
    judged(
        &["figure"],
        figures
            .iter()
            .map(|figure| ([figure.figure.clone()], &figure.judged)),
    )
}
