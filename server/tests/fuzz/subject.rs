//! The server that is tried, in this process.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use durum_core::Result;
use durum_core::check::check;
use durum_core::engine::Registry;
use durum_core::store::{LocalStore, Store as _};
use durum_memory::MemoryBackend;
use durum_server::{Address, Limits, Server, Settings, Stopper};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

pub(crate) const REQUEST_BYTES_MAX: u64 = 1 << 20;
pub(crate) const REQUEST_OBJECTS_MAX: u32 = 1 << 10;
const SOCKET: &str = "socket";
const METRICS: &str = "metrics";
/// Nothing here takes so long, unless it hangs.
const LONG: Duration = Duration::from_secs(30);
/// Addresses, above those that are in use at the beginning: for the stacks and heaps of threads, which reserve
/// more than they touch. A buffer of 4 GiB does not fit.
const ADDRESSES_MAX: u64 = 3 << 30;

#[derive(Debug)]
pub(crate) struct Subject {
    store: Arc<LocalStore>,
    stopper: Stopper,
    thread: JoinHandle<Result<()>>,
    home: TempDir,
}

impl Subject {
    pub(crate) fn start() -> Subject {
        let home = tempfile::tempdir().unwrap();
        let registry = Registry::new().with(MemoryBackend);
        let settings = registry.parse_store("memory:").unwrap();
        let store = Arc::new(registry.create(&settings).unwrap());
        let settings = Settings {
            listen: vec![Address::Unix(home.path().join(SOCKET))],
            metrics: Some(Address::Unix(home.path().join(METRICS))),
            limits: Limits {
                request_bytes_max: REQUEST_BYTES_MAX,
                request_objects_max: REQUEST_OBJECTS_MAX,
                // Who stalls is waited for that long by each who commits.
                commit_patience: Duration::from_micros(200),
                ..Limits::default()
            },
            ..Settings::default()
        };
        let server = Server::bind(store.clone(), settings).unwrap();
        Subject {
            store,
            stopper: server.stopper(),
            thread: std::thread::spawn(move || server.run()),
            home,
        }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.home.path().join(SOCKET)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Commits of clients, as the server counts them.
    pub(crate) fn commits(&self) -> u64 {
        let mut stream = UnixStream::connect(self.home.path().join(METRICS)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: durum\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let name = "durum_commits_total{result=\"committed\"} ";
        let mut counts = answer.lines().filter_map(|line| line.strip_prefix(name));
        counts.next().unwrap().parse().unwrap()
    }

    /// Ends the server and checks its store.
    pub(crate) fn stop(self) {
        self.stopper.stop();
        self.thread.join().unwrap().unwrap();
        let report = check(&self.store, false).unwrap();
        assert_eq!(report.error_count, 0, "{:?}", report.errors);
        self.store.collect().unwrap();
        let report = check(&self.store, false).unwrap();
        assert_eq!(report.error_count, 0, "{:?}", report.errors);
        assert_eq!(report.unreachable, 0);
    }
}

/// Counts panics of all threads, those of tasks included, which nobody would hear of.
pub(crate) fn watch_for_panics() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    count
}

/// Has an allocation fail that is larger than any may be.
pub(crate) fn limit_memory() {
    let limit = Rlimit {
        current: Some(status("VmSize:") + ADDRESSES_MAX),
        maximum: getrlimit(Resource::As).maximum,
    };
    setrlimit(Resource::As, limit).unwrap();
}

/// The most memory that this process had.
pub(crate) fn peak_bytes() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}
