//! Nodes of a cluster that needs no administrator.
//!
//! A node is a directory and whoever runs it: one [Garage](durum_garage) process for each number of copies, which
//! is supervised, and a front that speaks TLS 1.3 with clients that have a certificate. [`init`] makes the first,
//! [`invite`] an invitation, [`join`] another one from that; [`run`] is all that is to be done on each. A node that
//! runs asks for its role by itself, and one of the nodes gives it.
//!
//! # What is where
//! | file | what |
//! | --- | --- |
//! | `node.toml` | [`NodeSettings`], for its owner |
//! | `secrets.toml` | the clusters' secrets and access keys |
//! | `ca/` | the authority that signs certificates of nodes and clients |
//! | `server.pem`, `server.key` | the front's certificate |
//! | `key/` | the node's key, which is its number |
//! | `garage-N/` | the Garage process of the cluster with N copies: configuration, metadata, data, sockets |
//!
//! # Who decides
//! Each node stages its own role. What is staged is applied by one node: at first by that which was made first, then
//! by the one with the smallest number that is not down for long, while it reaches more than half of those that have
//! a role. A node that was removed does not come back by itself.
//!
//! # What is encrypted
//! Between nodes Garage encrypts, and knows them by the clusters' secret and their keys. Between clients and nodes
//! it is TLS. Within a machine there are Unix-domain sockets that only the owner of the directory can open.

#![forbid(unsafe_code)]

mod files;
mod front;
mod invitation;
mod keeper;
mod key;
mod overview;
mod process;
mod program;
mod refill;
mod run;
mod settings;
mod setup;
mod supervise;

pub use key::{NodeKey, random_hex};
pub use overview::{ClusterRow, NodeRow, PARTITIONS, Removed, Share, list, remove, status};
pub use process::{Process, Sockets};
pub use program::{Launcher, become_program, find as find_garage, install_command};
pub use run::{Ready, Stopper, run};
pub use settings::{NodeDir, NodeSettings, Peer};
pub use setup::{NewNode, init, invite, invite_client, join, read_invitation};
