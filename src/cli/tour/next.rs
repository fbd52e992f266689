//! Which commands to try next, ready to be copied into a shell.

use std::path::{Path, PathBuf};

use super::home::Home;
use super::narrator::Narrator;
use crate::cli::failure::Failure;

/// Shows and returns the commands.
pub(super) fn show(narrator: &Narrator, home: &Home, engine: &str) -> Result<Vec<String>, Failure> {
    let program = quote(&program().display().to_string());
    let url =
        |name: &str, scheme: &str| quote(&format!("{scheme}:{}", escape(&home.path().join(name))));
    let store = url(engine, engine);
    let copy = url("copy", engine);
    let durus = url("debian.durus", "durus");
    let steps = [
        ("what is in the store", format!("stat {store}")),
        (
            "the package libc6, by its number",
            format!("get {store} 125"),
        ),
        ("every checksum and reference", format!("check {store}")),
        (
            "a copy of the original sample, proven equal",
            format!("migrate {durus} {copy}"),
        ),
        ("what each engine offers", "engines".to_owned()),
    ];
    let commands: Vec<String> = steps
        .iter()
        .map(|(_, arguments)| format!("{program} {arguments}"))
        .collect();
    narrator.heading("6. Go on from here")?;
    narrator.say(&format!(
        "The stores of this tour are in {}.\n\n",
        home.path().display()
    ))?;
    for ((about, _), command) in steps.iter().zip(&commands) {
        narrator.say(&format!("  # {about}\n  {command}\n"))?;
    }
    Ok(commands)
}

/// How this program was called, if that works again; else where it lies.
fn program() -> PathBuf {
    let called = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_default();
    let found = called.components().count() > 1 && called.exists();
    let by_name = called.components().count() == 1 && in_path(&called);
    match std::env::current_exe() {
        Ok(path) if !found && !by_name => path,
        _ => called,
    }
}

fn in_path(name: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A path within a URL.
fn escape(path: &Path) -> String {
    path.display()
        .to_string()
        .replace('%', "%25")
        .replace('?', "%3F")
}

/// A word for a shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:%+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quote("lmdb:durum-tour/lmdb"), "lmdb:durum-tour/lmdb");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(escape(Path::new("a?b%")), "a%3Fb%25");
    }
}
