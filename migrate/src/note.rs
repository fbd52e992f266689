//! How far a migration is: what is written with each batch of the destination.

use std::fmt::Write as _;

use durum_core::digest::Digest;
use durum_core::{Error, ErrorKind, Oid, Result};

use crate::durus::DurusObject;
use crate::zodb::LeftOut;

const MAGIC: &str = "durum migration 2";

/// The note of a batch: text, so that a person can read it with an engine's own tools.
///
/// ```text
/// durum migration 2
/// source = store 0f.. at commit 17
/// codec = zstd
/// digest = yes
/// objects = 1000
/// bytes = 123456
/// rejects = 0
/// weak references, references to other databases, blobs = 0 0 0
/// dangling = unknown
/// next = 1207
/// sum = 64 hexadecimal digits
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// What the source was, its state included.
    pub(crate) source: String,
    /// How the destination compresses.
    pub(crate) codec: String,
    /// The digest of the objects that are there, if it is needed in the end.
    pub(crate) digest: Option<Digest>,
    /// Objects that were copied.
    pub(crate) objects: u64,
    /// Bytes of their data.
    pub(crate) bytes: u64,
    /// Objects that were left out.
    pub(crate) rejects: u64,
    /// What of a ZODB file was left out.
    pub(crate) left_out: LeftOut,
    /// References to objects that do not exist, of a destination that has everything.
    pub(crate) dangling: Option<u64>,
    /// The OID to go on from.
    pub(crate) next: Oid,
}

/// What follows the source's description when it was followed to its end, and the destination cannot be
/// brought up to date any more as it is.
const AT_END: &str = ", to its end";
const UNKNOWN: &str = "unknown";
const LEFT_OUT: &str = "weak references, references to other databases, blobs";

impl Note {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let digest = if self.digest.is_some() { "yes" } else { "no" };
        let mut text = format!(
            "{MAGIC}\nsource = {}\ncodec = {}\ndigest = {digest}\nobjects = {}\nbytes = {}\nrejects = {}\n",
            self.source, self.codec, self.objects, self.bytes, self.rejects
        );
        let LeftOut {
            weak,
            cross_database,
            blobs,
        } = self.left_out;
        let _ = writeln!(text, "{LEFT_OUT} = {weak} {cross_database} {blobs}");
        let dangling = self.dangling.map(|count| count.to_string());
        let dangling = dangling.as_deref().unwrap_or(UNKNOWN);
        let _ = writeln!(text, "dangling = {dangling}\nnext = {}", self.next.0);
        if let Some(sum) = &self.digest {
            let _ = writeln!(text, "sum = {sum}");
        }
        text.into_bytes()
    }

    /// The note on both sides of the number of references that lead nowhere.
    pub(crate) fn around_dangling(&self) -> (Vec<u8>, Vec<u8>) {
        let marked = Note {
            dangling: None,
            ..self.clone()
        };
        let (mut bytes, mark) = (marked.encode(), format!("\ndangling = {UNKNOWN}\n"));
        let at = bytes
            .windows(mark.len())
            .rposition(|part| part == mark.as_bytes())
            .map_or(bytes.len(), |at| at + mark.len() - UNKNOWN.len() - 1);
        let rest = bytes.split_off(at);
        let tail = rest.get(UNKNOWN.len()..).unwrap_or_default();
        (bytes, tail.to_vec())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Note> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        Note::parse(text).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "go on with a migration")
                .because("another version of Durum, or another program, began it")
                .hint("Begin it anew without `--resume`.")
        })
    }

    fn parse(text: &str) -> Option<Note> {
        let mut lines = text.lines();
        if lines.next()? != MAGIC {
            return None;
        }
        let mut value = |name: &str| {
            let rest = lines.next()?.strip_prefix(name)?;
            rest.strip_prefix(" = ")
        };
        let (source, codec) = (value("source")?.to_owned(), value("codec")?.to_owned());
        let digests = value("digest")? == "yes";
        let objects = value("objects")?.parse().ok()?;
        let bytes = value("bytes")?.parse().ok()?;
        let rejects = value("rejects")?.parse().ok()?;
        let mut numbers = value(LEFT_OUT)?
            .split(' ')
            .map(|number| number.parse().ok());
        let left_out = LeftOut {
            weak: numbers.next()??,
            cross_database: numbers.next()??,
            blobs: numbers.next()??,
        };
        let dangling = match value("dangling")? {
            UNKNOWN => None,
            count => Some(count.parse().ok()?),
        };
        let next = Oid(value("next")?.parse().ok()?);
        let digest = match digests {
            true => Some(Digest::parse(value("sum")?, objects)?),
            false => None,
        };
        Some(Note {
            source,
            codec,
            digest,
            objects,
            bytes,
            rejects,
            left_out,
            dangling,
            next,
        })
    }

    /// The note of a destination that is complete and has been followed to the source's end.
    pub(crate) fn at_end(&self) -> Note {
        Note {
            source: format!("{}{AT_END}", self.source),
            ..self.clone()
        }
    }

    /// The note without that, if it is one.
    pub(crate) fn before_end(&self) -> Option<Note> {
        let source = self.source.strip_suffix(AT_END)?;
        Some(Note {
            source: source.to_owned(),
            ..self.clone()
        })
    }

    /// An object has come; its digest, where one is computed.
    pub(crate) fn add(&mut self, object: &DurusObject) -> Option<Digest> {
        self.objects += 1;
        self.bytes += object.data.len() as u64;
        let sum = self.digest.as_mut()?;
        let digest = object.digest();
        *sum += digest;
        Some(digest)
    }

    /// An object that was there is gone.
    pub(crate) fn remove(&mut self, object: &DurusObject) {
        self.objects = self.objects.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(object.data.len() as u64);
        if let Some(digest) = &mut self.digest {
            *digest -= object.digest();
        }
    }

    /// Whether a migration that would begin with the note `other` can go on from this one.
    ///
    /// # Errors
    /// `Usage`, saying what differs.
    pub(crate) fn check(&self, other: &Note) -> Result<()> {
        let digests = |note: &Note| match note.digest {
            Some(_) => "a digest is computed",
            None => "no digest is computed",
        };
        for (what, before, now) in [
            ("the source", self.source.as_str(), other.source.as_str()),
            ("the compression", &self.codec, &other.codec),
            ("the verification", digests(self), digests(other)),
        ] {
            if before != now {
                return Err(Error::new(ErrorKind::Usage, "go on with a migration")
                    .because(format!(
                        "{what} has changed: it was `{before}` and is `{now}`"
                    ))
                    .hint("Go on with what it was begun with, or begin anew without `--resume`."));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_returns_and_nothing_else_is_taken_for_one() {
        let mut digest = Digest::default();
        digest.add(Oid(7), [].into_iter(), b"x");
        let note = Note {
            source: "store 12 at commit 3".to_owned(),
            codec: "zstd".to_owned(),
            digest: Some(digest),
            objects: 1,
            bytes: 2,
            rejects: 3,
            left_out: LeftOut {
                weak: 4,
                cross_database: 5,
                blobs: 6,
            },
            dangling: None,
            next: Oid(8),
        };
        let bytes = note.encode();
        assert_eq!(Note::decode(&bytes).unwrap(), note);
        let plain = Note {
            digest: None,
            ..note.clone()
        };
        assert_eq!(Note::decode(&plain.encode()).unwrap(), plain);
        let complete = Note {
            dangling: Some(9),
            ..note.clone()
        };
        assert_eq!(Note::decode(&complete.encode()).unwrap(), complete);
        for end in 0..bytes.len() - 1 {
            assert!(Note::decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let note = Note {
            source: "store 12 at commit 3".to_owned(),
            ..Note::default()
        };
        note.check(&note).unwrap();
        let other = Note {
            source: "store 12 at commit 4".to_owned(),
            ..Note::default()
        };
        let error = note.check(&other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let text = error.to_string();
        for part in ["the source", "commit 3", "commit 4"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
