//! Options of an engine: what a backend declares, and the values that a user gave.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::units;

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A number of bytes, with an optional unit: `64GiB`.
    Size,
    /// A whole number from the first to the second, both included.
    Integer(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A name: a letter, and then letters, digits and `_`, 40 at most.
    Name,
    /// The path of a file.
    File,
}

/// An option that an engine takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its name in `[store.options]` and in URLs.
    pub name: &'static str,
    /// The values that it takes.
    pub kind: OptionKind,
    /// Its value where none is given, for documentation.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub help: &'static str,
}

/// The values that a user gave for an engine's options; each has been checked against its
/// [`OptionSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<&'static str, String>,
}

impl Options {
    /// Checks `given` against what `engine` declares.
    ///
    /// # Errors
    /// `Usage` for a name that is not declared (it lists those that are, with a suggestion) and for a
    /// value that is not of the option's kind.
    pub fn check<'a>(
        engine: &'static str,
        specs: &'static [OptionSpec],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Options> {
        let mut values = BTreeMap::new();
        for (name, value) in given {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                let valid: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
                return Err(Error::new(ErrorKind::Usage, "read the engine's options")
                    .because(format!("{engine} has no option `{name}`"))
                    .hint(crate::config::suggest(name, &valid, "options")));
            };
            spec.check(value)?;
            values.insert(spec.name, value.to_owned());
        }
        Ok(Options { values })
    }

    /// The value of a [`OptionKind::Size`] in bytes, where one was given.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.values
            .get(name)
            .and_then(|value| units::parse_size(value).ok())
    }

    /// The value of an [`OptionKind::Integer`], where one was given.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(|value| value.parse().ok())
    }

    /// The value of an [`OptionKind::Flag`], where one was given.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.values.get(name).map(|value| value == "true")
    }

    /// The value of an [`OptionKind::Name`] or an [`OptionKind::File`], where one was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of an [`OptionKind::Choice`], where one was given.
    pub fn choice(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl OptionSpec {
    fn check(&self, value: &str) -> Result<()> {
        let good = match self.kind {
            OptionKind::Size => units::parse_size(value).is_ok(),
            OptionKind::Integer(low, high) => value
                .parse::<u64>()
                .is_ok_and(|number| (low..=high).contains(&number)),
            OptionKind::Flag => matches!(value, "true" | "false"),
            OptionKind::Choice(words) => words.contains(&value),
            OptionKind::Name => is_name(value),
            OptionKind::File => !value.is_empty(),
        };
        if good {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Usage, "read the engine's options")
            .because(format!("`{value}` is not a value for `{}`", self.name))
            .hint(format!("It takes {}.", self.kind.describe())))
    }
}

impl OptionKind {
    /// The valid values, in words.
    pub fn describe(self) -> String {
        match self {
            OptionKind::Size => "a size in bytes with an optional unit, such as 64GiB".to_owned(),
            OptionKind::Integer(low, high) => format!("a whole number from {low} to {high}"),
            OptionKind::Flag => "true or false".to_owned(),
            OptionKind::Choice(words) => format!("one of {}", words.join(", ")),
            OptionKind::Name => format!(
                "a name: a letter, and then letters, digits and _, {NAME_LENGTH_MAX} at most"
            ),
            OptionKind::File => "the path of a file".to_owned(),
        }
    }
}

/// Longer ones, with what is put before and behind them, do not fit into what PostgreSQL takes for a name.
const NAME_LENGTH_MAX: usize = 40;

fn is_name(value: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(part)
        && value.len() <= NAME_LENGTH_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec {
            name: "map_size",
            kind: OptionKind::Size,
            default: "64GiB",
            help: "",
        },
        OptionSpec {
            name: "readers",
            kind: OptionKind::Integer(1, 9),
            default: "8",
            help: "",
        },
        OptionSpec {
            name: "mode",
            kind: OptionKind::Choice(&["a", "b"]),
            default: "a",
            help: "",
        },
        OptionSpec {
            name: "quick",
            kind: OptionKind::Flag,
            default: "false",
            help: "",
        },
        OptionSpec {
            name: "name",
            kind: OptionKind::Name,
            default: "store",
            help: "",
        },
        OptionSpec {
            name: "file",
            kind: OptionKind::File,
            default: "none",
            help: "",
        },
    ];

    #[test]
    fn values_are_checked_against_their_kind() {
        let given = [
            ("map_size", "1GiB"),
            ("readers", "3"),
            ("mode", "b"),
            ("quick", "true"),
            ("name", "a_1"),
            ("file", "/tmp/a b"),
        ];
        let options = Options::check("test", SPECS, given).unwrap();
        assert_eq!(options.size("map_size"), Some(1 << 30));
        assert_eq!(options.integer("readers"), Some(3));
        assert_eq!(options.choice("mode"), Some("b"));
        assert_eq!(options.flag("quick"), Some(true));
        assert_eq!(options.text("name"), Some("a_1"));
        assert_eq!(options.text("file"), Some("/tmp/a b"));
        for bad in [
            ("map_size", "big"),
            ("readers", "10"),
            ("mode", "c"),
            ("quick", "yes"),
            ("name", "9lives"),
            ("name", "a b"),
            ("name", ""),
            ("file", ""),
        ] {
            let error = Options::check("test", SPECS, [bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_option_is_answered_with_a_suggestion() {
        let error = Options::check("test", SPECS, [("mapsize", "1")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`map_size`") && error.contains("readers"),
            "{error}"
        );
    }
}
