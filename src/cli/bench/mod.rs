//! `durum bench`.

mod commit;
mod compare;
mod gc;
mod load;
mod migrate;
mod oo7;
mod server;

use durum_bench::Machine;

use super::args::{BenchArgs, BenchCommand};
use super::context::Context;
use super::failure::Outcome;
use super::output;

pub(crate) fn run(context: &Context, args: &BenchArgs) -> Outcome {
    match &args.what {
        None => compare::run(context, &args.compare),
        Some(BenchCommand::Gc(args)) => gc::run(context, args),
        Some(BenchCommand::Migrate(args)) => migrate::run(context, args),
        Some(BenchCommand::Oo7(args)) => oo7::run(context, args),
        Some(BenchCommand::Server(args)) => server::run(context, args),
        Some(BenchCommand::Echo(args)) => server::echo(context, args),
        Some(BenchCommand::Load(args)) => load::run(context, args),
        Some(BenchCommand::Commit(args)) => commit::run(context, args),
    }
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
