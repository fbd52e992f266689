//! What the tour tells.

use std::io::IsTerminal as _;

use crate::cli::failure::Failure;
use crate::cli::output;

/// Tells the tour on standard output, unless that is to be one JSON object.
#[derive(Debug)]
pub(super) struct Narrator {
    silent: bool,
    bold: bool,
}

impl Narrator {
    pub(super) fn new(json: bool) -> Narrator {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Narrator {
            silent: json,
            bold: !plain && std::io::stdout().is_terminal(),
        }
    }

    /// The heading of a part.
    pub(super) fn heading(&self, title: &str) -> Result<(), Failure> {
        match self.bold {
            true => self.say(&format!("\n\x1b[1m{title}\x1b[0m\n")),
            false => self.say(&format!("\n{title}\n")),
        }
    }

    /// Text, with its line ends.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.silent {
            Ok(())
        } else {
            output::text(text)
        }
    }
}
