//! Graphs that stores are filled with.

use durum_core::Oid;
use durum_core::record::normalize_refs;

/// Bytes of an object's data where a workload does not care.
pub(crate) const DATA_BYTES: usize = 100;

/// A graph whose objects are numbered from the root, 0, without gaps.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Where the references of each object begin; one more at the end.
    starts: Vec<usize>,
    targets: Vec<Oid>,
    data_bytes: Vec<u32>,
}

impl Graph {
    pub(crate) fn new() -> Graph {
        Graph {
            starts: vec![0],
            targets: Vec::new(),
            data_bytes: Vec::new(),
        }
    }

    /// Adds the next object.
    pub(crate) fn push(&mut self, refs: impl IntoIterator<Item = Oid>) -> Oid {
        self.push_sized(refs, DATA_BYTES)
    }

    /// Adds the next object, with so many bytes of data.
    pub(crate) fn push_sized(
        &mut self,
        refs: impl IntoIterator<Item = Oid>,
        data_bytes: usize,
    ) -> Oid {
        let oid = Oid(self.len());
        let mut refs: Vec<Oid> = refs.into_iter().collect();
        normalize_refs(oid, &mut refs);
        self.targets.append(&mut refs);
        self.starts.push(self.targets.len());
        self.data_bytes.push(data_bytes as u32);
        oid
    }

    /// How many objects there are: also the next OID.
    pub(crate) fn len(&self) -> u64 {
        self.data_bytes.len() as u64
    }

    /// An object's references, ascending, each once, without itself.
    pub(crate) fn refs(&self, oid: Oid) -> &[Oid] {
        let index = usize::try_from(oid.0).unwrap_or(usize::MAX);
        let start = self.starts.get(index);
        let end = self.starts.get(index.saturating_add(1));
        let range = start.zip(end).map(|(start, end)| *start..*end);
        range
            .and_then(|range| self.targets.get(range))
            .unwrap_or_default()
    }

    pub(crate) fn data(&self, oid: Oid) -> Vec<u8> {
        let index = usize::try_from(oid.0).unwrap_or(usize::MAX);
        let length = self.data_bytes.get(index).copied();
        data(oid, 0, length.map_or(DATA_BYTES, |length| length as usize))
    }
}

/// An object's data: another for each version.
pub(crate) fn data(oid: Oid, version: u64, length: usize) -> Vec<u8> {
    let seed = oid.0.wrapping_mul(31).wrapping_add(version);
    let head = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    head.into_iter().cycle().take(length).collect()
}
