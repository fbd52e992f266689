//! Loading objects.

use durum_core::{Error, ErrorKind, Oid, Result};

use super::session::Session;
use super::{ANSWER_HEAD_BYTES, INVALID, MISSING, OKAY, RECORD_HEAD_BYTES};
use crate::hangup::Hangup;
use crate::hub::Reader;
use crate::protocol::bytes::{put_u32, put_u64};
use crate::wire::Wire;

/// Objects that are loaded before others get a chance on this thread.
const LOADS_AT_ONCE: usize = 64;

impl Session {
    /// `L`: one object.
    pub(super) async fn load_one(&mut self, wire: &mut Wire) -> Result<(), Hangup> {
        let oid = Oid(wire.u64().await?);
        self.load_all(&[oid], wire).await
    }

    /// `B`: several objects, an answer for each.
    pub(super) async fn load_many(&mut self, wire: &mut Wire) -> Result<(), Hangup> {
        let count = wire.u32().await?;
        self.check_count(count)?;
        let mut oids = Vec::new();
        for _ in 0..count {
            oids.push(Oid(wire.u64().await?));
        }
        self.load_all(&oids, wire).await
    }

    async fn load_all(&mut self, oids: &[Oid], wire: &mut Wire) -> Result<(), Hangup> {
        for some in oids.chunks(LOADS_AT_ONCE) {
            let mut suspicion = std::mem::take(&mut self.suspicion);
            let loaded = suspicion.run(|| self.load_some(some, wire));
            self.suspicion = suspicion;
            loaded?;
            self.hub.metrics.loaded.add(some.len() as u64);
            wire.relieve().await?;
        }
        Ok(())
    }

    fn load_some(&mut self, oids: &[Oid], wire: &mut Wire) -> Result<()> {
        let kept = self.reader.take().filter(Reader::is_current);
        let mut reader = match kept {
            Some(reader) => reader,
            None => self.served.reader()?,
        };
        for oid in oids {
            self.load(&mut reader, *oid, &mut wire.output)?;
        }
        // The next request comes soon, or it is known soon that it does not.
        if wire.goes_on_directly() {
            self.reader = Some(reader);
        }
        Ok(())
    }

    /// Appends the answer: what others have written since this client asked for what is invalid it must not
    /// see before it asks again.
    fn load(&self, reader: &mut Reader, oid: Oid, out: &mut Vec<u8>) -> Result<()> {
        let begin = out.len();
        let mut fits = true;
        let found = reader.load(oid, &mut |record, data| {
            if !self.knows(record.tid) {
                out.push(INVALID);
                return Ok(());
            }
            let refs = record.refs();
            let length = RECORD_HEAD_BYTES + data.len() + refs.len() * 8;
            out.reserve(ANSWER_HEAD_BYTES + length);
            out.push(OKAY);
            fits = u32::try_from(length).is_ok();
            put_u32(out, length as u32);
            put_u64(out, oid.0);
            put_u32(out, data.len() as u32);
            out.extend_from_slice(data);
            refs.for_each(|target| put_u64(out, target.0));
            Ok(())
        })?;
        if !fits {
            out.truncate(begin);
            return Err(Error::new(ErrorKind::TooLarge, "send an object")
                .because("Durus's protocol has no room for objects of 4 GiB")
                .with_oid(oid));
        }
        if !found {
            let deleted =
                self.served
                    .changes
                    .deleted_since(&self.served.store, oid, self.synced)?;
            out.push(if deleted { INVALID } else { MISSING });
        }
        Ok(())
    }
}
