//! Reading from a server that speaks only Durus's own protocol, such as Durus's own.
//!
//! Objects are asked for many at a time, and more may be asked for before the answers have come. A server of
//! this kind serves one client after the other, and cuts off one that does not take its answers for some
//! seconds: whoever has asked, and is going to be busy with something else, [settles](DurusClient::settle)
//! first.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use durum_core::config::ServerLocation;
use durum_core::{Error, ErrorKind, Oid, Result};

use super::shared::ClientOptions;
use super::transport::{Route, Sent, Transport};
use crate::protocol::bytes::{Body, put_u32, put_u64};

const DOING: &str = "read from the server";
/// The version of the protocol.
const VERSION: u32 = 1;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// Room for so much is made before it has come.
const AHEAD_BYTES: usize = 1 << 20;
/// OID and length of the data.
const HEAD_BYTES: usize = 12;
/// No record is longer, or else it is no record.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// Of a status and a length.
const STATUS_BYTES: usize = 5;
/// Objects that are asked for at once, at most, and about how many bytes of them.
const BULK_MAX: usize = 100;
const BULK_BYTES: usize = 256 << 10;
/// While nothing comes, the caller is asked so often whether it still wants to wait.
const NAP: Duration = Duration::from_millis(500);
/// An answer may take so much longer for each second's worth of bytes at this rate: a server that sends a byte
/// now and then is not waited for.
const RATE_MIN: u64 = 4 << 10;

/// Is asked now and then, while a server is waited for, whether that is to go on.
type Watch = Box<dyn Fn() -> Result<()> + Send>;

/// A connection to a server, over which objects are read by Durus's own protocol.
///
/// Everything is as it was when the connection was made: where others have changed an object since then, the
/// server says so and does not give it, and reading it fails with `Conflict`. After an error of the connection
/// itself all calls fail.
pub struct DurusClient {
    transport: Transport,
    url: String,
    silence: Duration,
    watch: Watch,
    /// What was asked for, and has not been handed out.
    asked: VecDeque<Oid>,
    input: Vec<u8>,
    /// The first byte of `input` that was not handed out.
    position: usize,
    /// About how long the last records were.
    usual: usize,
    lost: Option<String>,
}

impl fmt::Debug for DurusClient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DurusClient")
            .field("url", &self.url)
            .field("asked", &self.asked.len())
            .finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// There is such an object.
    Object(Record<'a>),
    /// There is no object of this OID.
    Missing(Oid),
}

/// An object as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its identity.
    pub oid: Oid,
    /// Its class and state.
    pub data: &'a [u8],
    refs: &'a [[u8; 8]],
}

impl Record<'_> {
    /// What it refers to, in no order; perhaps several times, and itself.
    pub fn refs(&self) -> impl ExactSizeIterator<Item = Oid> {
        let refs = self.refs.iter();
        refs.map(|bytes| Oid(u64::from_be_bytes(*bytes)))
    }
}

impl DurusClient {
    /// Connects to a server. Of `options`, a server that is silent for twice `silence` is given up, and a
    /// connection that is lost is not made again: nobody would know what others have committed in between.
    /// `watch` is called now and then while the server is waited for, and may end that.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers; `Other` for what is no server of this kind; `Usage` for a bad
    /// address or files of TLS that cannot be used; those of `watch`.
    pub fn connect(
        location: &ServerLocation,
        options: ClientOptions,
        watch: impl Fn() -> Result<()> + Send + 'static,
    ) -> Result<DurusClient> {
        let route = Route::new(location)?;
        let silence = options.silence * 2;
        let mut client = DurusClient {
            transport: route.connect(options.connect_time_max, silence.min(NAP))?,
            url: route.url(),
            silence,
            watch: Box::new(watch),
            asked: VecDeque::new(),
            input: Vec::new(),
            position: 0,
            usual: 0,
            lost: None,
        };
        let mut hello = vec![b'V'];
        put_u32(&mut hello, VERSION);
        client.send(&hello)?;
        client.need(4, Instant::now())?;
        let version = Body::new(client.rest()).u32();
        client.position += 4;
        match version {
            Some(VERSION) => Ok(client),
            _ => Err(client.nonsense("it does not speak Durus's protocol")),
        }
    }

    /// The server's URL, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many objects it is good to ask for at once: a hundred, or fewer where they are large.
    pub fn bulk(&self) -> usize {
        (BULK_BYTES / self.usual.max(1)).clamp(1, BULK_MAX)
    }

    /// How many objects were asked for and not handed out yet.
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Asks for objects, and does not wait for them.
    ///
    /// # Errors
    /// `Unreachable` where the connection is lost.
    pub fn ask(&mut self, oids: &[Oid]) -> Result<()> {
        if oids.is_empty() {
            return Ok(());
        }
        let mut request = Vec::with_capacity(STATUS_BYTES + oids.len() * 8);
        request.push(b'B');
        put_u32(&mut request, oids.len() as u32);
        oids.iter().for_each(|oid| put_u64(&mut request, oid.0));
        self.send(&request)?;
        self.asked.extend(oids);
        Ok(())
    }

    /// Waits for the next object that was asked for, in their order; `None` where there is none.
    ///
    /// # Errors
    /// `Conflict` where others have changed it since this client has connected; `Damaged`, naming the object,
    /// where the record is none, after which the next one can be had; `Unreachable` where the connection is
    /// lost; `Other` where what comes is no answer; those of the watch.
    pub fn answer(&mut self) -> Result<Option<Answer<'_>>> {
        let Some(&oid) = self.asked.front() else {
            return Ok(None);
        };
        let begin = Instant::now();
        let frame = loop {
            match Frame::parse(self.rest()) {
                Frame::Part(wanted) => self.need(wanted, begin)?,
                Frame::Nonsense => return Err(self.nonsense("its answer makes no sense")),
                frame => break frame,
            }
        };
        self.asked.pop_front();
        let length = match frame {
            Frame::Record(length) => length,
            Frame::Missing => {
                self.position += 1;
                return Ok(Some(Answer::Missing(oid)));
            }
            _ => {
                self.position += 1;
                return Err(changed(oid));
            }
        };
        let start = self.position + STATUS_BYTES;
        self.position = start + length;
        self.usual = (self.usual * 7 + length).div_ceil(8);
        let bytes = self.input.get(start..self.position).unwrap_or_default();
        let record = take_apart(oid, bytes).map_err(|why| {
            Error::damaged(DOING, why)
                .with_oid(oid)
                .hint("The server's file is damaged, or it is no server of Durus.")
        })?;
        Ok(Some(Answer::Object(record)))
    }

    /// Takes the answers that are still to come, so that the server need not wait for this client; but no
    /// more than about so many bytes.
    ///
    /// # Errors
    /// As [`DurusClient::answer`], for the connection; of objects nothing is said before they are asked for.
    pub fn settle(&mut self, bytes_max: usize) -> Result<()> {
        let begin = Instant::now();
        let (mut whole, mut answers) = (0, 0);
        while answers < self.asked.len() {
            let rest = self.rest();
            if rest.len() >= bytes_max {
                break;
            }
            match Frame::parse(rest.get(whole..).unwrap_or_default()) {
                Frame::Part(wanted) => self.need(whole + wanted, begin)?,
                Frame::Nonsense => break,
                Frame::Record(length) => {
                    (whole, answers) = (whole + STATUS_BYTES + length, answers + 1)
                }
                Frame::Missing | Frame::Invalid => (whole, answers) = (whole + 1, answers + 1),
            }
        }
        Ok(())
    }

    /// Waits for everything that was asked for, and throws it away.
    ///
    /// # Errors
    /// As [`DurusClient::settle`].
    pub fn forget(&mut self) -> Result<()> {
        loop {
            match self.answer() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Damaged) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What has come and was not handed out.
    fn rest(&self) -> &[u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn input_capacity(&self) -> usize {
        self.input.capacity()
    }

    #[cfg(test)]
    pub(super) fn input_length(&self) -> usize {
        self.rest().len()
    }

    /// Receives until there are `wanted` bytes, which have been waited for since `begin`.
    fn need(&mut self, wanted: usize, begin: Instant) -> Result<()> {
        self.check()?;
        self.input.drain(..self.position);
        self.position = 0;
        if self.input.is_empty() && self.input.capacity() > 4 * READ_BYTES {
            self.input.shrink_to(READ_BYTES);
        }
        let time_max = self.silence + Duration::from_secs(wanted as u64 / RATE_MIN);
        let mut heard = Instant::now();
        while let Some(missing) = wanted.checked_sub(self.input.len()).filter(|it| *it > 0) {
            let room = missing.clamp(READ_BYTES, AHEAD_BYTES);
            match self.transport.receive(&mut self.input, room, false) {
                Ok(0) => return Err(self.lose("the server has closed the connection")),
                Ok(_) => heard = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.watch)()?;
                    if heard.elapsed() >= self.silence {
                        return Err(self.lose("the server does not answer"));
                    }
                }
                Err(error) => return Err(self.lose(&error.to_string())),
            }
            if begin.elapsed() >= time_max && self.input.len() < wanted {
                return Err(self.lose("the server is too slow with an answer"));
            }
        }
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.check()?;
        let sealed = self.transport.seal(request);
        let sealed = sealed.map_err(|error| self.lose(&error.to_string()))?;
        let mut rest = sealed.as_deref().unwrap_or(request);
        let begin = Instant::now();
        loop {
            match self.transport.send(rest) {
                Ok(Sent::All) => return Ok(()),
                Ok(Sent::Part(count)) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => return Err(self.lose(&error.to_string())),
            }
            // What has come meanwhile is left in the socket: so little is on its way that there is room.
            if begin.elapsed() >= self.silence {
                return Err(self.lose("the server does not read"));
            }
            if let Err(error) = (self.watch)() {
                self.lost = Some("a request was cut off".to_owned());
                return Err(error);
            }
            let waited = self.transport.wait_to_send(self.silence.min(NAP));
            waited.map_err(|error| self.lose(&error.to_string()))?;
        }
    }

    fn check(&self) -> Result<()> {
        match &self.lost {
            Some(why) => Err(self.failed(ErrorKind::Unreachable, why)),
            None => Ok(()),
        }
    }

    /// Notes that there will be no more answers.
    fn lose(&mut self, why: &str) -> Error {
        self.transport.close();
        self.lost = Some(why.to_owned());
        self.failed(ErrorKind::Unreachable, why)
    }

    fn nonsense(&mut self, why: &str) -> Error {
        self.lose(why);
        self.failed(ErrorKind::Other, why)
            .hint("Is it a storage server of Durus?")
    }

    fn failed(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, DOING).because(format!("{}: {why}", self.url))
    }
}

impl Drop for DurusClient {
    fn drop(&mut self) {
        self.transport.close();
    }
}

/// What an answer begins with.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// There have to be so many bytes before more can be said.
    Part(usize),
    /// A record of this length follows the status and the length, and all of it is there.
    Record(usize),
    Missing,
    Invalid,
    Nonsense,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Frame {
        let mut body = Body::new(bytes);
        match body.u8() {
            None => Frame::Part(1),
            Some(b'K') => Frame::Missing,
            Some(b'I') => Frame::Invalid,
            Some(b'O') => match body.u32().map(|length| length as usize) {
                None => Frame::Part(STATUS_BYTES),
                Some(length) if !(HEAD_BYTES..=RECORD_BYTES_MAX).contains(&length) => {
                    Frame::Nonsense
                }
                Some(length) if body.rest_length() < length => Frame::Part(STATUS_BYTES + length),
                Some(length) => Frame::Record(length),
            },
            Some(_) => Frame::Nonsense,
        }
    }
}

/// Takes a record apart, or says what is wrong with it.
fn take_apart(oid: Oid, bytes: &[u8]) -> Result<Record<'_>, String> {
    let mut body = Body::new(bytes);
    let (Some(found), Some(length)) = (body.u64(), body.u32()) else {
        return Err("a record is cut off".to_owned());
    };
    if found != oid.0 {
        return Err(format!("the record for it is that of object {found}"));
    }
    let size = body.rest_length();
    let Some(data) = body.take(length as usize) else {
        return Err(format!("{length} bytes of data in {size} bytes"));
    };
    let rest = body.rest();
    let (refs, beyond) = rest.as_chunks();
    if !beyond.is_empty() {
        return Err(format!("its references have {} bytes", rest.len()));
    }
    let record = Record { oid, data, refs };
    match record.refs().find(|target| !target.is_valid()) {
        Some(target) => Err(format!(
            "it refers to object {target}, and there are none from 2^63 on"
        )),
        None => Ok(record),
    }
}

fn changed(oid: Oid) -> Error {
    Error::new(ErrorKind::Conflict, DOING)
        .because("others have committed meanwhile, and this object is no longer what it was")
        .with_oid(oid)
        .hint("Stop what writes to it, or try again.")
}
