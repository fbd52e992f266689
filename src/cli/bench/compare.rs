//! `durum bench`.

use durum_bench::{Comparison, DISK, Row, Settings, Workload, compare, page};
use durum_core::units::format_size;
use durum_core::{Error, ErrorKind, IoResultExt as _};
use serde_json::json;

use super::args::BenchCompareArgs;
use super::{debug_build, hundredths};
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure, Outcome};
use crate::cli::output;
use crate::cli::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &BenchCompareArgs) -> Outcome {
    context.check_config()?;
    let settings = settings(args)?;
    if let Some(path) = &args.html {
        // Not after minutes.
        std::fs::write(path, "").during("write the page", path)?;
    }
    let progress = context.progress();
    progress.begin("bench", None);
    let comparison = compare(&context.registry, &args.dir, &settings, &|line| {
        tracing::info!("{line}")
    })?;
    drop(progress);
    if let Some(path) = &args.html {
        std::fs::write(path, page(&comparison)).during("write the page", path)?;
    }
    let object = json!({
        "rows": comparison.rows,
        "stores": comparison.stores,
        "sync_per_second": comparison.sync_per_second,
        "recommendation": comparison.recommendation,
        "size": comparison.size,
        "sizes": comparison.sizes,
        "seed": comparison.seed,
        "rounds": comparison.rounds,
        "machine": comparison.machine,
    });
    context.print(&object, || text(&comparison))?;
    Ok(DONE)
}

fn settings(args: &BenchCompareArgs) -> Result<Settings, Failure> {
    let program = super::program()?;
    let mut settings = Settings {
        engines: [args.names.as_slice(), args.engines.as_slice()].concat(),
        raw: args.raw,
        size: args.size,
        seed: args.seed,
        program: Some(program),
        ..Settings::full()
    };
    if args.quick {
        settings.objects = vec![10_000];
        settings.rounds = 1;
        settings.commit_time = Settings::quick().commit_time;
        settings.load_time = Settings::quick().load_time;
    }
    if !args.objects.is_empty() {
        settings.objects.clone_from(&args.objects);
    }
    if let Some(rounds) = args.rounds {
        settings.rounds = usize::from(rounds);
    }
    if !args.workloads.is_empty() {
        let workload = |name: &String| {
            let mut all = Workload::ALL.into_iter();
            all.find(|workload| workload.name() == name).ok_or_else(|| {
                let names = Workload::ALL.map(Workload::name).join(", ");
                Error::new(ErrorKind::Usage, "compare the engines")
                    .because(format!("there is no workload `{name}`"))
                    .hint(format!("There are {names}."))
            })
        };
        settings.workloads = args
            .workloads
            .iter()
            .map(workload)
            .collect::<Result<_, _>>()?;
        settings.memory = false;
    }
    Ok(settings)
}

fn text(comparison: &Comparison) -> String {
    let machine = &comparison.machine;
    let (shortest, longest) = comparison.sizes;
    let mut text = format!(
        "On {} with {} threads, where the disk confirms {} appends a second.{}\n\
         Objects of {shortest} to {longest} bytes, each with one referrer; medians of {} rounds; seed {}.\n",
        machine.processor,
        machine.threads,
        output::number(comparison.sync_per_second as u64),
        debug_build(machine),
        comparison.rounds,
        comparison.seed,
    );
    let mut counts: Vec<u64> = comparison.stores.iter().map(|row| row.objects).collect();
    counts.dedup();
    for count in counts {
        let rows: Vec<&Row> = comparison
            .rows
            .iter()
            .filter(|row| row.objects == count)
            .collect();
        let rate = |row: &Row| output::number(row.per_second.round() as u64);
        text.push_str(&format!(
            "\n{} each, a second:\n\n{}",
            output::count(count, "object"),
            table(&rows, &rate)
        ));
        if rows.iter().any(|row| row.ratio_to_raw.is_some()) {
            text.push_str(&format!(
                "\nWhat Durum takes for each, divided by what the engine alone takes: processor time, or \
                 time where\nthe disk or several threads are waited for:\n\n{}",
                table(&rows, &|row| hundredths(row.ratio_to_raw))
            ));
        }
    }
    text.push_str(&format!(
        "\nOn the disk, and memory of a bulk load:\n\n{}",
        stores(comparison)
    ));
    if let Some(advice) = &comparison.recommendation {
        text.push_str(&format!("\nTake {}:\n", advice.engine));
        for reason in &advice.reasons {
            text.push_str(&format!("- {reason}\n"));
        }
    }
    text
}

/// Workloads below each other, engines beside each other.
fn table(rows: &[&Row], cell: &dyn Fn(&Row) -> String) -> String {
    let mut engines: Vec<&str> = rows.iter().map(|row| row.engine.as_str()).collect();
    engines.retain(|engine| *engine != DISK);
    let mut seen = std::collections::HashSet::new();
    engines.retain(|engine| seen.insert(*engine));
    let mut text = Table::of(
        [("workload".to_owned(), Side::Left)].into_iter().chain(
            engines
                .iter()
                .map(|engine| ((*engine).to_owned(), Side::Right)),
        ),
    );
    for workload in Workload::ALL {
        let of = |engine: &str| {
            let mut rows = rows.iter();
            rows.find(|row| row.workload == workload && row.engine == engine)
        };
        let cells: Vec<String> = engines
            .iter()
            .map(|engine| of(engine).map(|row| cell(row)).unwrap_or_default())
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            text.row([workload.title().to_owned()].into_iter().chain(cells));
        }
    }
    text.render("")
}

fn stores(comparison: &Comparison) -> String {
    let mut table = Table::new(&[
        ("engine", Side::Left),
        ("objects", Side::Right),
        ("records", Side::Right),
        ("loaded", Side::Right),
        ("alone", Side::Right),
        ("changed", Side::Right),
        ("records left", Side::Right),
        ("collected", Side::Right),
        ("given back", Side::Right),
        ("compacted", Side::Right),
        ("memory", Side::Right),
        ("alone", Side::Right),
    ]);
    let size = |bytes: Option<u64>| bytes.map(format_size).unwrap_or_default();
    for row in &comparison.stores {
        table.row([
            row.engine.clone(),
            output::number(row.objects),
            format_size(row.live_bytes),
            size(row.disk_loaded),
            size(row.raw_disk_loaded),
            size(row.disk_changed),
            size(Some(row.live_bytes_left).filter(|bytes| *bytes > 0)),
            size(row.disk_collected),
            size(row.disk_reclaimed),
            size(row.disk_compacted),
            size(row.peak_anonymous),
            size(row.raw_peak_anonymous),
        ]);
    }
    table.render("")
}
