//! `durum bench dict`.

use durum_bench::dict::{self, DictReport, DictRow, DictSettings, DictStore};
use serde_json::json;

use super::args::{BenchDictArgs, BenchPartArgs};
use super::{debug_build, tenths};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchDictArgs) -> Outcome {
    context.check_config()?;
    let program = super::program()?;
    let (dicts, rounds) = match args.quick {
        true => (DictSettings::DICTS_QUICK, 1),
        false => (DictSettings::DICTS, 3),
    };
    let settings = DictSettings {
        engines: args.engines.clone(),
        nodes: args.nodes,
        garage: args.garage.clone(),
        clusters: args.on.clone(),
        dicts: args.dicts.unwrap_or(dicts),
        size: args.size as usize,
        batch: args.batch as usize,
        writers: usize::from(args.writers),
        cache: args.cache << 20,
        rounds: usize::from(args.rounds.unwrap_or(rounds)),
        seed: args.seed,
        program,
    };
    let progress = context.progress();
    progress.begin("bench dict", None);
    let report = dict::run(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    context.print(&json!(report), || text(&report))?;
    Ok(DONE)
}

/// Does what a JSON object says.
pub(crate) fn part(context: &Context, args: &BenchPartArgs) -> Outcome {
    let done = dict::run_dict_part(&context.registry, &args.part)?;
    context.print(&json!(done), || format!("{done:?}\n"))?;
    Ok(DONE)
}

fn text(report: &DictReport) -> String {
    let machine = &report.machine;
    format!(
        "{} dictionaries with texts of {} bytes and three indexes; batches of {}, {} at once, caches of {} MiB, seed {}; on {} with \
         {} threads, whose disk confirms {} small appends a second.{}\n\n\
         Times are those of a call, of a batch, or until the first result is there:\n\n{}\n\
         On the disk, of all nodes together, and the most memory of each node's processes:\n\n{}",
        output::number(report.dicts),
        report.size,
        output::number(report.batch as u64),
        report.writers,
        report.cache >> 20,
        report.seed,
        machine.processor,
        machine.threads,
        output::number(report.sync_per_second as u64),
        debug_build(machine),
        rows(&report.rows),
        stores(&report.stores),
    )
}

fn rows(rows: &[DictRow]) -> String {
    let mut table = Table::new(&[
        ("workload", Side::Left),
        ("home", Side::Left),
        ("a second", Side::Right),
        ("unit", Side::Left),
        ("spread %", Side::Right),
        ("of", Side::Right),
        ("time of", Side::Left),
        ("p50 us", Side::Right),
        ("p99 us", Side::Right),
        ("own memory MiB", Side::Right),
        ("mapped MiB", Side::Right),
    ]);
    for row in rows {
        let latency = row.latency.as_ref();
        table.row([
            row.workload.name().to_owned(),
            row.home.clone(),
            output::number(row.per_second as u64),
            row.unit.to_owned(),
            tenths(Some(row.spread * 100.0)),
            output::number(row.count),
            row.timed.to_owned(),
            tenths(latency.map(|it| it.p50_us)),
            tenths(latency.map(|it| it.p99_us)),
            mebibytes(row.memory),
            mebibytes(row.mapped),
        ]);
    }
    table.render("")
}

fn stores(stores: &[DictStore]) -> String {
    let mut table = Table::new(&[
        ("home", Side::Left),
        ("put MiB", Side::Right),
        ("bytes each", Side::Right),
        ("at the end MiB", Side::Right),
        ("Garage MiB", Side::Right),
        ("fronts MiB", Side::Right),
    ]);
    for store in stores {
        let each = store.disk_put.map(|bytes| bytes / store.dicts.max(1));
        let all = |of: &dyn Fn(&dict::NodeMemory) -> Option<u64>| {
            let nodes = store.nodes.iter();
            nodes
                .map(|node| mebibytes(of(node)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        table.row([
            store.home.clone(),
            mebibytes(store.disk_put),
            super::whole(each),
            mebibytes(store.disk_end),
            all(&|node| node.garage),
            all(&|node| node.front),
        ]);
    }
    table.render("")
}

fn mebibytes(bytes: Option<u64>) -> String {
    super::whole(bytes.map(|bytes| bytes.div_ceil(1 << 20)))
}
