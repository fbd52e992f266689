//! The command line of `durum bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use durum_bench::Settings;
use durum_bench::database::DatabaseSettings;
use durum_bench::dict::DictSettings;
use durum_bench::gc::GcSettings;
use durum_bench::migrate::MigrateSettings;
use durum_bench::oo7::Oo7Settings;
use durum_bench::server::ServerSettings;
use durum_bench::typed::TypedSettings;
use durum_core::units::parse_duration;

use crate::cli::args::VerifyArg;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BenchCommand>,
    #[command(flatten)]
    pub(crate) compare: BenchCompareArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchCompareArgs {
    /// Only these engines [default: all that are compiled in]
    #[arg(value_name = "ENGINE")]
    pub(crate) names: Vec<String>,
    /// The same
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Only these workloads [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// Measure the engines alone as well, without Durum, and print the ratios
    #[arg(long)]
    pub(crate) raw: bool,
    /// Objects in each store [default: 10000,100000; with --quick 10000]
    #[arg(long, value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) objects: Vec<u64>,
    /// Bytes of an object's data, on average: a fifth more or less
    #[arg(long, value_name = "BYTES", default_value_t = Settings::SIZE,
          value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub(crate) size: u32,
    /// How often everything is measured; the medians count [default: 3; with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: Option<u16>,
    /// Well under a minute for all engines
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// The objects, and what is drawn of them, follow from it
    #[arg(long, value_name = "N", default_value_t = Settings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Stores in PostgreSQL: near and far, and beside a client of its own
    Database(BenchDatabaseArgs),
    /// Dictionaries with three indexes: in stores, and on nodes
    Dict(BenchDictArgs),
    /// The cost of prompt collection: rows read, pauses, bytes written
    Gc(BenchGcArgs),
    /// Migrations between all engines: rate, memory, and how the engine alone compares
    Migrate(BenchMigrateArgs),
    /// Typed objects and their trees: beside the engines alone, and beside those of Durus and ZODB
    Objects(BenchObjectsArgs),
    /// OO7: traversals, queries and changes of a design database
    Oo7(BenchOo7Args),
    /// The storage server: loads, commits, idle connections; beside Durus's own
    Server(BenchServerArgs),
    /// Answers and does nothing else, as `bench server` runs it in a process of its own
    #[command(hide = true)]
    Echo(BenchEchoArgs),
    /// One load of generated objects, as `bench migrate` runs it in a process of its own
    #[command(hide = true)]
    Load(BenchLoadArgs),
    /// A part of `bench objects`, as it runs it in a process of its own
    #[command(hide = true)]
    Part(BenchPartArgs),
    /// A step of `bench dict`, as it runs it in a process of its own
    #[command(hide = true)]
    DictPart(BenchPartArgs),
    /// Commits until it is killed, as `bench` runs it in a process of its own
    #[command(hide = true)]
    Commit(BenchLoadArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "All is done in schemas with random names, durum_bench_..., which are dropped in the end. Whoever kills \
                  the benchmark drops them.\n\
                  The password, where one is needed, is in PGPASSWORD; connections are not encrypted."
)]
pub(crate) struct BenchDatabaseArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE
    pub(crate) url: String,
    /// Measure a client without Durum as well, and print the ratios
    #[arg(long)]
    pub(crate) raw: bool,
    /// Only these workloads: import, scan, load, load_many, update_1 to update_1000, update_1_16_at_once, create_1 to
    /// create_1000, delete [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// What is added to each round trip of loads and commits, one after the other
    #[arg(long, value_name = "TIME", value_delimiter = ',', value_parser = parse_duration,
          default_value = "0,1ms,20ms")]
    pub(crate) delays: Vec<Duration>,
    /// Objects in the store [default: 100000; with --quick 10000]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u64).range(DatabaseSettings::OBJECTS_MIN..=1_000_000_000))]
    pub(crate) objects: Option<u64>,
    /// Bytes of an object's data, on average: a fifth more or less
    #[arg(long, value_name = "BYTES", default_value_t = DatabaseSettings::SIZE,
          value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub(crate) size: u32,
    /// Objects of 200 bytes that are migrated there and back, 0 for none [default: 1000000; with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub(crate) migrated: Option<u64>,
    /// How long each measurement takes [default: 2; with --quick 0.4]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// How often everything is measured; the medians count [default: 3; with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: Option<u16>,
    /// Few objects, once, and little time: less than a minute
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is drawn at random is drawn from it
    #[arg(long, value_name = "N", default_value_t = DatabaseSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the other stores of migrations meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What is found is checked: the benchmark fails where a home gives anything but what was put.\n\
                  With --on, a class that the next `durum dict heal` empties stays on the nodes."
)]
pub(crate) struct BenchDictArgs {
    /// Only these engines, `none` for none [default: all that keep data]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Start as many nodes on this machine, and measure them as well
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) nodes: Option<u32>,
    /// The Garage program for --nodes [default: the one on the path]
    #[arg(long, value_name = "FILE", requires = "nodes")]
    pub(crate) garage: Option<PathBuf>,
    /// Measure nodes that run already as well: `garage:DIR`, by `durum node invite --client`
    #[arg(long, value_name = "URL")]
    pub(crate) on: Vec<String>,
    /// Dictionaries [default: 100000; with --quick 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    pub(crate) dicts: Option<u64>,
    /// Bytes of the text that each has besides what is in indexes
    #[arg(long, value_name = "BYTES", default_value_t = DictSettings::SIZE as u32,
          value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub(crate) size: u32,
    /// How many a call writes where many are written at once; on nodes 50 at most
    #[arg(long, value_name = "N", default_value_t = DictSettings::BATCH as u32,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) batch: u32,
    /// How many write or read at once
    #[arg(long, value_name = "N", default_value_t = DictSettings::WRITERS as u16,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) writers: u16,
    /// MiB of the caches of objects
    #[arg(long, value_name = "MIB", default_value_t = TypedSettings::CACHE >> 20,
          value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    pub(crate) cache: u64,
    /// How often everything is measured; the medians count [default: 3; with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: Option<u16>,
    /// Few dictionaries, once
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is drawn at random is drawn from it
    #[arg(long, value_name = "N", default_value_t = DictSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores, and nodes, meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchGcArgs {
    /// Only these engines [default: all that are compiled in]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Only these workloads [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// Objects of the graphs, about [default: 10000,100000,1000000; with --quick 1000,4000]
    #[arg(long, value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(16..=1_000_000_000))]
    pub(crate) objects: Vec<u64>,
    /// Small graphs and few commits: well under a minute for all engines
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is drawn at random is drawn from it: the same seed gives the same counts
    #[arg(long, value_name = "N", default_value_t = GcSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchObjectsArgs {
    /// Only these engines [default: all that are compiled in]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Measure these through a server as well
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) served: Vec<String>,
    /// Only this kind of work [default: all]
    #[arg(long, value_enum, value_name = "SHAPE", value_delimiter = ',')]
    pub(crate) shapes: Vec<TypedShapeArg>,
    /// Objects of about 100 bytes below a tree [default: 100000; with --quick 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) objects: Option<u64>,
    /// Entries of a tree of numbers [default: 1000000; with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) entries: Option<u64>,
    /// MiB of the caches of objects
    #[arg(long, value_name = "MIB", default_value_t = TypedSettings::CACHE >> 20,
          value_parser = clap::value_parser!(u64).range(0..=1 << 20))]
    pub(crate) cache: u64,
    /// How often everything is measured; the medians count
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Measure Durus's objects beside them: a Python in which `import durus` works
    #[arg(long, value_name = "PYTHON")]
    pub(crate) durus: Option<PathBuf>,
    /// Measure ZODB's objects beside them: a Python in which `import ZODB` works
    #[arg(long, value_name = "PYTHON")]
    pub(crate) zodb: Option<PathBuf>,
    /// Few objects: well under a minute for all engines
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is drawn at random is drawn from it
    #[arg(long, value_name = "N", default_value_t = TypedSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// What is done with typed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TypedShapeArg {
    /// Objects with a text each, below a tree
    Objects,
    /// A tree of numbers by numbers
    Tree,
}

#[derive(Debug, Args)]
pub(crate) struct BenchPartArgs {
    /// A JSON object
    pub(crate) part: String,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOo7Args {
    /// Only these engines [default: all that are compiled in]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// How large the database is
    #[arg(
        long,
        value_enum,
        value_name = "SIZE",
        value_delimiter = ',',
        default_value = "small"
    )]
    pub(crate) sizes: Vec<Oo7SizeArg>,
    /// Only these operations, such as T1 or Q8 [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) operations: Vec<String>,
    /// How often each operation is run hot; the medians count
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// What is drawn at random is drawn from it: the same seed gives the same counts
    #[arg(long, value_name = "N", default_value_t = Oo7Settings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// How large a database of OO7 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Oo7SizeArg {
    /// 42,000 objects
    Small,
    /// 400,000 objects
    Medium,
}

#[derive(Debug, Args)]
pub(crate) struct BenchMigrateArgs {
    /// Only these engines [default: all that keep data]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// Only migrations from or to these engines [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) with: Vec<String>,
    /// Objects in the stores [default: 1000000; with --quick 20000]
    #[arg(long, value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u64).range(16..=1_000_000_000))]
    pub(crate) objects: Vec<u64>,
    /// Bytes of an object's data, on average; half of it compresses well, half not at all
    #[arg(long, value_name = "BYTES", default_value_t = MigrateSettings::SIZE,
          value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub(crate) size: u32,
    /// How the copies are verified, as by `durum migrate`
    #[arg(long, value_enum, value_name = "HOW", default_value_t = VerifyArg::Digest)]
    pub(crate) verify: VerifyArg,
    /// How often everything is measured; the medians count
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Few objects: well under a minute for all engines
    #[arg(long)]
    pub(crate) quick: bool,
    /// The objects are drawn from it
    #[arg(long, value_name = "N", default_value_t = MigrateSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores, and temporary files, meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchServerArgs {
    /// The engines below the server
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "lmdb"
    )]
    pub(crate) engines: Vec<String>,
    /// Only these workloads: round-trip, load, load-many, pipelined, commit, beside-idle [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// Measure Durus's own server beside it: a Python in which `import durus` works
    #[arg(long, value_name = "PYTHON")]
    pub(crate) durus: Option<PathBuf>,
    /// Objects in the stores [default: 20000; with --quick 2000]
    #[arg(long, value_name = "N")]
    pub(crate) objects: Option<usize>,
    /// Bytes of an object's data
    #[arg(long, value_name = "BYTES", default_value_t = ServerSettings::SIZE)]
    pub(crate) size: usize,
    /// How long each measurement takes [default: 2; with --quick 0.2]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// How often everything is measured; the medians count
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: u16,
    /// Connections that do nothing beside a busy client [default: 10000; with --quick 200]
    #[arg(long, value_name = "N")]
    pub(crate) idle: Option<usize>,
    /// Few objects, and little time: some seconds in all
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is drawn at random is drawn from it
    #[arg(long, value_name = "N", default_value_t = ServerSettings::SEED)]
    pub(crate) seed: u64,
    /// Where to put the stores meanwhile
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BenchEchoArgs {
    /// Bytes of each answer
    pub(crate) answer_bytes: usize,
}

/// A time that can be measured.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    match (0.01..=3600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("it is to be between 0.01 and 3600".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchLoadArgs {
    /// The engine
    pub(crate) engine: String,
    /// Where, without a scheme
    pub(crate) path: PathBuf,
    /// Load the engine alone, without Durum
    #[arg(long)]
    pub(crate) raw: bool,
    /// Objects
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) objects: u64,
    /// Bytes of an object's data, on average
    #[arg(long, value_name = "BYTES", default_value_t = MigrateSettings::SIZE,
          value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    pub(crate) size: u32,
    /// The objects are drawn from it
    #[arg(long, value_name = "N", default_value_t = MigrateSettings::SEED)]
    pub(crate) seed: u64,
}
