//! Rules of this repository that the compiler does not know.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use durum_core::config::Config;

/// No file is longer.
const LINES_MAX: usize = 600;
/// Every backend has these files, so that whoever knows one finds the way in all.
const BACKEND_FILES: [&str; 6] = [
    "lib.rs",
    "config.rs",
    "engine.rs",
    "snapshot.rs",
    "cursor.rs",
    "reclaim.rs",
];
/// Crates that may contain `unsafe` blocks: the APIs of LMDB, of memory maps and of libc ask for them.
const UNSAFE_ALLOWED: [&str; 4] = [
    "backends/lmdb",
    "backends/file",
    "bench/raw",
    "tests/crash/shim",
];
/// The head of the README's table of engines.
const ENGINE_TABLE: &str =
    "| Engine | Durability | Own snapshots | Compaction | Space back | Choose it when |";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files with one of these extensions that belong to the repository.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                // `.git`, build products, virtual environments.
                if !name.starts_with('.') && !name.starts_with("target") {
                    open.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|it| extensions.iter().any(|want| it == *want))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files for which `complaint` has something to say, with what it says.
fn complaints(
    files: impl IntoIterator<Item = PathBuf>,
    complaint: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let about = |path: PathBuf| Some(format!("{}: {}", relative(&path), complaint(&read(&path))?));
    files.into_iter().filter_map(about).collect()
}

fn none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let found = complaints(files(&["rs", "py", "sh"]), |text| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines"))
    });
    none(found, &format!("No file has more than {LINES_MAX} lines."));
}

#[test]
fn nothing_is_left_over() {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        // With a reason it is an exhaustive run that somebody can ask for.
        concat!("#[ign", "ore]"),
    ];
    let found = complaints(files(&["rs", "toml", "py", "sh", "md"]), |text| {
        let place = |(number, line): (usize, &str)| {
            let word = words.iter().find(|word| line.contains(**word))?;
            Some(format!("line {}: {word}", number + 1))
        };
        text.lines().enumerate().find_map(place)
    });
    none(
        found,
        "No leftovers, and no test that is left out without a reason.",
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let sources = files(&["rs"])
        .into_iter()
        .filter(|path| relative(path).contains("src/"));
    let found = complaints(sources, |text| {
        let documented = text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//!"));
        (!documented).then(|| "does not begin with //!".to_owned())
    });
    none(found, "Every module begins with a comment about itself.");
}

#[test]
fn unsafe_code_is_forbidden_but_where_it_is_needed() {
    let roots = files(&["rs"]).into_iter().filter(|path| {
        let path = relative(path);
        let is_root = path.ends_with("src/lib.rs")
            || path.ends_with("src/main.rs")
            || path.contains("src/bin/");
        is_root
            && !UNSAFE_ALLOWED
                .iter()
                .any(|allowed| path.starts_with(allowed))
    });
    let found = complaints(roots, |text| {
        (!text.contains("#![forbid(unsafe_code)]")).then(|| "does not forbid it".to_owned())
    });
    none(
        found,
        "Every crate forbids unsafe code, but for those that cannot.",
    );
}

#[test]
fn backends_have_the_same_files() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for entry in fs::read_dir(root().join("backends")).unwrap() {
        let backend = entry.unwrap().path();
        if !backend.join("Cargo.toml").is_file() {
            continue;
        }
        checked += 1;
        let sources = BACKEND_FILES.map(|name| backend.join("src").join(name));
        missing.extend(
            sources
                .iter()
                .filter(|path| !path.is_file())
                .map(|path| relative(path)),
        );
    }
    none(missing, "Every backend has the same files.");
    assert!(
        checked >= durum_backends::registry().iter().count(),
        "{checked} backends"
    );
}

/// The README and all of `docs/`.
fn documentation() -> Vec<PathBuf> {
    let pages = files(&["md"]).into_iter();
    pages
        .filter(|path| {
            let path = relative(path);
            path == "README.md" || path.starts_with("docs/")
        })
        .collect()
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let text: String = documentation().iter().map(|path| read(path)).collect();
    let missing: Vec<String> = Config::keys()
        .filter(|key| !is_documented(&text, key))
        .collect();
    none(missing, "Every key of durum.toml is in README.md or docs/.");
}

/// A key stands as `store.path`, or as `path = ` somewhere below `[store]`; `store.options` also as
/// the table's head.
fn is_documented(text: &str, key: &str) -> bool {
    let Some((table, name)) = key.split_once('.') else {
        return text.contains(key);
    };
    if text.contains(&format!("`{key}`")) || text.contains(&format!("[{key}]")) {
        return true;
    }
    let mut current = "";
    text.lines().map(str::trim).any(|line| {
        if line.starts_with('[') {
            current = line
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default();
        }
        let assigned = line.trim_start_matches('#').trim_start().strip_prefix(name);
        current == table && assigned.is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

#[test]
fn the_example_of_the_configuration_is_valid() {
    let readme = read(&root().join("README.md"));
    let example = readme.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let config = Config::parse(example).unwrap();
    assert_eq!(config.server.clients.map(|clients| clients.len()), Some(2));
}

/// A row of the README's table of engines: its cells.
fn engine_rows(readme: &str) -> Vec<Vec<String>> {
    let lines = readme
        .lines()
        .skip_while(|line| line.trim() != ENGINE_TABLE)
        .skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

#[test]
fn the_readme_says_of_the_engines_what_the_registry_says() {
    let readme = read(&root().join("README.md"));
    let rows = engine_rows(&readme);
    assert!(
        !rows.is_empty(),
        "README.md has no table with the head\n{ENGINE_TABLE}"
    );
    let yes = |offers: bool| if offers { "yes" } else { "no" }.to_owned();
    let registry = durum_backends::registry();
    let absent: Vec<String> = registry.absent().map(|name| format!("`{name}`")).collect();
    for name in &absent {
        assert!(
            rows.iter().any(|row| row[0] == *name),
            "{name} is not there"
        );
    }
    // What those offer that this build lacks is known to a build that has them.
    let said: Vec<Vec<String>> = rows
        .iter()
        .filter(|row| !absent.contains(&row[0]))
        .map(|row| row.iter().take(5).cloned().collect())
        .collect();
    let mut offered: Vec<Vec<String>> = Vec::new();
    for backend in registry.iter() {
        let it = backend.capabilities();
        let levels: Vec<&str> = it.durability.iter().map(|level| level.name()).collect();
        offered.push(vec![
            format!("`{}`", it.name),
            levels.join(", "),
            yes(it.snapshots),
            yes(it.compaction),
            yes(it.reclaim),
        ]);
    }
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert_eq!(
        sorted(said),
        sorted(offered),
        "first what README.md says, then what is so"
    );
    for row in &rows {
        assert!(
            row.len() == 6 && !row[5].is_empty(),
            "when to choose it is missing: {row:?}"
        );
    }
}

#[test]
fn the_rules_of_this_file_can_be_broken() {
    assert!(is_documented("the key `store.path`", "store.path"));
    assert!(is_documented("[server]\n# listen = 1", "server.listen"));
    assert!(is_documented("[store.options]", "store.options"));
    assert!(!is_documented("[server]\npath = 1", "store.path"));
    assert!(!is_documented("[store]\npathology = 1", "store.path"));
    let table = format!("{ENGINE_TABLE}\n|---|---|\n| `a` | power | yes | no | no | x |\n\nend");
    assert_eq!(
        engine_rows(&table),
        [["`a`", "power", "yes", "no", "no", "x"]]
    );
    assert!(engine_rows("| Engine |\n|---|\n| `a` |").is_empty());
}
