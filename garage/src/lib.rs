//! A client of [Garage](https://garagehq.deuxfleurs.fr) 2.5 that loses no request when a node is lost.
//!
//! Garage stores copies of items and objects on several nodes, each of which can fail. It is a program of its own
//! and is spoken with by HTTP: [`K2v`] has its items, [`S3`] its objects, [`Admin`] its administration. A
//! [`Cluster`] knows all nodes:
//!
//! - A node that fails in whatever way (no connection, a connection that is lost, TLS that does not come about, no
//!   answer, a status of 500 and more, a node that was removed and no longer knows the access key) is that node's
//!   failure and not the caller's: the next one is asked at once. It is then avoided for a while, which becomes
//!   longer with each failure, until one request that is due to it finds that it works again.
//! - A node that has not answered after 150 ms is not waited for alone: a second one is asked the same, and the
//!   first answer counts.
//! - A node that hangs without being gone (stopped, cut off) also holds up those that it works with: Garage reads
//!   from just as many nodes as make a quorum, and chooses others when one fails, but not when it is silent. Few
//!   items are then read in another way, which asks all nodes that have them.
//! - When no node answers, all are asked again for two seconds. The error then names each node and what it has
//!   said last, and its kind says what follows: `Unreachable` (no node at all), `NoQuorum` (too few copies),
//!   `Refused` (the access key or the certificate), `NotFound` (the bucket).
//! - All requests may be repeated, and are: whoever uses this writes each item once, under a key of its own, and
//!   never with another value. Only making a bucket is not: [`S3::create`].
//!
//! ```no_run
//! use durum_garage::{Cluster, Insert, Range};
//!
//! # async fn example() -> durum_core::Result<()> {
//! let cluster = Cluster::open("/etc/durum/cluster")?; // as `durum node invite --client` has made it
//! cluster.create_bucket(3, "books").await?; // three copies
//! let books = cluster.k2v(3, "books")?;
//! books.insert(&[Insert::new("shard0", "h/moby-dick/1", "Call me Ishmael.")]).await?;
//! let newest = Range { reverse: true, limit: Some(1), ..Range::prefix("shard0", "h/moby-dick/") };
//! assert_eq!(books.read_range(&newest).await?.items.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Why this client
//! The connections are hyper's, which the workspace has for its metrics already, with a pool of some lines.
//! reqwest would bring a second way to set TLS up, URLs that normalise away what a key may be called, and no
//! Unix-domain sockets; and what makes this client, several nodes for one request, is not in it either way.
//! Garage's own client crate is under the AGPL.

#![forbid(unsafe_code)]

pub mod admin;
mod answer;
mod cluster;
mod connect;
mod fault;
mod k2v;
mod narrow;
mod node;
mod request;
mod routing;
mod s3;
mod settings;
mod sigv4;

pub use admin::Admin;
pub use cluster::{Cluster, NODES_SERVICE};
pub use fault::ABSENT;
pub use k2v::{
    Changes, Index, Insert, Item, K2v, PARTITION_KEY_MAX, Page, Partition, Range, SORT_KEY_MAX,
};
pub use node::NodeAddress;
pub use request::ROUTE;
pub use routing::Patience;
pub use s3::{Download, Listed, OBJECT_KEY_MAX, ObjectInfo, ObjectPage, S3};
pub use settings::{CLUSTER_FILE, CLUSTER_VERSION, ClusterAccess, ClusterFile, Settings};
pub use sigv4::{Credentials, REGION, Service};

/// The version of Garage that all this was checked against.
pub const GARAGE_VERSION: &str = "2.5.0";
