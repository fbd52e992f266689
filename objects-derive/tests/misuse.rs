//! What does not compile, and what the compiler says then.
//!
//! The compiler's own part of a message changes with its version: the expected ones are those of one version, and
//! with another the test is left out. To go on to a new one, look at the differences, and have the messages written anew
//! with `TRYBUILD=overwrite cargo test -p durum-objects-derive --test misuse`.

use std::process::Command;

/// The compiler whose messages are expected.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn misuse_is_told_by_the_compiler() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match version {
        Ok(version) if version.starts_with(COMPILER) => {
            trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
        }
        version => {
            eprintln!("left out: the messages of {COMPILER}x are expected, and this is {version:?}")
        }
    }
}
