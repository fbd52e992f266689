//! A quick comparison of the engines on this machine.

use durum_bench::{DISK, Row, Workload, quick};
use durum_core::engine::Registry;

use super::home::Home;
use super::narrator::Narrator;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::table::{Side, Table};

/// Measures every engine in stores that are removed afterwards.
pub(super) fn compare(
    context: &Context,
    narrator: &Narrator,
    home: &Home,
) -> Result<Vec<Row>, Failure> {
    narrator.heading("5. The engines on this machine")?;
    let progress = context.progress();
    progress.begin("compare", None);
    let rows = quick(&context.registry, home.path(), &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    narrator.say(&format!(
        "Per second, on small objects, everything read from memory. A commit changes one object,\n\
         as durably as the engine can.\n\n{}",
        table(&context.registry, &rows)
    ))?;
    if let Some(disk) = find(&rows, DISK, Workload::Sync) {
        narrator.say(&format!(
            "\nThe disk itself confirms {} writes per second, one after the other.\n",
            whole(Some(disk))
        ))?;
    }
    Ok(rows)
}

fn table(registry: &Registry, rows: &[Row]) -> String {
    let mut table = Table::new(&[
        ("engine", Side::Left),
        ("imported", Side::Right),
        ("commits", Side::Right),
        ("durability", Side::Left),
        ("random loads", Side::Right),
        ("scanned", Side::Right),
    ]);
    for engine in registry.names() {
        let rate = |workload| whole(find(rows, engine, workload));
        let commit = find(rows, engine, Workload::Commit);
        let level = commit
            .and_then(|row| row.durability)
            .map(|level| level.name());
        table.row([
            engine.to_owned(),
            rate(Workload::Import),
            rate(Workload::Commit),
            level.unwrap_or_default().to_owned(),
            rate(Workload::Load),
            rate(Workload::Scan),
        ]);
    }
    table.render("  ")
}

fn find<'a>(rows: &'a [Row], engine: &str, workload: Workload) -> Option<&'a Row> {
    rows.iter()
        .find(|row| row.engine == engine && row.workload == workload)
}

fn whole(row: Option<&Row>) -> String {
    row.map(|row| output::number(row.per_second.round() as u64))
        .unwrap_or_default()
}
