//! `durum completions`.

use clap::CommandFactory as _;
use serde_json::json;

use super::args::{Cli, CompletionsArgs};
use super::context::Context;
use super::failure::{DONE, Outcome};

pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    // Into memory first: the generator panics where it cannot write.
    clap_complete::generate(args.shell, &mut Cli::command(), "durum", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let object = json!({ "shell": args.shell.to_string(), "script": script });
    context.print(&object, || script)?;
    Ok(DONE)
}
