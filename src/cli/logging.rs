//! Logs on standard error.

use durum_core::config::suggest;
use durum_core::{Error, ErrorKind};
use tracing_subscriber::filter::LevelFilter;

use super::args::{Cli, Command, LogFormatArg};
use super::failure::Failure;

/// The environment variable that names a level.
const VARIABLE: &str = "DURUM_LOG";
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging at the level that the arguments ask for, else at that of the environment, else at that
/// of the command: nobody watches a server, and its log tells what has happened.
pub(crate) fn start(cli: &Cli) -> Result<(), Failure> {
    let from_variable = match std::env::var_os(VARIABLE) {
        Some(level) if !level.is_empty() => Some(parse(&level.to_string_lossy())?),
        _ => None,
    };
    let serves = matches!(cli.command, Command::Serve(_));
    let default = match serves {
        true => LevelFilter::INFO,
        false => LevelFilter::WARN,
    };
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => from_variable.unwrap_or(default),
        (false, 1) if !serves => LevelFilter::INFO,
        (false, 1 | 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        // It would panic where standard error is closed.
        .log_internal_errors(false);
    match cli.log_format {
        LogFormatArg::Text => builder.init(),
        LogFormatArg::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

fn parse(name: &str) -> Result<LevelFilter, Failure> {
    let lower = name.to_ascii_lowercase();
    let known = LEVELS.contains(&lower.as_str());
    known.then(|| lower.parse().ok()).flatten().ok_or_else(|| {
        Error::new(ErrorKind::Usage, "read the environment")
            .because(format!("`{name}` is not a value for {VARIABLE}"))
            .hint(suggest(&lower, LEVELS, "values"))
            .into()
    })
}
