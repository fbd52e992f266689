//! The arguments of `durum dict`.

use std::time::Duration;

use clap::{Args, Subcommand};
use durum_core::units::{parse_duration, parse_size};

use crate::cli::args::VerifyArg;

#[derive(Debug, Args)]
#[command(
    after_help = "Fields are a JSON object. What JSON does not have is written as {\"$bytes\": \"base64\"} and \
                  {\"$float\": \"NaN\"}. A URL can be left out where the configuration names the store.\n\n\
                  Example:\n  durum dict define lmdb:people person --index born:int --index tags:string:many\n  \
                  durum dict put lmdb:people person ada '{\"name\": \"Ada\", \"born\": 1815, \"tags\": [\"maths\"]}'\n  \
                  durum dict select lmdb:people person born --from 1800 --below 1900"
)]
pub(crate) struct DictArgs {
    #[command(subcommand)]
    pub(crate) what: DictCommand,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum DictCommand {
    /// Define a class, or change its definition; the store is created where there is none
    Define(DefineArgs),
    /// List the classes
    Classes(PlaceArgs),
    /// Give a dictionary its fields: a new revision
    Put(PutArgs),
    /// Show a dictionary as it is, or was
    Get(GetArgs),
    /// Show all revisions of a dictionary, newest first
    History(OneArgs),
    /// Find dictionaries by an index
    Select(SelectArgs),
    /// Show all dictionaries of a class, by key
    All(AllArgs),
    /// Delete a dictionary; its history stays
    Delete(OneArgs),
    /// Show the revisions that came to a class, in the order in which they came
    Changes(ChangesArgs),
    /// Show where the changes of a class end now
    Marker(MarkerArgs),
    /// Merge concurrent revisions, prune old ones, finish indexes
    Heal(HealArgs),
    /// Write classes with all revisions to standard output, as JSON lines
    Export(PlaceArgs),
    /// Take classes and revisions, or plain dictionaries, from standard input, as JSON lines
    Import(ImportArgs),
    /// Move classes with all revisions from one home to another
    Migrate(MigrateDictArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The store, and a class where not all are meant
    #[arg(value_name = "[URL] [CLASS]", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HealArgs {
    /// The store, and a class where not all are meant
    #[arg(value_name = "[URL] [CLASS]", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// Heal again and again, with such a time between, until stopped; nodes that cannot be reached are waited for
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) every: Option<Duration>,
    /// No more than so many dictionaries, or lines of an index, a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The store, the class and the key
    #[arg(value_name = "[URL] CLASS KEY", num_args = 2..=3, required = true)]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "What is not given stays as it is, or is the default in a new class.")]
pub(crate) struct DefineArgs {
    /// The store and the class
    #[arg(value_name = "[URL] CLASS", num_args = 1..=2, required = true)]
    pub(crate) what: Vec<String>,
    /// On how many nodes each dictionary lies [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) copies: Option<u32>,
    /// What is kept: `all`, a number of revisions, or a time such as `30d` [default: all]
    #[arg(long, value_name = "HOW MUCH")]
    pub(crate) history: Option<String>,
    /// An index: `NAME:TYPE`, `NAME=FIELD:TYPE`, and `:many` behind it for lists; types are bool, int, float, string, bytes
    #[arg(long, value_name = "INDEX")]
    pub(crate) index: Vec<String>,
    /// An index that is no longer wanted
    #[arg(long, value_name = "NAME")]
    pub(crate) drop_index: Vec<String>,
    /// What programs with a copy do where too few nodes can be reached: `refuse`, `read`, or `write` [default: refuse]
    #[arg(long, value_name = "WHAT")]
    pub(crate) offline: Option<String>,
    /// What becomes of concurrent revisions: `fields`, `latest`, `leave`, or `function:NAME` [default: fields]
    #[arg(long, value_name = "RULE")]
    pub(crate) merge: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The store, the class, the key, and the fields as a JSON object; `-` reads them from standard input
    #[arg(value_name = "[URL] CLASS KEY FIELDS", num_args = 3..=4, required = true)]
    pub(crate) what: Vec<String>,
    /// The revisions that the new one follows [default: whatever is the newest]
    #[arg(long, value_name = "REVISION")]
    pub(crate) after: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The store, the class and the key
    #[arg(value_name = "[URL] CLASS KEY", num_args = 2..=3, required = true)]
    pub(crate) what: Vec<String>,
    /// As of a time, `2026-11-23T12:00:00Z`, or a revision
    #[arg(long, value_name = "WHEN")]
    pub(crate) at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    /// The store, the class and the index
    #[arg(value_name = "[URL] CLASS INDEX", num_args = 2..=3, required = true)]
    pub(crate) what: Vec<String>,
    /// This value
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["prefix", "from", "above", "to", "below"])]
    pub(crate) equals: Option<String>,
    /// Strings or bytes that begin so
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["from", "above", "to", "below"])]
    pub(crate) prefix: Option<String>,
    /// From this value on
    #[arg(
        long,
        value_name = "VALUE",
        allow_hyphen_values = true,
        conflicts_with = "above"
    )]
    pub(crate) from: Option<String>,
    /// From this value on, without it
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) above: Option<String>,
    /// Up to this value
    #[arg(
        long,
        value_name = "VALUE",
        allow_hyphen_values = true,
        conflicts_with = "below"
    )]
    pub(crate) to: Option<String>,
    /// Up to this value, without it
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) below: Option<String>,
    /// No more than so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct AllArgs {
    /// The store and the class
    #[arg(value_name = "[URL] CLASS", num_args = 1..=2, required = true)]
    pub(crate) what: Vec<String>,
    /// From this key on
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) from: String,
    /// Deleted ones, too
    #[arg(long)]
    pub(crate) deleted: bool,
    /// No more than so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// The store and the class
    #[arg(value_name = "[URL] CLASS", num_args = 1..=2, required = true)]
    pub(crate) what: Vec<String>,
    /// After this marker, which each change comes with
    #[arg(long, value_name = "MARKER")]
    pub(crate) since: Option<String>,
    /// Wait for more, until stopped
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MarkerArgs {
    /// The store and the class
    #[arg(value_name = "[URL] CLASS", num_args = 1..=2, required = true)]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The store, which is created where there is none
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateDictArgs {
    /// Where to copy from: a store, a server (durus+tcp://HOST:PORT) or nodes (garage:DIR)
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// Where to copy to, which is created where it is a store and there is none; it has no class of the same name
    #[arg(value_name = "DST")]
    pub(crate) destination: String,
    /// Only this class; can be given more than once
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Vec<String>,
    /// On how many nodes each dictionary is to lie at the destination [default: as the classes say]
    #[arg(long, value_name = "N")]
    pub(crate) copies: Option<u32>,
    /// How to verify a copy before it can be used; `full` names the keys that differ
    #[arg(long, value_enum, default_value_t = VerifyArg::Digest)]
    pub(crate) verify: VerifyArg,
    /// Go on with a migration that was cut off
    #[arg(long)]
    pub(crate) resume: bool,
    /// Bring over, too, what is written to nodes meanwhile, which is held in memory; of a store it always is
    #[arg(long)]
    pub(crate) follow: bool,
    /// Read at most so much a second, such as 20MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) rate: Option<u64>,
    /// Memory for dictionaries on their way; engines have their own
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64MiB")]
    pub(crate) memory: u64,
    /// Stop after this time, such as 30m or 8h, as if interrupted
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_duration: Option<Duration>,
}
