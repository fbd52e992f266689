//! `durum bench server`.

use std::time::Duration;

use durum_bench::server::{self, ServerFigure, ServerReport, ServerRow, ServerSettings};
use durum_core::Result;
use serde_json::json;

use super::args::{BenchEchoArgs, BenchServerArgs};
use super::{debug_build, hundredths, judged, tenths};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchServerArgs) -> Outcome {
    context.check_config()?;
    let program = super::program()?;
    let (objects, seconds, idle) = match args.quick {
        true => (2000, 0.2, 200),
        false => (ServerSettings::OBJECTS, 2.0, ServerSettings::IDLE),
    };
    let named = args.workloads.iter().map(|name| server::workload(name));
    let settings = ServerSettings {
        engines: args.engines.clone(),
        workloads: named.collect::<Result<_>>()?,
        objects: args.objects.unwrap_or(objects),
        size: args.size,
        time: Duration::from_secs_f64(args.seconds.unwrap_or(seconds)),
        rounds: usize::from(args.rounds),
        idle: args.idle.unwrap_or(idle),
        durus: args.durus.clone(),
        seed: args.seed,
        program,
    };
    let progress = context.progress();
    progress.begin("bench server", None);
    let report = server::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    context.print(&json!(report), || text(&report))?;
    Ok(DONE)
}

/// Answers until it is killed.
pub(crate) fn echo(context: &Context, args: &BenchEchoArgs) -> Outcome {
    let mut printed = Ok(());
    server::echo(args.answer_bytes, &mut |address| {
        printed = context.print(&json!({ "listen": [address] }), || format!("{address}\n"));
        Ok(())
    })?;
    printed?;
    Ok(DONE)
}

fn text(report: &ServerReport) -> String {
    let machine = &report.machine;
    format!(
        "{} objects of {} bytes, seed {}, on {} with {} threads; the disk confirms {} small appends a \
         second.{}\n\n{}\n{}",
        output::number(report.objects as u64),
        report.size,
        report.seed,
        machine.processor,
        machine.threads,
        output::number(report.sync_per_second as u64),
        debug_build(machine),
        rows(&report.rows),
        figures(&report.figures),
    )
}

fn rows(rows: &[ServerRow]) -> String {
    let mut table = Table::new(&[
        ("workload", Side::Left),
        ("clients", Side::Right),
        ("idle", Side::Right),
        ("server", Side::Left),
        ("protocol", Side::Left),
        ("a second", Side::Right),
        ("unit", Side::Left),
        ("spread %", Side::Right),
        ("server's cpu us", Side::Right),
        ("conflicts", Side::Right),
        ("bytes per idle", Side::Right),
    ]);
    for row in rows {
        table.row([
            row.workload.name().to_owned(),
            row.clients.to_string(),
            output::number(row.idle as u64),
            row.server.clone(),
            row.protocol.to_owned(),
            output::number(row.per_second as u64),
            row.unit.to_owned(),
            tenths(Some(row.spread * 100.0)),
            hundredths(row.processor_us),
            output::number(row.conflicts),
            super::whole(row.idle_bytes.map(|bytes| bytes as u64)),
        ]);
    }
    table.render("")
}

fn figures(figures: &[ServerFigure]) -> String {
    judged(
        &["server", "figure"],
        figures.iter().map(|figure| {
            let cells = [figure.server.clone(), figure.figure.to_owned()];
            (cells, &figure.judged)
        }),
    )
}
