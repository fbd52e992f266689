//! The strings that protocol 0 writes as lines with escapes.

use super::value::Text;

/// The string of a `STRING` line: as Python's `repr` writes a byte string, quotes included. `None`
/// where the line is no such thing; the inner `None` is a string of a length that does not matter.
pub(super) fn quoted(line: &[u8]) -> Option<Option<Text>> {
    let line = line.trim_ascii();
    let (quote, rest) = line.split_first()?;
    let (last, inside) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut found = Short::default();
    let mut rest = inside.iter();
    while let Some(byte) = rest.next() {
        found.push(match byte {
            b'\\' => escaped(&mut rest)?,
            _ => *byte,
        });
    }
    Some(found.text())
}

/// The byte that an escape stands for, the backslash being read.
fn escaped(rest: &mut std::slice::Iter<'_, u8>) -> Option<u8> {
    Some(match *rest.next()? {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'x' => {
            let number = digits(rest.as_slice().get(..2)?, 16)?;
            *rest = rest.as_slice().get(2..)?.iter();
            number as u8
        }
        first @ b'0'..=b'7' => {
            let mut number = u32::from(first - b'0');
            for _ in 0..2 {
                let Some(next @ b'0'..=b'7') = rest.as_slice().first() else {
                    break;
                };
                number = number * 8 + u32::from(next - b'0');
                rest.next();
            }
            // Python takes `\777` modulo 256.
            number as u8
        }
        // A quote or a backslash, which are the only others that Python writes.
        other => other,
    })
}

/// The string of a `UNICODE` line, where all characters are ASCII and the length matters: `\uXXXX` and
/// `\UXXXXXXXX` stand for characters, any other backslash for itself.
pub(super) fn raw_unicode(line: &[u8]) -> Option<Text> {
    let mut found = Short::default();
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        let width = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let code = match width {
            0 => u32::from(*byte),
            _ => digits(after.get(1..=width)?, 16)?,
        };
        found.push(u8::try_from(code).ok().filter(u8::is_ascii)?);
        rest = match width {
            0 => after,
            _ => after.get(width + 1..)?,
        };
    }
    found.text()
}

/// The string of a text, where all characters are ASCII and the length matters.
pub(super) fn ascii(bytes: &[u8]) -> Option<Text> {
    Text::new(bytes).filter(|text| match text {
        Text::One(byte) => byte.is_ascii(),
        Text::Eight(bytes) => bytes.is_ascii(),
    })
}

fn digits(digits: &[u8], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    })
}

/// A string that is put together; no more than nine bytes of it are kept.
#[derive(Debug, Default)]
struct Short {
    bytes: [u8; 9],
    length: usize,
}

impl Short {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn text(&self) -> Option<Text> {
        self.bytes.get(..self.length).and_then(Text::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings() {
        for (line, expected) in [
            (&br"'w'"[..], Some(Some(Text::One(b'w')))),
            (br#""w""#, Some(Some(Text::One(b'w')))),
            (
                br"'\x00\x00\0\000\n\\\'8' ",
                Some(Some(Text::Eight([0, 0, 0, 0, 10, b'\\', b'\'', b'8']))),
            ),
            (
                br"'\777\xfF345678'",
                Some(Some(Text::Eight(*b"\xff\xff345678"))),
            ),
            (br"'12'", Some(None)),
            (br"''", Some(None)),
            (br"'123456789'", Some(None)),
            (br"'\x0g345678'", None),
            (br"'\x0'", None),
            (br"'\'", None),
            (br"'w", None),
            (br"w", None),
            (b"'", None),
            (b"", None),
        ] {
            assert_eq!(quoted(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn raw_strings() {
        for (line, expected) in [
            (&b"w"[..], Some(Text::One(b'w'))),
            (br"\u0000\u000a345678", Some(Text::Eight(*b"\x00\n345678"))),
            (br"\U00000041", Some(Text::One(b'A'))),
            (br"\\345678", Some(Text::Eight(*br"\\345678"))),
            (br"\u0100", None),
            (br"\u01", None),
            (br"\U", None),
            (b"\xe9", None),
            (b"123456789", None),
        ] {
            assert_eq!(raw_unicode(line), expected, "{}", line.escape_ascii());
        }
    }
}
