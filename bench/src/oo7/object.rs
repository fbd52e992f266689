//! The objects of OO7 as plain records: numbers, links, and text.

use durum_core::{Error, ErrorKind, Oid, Result};

use super::DOING;

/// An object. What its numbers and links are, its kind says: see the constants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) numbers: Vec<u64>,
    pub(super) links: Vec<Oid>,
    pub(super) text: Vec<u8>,
}

/// Links of the module, which is the root.
pub(super) const MANUAL: usize = 0;
pub(super) const DESIGN_ROOT: usize = 1;
/// To arrays of atomic parts by their numbers.
pub(super) const PART_INDEX: usize = 2;
/// To lists of atomic parts by their dates.
pub(super) const DATE_INDEX: usize = 3;
/// To arrays of documents by their numbers.
pub(super) const DOCUMENT_INDEX: usize = 4;

/// Numbers of assemblies, and of composite and atomic parts.
pub(super) const ID: usize = 0;
pub(super) const DATE: usize = 1;
/// A number of an assembly: 1 for the lowest, whose links are composite parts.
pub(super) const LEVEL: usize = 2;
/// A number of a composite part: of its atomic parts.
pub(super) const PARTS: usize = 2;
/// Numbers of an atomic part.
pub(super) const X: usize = 2;
pub(super) const Y: usize = 3;
pub(super) const DOCUMENT_ID: usize = 4;

/// The first link of an assembly; what is below follows.
pub(super) const PARENT: usize = 0;
/// The first link of a composite part; its atomic parts follow, the first of which is its root, then the
/// assemblies that use it.
pub(super) const DOCUMENT: usize = 0;
/// The first link of an atomic part, and of a document; for an atomic part connections that begin at it
/// follow.
pub(super) const COMPOSITE: usize = 0;
/// A link of a connection, behind that to where it begins.
pub(super) const TO: usize = 1;

/// In an array: nothing.
pub(super) const NOTHING: Oid = Oid::ROOT;

impl Object {
    pub(super) fn new(numbers: &[u64], links: Vec<Oid>) -> Object {
        Object {
            numbers: numbers.to_vec(),
            links,
            text: Vec::new(),
        }
    }

    pub(super) fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).copied().unwrap_or_default()
    }

    pub(super) fn link(&self, index: usize) -> Result<Oid> {
        let link = self.links.get(index).copied();
        link.ok_or_else(|| Error::new(ErrorKind::Damaged, DOING).because("a link is missing"))
    }

    /// Links from one on.
    pub(super) fn links_from(&self, index: usize) -> &[Oid] {
        self.links.get(index..).unwrap_or_default()
    }

    pub(super) fn set(&mut self, index: usize, number: u64) {
        if let Some(old) = self.numbers.get_mut(index) {
            *old = number;
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let words = self.numbers.len() + self.links.len();
        let mut bytes = Vec::with_capacity(4 + 8 * words + self.text.len());
        bytes.extend_from_slice(&(self.numbers.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(self.links.len() as u16).to_le_bytes());
        let links = self.links.iter().map(|link| link.0);
        for word in self.numbers.iter().copied().chain(links) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.text);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Object> {
        let damaged = || Error::new(ErrorKind::Damaged, DOING).because("an object is cut off");
        let (counts, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let [a, b, c, d] = *counts;
        let (numbers, links) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let (numbers, rest) = rest
            .split_at_checked(8 * usize::from(numbers))
            .ok_or_else(damaged)?;
        let (links, text) = rest
            .split_at_checked(8 * usize::from(links))
            .ok_or_else(damaged)?;
        let words = |bytes: &[u8]| -> Vec<u64> {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().map(|word| u64::from_le_bytes(*word)).collect()
        };
        Ok(Object {
            numbers: words(numbers),
            links: words(links).into_iter().map(Oid).collect(),
            text: text.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_back() {
        let object = Object {
            text: b"text".to_vec(),
            ..Object::new(&[1, 2], vec![Oid(3)])
        };
        let bytes = object.encode();
        assert_eq!(Object::decode(&bytes).unwrap(), object);
        assert!(Object::decode(&bytes[..10]).is_err() && Object::decode(&[]).is_err());
        assert!(object.link(1).is_err());
    }
}
