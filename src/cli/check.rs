//! `durum check`.

use durum_core::check::{Finding, FindingKind, Report, check};
use durum_core::{Error, ErrorKind};
use serde_json::json;

use super::args::CheckArgs;
use super::context::Context;
use super::failure::{DONE, FINDINGS, Failure, Outcome, of_source};
use super::opened::Opened;
use super::output;

/// Findings that are listed for people; `--json` has more.
const SHOWN_MAX: usize = 50;

pub(crate) fn run(context: &Context, args: &CheckArgs) -> Outcome {
    let progress = context.progress();
    progress.begin("check", None);
    let url = args.url.as_deref();
    let checked = match context.open(url) {
        Err(error) if args.repair && error.kind() == ErrorKind::Damaged => {
            repair_opening(context, url, error)
        }
        opened => opened.and_then(|store| match (&store, args.repair) {
            (Opened::Local(store), true) => check(store, true),
            (Opened::Remote(_), true) => Err(not_through_a_server()),
            (store, false) => store.check(),
        }),
    };
    drop(progress);
    let (report, complete) = match checked {
        Ok(report) => (report, true),
        Err(error) => (unreadable(error)?, false),
    };
    let object = json!({
        "objects": report.objects,
        "errors": report.errors,
        "error_count": report.error_count,
        "unreachable": report.unreachable,
        "dangling": report.dangling,
        "repaired": report.repaired,
        "complete": complete,
    });
    context.print(&object, || text(&report, complete))?;
    Ok(if report.error_count == 0 {
        DONE
    } else {
        FINDINGS
    })
}

fn not_through_a_server() -> Error {
    Error::new(ErrorKind::Unsupported, "repair the store")
        .because("it is served")
        .hint("Stop the server, and name its store.")
}

/// Checks a store that does not open as it is, by having rebuilt what can be.
fn repair_opening(context: &Context, url: Option<&str>, error: Error) -> Result<Report, Error> {
    let Ok(store) = context.registry.open_rebuilding(&context.settings(url)?) else {
        return Err(error);
    };
    let mut report = check(&store, true)?;
    let mended = format!("mended: {error}");
    report.repaired.insert(0, mended);
    Ok(report)
}

/// Damage that keeps the store from being opened or read to its end is a finding like any other.
fn unreadable(error: Error) -> Result<Report, Failure> {
    if error.kind() != ErrorKind::Damaged {
        return Err(of_source(error));
    }
    let oid = error.oids().first().map(|oid| oid.0);
    let finding = Finding {
        oid,
        kind: FindingKind::Damaged,
        message: error.to_string(),
    };
    Ok(Report {
        errors: vec![finding],
        error_count: 1,
        ..Report::default()
    })
}

fn text(report: &Report, complete: bool) -> String {
    let mut out = String::new();
    for finding in report.errors.iter().take(SHOWN_MAX) {
        out.push_str(&format!("{}\n", finding.message));
    }
    let hidden = report.error_count.saturating_sub(SHOWN_MAX as u64);
    if hidden > 0 {
        out.push_str(&format!("... and {hidden} more.\n"));
    }
    report
        .repaired
        .iter()
        .for_each(|mended| out.push_str(&format!("{mended}\n")));
    if complete {
        out.push_str(&output::pairs(&[
            ("objects", output::number(report.objects)),
            ("unreachable", output::number(report.unreachable)),
            ("dangling", output::number(report.dangling)),
        ]));
    } else {
        out.push_str("The store could not be read to its end: the check is not complete.\n");
    }
    out.push_str(&match report.error_count {
        0 => "No errors.\n".to_owned(),
        number => format!("{}.\n", output::count(number, "error")),
    });
    out
}
