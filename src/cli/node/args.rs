//! The arguments of `durum node`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use durum_core::units::parse_duration;

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) what: NodeCommand,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make the first node of new clusters
    Init(NodeInitArgs),
    /// Make an invitation for another node, or what a client needs
    Invite(NodeInviteArgs),
    /// Make another node from an invitation
    Join(NodeJoinArgs),
    /// Run a node: Garage, supervised, and a TLS front for clients
    Run(NodeDirArgs),
    /// List the nodes that a running one knows
    List(NodeDirArgs),
    /// Show how the clusters of a running node do
    Status(NodeDirArgs),
    /// Take a node out that is lost for good
    Remove(NodeRemoveArgs),
    /// Become Garage, and end with who has started it; `run` does so
    #[command(hide = true)]
    Exec(NodeExecArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NodeDirArgs {
    /// The node's directory
    pub(crate) dir: PathBuf,
}

/// What is said of a new node.
#[derive(Debug, Args)]
pub(crate) struct NewNodeArgs {
    /// The name or IP number by which other nodes and clients reach it
    #[arg(long, value_name = "HOST")]
    pub(crate) host: String,
    /// Where it is: copies are spread over as many zones as there are [default: HOST]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// The IP number on which it listens; 0.0.0.0 is all of IPv4, :: all of IPv6
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) listen: IpAddr,
    /// The port for clients; those for other nodes are this one plus the numbers of copies
    #[arg(long, default_value_t = 4600)]
    pub(crate) port: u16,
    /// The Garage program [default: the one on the path]
    #[arg(long, value_name = "FILE")]
    pub(crate) garage: Option<PathBuf>,
    /// How much it takes, such as 100GiB [default: what is free on its disk when it joins]
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeInitArgs {
    /// The node's directory, which is made
    pub(crate) dir: PathBuf,
    /// For which numbers of copies there are clusters
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "3,1")]
    pub(crate) copies: Vec<u32>,
    #[command(flatten)]
    pub(crate) node: NewNodeArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Whoever has an invitation of a node has all data: send it in a way that nobody else can read, \
                        such as ssh, and delete it. A client's directory opens the data as well, and nothing else."
)]
pub(crate) struct NodeInviteArgs {
    /// The directory of any node
    pub(crate) dir: PathBuf,
    /// Invite a client of this name instead of a node
    #[arg(long, value_name = "NAME", requires = "output")]
    pub(crate) client: Option<String>,
    /// Where to: a file for a node [default: standard output], a new directory for a client
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeJoinArgs {
    /// The node's directory, which is made
    pub(crate) dir: PathBuf,
    /// The file with the invitation, `-` for standard input
    pub(crate) invitation: PathBuf,
    #[command(flatten)]
    pub(crate) node: NewNodeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NodeRemoveArgs {
    /// The directory of a node that runs, not of the one to be removed
    pub(crate) dir: PathBuf,
    /// The node to be removed: its address, or the beginning of its number
    pub(crate) node: String,
    /// Wait until all its copies are elsewhere, for so long at most
    #[arg(long, value_name = "TIME", value_parser = parse_duration, num_args = 0..=1,
          default_missing_value = "7d", require_equals = true)]
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeExecArgs {
    /// The process with which it is to end
    pub(crate) parent: u32,
    /// The program
    pub(crate) program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}
