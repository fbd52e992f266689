//! Servers that do what no real one does.

use std::io::{ErrorKind as Io, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use durum_core::config::ServerLocation;
use durum_core::{Error, ErrorKind, Oid, Result};

use super::{ClientOptions, DurusAnswer, DurusClient};

/// The bytes of an answer with a record.
fn record(oid: u64, data: &[u8], refs: &[u64]) -> Vec<u8> {
    let mut record = [
        &oid.to_be_bytes()[..],
        &(data.len() as u32).to_be_bytes(),
        data,
    ]
    .concat();
    refs.iter()
        .for_each(|target| record.extend_from_slice(&target.to_be_bytes()));
    answer(&record)
}

fn answer(record: &[u8]) -> Vec<u8> {
    [b"O", &(record.len() as u32).to_be_bytes()[..], record].concat()
}

/// Accepts one client, and does what it likes.
fn server(work: impl FnOnce(TcpStream) + Send + 'static) -> (ServerLocation, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = ServerLocation {
        address: listener.local_addr().unwrap().to_string(),
        tls: None,
    };
    let thread = std::thread::spawn(move || work(listener.accept().unwrap().0));
    (location, thread)
}

/// Answers to the greeting, as it should be, and then with `bytes`, whatever it is asked; then it waits for
/// the end of the connection, or not.
fn saying(bytes: Vec<u8>, waits: bool) -> (ServerLocation, JoinHandle<()>) {
    server(move |mut stream| {
        greet(&mut stream);
        let _ = stream.write_all(&bytes);
        while waits && stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    })
}

fn greet(stream: &mut TcpStream) {
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(hello, *b"V\0\0\0\x01");
    stream.write_all(&[0, 0, 0, 1]).unwrap();
}

fn connect(location: &ServerLocation) -> Result<DurusClient> {
    let options = ClientOptions {
        silence: Duration::from_millis(100),
        ..ClientOptions::default()
    };
    DurusClient::connect(location, options, || Ok(()))
}

fn oids(range: std::ops::Range<u64>) -> Vec<Oid> {
    range.map(Oid).collect()
}

/// OID, data and references.
type Found = (u64, Vec<u8>, Vec<u64>);

/// The next object.
fn next(client: &mut DurusClient) -> Result<Option<Found>> {
    Ok(client.answer()?.map(|answer| match answer {
        DurusAnswer::Missing(oid) => (oid.0, b"missing".to_vec(), Vec::new()),
        DurusAnswer::Object(record) => {
            let refs = record.refs().map(|oid| oid.0).collect();
            (record.oid.0, record.data.to_vec(), refs)
        }
    }))
}

#[test]
fn objects_come_in_the_order_in_which_they_were_asked_for() {
    let bytes = [
        record(5, b"five", &[9, 5, 9]),
        b"K".to_vec(),
        record(3, b"", &[]),
        record(0, &[7; 200_000], &[1]),
    ]
    .concat();
    let (location, thread) = server(move |mut stream| {
        greet(&mut stream);
        let mut asked = [0; 13 + 29];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked[..5], b"B\0\0\0\x01");
        assert_eq!(&asked[13..18], b"B\0\0\0\x03");
        assert_eq!(&asked[18..26], 4_u64.to_be_bytes());
        // One by one at first.
        let (slow, rest) = bytes.split_at(60);
        slow.iter()
            .for_each(|byte| stream.write_all(&[*byte]).unwrap());
        stream.write_all(rest).unwrap();
    });
    let mut client = connect(&location).unwrap();
    assert!(next(&mut client).unwrap().is_none());
    client.ask(&[Oid(5)]).unwrap();
    client.ask(&[4, 3, 0].map(Oid)).unwrap();
    client.ask(&[]).unwrap();
    assert_eq!((client.asked(), client.bulk()), (4, 100));
    let five = Some((5, b"five".to_vec(), vec![9, 5, 9]));
    assert_eq!(next(&mut client).unwrap(), five);
    assert_eq!(next(&mut client).unwrap().unwrap().1, b"missing");
    assert_eq!(next(&mut client).unwrap().unwrap().0, 3);
    let (oid, data, refs) = next(&mut client).unwrap().unwrap();
    assert_eq!((oid, data.len(), refs), (0, 200_000, vec![1]));
    assert!(next(&mut client).unwrap().is_none());
    assert!(
        client.bulk() < 50,
        "{} large objects at once",
        client.bulk()
    );
    thread.join().unwrap();
}

/// An answer with these bytes to a question for object 1 is an error, and no more memory is taken than has
/// come.
fn fails(what: &str, bytes: &[u8], waits: bool, kind: ErrorKind) {
    let (location, thread) = saying(bytes.to_vec(), waits);
    let mut client = connect(&location).unwrap();
    client.ask(&[Oid(1)]).unwrap();
    let error = next(&mut client).expect_err(what);
    assert_eq!(error.kind(), kind, "{what}: {error}");
    let of_object = matches!(kind, ErrorKind::Damaged | ErrorKind::Conflict);
    assert_eq!(error.oids() == [Oid(1)], of_object, "{what}: {error}");
    // Only what is wrong with an object alone leaves the connection of use.
    assert_eq!(client.ask(&[Oid(2)]).is_ok(), of_object, "{what}");
    assert!(client.input_capacity() < 4 << 20, "{what}");
    drop(client);
    thread.join().unwrap();
}

#[test]
fn what_is_no_answer_is_an_error() {
    fails("another status", b"X", true, ErrorKind::Other);
    fails("too long", b"O\xff\xff\xff\xff", true, ErrorKind::Other);
    fails(
        "too short",
        b"O\0\0\0\x0b01234567890",
        true,
        ErrorKind::Other,
    );
    fails("empty", b"O\0\0\0\0", true, ErrorKind::Other);
}

#[test]
fn what_ends_early_is_an_error() {
    let whole = record(1, b"data", &[2]);
    let long = b"O\x3f\xff\xff\xff1234";
    for waits in [true, false] {
        fails("nothing", b"", waits, ErrorKind::Unreachable);
        fails("a status", b"O\0", waits, ErrorKind::Unreachable);
        fails("a long one", long, waits, ErrorKind::Unreachable);
        for end in [1, 5, 20, whole.len() - 1] {
            fails("a part", &whole[..end], waits, ErrorKind::Unreachable);
        }
    }
}

#[test]
fn records_of_another_shape_are_damaged() {
    let whole = record(1, b"data", &[2]);
    let odd = answer(&[&whole[5..], b"odd"].concat());
    let beyond = record(1, b"", &[1 << 63]);
    let head = |oid: u64, length: u32| {
        let bytes = [&oid.to_be_bytes()[..], &length.to_be_bytes(), b"data"].concat();
        answer(&bytes)
    };
    fails("another object", &head(2, 4), true, ErrorKind::Damaged);
    fails(
        "more data than there is",
        &head(1, 5),
        true,
        ErrorKind::Damaged,
    );
    fails(
        "much more data",
        &head(1, u32::MAX),
        true,
        ErrorKind::Damaged,
    );
    fails("half references", &odd, true, ErrorKind::Damaged);
    fails("an OID that is none", &beyond, true, ErrorKind::Damaged);
    fails("changed by others", b"I", true, ErrorKind::Conflict);
}

#[test]
fn a_damaged_object_does_not_hide_the_next() {
    let bytes = [record(9, b"", &[]), b"I".to_vec(), record(3, b"three", &[])].concat();
    let (location, thread) = saying(bytes, true);
    let mut client = connect(&location).unwrap();
    client.ask(&oids(1..4)).unwrap();
    assert_eq!(next(&mut client).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(next(&mut client).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(next(&mut client).unwrap().unwrap().1, b"three");
    drop(client);
    thread.join().unwrap();
}

#[test]
fn other_protocols_are_refused() {
    for (said, kind) in [
        (&b"\0\0\0\x02"[..], ErrorKind::Other),
        (b"HTTP/1.1 400 Bad Request\r\n", ErrorKind::Other),
        (b"\0\0", ErrorKind::Unreachable),
        (b"", ErrorKind::Unreachable),
    ] {
        for waits in [false, true] {
            let (location, thread) = server(move |mut stream| {
                stream.read_exact(&mut [0; 5]).unwrap();
                stream.write_all(said).unwrap();
                while waits && stream.read(&mut [0; 99]).is_ok_and(|count| count > 0) {}
            });
            let error = connect(&location).unwrap_err();
            assert_eq!(error.kind(), kind, "{said:?}: {error}");
            thread.join().unwrap();
        }
    }
    // Nobody listens there any more.
    let (location, thread) = server(drop);
    assert_eq!(
        connect(&location).unwrap_err().kind(),
        ErrorKind::Unreachable
    );
    thread.join().unwrap();
    assert_eq!(
        connect(&location).unwrap_err().kind(),
        ErrorKind::Unreachable
    );
}

/// A server that sends a byte now and then would be waited for without end.
#[test]
fn a_slow_server_is_given_up() {
    let (location, thread) = server(|mut stream| {
        greet(&mut stream);
        let bytes = record(1, &[0; 4000], &[]);
        for byte in bytes.iter().cycle() {
            std::thread::sleep(Duration::from_millis(10));
            match stream.write_all(&[*byte]) {
                Err(error) if matches!(error.kind(), Io::BrokenPipe | Io::ConnectionReset) => {
                    return;
                }
                sent => sent.unwrap(),
            }
        }
    });
    let mut client = connect(&location).unwrap();
    client.ask(&[Oid(1)]).unwrap();
    let error = next(&mut client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    drop(client);
    thread.join().unwrap();
}

#[test]
fn whoever_waits_can_stop() {
    let (location, thread) = saying(Vec::new(), true);
    let stop = Arc::new(AtomicBool::new(false));
    let watched = stop.clone();
    let watch = move || match watched.load(Ordering::Relaxed) {
        true => Err(Error::new(ErrorKind::Interrupted, "wait")),
        false => Ok(()),
    };
    let mut client = DurusClient::connect(&location, ClientOptions::default(), watch).unwrap();
    client.ask(&[Oid(1)]).unwrap();
    stop.store(true, Ordering::Relaxed);
    let error = next(&mut client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    drop(client);
    thread.join().unwrap();
}

/// What is on its way is taken, so that the server can go on, and given out later.
#[test]
fn what_is_on_its_way_is_taken_within_bounds() {
    const BYTES: usize = 64 << 10;
    let all: Vec<u8> = (0..100)
        .flat_map(|oid| record(oid, &[7; BYTES], &[]))
        .collect();
    let length = all.len();
    let (location, thread) = server(move |mut stream| {
        greet(&mut stream);
        stream.read_exact(&mut [0; 5 + 100 * 8]).unwrap();
        stream.write_all(&all).unwrap();
    });
    let mut client = connect(&location).unwrap();
    client.ask(&oids(0..100)).unwrap();
    client.settle(1 << 20).unwrap();
    // It stops where there is enough, and with the answer that it was at.
    let taken = client.input_length();
    assert!((1 << 20..2 << 20).contains(&taken), "{taken}");
    client.settle(length + 1).unwrap();
    assert_eq!(client.input_length(), length);
    // Nobody is there any more.
    thread.join().unwrap();
    for oid in 0..100 {
        let (found, data, _) = next(&mut client).unwrap().unwrap();
        assert_eq!((found, data.len()), (oid, BYTES));
    }
    assert!(next(&mut client).unwrap().is_none());
}

#[test]
fn what_was_asked_for_can_be_forgotten() {
    let bytes = [
        record(1, b"", &[]),
        b"I".to_vec(),
        b"K".to_vec(),
        record(7, b"", &[]),
    ]
    .concat();
    let (location, thread) = saying(bytes, true);
    let mut client = connect(&location).unwrap();
    client.ask(&oids(1..4)).unwrap();
    client.forget().unwrap();
    assert_eq!(client.asked(), 0);
    client.ask(&[Oid(7)]).unwrap();
    assert_eq!(next(&mut client).unwrap().unwrap().0, 7);
    drop(client);
    thread.join().unwrap();
}
