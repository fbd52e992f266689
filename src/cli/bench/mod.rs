//! `durum bench`.

pub(crate) mod args;
mod commit;
mod compare;
mod database;
mod dict;
mod gc;
mod load;
mod migrate;
mod objects;
mod oo7;
mod server;

use std::path::PathBuf;

use durum_bench::{Judged, Machine};
use durum_core::{Error, Result};

use super::context::Context;
use super::failure::Outcome;
use super::output;
use super::table::{Side, Table};
use args::{BenchArgs, BenchCommand};

pub(crate) fn run(context: &Context, args: &BenchArgs) -> Outcome {
    match &args.what {
        None => compare::run(context, &args.compare),
        Some(BenchCommand::Database(args)) => database::run(context, args),
        Some(BenchCommand::Dict(args)) => dict::run(context, args),
        Some(BenchCommand::DictPart(args)) => dict::part(context, args),
        Some(BenchCommand::Gc(args)) => gc::run(context, args),
        Some(BenchCommand::Migrate(args)) => migrate::run(context, args),
        Some(BenchCommand::Objects(args)) => objects::run(context, args),
        Some(BenchCommand::Oo7(args)) => oo7::run(context, args),
        Some(BenchCommand::Server(args)) => server::run(context, args),
        Some(BenchCommand::Echo(args)) => server::echo(context, args),
        Some(BenchCommand::Load(args)) => load::run(context, args),
        Some(BenchCommand::Part(args)) => objects::part(context, args),
        Some(BenchCommand::Commit(args)) => commit::run(context, args),
    }
}

/// This program, which is to be run in other processes.
fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| Error::io(error, "find the program to measure"))
}

/// A line about times that say nothing.
fn debug_build(machine: &Machine) -> &'static str {
    match machine.debug_build {
        true => "\nThis program was compiled without optimisation: its times are worthless.",
        false => "",
    }
}

fn whole(figure: Option<u64>) -> String {
    figure.map(output::number).unwrap_or_default()
}

fn tenths(figure: Option<f64>) -> String {
    figure
        .map(|figure| format!("{figure:.1}"))
        .unwrap_or_default()
}

fn hundredths(figure: Option<f64>) -> String {
    figure
        .map(|figure| format!("{figure:.2}"))
        .unwrap_or_default()
}

/// A table of figures, each below the heads of what tells it from others, with what it is to be.
fn judged<'a, const N: usize>(
    heads: &[&'static str; N],
    figures: impl Iterator<Item = ([String; N], &'a Judged)>,
) -> String {
    let heads = heads.iter().map(|head| (*head, Side::Left));
    let values = [("", Side::Right), ("to be", Side::Left), ("", Side::Left)];
    let mut table = Table::new(&heads.chain(values).collect::<Vec<_>>());
    for (names, judged) in figures {
        let least = judged.at_least.map(|bound| format!("at least {bound}"));
        let most = judged.at_most.map(|bound| format!("at most {bound}"));
        let reached = match judged.reached {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let values = [
            hundredths(Some(judged.value)),
            least.or(most).unwrap_or_default(),
            reached.to_owned(),
        ];
        table.row(names.into_iter().chain(values));
    }
    table.render("")
}
