//! The child process of the crash tests of backups.
//!
//! ```text
//! crash_backup backup URL FILE
//! crash_backup restore FILE URL
//! ```
//! Ends with the exit codes of `durum`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use durum_core::Result;
use durum_migrate::backup::{Backup, Input, OutputFile, restore};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments[0].as_str() {
        "backup" => backup(&arguments[1], arguments[2].as_ref()),
        "restore" => build(arguments[1].as_ref(), &arguments[2]),
        other => panic!("there is no command {other}"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn backup(url: &str, file: &Path) -> Result<()> {
    let registry = durum_backends::registry();
    let store = registry.open(&registry.parse_store(url)?.without_collection())?;
    let mut out = OutputFile::create(file, false)?;
    Backup::begin(&store, None)?.write(false, &mut out, &())?;
    out.complete()
}

fn build(file: &Path, url: &str) -> Result<()> {
    let registry = durum_backends::registry();
    let settings = registry.parse_store(url)?;
    restore(&registry, vec![Input::open(file)?], None, &settings, &()).map(drop)
}
