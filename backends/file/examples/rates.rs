//! Rates of the flat-file engine alone: load, point reads, scan, updates. `cargo run --release -p
//! durum-file --example rates [DIRECTORY]`; the figures that count are `durum bench`'s.

use std::time::Duration;

use durum_core::engine::{Backend, Durability, Engine, EngineSnapshot, Key, Op, Options, Table};

const ROWS: u64 = 1_000_000;
const BATCH: u64 = 1000;

fn put(engine: &dyn Engine, keys: &[u64], value: &[u8], durability: Durability) {
    let put = |key: &u64| Op::Put {
        table: Table::Objects,
        key: Key::from(*key),
        value,
    };
    let ops: Vec<_> = keys.iter().map(put).collect();
    if let Err(error) = engine.apply(&ops, durability) {
        eprintln!("{error}");
    }
}

/// Wall time, and processor time of this thread: on a busy machine only the latter says anything.
#[derive(Clone, Copy)]
struct Instant(std::time::Instant, Duration);

impl Instant {
    fn now() -> Instant {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
        Instant(
            std::time::Instant::now(),
            Duration::from_nanos(nanoseconds.unwrap_or(0)),
        )
    }

    fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    fn processor(self) -> Duration {
        Instant::now().1.saturating_sub(self.1)
    }
}

fn report(what: &str, count: u64, start: Instant) {
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "{what:28} {:>12.0}/s, {:>12.0}/s of processor time",
        rate(start.elapsed()),
        rate(start.processor()),
    );
}

fn read(snapshot: &dyn EngineSnapshot, seed: u64, count: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = 0;
    for _ in 0..count {
        let key = Key::from(random.u64(..ROWS));
        let _ = snapshot.get(Table::Objects, key, &mut |value| bytes += value.len());
    }
    bytes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = match std::env::args().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let engine = durum_file::FileBackend.open(dir.path(), &Options::default())?;
    let mut value = [7; 100];
    let keys: Vec<u64> = (0..ROWS).collect();

    let start = Instant::now();
    for chunk in keys.chunks(BATCH as usize) {
        put(&*engine, chunk, &value, Durability::Relaxed);
    }
    engine.sync()?;
    report("load", ROWS, start);
    println!("{:?}", engine.stats()?);

    for round in 0..2 {
        let snapshot = engine.snapshot()?;
        let start = Instant::now();
        let bytes = read(&*snapshot, round, ROWS);
        report(&format!("point reads ({bytes} bytes)"), ROWS, start);
        let start = Instant::now();
        let mut cursor = snapshot.cursor(Table::Objects, Key::MIN)?;
        let mut rows = 0;
        while cursor.next()?.is_some() {
            rows += 1;
        }
        report("scan", rows, start);
    }
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let engine = &engine;
            scope.spawn(move || {
                engine
                    .snapshot()
                    .map(|snapshot| read(&*snapshot, seed, ROWS))
            });
        }
    });
    let start = Instant::now();
    for key in 0..ROWS {
        engine
            .snapshot()?
            .get(Table::Objects, Key::from(key * 7919 % ROWS), &mut |_| {})?;
    }
    report("a snapshot for each read", ROWS, start);

    value = [8; 100];
    update(&*engine, &value)?;
    close_and_open(engine, dir.path(), &value)
}

fn update(engine: &dyn Engine, value: &[u8]) -> durum_core::Result<()> {
    let mut random = fastrand::Rng::with_seed(9);
    let mut slowest = 0.0_f64;
    let start = Instant::now();
    for _ in 0..ROWS / BATCH {
        let mut keys: Vec<u64> = (0..BATCH).map(|_| random.u64(..ROWS)).collect();
        keys.sort_unstable();
        keys.dedup();
        let batch = Instant::now();
        put(engine, &keys, value, Durability::Relaxed);
        slowest = slowest.max(batch.processor().as_secs_f64());
    }
    engine.sync()?;
    report("random updates", ROWS, start);
    println!(
        "slowest batch {:.1} ms, {:?}",
        slowest * 1e3,
        engine.stats()?
    );
    let start = Instant::now();
    while engine.reclaim(1 << 24)?.more {}
    println!(
        "reclaim {:.0} ms, {:?}",
        start.elapsed().as_secs_f64() * 1e3,
        engine.stats()?
    );

    Ok(())
}

fn close_and_open(
    engine: Box<dyn Engine>,
    dir: &std::path::Path,
    value: &[u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    for commit in 0..500 {
        let keys: Vec<u64> = (0..10).map(|key| ROWS + commit * 10 + key).collect();
        put(&*engine, &keys, value, Durability::Power);
    }
    report("durable commits of 10", 500, start);
    let start = Instant::now();
    drop(engine);
    println!("close {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let engine = durum_file::FileBackend.open(dir, &Options::default())?;
    println!(
        "open {:.1} ms, {:?}",
        start.elapsed().as_secs_f64() * 1e3,
        engine.stats()?
    );
    Ok(())
}
