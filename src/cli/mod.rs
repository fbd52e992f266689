//! The command line: what there is to say, and who does it.
//!
//! One file per command. A command gets a [`Context`], prints its result through it and returns an
//! exit code, or a [`Failure`], which is printed here.

mod args;
mod backup;
mod bench;
mod census;
mod cert;
mod check;
mod completions;
mod context;
mod dict;
mod digest;
mod engines;
mod failure;
mod gc;
mod get;
mod init;
mod logging;
mod memory;
mod migrate;
mod node;
mod opened;
mod output;
mod progress;
mod restore;
mod serve;
mod served;
mod stat;
mod table;
mod tour;
mod tree;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind as ClapErrorKind;

use args::{Cli, Command};
use context::Context;
use failure::{Failure, Outcome, Reporting};

/// Runs the program with the process's arguments.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    let context = Context::new(&cli);
    let outcome = logging::start(&cli).and_then(|()| dispatch(&context, &cli));
    ExitCode::from(match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(context.reporting()),
    })
}

fn dispatch(context: &Context, cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Init(args) => init::run(context, args),
        Command::Engines => engines::run(context),
        Command::Stat(args) => stat::run(context, args),
        Command::Get(args) => get::run(context, args),
        Command::Tree(args) => tree::run(context, args),
        Command::Census(args) => census::run(context, args),
        Command::Digest(args) => digest::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Gc(args) => gc::run(context, args),
        Command::Migrate(args) => migrate::run(context, args),
        Command::Backup(args) => backup::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Serve(args) => serve::run(context, args),
        Command::Dict(args) => dict::run(context, args),
        Command::Cert(args) => cert::run(context, args),
        Command::Node(args) => node::run(context, args),
        Command::Bench(args) => bench::run(context, args),
        Command::Tour(args) => tour::run(context, args),
        Command::Completions(args) => completions::run(context, args),
    }
}

/// Prints help where it was asked for, and what is wrong with the arguments elsewhere.
fn refuse(error: &clap::Error) -> u8 {
    let asked = matches!(
        error.kind(),
        ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion
    );
    if asked {
        // Nobody may be reading: that is no failure.
        let _ = error.print();
        return 0;
    }
    let json = std::env::args_os().any(|argument| argument == "--json");
    let reporting = match json {
        true => Reporting::Json,
        false => Reporting::Text,
    };
    Failure::arguments(&error.render().to_string()).report(reporting)
}
