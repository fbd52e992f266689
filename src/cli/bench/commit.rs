//! `durum bench commit`: a part of `durum bench`.

use durum_bench::commit_until_killed;

use super::args::BenchLoadArgs;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Outcome};
use crate::cli::output;

/// Writes a byte once it commits.
pub(crate) fn run(context: &Context, args: &BenchLoadArgs) -> Outcome {
    context.check_config()?;
    let settings = super::load::settings(args);
    let mut written = Ok(());
    commit_until_killed(&context.registry, &args.path, &settings, &mut || {
        written = output::bytes(b".");
        Ok(())
    })?;
    written?;
    Ok(DONE)
}
