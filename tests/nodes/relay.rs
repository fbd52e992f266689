//! Relays that record all that goes through them, as somebody on the line would.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UnixStream};
use tokio::runtime::Handle;

/// Nodes listen on `127.0.0.1` and say that they are here, where the relays are. Relays connect to them from here,
/// too, so that it can be seen that nobody goes past them.
pub(crate) const RELAY_HOST: &str = "127.0.0.2";
const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The state of a connection that is open, in the system's table.
const ESTABLISHED: &str = "01";

/// One direction of one connection.
type Record = Arc<Mutex<Vec<u8>>>;

/// Relays, each before a port or a socket. They end with the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Relays {
    runtime: Handle,
    recorded: Arc<Mutex<Vec<Connection>>>,
    /// How long all that is sent is on its way, in milliseconds.
    lag: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Connection {
    port: u16,
    sent: Record,
    answered: Record,
}

/// What has gone through a relay.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) connections: usize,
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// Each direction of each connection.
    pub(crate) streams: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Behind {
    Node(SocketAddr),
    Socket(PathBuf),
}

impl Relays {
    pub(crate) fn new(runtime: &Handle) -> Relays {
        Relays {
            runtime: runtime.clone(),
            recorded: Arc::default(),
            lag: Arc::default(),
        }
    }

    /// From now on all lines are long ones: what is sent arrives so much later.
    pub(crate) fn slow_down(&self, lag: Duration) {
        let lag = u64::try_from(lag.as_millis()).unwrap();
        self.lag.store(lag, Ordering::Relaxed);
    }

    /// A relay before a port of a node.
    pub(crate) fn add(&self, port: u16) {
        self.listen(port, Behind::Node(SocketAddr::new(NODE, port)));
    }

    /// A relay before a socket; its port.
    pub(crate) fn add_socket(&self, path: PathBuf) -> u16 {
        self.listen(0, Behind::Socket(path))
    }

    fn listen(&self, port: u16, behind: Behind) -> u16 {
        let listener = TcpListener::bind((RELAY, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (recorded, lag) = (self.recorded.clone(), self.lag.clone());
        self.runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((from, _)) = listener.accept().await {
                let (sent, answered) = (Record::default(), Record::default());
                recorded.lock().unwrap().push(Connection {
                    port,
                    sent: sent.clone(),
                    answered: answered.clone(),
                });
                from.set_nodelay(true).unwrap();
                let (read, write) = from.into_split();
                let (behind, lag) = (behind.clone(), lag.clone());
                tokio::spawn(async move {
                    match behind {
                        Behind::Node(address) => {
                            let socket = TcpSocket::new_v4().unwrap();
                            socket.bind(SocketAddr::new(RELAY, 0)).unwrap();
                            // A node that is down: whoever wanted it is hung up on.
                            let Ok(to) = socket.connect(address).await else {
                                return;
                            };
                            to.set_nodelay(true).unwrap();
                            let (back, forth) = to.into_split();
                            tokio::join!(
                                pass(read, forth, sent, &lag),
                                pass(back, write, answered, &lag)
                            );
                        }
                        Behind::Socket(path) => {
                            let Ok(to) = UnixStream::connect(&path).await else {
                                return;
                            };
                            let (back, forth) = to.into_split();
                            tokio::join!(
                                pass(read, forth, sent, &lag),
                                pass(back, write, answered, &lag)
                            );
                        }
                    }
                });
            }
        });
        port
    }

    /// What has gone through these relays until now, by their ports.
    pub(crate) fn heard(&self) -> BTreeMap<u16, Heard> {
        let mut all: BTreeMap<u16, Heard> = BTreeMap::new();
        for connection in self.recorded.lock().unwrap().iter() {
            let (sent, answered) = (connection.sent.lock(), connection.answered.lock());
            let (sent, answered) = (sent.unwrap().clone(), answered.unwrap().clone());
            let heard = all.entry(connection.port).or_default();
            heard.connections += 1;
            heard.sent += sent.len();
            heard.answered += answered.len();
            heard.streams.extend([sent, answered]);
        }
        all
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    record: Record,
    lag: &AtomicU64,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let part = &buffer[..length];
        record.lock().unwrap().extend_from_slice(part);
        let lag = lag.load(Ordering::Relaxed);
        if lag > 0 {
            tokio::time::sleep(Duration::from_millis(lag)).await;
        }
        if to.write_all(part).await.is_err() {
            break;
        }
    }
    let _gone = to.shutdown().await;
}

/// How many connections to these ports of nodes are open, and which of them do not come from a relay.
pub(crate) fn connections_to(ports: &[u16]) -> (usize, Vec<String>) {
    let hex = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(_) => String::new(),
    };
    let (node, relay) = (hex(NODE), hex(RELAY));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (mut count, mut past) = (0, Vec::new());
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, ..] = words.as_slice() else {
            continue;
        };
        let local = local.split_once(':').unwrap();
        let port = u16::from_str_radix(local.1, 16).unwrap();
        if *state != ESTABLISHED || local.0 != node || !ports.contains(&port) {
            continue;
        }
        count += 1;
        if !remote.starts_with(&relay) {
            past.push(line.to_owned());
        }
    }
    (count, past)
}

/// Which of the words are in what was heard, in any of the forms in which it could be there, and in which.
pub(crate) fn find(streams: &[&[u8]], words: &[(&'static str, &[u8])]) -> BTreeMap<String, u64> {
    // By their first bytes, so that all are looked for at once.
    let mut forms: HashMap<[u8; START], Vec<(String, Vec<u8>)>> = HashMap::new();
    let mut begins = vec![false; 1 << 16];
    for (name, word) in words {
        for (form, bytes) in forms_of(word) {
            let start: [u8; START] = bytes[..START].try_into().unwrap();
            begins[usize::from(u16::from_ne_bytes([start[0], start[1]]))] = true;
            let name = format!("{name} as {form}");
            forms.entry(start).or_default().push((name, bytes));
        }
    }
    let mut found = BTreeMap::new();
    for stream in streams {
        for (at, start) in stream.windows(START).enumerate() {
            if !begins[usize::from(u16::from_ne_bytes([start[0], start[1]]))] {
                continue;
            }
            let candidates = forms.get(start).into_iter().flatten();
            for (name, _) in candidates.filter(|(_, bytes)| stream[at..].starts_with(bytes)) {
                *found.entry(name.clone()).or_insert(0) += 1;
            }
        }
    }
    found
}

const START: usize = 8;

/// A word as it is, in Base64 with any number of bytes before it, in hexadecimal digits, and in UTF-16.
fn forms_of(word: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = |upper: bool| {
        let digits = word.iter().map(|byte| match upper {
            true => format!("{byte:02X}"),
            false => format!("{byte:02x}"),
        });
        digits.collect::<String>().into_bytes()
    };
    let wide =
        |order: fn(u16) -> [u8; 2]| word.iter().flat_map(move |byte| order(u16::from(*byte)));
    let mut forms = vec![
        ("it is", word.to_vec()),
        ("hexadecimal digits", hex(false)),
        ("UTF-16", wide(u16::to_le_bytes).collect()),
        (
            "UTF-16, the other way round",
            wide(u16::to_be_bytes).collect(),
        ),
    ];
    if hex(true) != hex(false) {
        forms.push(("upper-case hexadecimal digits", hex(true)));
    }
    for before in 0..3 {
        let plain = base64(word, before, b"+/");
        let safe = base64(word, before, b"-_");
        if safe != plain {
            forms.push(("Base64 for URLs", safe));
        }
        forms.push(("Base64", plain));
    }
    forms
}

/// The digits that follow from the word alone, when so many bytes come before it.
fn base64(word: &[u8], before: usize, last: &[u8; 2]) -> Vec<u8> {
    let digit = |value: u8| match value {
        0..26 => b'A' + value,
        26..52 => b'a' + value - 26,
        52..62 => b'0' + value - 52,
        _ => last[usize::from(value - 62)],
    };
    let bits: Vec<u8> = word
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    // Two bits of the first digit are of the byte before, and so on.
    let known = &bits[(6 - before * 8 % 6) % 6..];
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | bit);
    known
        .chunks_exact(6)
        .map(|bits| digit(value(bits)))
        .collect()
}

#[test]
fn words_are_found_in_all_forms() {
    assert_eq!(base64(b"Ma\xffn", 0, b"+/"), b"TWH/b");
    let word = b"Marker-0123456789".as_slice();
    for (before, text) in [
        (0, "TWFya2VyLTAxMjM0NTY3OD"),
        (1, "1hcmtlci0wMTIzNDU2Nzg5"),
        (2, "NYXJrZXItMDEyMzQ1Njc4O"),
    ] {
        assert_eq!(base64(word, before, b"+/"), text.as_bytes());
    }
    for (form, bytes) in forms_of(word) {
        let stream = [b"before", &bytes[..], b"behind"].concat();
        let found = find(&[&stream[..]], &[("it", word)]);
        assert_eq!(found.get(&format!("it as {form}")), Some(&1), "{found:?}");
        assert!(find(&[&stream[..]], &[("it", b"another-word-00")]).is_empty());
        assert!(find(&[&stream[..stream.len() - 7]], &[("it", word)]).is_empty());
    }
}
