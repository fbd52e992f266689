//! Values as people read them.

use std::fmt::Write as _;

use super::value::{Value, hex};

/// How much of a value is shown.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Numbers, texts and the like, in all.
    pub parts: usize,
    /// Characters of each text, and bytes of each byte string.
    pub text: usize,
}

/// A line that is longer is broken.
const LINE_MAX: usize = 80;
const INDENT: &str = "  ";

impl Value {
    /// Cuts off what is beyond `bounds`, and notes how much that was; says whether it was anything.
    pub fn cut(&mut self, bounds: Bounds) -> bool {
        let mut left = bounds.parts;
        cut(self, bounds, &mut left)
    }

    /// The value in one line.
    pub fn line(&self) -> String {
        let mut out = String::new();
        put(&mut out, self, None);
        out
    }

    /// The value in as many lines as it takes; those after the first begin with `indent`.
    pub fn lines(&self, indent: &str) -> String {
        let mut out = String::new();
        put(&mut out, self, Some(indent));
        out
    }
}

fn cut(value: &mut Value, bounds: Bounds, left: &mut usize) -> bool {
    match value {
        Value::Text(text) => {
            *left = left.saturating_sub(1);
            cut_text(text, bounds.text)
        }
        Value::Bytes(bytes) | Value::Extension(_, bytes) if bytes.len() > bounds.text => {
            *left = left.saturating_sub(1);
            let mut parts = Vec::new();
            let more = (bytes.len() - bounds.text) as u64;
            bytes.truncate(bounds.text);
            parts.push(Value::Bytes(std::mem::take(bytes)));
            parts.push(Value::More(more));
            *value = Value::List(parts);
            true
        }
        Value::List(parts) => cut_all(
            parts,
            left,
            |part, left| cut(part, bounds, left),
            |more| more,
        ),
        Value::Struct(fields) => cut_all(
            fields,
            left,
            |(_, part), left| cut(part, bounds, left),
            |more| ("...".to_owned(), more),
        ),
        Value::Map(pairs) => cut_all(
            pairs,
            left,
            |(key, part), left| cut(key, bounds, left) | cut(part, bounds, left),
            |more| (Value::Text("...".to_owned()), more),
        ),
        Value::Variant(_, part) => cut(part, bounds, left),
        _ => {
            *left = left.saturating_sub(1);
            false
        }
    }
}

/// Cuts off all but `most` characters; says whether there were more.
pub(super) fn cut_text(text: &mut String, most: usize) -> bool {
    let Some((position, _)) = text.char_indices().nth(most) else {
        return false;
    };
    let more = text.chars().count() - most;
    text.truncate(position);
    let _ = write!(text, "... and {more} more");
    true
}

fn cut_all<T>(
    parts: &mut Vec<T>,
    left: &mut usize,
    mut cut: impl FnMut(&mut T, &mut usize) -> bool,
    note: impl FnOnce(Value) -> T,
) -> bool {
    let mut is_cut = false;
    let mut kept = 0;
    for part in parts.iter_mut() {
        if *left == 0 {
            break;
        }
        is_cut |= cut(part, left);
        kept += 1;
    }
    // An empty part takes room as well.
    *left = left.saturating_sub(usize::from(parts.is_empty()));
    let more = parts.len() - kept;
    if more == 0 {
        return is_cut;
    }
    parts.truncate(kept);
    parts.push(note(Value::More(more as u64)));
    true
}

/// Appends `value`; with `indent` in several lines where it is long.
fn put(out: &mut String, value: &Value, indent: Option<&str>) {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => add(out, format_args!("{value}")),
        Value::Float(value) => add(out, format_args!("{value:?}")),
        // Control characters would do things to a terminal.
        Value::Text(text) => add(out, format_args!("{text:?}")),
        Value::Bytes(bytes) => add(out, format_args!("0x{}", hex(bytes))),
        Value::Ref(oid) => add(out, format_args!("@{oid}")),
        Value::Weak(oid) => add(out, format_args!("weak @{oid}")),
        Value::Extension(kind, bytes) => {
            add(out, format_args!("extension {kind} 0x{}", hex(bytes)));
        }
        Value::More(left) => add(out, format_args!("... and {left} more")),
        Value::Variant(name, part) => {
            add(out, format_args!("{}", name.escape_debug()));
            match **part {
                Value::Nil => {}
                Value::List(_) | Value::Struct(_) | Value::Map(_) => {
                    out.push(' ');
                    put(out, part, indent);
                }
                _ => {
                    out.push('(');
                    put(out, part, indent);
                    out.push(')');
                }
            }
        }
        Value::List(parts) => {
            let parts = parts.iter().map(|part| (None, part));
            put_all(out, "[", "]", parts, indent);
        }
        Value::Struct(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, part)| (Some(Name::Field(name)), part));
            put_all(out, "{", "}", fields, indent);
        }
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, part)| (Some(Name::Key(key)), part));
            put_all(out, "{", "}", pairs, indent);
        }
    }
}

fn add(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(what);
}

enum Name<'a> {
    Field(&'a str),
    Key(&'a Value),
}

fn put_all<'a>(
    out: &mut String,
    open: &str,
    close: &str,
    parts: impl Iterator<Item = (Option<Name<'a>>, &'a Value)> + Clone,
    indent: Option<&str>,
) {
    let broken = indent.filter(|indent| {
        let mut line = String::new();
        put_parts(&mut line, parts.clone(), None);
        line.chars().count() + indent.len() > LINE_MAX
    });
    out.push_str(open);
    match broken {
        None => put_parts(out, parts, None),
        Some(indent) => {
            put_parts(out, parts, Some(&format!("{indent}{INDENT}")));
            add(out, format_args!("\n{indent}"));
        }
    }
    out.push_str(close);
}

fn put_parts<'a>(
    out: &mut String,
    parts: impl Iterator<Item = (Option<Name<'a>>, &'a Value)>,
    indent: Option<&str>,
) {
    for (number, (name, part)) in parts.enumerate() {
        match indent {
            Some(indent) if number == 0 => add(out, format_args!("\n{indent}")),
            Some(indent) => add(out, format_args!(",\n{indent}")),
            None if number == 0 => {}
            None => out.push_str(", "),
        }
        // What was cut off has no name.
        if !matches!(part, Value::More(_)) {
            match name {
                Some(Name::Field(name)) => add(out, format_args!("{}: ", name.escape_debug())),
                Some(Name::Key(key)) => {
                    put(out, key, None);
                    out.push_str(": ");
                }
                None => {}
            }
        }
        put(out, part, indent);
    }
}
