//! `durum census`.

use durum_core::units::format_size;
use durum_objects::inspect::{Census, Count, Inspector};
use serde_json::{Value, json};

use super::args::StoreArgs;
use super::context::Context;
use super::failure::{DONE, Outcome};
use super::output;
use super::table::{Side, Table};

pub(crate) fn run(context: &Context, args: &StoreArgs) -> Outcome {
    let store = context.open_source(args.url.as_deref())?;
    let snapshot = store.snapshot()?;
    let inspector = Inspector::new(&*snapshot)?;
    let progress = context.progress();
    progress.begin("census", Some(store.stats()?.objects));
    let census = inspector.census(&mut |objects, bytes| progress.advance(objects, bytes))?;
    drop(progress);
    let total = census.total();
    let types: Vec<Value> = census
        .types
        .iter()
        .map(|(kind, count)| {
            json!({
                "type": kind.name,
                "type_version": kind.version,
                "objects": count.objects,
                "bytes": count.bytes,
            })
        })
        .collect();
    let object = json!({
        "objects": total.objects,
        "bytes": total.bytes,
        "types": types,
        "unknown": count(census.unknown),
        "untyped": count(census.untyped),
        "types_error": inspector.problem(),
    });
    context.print(&object, || text(&census, inspector.problem()))?;
    Ok(DONE)
}

fn count(count: Count) -> Value {
    json!({ "objects": count.objects, "bytes": count.bytes })
}

fn text(census: &Census, problem: Option<&str>) -> String {
    let mut table = Table::new(&[
        ("type", Side::Left),
        ("objects", Side::Right),
        ("bytes", Side::Right),
        ("mean", Side::Right),
    ]);
    let mut row = |name: String, count: Count| {
        let mean = count.bytes.checked_div(count.objects).unwrap_or_default();
        table.row([
            name,
            output::number(count.objects),
            output::number(count.bytes),
            format_size(mean),
        ]);
    };
    for (kind, count) in &census.types {
        row(kind.to_string(), *count);
    }
    if census.unknown.objects > 0 {
        row("(not in the table of types)".to_owned(), census.unknown);
    }
    if census.untyped.objects > 0 {
        row("(not typed)".to_owned(), census.untyped);
    }
    row("in all".to_owned(), census.total());
    let problem = problem.map(|problem| format!("The table of types cannot be read: {problem}\n"));
    problem.unwrap_or_default() + &table.render("")
}
