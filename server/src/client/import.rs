//! Filling the store of a server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use durum_core::config::ServerLocation;
use durum_core::record::{self, Codec, Payload};
use durum_core::store::ImportSummary;
use durum_core::{Error, ErrorKind, Oid, Result, Tid};

use super::connection::{Connection, Ticket};
use super::link::{Link, body_of, call, nonsense, open};
use super::shared::{ClientOptions, Shared};
use super::store::RemoteStore;
use super::transport::Route;
use crate::protocol::Kind;
use crate::protocol::bytes::{Body, put_bytes, put_u64};
use crate::protocol::import::{Begun, put_finish, put_object, take_summary};

/// Parts that are on the way at once.
const AHEAD: usize = 3;

/// Fills the store of a server, which has to be empty, with objects that have OIDs and tids already: the
/// other end of a [`StagedStore`](durum_core::store::StagedStore) that lies there. It appears, in the place of
/// the empty one, with [`RemoteImport::publish`]. Until then clients are told that it is being filled.
///
/// Where the connection is lost before, the server keeps what it has, and it can be gone on with. It is not
/// made anew by itself.
#[derive(Debug)]
pub struct RemoteImport {
    route: Route,
    connection: Arc<Connection>,
    begun: Begun,
    waiting: VecDeque<Ticket>,
    part: Vec<u8>,
    /// Dropped, nothing is said any more but what is to be said.
    _talking: Sender<Infallible>,
}

/// So often the server is told at least that there is somebody: it does not wait for long for who fills its
/// store and says nothing.
const TALK: Duration = Duration::from_secs(20);

impl RemoteImport {
    /// Connects to a server and begins to fill its store; `resumes`: goes on with one that was left, if there
    /// is one.
    ///
    /// # Errors
    /// `Exists` where the store is not empty; `InUse` where others use it, or fill it; `ReadOnly` where this
    /// client may only read; as [`RemoteStore::connect`].
    pub fn begin(location: &ServerLocation, resumes: bool) -> Result<RemoteImport> {
        RemoteImport::begin_talking(location, resumes, TALK)
    }

    fn begin_talking(
        location: &ServerLocation,
        resumes: bool,
        pause: Duration,
    ) -> Result<RemoteImport> {
        let (route, options) = (Route::new(location)?, ClientOptions::default());
        let connection = open(&route, options.connect_time_max, options.silence)?;
        let answer = call(&connection, Kind::Import, |out| out.push(u8::from(resumes)))?;
        let begun = Begun::take(&mut Body::new(&answer)).ok_or_else(nonsense)?;
        Ok(RemoteImport {
            route,
            begun,
            _talking: talk(&connection, pause)?,
            connection,
            waiting: VecDeque::new(),
            part: Vec::new(),
        })
    }

    /// How the store compresses. Objects may come compressed like that, or not at all; the server compresses
    /// the latter.
    pub fn codec(&self) -> Codec {
        self.begun.codec
    }

    /// The last note of what was left, if that is gone on with.
    pub fn note(&self) -> Option<&[u8]> {
        self.begun.note.as_deref()
    }

    /// How many objects there are in what was left, where it is complete and only to be verified.
    pub fn complete(&self) -> Option<u64> {
        Some(self.begun.objects).filter(|objects| *objects > 0)
    }

    /// Begins to bring objects, with the first note; the server sorts references in about `memory_bytes`
    /// bytes. Returns how many objects are there already, and the first OID that may come.
    ///
    /// # Errors
    /// `Damaged` where what was left cannot be read.
    pub fn fill(&mut self, note: &[u8], memory_bytes: usize) -> Result<(u64, Oid)> {
        let answer = call(&self.connection, Kind::Fill, |out| {
            put_u64(out, memory_bytes as u64);
            put_bytes(out, note);
        })?;
        let mut body = Body::new(&answer);
        body.u64().zip(body.u64().map(Oid)).ok_or_else(nonsense)
    }

    /// Adds an object to the next part, in ascending order of OIDs; `refs` are ascending, each once, without
    /// `oid`. The payload must need no dictionary.
    pub fn push(&mut self, oid: Oid, tid: Tid, refs: &[Oid], payload: Payload<'_>) {
        put_object(&mut self.part, oid, |out| {
            record::encode(oid, tid, None, refs, payload, out);
        });
    }

    /// Ends a part, of which all or nothing is there when it is gone on with, and sends it; `note` is what is
    /// known then. Does not wait for it, but for an earlier one where several are on the way. Whether
    /// anything has been written that can be gone on with.
    ///
    /// # Errors
    /// Those of the server's writing, also of earlier parts.
    pub fn checkpoint(&mut self, note: &[u8]) -> Result<bool> {
        let part = std::mem::take(&mut self.part);
        let bytes = part.len() as u64 + note.len() as u64 + 32;
        let limit = self.begun.part_bytes_max;
        if bytes > limit {
            return Err(
                Error::new(ErrorKind::TooLarge, "fill the store of the server")
                    .because(format!(
                        "a part takes {bytes} bytes, and the server takes {limit}"
                    ))
                    .hint("Raise `request_bytes_max` of the server."),
            );
        }
        let ticket = self.connection.ask(Kind::Push, |out| {
            put_bytes(out, note);
            out.extend_from_slice(&part);
        })?;
        self.part = part;
        self.part.clear();
        self.waiting.push_back(ticket);
        self.take_answers(AHEAD)
    }

    /// Has all parts written that were sent. Whether anything has been written that can be gone on with.
    ///
    /// # Errors
    /// As [`RemoteImport::checkpoint`].
    pub fn settle(&mut self) -> Result<bool> {
        self.take_answers(0)?;
        let answer = call(&self.connection, Kind::Settle, |_| {})?;
        Ok(Body::new(&answer).u8().ok_or_else(nonsense)? != 0)
    }

    /// Ends the bringing: no more objects come. `tid` and `oids_from` are the source's last commit and the OID
    /// from which on none was handed out; `note` the last note, on both sides of the number of references that
    /// lead nowhere.
    ///
    /// # Errors
    /// As [`RemoteImport::checkpoint`].
    pub fn finish(
        &mut self,
        tid: Tid,
        oids_from: Oid,
        note: (&[u8], &[u8]),
    ) -> Result<ImportSummary> {
        self.take_answers(0)?;
        let answer = call(&self.connection, Kind::Finish, |out| {
            put_finish(out, tid, oids_from, note);
        })?;
        take_summary(&mut Body::new(&answer)).ok_or_else(nonsense)
    }

    /// The store, to be read once it is complete, before it appears.
    ///
    /// # Errors
    /// As [`RemoteStore::connect`].
    pub fn store(&self) -> Result<RemoteStore> {
        let link = Link::greet(self.connection.clone(), 0)?;
        let shared = Shared::over(self.route.clone(), ClientOptions::default(), link)?;
        Ok(RemoteStore::of(shared))
    }

    /// Has the complete store appear.
    ///
    /// # Errors
    /// Those of the server.
    pub fn publish(self) -> Result<()> {
        call(&self.connection, Kind::Publish, |_| {}).map(drop)
    }

    /// Has what was brought removed; the server serves an empty store then.
    ///
    /// # Errors
    /// Those of the server.
    pub fn discard(self) -> Result<()> {
        call(&self.connection, Kind::Discard, |_| {}).map(drop)
    }

    fn take_answers(&mut self, left: usize) -> Result<bool> {
        let mut written = false;
        while self.waiting.len() > left
            && let Some(ticket) = self.waiting.pop_front()
        {
            let answer = body_of(ticket.wait()?)?;
            written = Body::new(&answer).u8().ok_or_else(nonsense)? != 0;
        }
        Ok(written)
    }
}

/// Asks for nothing again and again, in order to be heard, until what is returned is dropped.
fn talk(connection: &Arc<Connection>, pause: Duration) -> Result<Sender<Infallible>> {
    let (talking, ends) = channel::<Infallible>();
    let connection: Weak<Connection> = Arc::downgrade(connection);
    let talk = move || {
        while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(pause) {
            let Some(connection) = connection.upgrade() else {
                return;
            };
            // Nobody needs the answer.
            if connection
                .ask(Kind::Load, |out| out.extend_from_slice(&[0; 4]))
                .is_err()
            {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("durum-filling".to_owned());
    thread
        .spawn(talk)
        .map_err(|error| Error::io(error, "fill the store of the server"))?;
    Ok(talking)
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use durum_core::engine::Registry;
    use durum_memory::MemoryBackend;

    use super::*;
    use crate::{Home, Passed, Server, Settings};

    /// The source may have nothing to give for a long time.
    #[test]
    fn who_fills_a_store_is_heard_of_all_the_time() {
        let registry = Registry::new().with(MemoryBackend);
        let settings = registry.parse_store("memory:").unwrap();
        let home = Home { registry, settings };
        let mut settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..Settings::default()
        };
        settings.limits.filling_silence_max = Duration::from_secs(2);
        let server = Server::bind_home(home, settings, Passed::default()).unwrap();
        let address = server.addresses()[0].to_string();
        let location = ServerLocation { address, tls: None };
        let stop = server.stopper();
        let running = std::thread::spawn(move || server.run());
        let pause = Duration::from_millis(20);
        let mut import = RemoteImport::begin_talking(&location, false, pause).unwrap();
        import.fill(b"begun", 1 << 20).unwrap();
        std::thread::sleep(Duration::from_secs(3));
        import.push(Oid(0), Tid(1), &[], Payload::plain(b"data"));
        import.checkpoint(b"one").unwrap();
        import.finish(Tid(1), Oid(1), (b"dangling ", b".")).unwrap();
        import.publish().unwrap();
        stop.stop();
        running.join().unwrap().unwrap();
    }
}
