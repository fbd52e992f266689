//! Files of Durus's own two formats: read through once, then by their index.

use std::path::Path;

use durum_core::{ErrorKind, Oid, Result, ResultExt};

use super::index::{Found, Index};
use super::record::{Layout, read_entry, read_object};
use super::{DurusObject, Format, scan_dfs20, scan_shelf};
use crate::input::{Input, Window, Writers, of_object};
use crate::offsets::OffsetCursor;

/// An open Shelf or FileStorage2 file.
#[derive(Debug)]
pub(super) struct ScannedFile {
    input: Input,
    layout: Layout,
    index: Index,
    whole_end: u64,
    /// The checksum of the last bytes before that.
    tail: u32,
}

impl ScannedFile {
    /// Opens a file whose format was told by its first bytes.
    pub(super) fn open(
        mut input: Input,
        layout: Layout,
        writers: Writers,
        scratch: Option<&Path>,
        memory_bytes: usize,
    ) -> Result<ScannedFile> {
        if writers == Writers::Refused && !input.lock() {
            return Err(input
                .fail(ErrorKind::InUse, "a Durus program has it open")
                .hint("Stop that program, or read through its server: `durus+tcp://HOST:PORT`."));
        }
        // What was appended before the lock was there counts.
        input.measure()?;
        let mut found = Found::new(scratch, memory_bytes);
        let (map, whole_end) = match layout {
            Layout::Dfs20 => (None, scan_dfs20::scan(&input, &mut found)?),
            Layout::Shelf => {
                let (map, end) = scan_shelf::scan(&input, &mut found)?;
                (Some(map), end)
            }
        };
        let index =
            Index::build(&input, layout, found, map, whole_end, scratch).at_path(input.path())?;
        Ok(ScannedFile {
            tail: input.tail(whole_end)?,
            input,
            layout,
            index,
            whole_end,
        })
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    pub(super) fn changes_since(
        &self,
        earlier: &ScannedFile,
        show: &mut dyn FnMut(Oid) -> Result<()>,
    ) -> Result<bool> {
        let (end, tail) = (earlier.whole_end, earlier.tail);
        if !self.input.continues(&earlier.input, end, tail)? {
            return Ok(false);
        }
        let (now, before) = (&self.index.offsets, &earlier.index.offsets);
        now.differences(before, show)?;
        Ok(true)
    }

    pub(super) fn oids(&self, show: &mut dyn FnMut(Oid) -> Result<()>) -> Result<()> {
        let mut cursor = self.index.offsets.cursor(0);
        while let Some((oid, _)) = cursor.next()? {
            show(Oid(oid))?;
        }
        Ok(())
    }

    pub(super) fn format(&self) -> Format {
        match self.layout {
            Layout::Shelf => Format::Shelf,
            Layout::Dfs20 => Format::Dfs20,
        }
    }

    pub(super) fn object_count(&self) -> u64 {
        self.index.offsets.objects()
    }

    pub(super) fn data_bytes(&self) -> u64 {
        self.index.data_bytes
    }

    pub(super) fn description(&self) -> Result<String> {
        self.input.description()
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.input.len()
    }

    pub(super) fn torn_bytes(&self) -> u64 {
        self.input.len() - self.whole_end
    }

    /// The objects from an OID on.
    pub(super) fn objects_from(&self, oid: Oid) -> Result<ScannedObjects<'_>> {
        Ok(ScannedObjects {
            file: self,
            window: Window::new(&self.input),
            offsets: self.index.offsets.cursor(self.index.offsets.position(oid)?),
        })
    }

    pub(super) fn load(&self, oid: Oid) -> Result<Option<DurusObject>> {
        match self.index.offsets.find(oid)? {
            Some(at) => self.read(&mut Window::new(&self.input), oid, at),
            None => Ok(None),
        }
    }

    fn read(&self, window: &mut Window<'_>, oid: Oid, at: u64) -> Result<Option<DurusObject>> {
        let read = self.read_unnamed(window, oid, at);
        read.map(Some).map_err(|error| of_object(error, oid))
    }

    fn read_unnamed(&self, window: &mut Window<'_>, oid: Oid, at: u64) -> Result<DurusObject> {
        match read_entry(window, self.layout, at, self.whole_end)? {
            Ok(entry) if entry.oid == oid.0 => read_object(window, &entry),
            Ok(_) => Err(self
                .input
                .damaged(at, "the file was changed while it was read")),
            Err(broken) => Err(self.input.damaged(broken.at, broken.why)),
        }
    }
}

/// The objects of a file, ascending.
#[derive(Debug)]
pub(super) struct ScannedObjects<'f> {
    file: &'f ScannedFile,
    window: Window<'f>,
    offsets: OffsetCursor<'f>,
}

impl ScannedObjects<'_> {
    pub(super) fn next(&mut self) -> Result<Option<DurusObject>> {
        match self.offsets.next()? {
            Some((oid, at)) => self.file.read(&mut self.window, Oid(oid), at),
            None => Ok(None),
        }
    }
}
