//! What the items of a class are called.
//!
//! ```text
//! h KEY REVISION                 a revision; it is never changed
//! n KEY REVISION                 the same, as long as nothing supersedes it
//! i INDEX VALUE KEY REVISION     empty: a revision that has this value, as long as nothing supersedes it
//! ```
//! Garage sorts items of a partition by these, byte by byte. A blank is below all that the parts have, so that items
//! are in the order of the first part, then of the next.

use durum_core::{Error, ErrorKind, Result};

use crate::clock::RevisionId;

/// How many bytes of a value an index has: with the longest name of an index and the longest key it is what fits into a sort key.
pub(super) const FORM_BYTES_MAX: usize = 64;

/// How long a key is at most when it is escaped.
const KEY_BYTES_MAX: usize = 255;

/// A primary key as part of a sort key: characters up to `!` are written as `!` and two hexadecimal digits.
pub(super) fn escape(key: &str) -> Result<String> {
    let mut escaped = String::with_capacity(key.len());
    for character in key.chars() {
        match character <= '!' {
            true => escaped.push_str(&format!("!{:02x}", u32::from(character))),
            false => escaped.push(character),
        }
    }
    match escaped.len() <= KEY_BYTES_MAX {
        true => Ok(escaped),
        false => Err(Error::new(ErrorKind::TooLarge, "use a primary key")
            .because(format!(
                "it takes {} bytes with its blanks and control characters escaped, and {KEY_BYTES_MAX} are the most",
                escaped.len()
            ))
            .hint("Take a shorter key.")),
    }
}

/// The primary key that was escaped so.
pub(super) fn unescape(escaped: &str) -> Option<String> {
    let mut key = String::with_capacity(escaped.len());
    let mut parts = escaped.split('!');
    key.push_str(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let code = u8::from_str_radix(digits, 16).ok()?;
        key.push(char::from(code));
        key.push_str(rest);
    }
    Some(key)
}

/// What the newest revisions of a dictionary begin with.
pub(super) fn newest(key: &str) -> String {
    format!("n {key} ")
}

/// What the revisions of a dictionary begin with.
pub(super) fn history(key: &str) -> String {
    format!("h {key} ")
}

/// What the lines of an index begin with.
pub(super) fn index(name: &str) -> String {
    format!("i {name} ")
}

/// What the lines of an index begin with that have this value.
pub(super) fn value(name: &str, form: &[u8]) -> String {
    let digits: String = form.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("i {name} {digits}")
}

/// A line of an index.
pub(super) fn line(name: &str, form: &[u8], key: &str, id: RevisionId) -> String {
    format!("{} {key} {id}", value(name, form))
}

/// The escaped key and the revision of an item `h` or `n`.
pub(super) fn parse(sort: &str) -> Option<(&str, RevisionId)> {
    let mut parts = sort.split(' ');
    let (_, key, id, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    Some((key, id.parse().ok()?))
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) form: Vec<u8>,
    /// Escaped.
    pub(super) key: String,
    pub(super) id: RevisionId,
}

/// The parts of a line of an index.
pub(super) fn parse_line(sort: &str) -> Option<Line> {
    let mut parts = sort.split(' ');
    let (Some("i"), Some(_name), Some(digits), Some(key), Some(id), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return None;
    };
    let byte = |at: usize| {
        digits
            .get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    let form = (0..digits.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()?;
    Some(Line {
        form,
        key: key.to_owned(),
        id: id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use durum_garage::SORT_KEY_MAX;

    use super::*;
    use crate::class::NAME_BYTES_MAX;

    #[test]
    fn escaped_keys_are_read_back_and_stay_in_order() {
        let mut keys = [
            "a",
            "a b",
            "a!",
            "a\"",
            "ab",
            "\0",
            " ",
            "!",
            "!21",
            "é",
            "\u{10ffff}",
            "a\0b",
            "1",
        ]
        .map(str::to_owned)
        .to_vec();
        keys.sort_unstable();
        let sorts: Vec<_> = keys
            .iter()
            .map(|key| newest(&escape(key).unwrap()))
            .collect();
        assert!(sorts.is_sorted(), "{sorts:?}");
        for key in &keys {
            assert_eq!(
                unescape(&escape(key).unwrap()).as_deref(),
                Some(key.as_str())
            );
        }
        let error = escape(&" ".repeat(86)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(unescape("a!2"), None);
    }

    #[test]
    fn the_longest_line_fits_and_is_read_back() {
        let id = RevisionId::last_of(std::time::SystemTime::now());
        let (form, key) = (vec![255; FORM_BYTES_MAX], "k".repeat(KEY_BYTES_MAX));
        let sort = line(&"n".repeat(NAME_BYTES_MAX), &form, &key, id);
        assert!(sort.len() <= SORT_KEY_MAX, "{}", sort.len());
        assert_eq!(
            parse_line(&sort),
            Some(Line {
                form,
                key: key.clone(),
                id
            })
        );
        assert_eq!(
            parse(&format!("{}{id}", history(&key))),
            Some((key.as_str(), id))
        );
        assert_eq!(parse_line("i n 0 k"), None);
    }
}
