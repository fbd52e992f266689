//! Logs on standard error.

use durum_core::config::suggest;
use durum_core::{Error, ErrorKind};
use tracing_subscriber::filter::LevelFilter;

use super::failure::Failure;

/// The environment variable that names a level.
const VARIABLE: &str = "DURUM_LOG";
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging at the level that the arguments ask for, else at that of the environment.
pub(crate) fn start(verbose: u8, quiet: bool) -> Result<(), Failure> {
    let from_variable = match std::env::var_os(VARIABLE) {
        Some(level) if !level.is_empty() => Some(parse(&level.to_string_lossy())?),
        _ => None,
    };
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => from_variable.unwrap_or(LevelFilter::WARN),
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        // It would panic where standard error is closed.
        .log_internal_errors(false)
        .init();
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
