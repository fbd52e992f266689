//! The arguments of all commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use durum_core::Oid;
use durum_core::record::Codec;
use durum_core::units::{parse_duration, parse_size};
use durum_migrate::MigrateOptions;

use super::bench::args::BenchArgs;
use super::cert::CertArgs;
use super::dict::DictArgs;
use super::node::NodeArgs;

/// A persistent object store on the engine of your choice.
#[derive(Debug, Parser)]
#[command(
    name = "durum",
    version,
    arg_required_else_help = true,
    after_help = "URLs: lmdb:PATH, sqlite:PATH, redb:PATH, fjall:PATH, sled:PATH, file:PATH (see \
                  `durum engines`), memory:, durus:PATH for a Durus file, zodb:PATH for a FileStorage of ZODB; options as \
                  ?compression=zstd&durability=process. Without a URL the store of durum.toml is used.\n\n\
                  Exit codes: 0 done, 1 other failure, 2 usage or configuration, 3 source missing or \
                  unreadable, 4 destination exists or cannot be written, 5 busy or full (try again), \
                  6 mismatch or findings, 7 source damaged, 8 interrupted, 9 finished with rejects."
)]
pub(crate) struct Cli {
    /// The configuration file [default: $DURUM_CONFIG, else durum.toml in the working directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to standard error; twice for details (or set DURUM_LOG to a level)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How logs are written to standard error: text, or one JSON object a line
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormatArg::Text)]
    pub(crate) log_format: LogFormatArg,
    /// Log errors only and show no progress
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// How progress is shown on standard error
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t = ProgressArg::Auto)]
    pub(crate) progress: ProgressArg,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// A line for people, with its fields as key=value
    Text,
    /// A JSON object a line
    Json,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    /// A bar on a terminal, else a line every ten seconds
    Auto,
    /// A JSON object every second, one a line
    Json,
    /// Not at all
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a store without objects
    Init(StoreArgs),
    /// List the engines compiled in, with what each offers
    Engines,
    /// Show what is in a store
    Stat(StoreArgs),
    /// Show one object: tid, references, size; and the type and value of a typed one
    Get(GetArgs),
    /// Show an object and what it leads to
    Tree(TreeArgs),
    /// Count objects and bytes by type
    Census(StoreArgs),
    /// Print the digest of all objects, equal for equal contents on any engine
    Digest(StoreArgs),
    /// Verify checksums, references and counters
    Check(CheckArgs),
    /// Delete what the root cannot reach, and give the space back
    Gc(GcArgs),
    /// Copy everything from one place to a new one, and prove the copy equal
    Migrate(MigrateArgs),
    /// Save a store, or what changed in it, as one file or stream
    Backup(BackupArgs),
    /// Build a store from a backup and the increments that follow it
    Restore(RestoreArgs),
    /// Share a store among many clients, Durus's own among them
    Serve(ServeArgs),
    /// Keep dictionaries, with all of their revisions
    Dict(DictArgs),
    /// Make certificates for a server and its clients
    Cert(CertArgs),
    /// Run the nodes of clusters that keep copies on several machines
    Node(NodeArgs),
    /// Measure on this machine
    Bench(Box<BenchArgs>),
    /// See Durum at work on a real database, on every engine
    Tour(TourArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store [default: that of the configuration]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "SIGINT and SIGTERM let requests that have begun be finished, make everything durable and \
                  exit with 0; a second one ends at once. SIGHUP has the configuration's certificates, keys and \
                  list of clients read anew, for clients that connect from then on."
)]
pub(crate) struct ServeArgs {
    /// The store [default: that of the configuration]; it is created where it is absent
    pub(crate) url: Option<String>,
    /// Where to listen: HOST:PORT, unix:PATH or @NAME; may be repeated [default: that of the configuration,
    /// else 127.0.0.1:2972]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Where to serve reads only, also while another process has the store open, which needs an engine that is a server:
    /// as --listen [default: that of the configuration, else nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(crate) read_listen: Vec<String>,
    /// Let clients shut the server down, as Durus's protocol allows
    #[arg(long)]
    pub(crate) allow_quit: bool,
    /// Let clients only read
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Where another process has the store open, wait until it is free
    #[arg(long)]
    pub(crate) standby: bool,
    /// Where to tell metrics (/metrics) and health (/health) by HTTP: HOST:PORT, unix:PATH or @NAME
    /// [default: that of the configuration, else nowhere]
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<String>,
    /// Where to tell those of the reads at --read-listen: as --metrics
    #[arg(long, value_name = "ADDR")]
    pub(crate) read_metrics: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// Where nothing is said, what the configuration says.
#[derive(Clone, Debug, Args)]
pub(crate) struct TlsArgs {
    /// The server's certificate, with which it speaks TLS; `durum cert` makes one
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let in only whose certificate an authority of this file has signed
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Refuse clients on TCP that do not speak TLS; so it is with --client-ca unless the configuration says no
    #[arg(long)]
    pub(crate) require_tls: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "durum get [OPTIONS] [URL] OID")]
pub(crate) struct GetArgs {
    /// The store [default: that of the configuration], and the object's number
    #[arg(num_args = 1..=2, required = true, value_names = ["URL", "OID"])]
    pub(crate) what: Vec<String>,
    /// Write the object's data to standard output, and nothing else; with --json, as `data_hex`
    #[arg(long)]
    pub(crate) data: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each object is shown once, as near to the first as it is met, and mentioned elsewhere. References \
                  are written @OID; weak ones are not followed."
)]
pub(crate) struct TreeArgs {
    /// The store
    pub(crate) url: String,
    /// The object to begin with
    #[arg(default_value = "0")]
    pub(crate) oid: Oid,
    /// How many references to follow in a row
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) depth: usize,
    /// Show no more objects; the nearest are shown
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The store [default: that of the configuration]
    pub(crate) url: Option<String>,
    /// Mend what can be mended, and say what was
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// The store [default: that of the configuration]
    pub(crate) url: Option<String>,
    /// Rewrite the engine's files also where space can be given back without
    #[arg(long)]
    pub(crate) compact: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "SIGINT and SIGTERM end the batch that is being written and exit with 8. What \
                        was copied then, or before a failure, is kept beside DST under a hidden name \
                        that does not open as a store, until it is resumed or DST is written anew."
)]
pub(crate) struct MigrateArgs {
    /// Where to copy from: a store, a Durus file (durus:PATH), a FileStorage of ZODB (zodb:PATH), or a server,
    /// Durus's own too (durus+tcp://HOST:PORT, durus+unix:PATH)
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// Where to copy to, a store or a Durus file (durus:PATH?format=shelf|dfs20|sqlite); nothing may
    /// be there yet
    #[arg(value_name = "DST")]
    pub(crate) destination: String,
    /// How to verify the copy before it appears
    #[arg(long, value_enum, default_value_t = VerifyArg::Digest)]
    pub(crate) verify: VerifyArg,
    /// Go on with a migration that was cut off; without this it begins anew
    #[arg(long)]
    pub(crate) resume: bool,
    /// Copy while a program writes to SRC, then bring over what it has written meanwhile, again and again
    /// until it no longer has SRC open
    #[arg(long)]
    pub(crate) follow: bool,
    /// Leave out what the root does not reach
    #[arg(long)]
    pub(crate) reachable_only: bool,
    /// Say what would be done, and whether there is room, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Compress the copy in this way, whatever its URL says: none, zlib, zstd, zstd-dict
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    pub(crate) codec: Option<Codec>,
    /// What to do about an object that cannot be read; objects left out make it exit with 9
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnErrorArg::Stop)]
    pub(crate) on_error: OnErrorArg,
    /// Where to write down the objects that are left out
    #[arg(long, value_name = "DIR")]
    pub(crate) rejects: Option<PathBuf>,
    /// Read at most so much a second, such as 20MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) rate: Option<u64>,
    /// Memory for objects on their way and for sorting references; engines have their own
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64MiB")]
    pub(crate) memory: u64,
    /// Threads that verify, hash and compress [default: one less than there are cores]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=MigrateOptions::THREADS_MAX as i64))]
    pub(crate) threads: Option<u16>,
    /// Stop after this time, such as 30m or 8h, as if interrupted
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_duration: Option<Duration>,
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| {
        let names = Codec::NAMES.map(|(name, _)| name);
        format!("there are {}", names.join(", "))
    })
}

/// What is done about an object that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnErrorArg {
    /// Stop; the migration can be resumed
    Stop,
    /// Leave it out
    Skip,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The store
    pub(crate) url: String,
    /// The file, which appears when it is complete; `-` for standard output (the result then goes to
    /// standard error, with --json too)
    pub(crate) file: PathBuf,
    /// Only what came after this: a backup's file, or the number of a commit
    #[arg(long, value_name = "FILE|TID")]
    pub(crate) since: Option<String>,
    /// Also put the digest of the whole store into an increment, which takes reading all of it
    #[arg(long)]
    pub(crate) verify: bool,
    /// Replace a file of that name
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "durum restore [OPTIONS] FILE... URL\n       \
                            durum restore --list FILE...\n       \
                            durum restore --check [--at TID] FILE...")]
pub(crate) struct RestoreArgs {
    /// A full backup, then increments in their order, then the URL of the store to build, where nothing
    /// may be yet; `-` for one backup from standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) what: Vec<String>,
    /// Stop at the backup that ends with this commit
    #[arg(long, value_name = "TID")]
    pub(crate) at: Option<u64>,
    /// Show what the backups are, from their beginnings and ends alone
    #[arg(long, conflicts_with_all = ["check", "at"])]
    pub(crate) list: bool,
    /// Read the backups to their ends and verify everything, and build nothing
    #[arg(long)]
    pub(crate) check: bool,
}

/// How a copy is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyArg {
    /// Not at all
    None,
    /// By the number of objects
    Count,
    /// By reading everything back
    Digest,
    /// By comparing both sides object by object, listing what differs
    Full,
}

#[derive(Debug, Args)]
pub(crate) struct TourArgs {
    /// Where to leave the stores of the tour
    #[arg(long, value_name = "DIR", default_value = "durum-tour")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}
