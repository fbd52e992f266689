//! What a running node knows of its clusters, and the removal of nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use durum_garage::Admin;
use durum_garage::admin::{Layout, Status};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::refill::lacks;
use crate::run::admin;
use crate::settings::NodeDir;

/// The parts of a cluster's data, of each of which there are as many copies as the cluster keeps.
pub const PARTITIONS: u64 = 256;

/// Nodes look for parts of objects 20 s after they were told of them: twice the time after which Garage gives up.
const FETCHED_AFTER: Duration = Duration::from_secs(25);
/// One part takes no longer.
const FETCH_TIME_MAX: Duration = Duration::from_secs(11);

/// A node, as another one sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeRow {
    /// Its number.
    pub id: String,
    /// Where clients reach it.
    pub address: Option<String>,
    /// Where it is.
    pub zone: Option<String>,
    /// Whether it can be reached in all clusters that it belongs to.
    pub up: bool,
    /// For how long it could not.
    pub down_seconds: Option<u64>,
    /// Its part in each cluster.
    pub clusters: Vec<Share>,
}

/// A node's part in a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// How many copies the cluster keeps.
    pub copies: u32,
    /// How many of the 256 parts of the data the node has a copy of; none while it has no role.
    pub partitions: Option<u64>,
    /// How many bytes it takes.
    pub capacity: Option<u64>,
    /// Whether it was removed and gives its data away.
    pub draining: bool,
}

/// How a cluster does.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterRow {
    /// How many copies it keeps.
    pub copies: u32,
    /// `healthy`, `degraded` (nodes are missing, all can be written) or `unavailable`; `waiting` before it has
    /// enough nodes.
    pub health: String,
    /// Whether the node that was asked knows the access key of clients, which is made known after the first layout.
    pub serves: bool,
    /// Nodes with a role.
    pub nodes: u64,
    /// Those that are reached.
    pub nodes_up: u64,
    /// Parts of the data that can be written, of 256.
    pub partitions_writable: u64,
    /// Parts of which all copies are reached.
    pub partitions_complete: u64,
    /// Counts the changes of who has what.
    pub layout: u64,
    /// Whether data are being moved, or could be: nodes still compare what they have, which they also do every ten minutes
    /// for a moment, or do not say whether they do; or the node that was asked has a new disk, and has not been given all
    /// that was on the old one. That it has one, others do not know before it has asked them for that.
    pub moving: bool,
    /// How many parts of objects the nodes that are reached have still to look at, and to fetch where they are
    /// missing: after data were moved, and for 20 seconds after each object that is written. With those that a node
    /// deletes, ten minutes after they were moved away from it.
    pub objects_waiting: u64,
    /// How many nodes are missing until it begins to serve.
    pub nodes_missing: u64,
}

/// All nodes that a running node knows.
///
/// # Errors
/// `Unreachable` where the node in this directory does not run.
pub fn list(dir: &NodeDir) -> Result<Vec<NodeRow>> {
    block_on(async {
        let mut rows: BTreeMap<String, NodeRow> = BTreeMap::new();
        for (copies, admin) in admins(dir)? {
            let (status, layout) = seen(&admin).await?;
            for node in status.nodes {
                let role = layout.roles.iter().find(|role| role.id == node.id);
                let row = rows.entry(node.id.clone()).or_insert_with(|| NodeRow {
                    id: node.id.clone(),
                    up: true,
                    ..NodeRow::default()
                });
                row.up &= node.is_up;
                if !node.is_up {
                    row.down_seconds = row.down_seconds.max(node.last_seen_secs_ago);
                }
                if let Some(role) = role {
                    let tag = |tag: &String| tag.strip_prefix("front=").map(str::to_owned);
                    row.address = role.tags.iter().find_map(tag);
                    row.zone = Some(role.zone.clone());
                }
                row.clusters.push(Share {
                    copies,
                    partitions: role.and_then(|role| role.stored_partitions),
                    capacity: role.and_then(|role| role.capacity),
                    draining: node.draining,
                });
            }
        }
        // One that is known, without a role and down, was removed.
        let removed = |row: &NodeRow| {
            let idle = |share: &Share| share.partitions.is_none() && !share.draining;
            !row.up && row.clusters.iter().all(idle)
        };
        Ok(rows.into_values().filter(|row| !removed(row)).collect())
    })
}

/// How the clusters of a running node do.
///
/// # Errors
/// As [`list`].
pub fn status(dir: &NodeDir) -> Result<Vec<ClusterRow>> {
    block_on(async {
        let mut rows = Vec::new();
        let secrets = dir.secrets()?;
        for (copies, admin) in admins(dir)? {
            let key = &secrets.of(copies)?.access_key;
            let (status, layout) = seen(&admin).await?;
            let health = admin.health().await?;
            let nodes = layout.roles.len() as u64;
            let begun = nodes > 0;
            rows.push(ClusterRow {
                copies,
                health: match begun {
                    true => health.status,
                    false => "waiting".to_owned(),
                },
                serves: begun && knows(&admin, key).await?,
                nodes,
                nodes_up: health.storage_nodes_up,
                partitions_writable: if begun { health.partitions_quorum } else { 0 },
                partitions_complete: if begun { health.partitions_all_ok } else { 0 },
                layout: layout.version,
                moving: lacks(dir, copies, &layout)? || is_moving(&admin, &status).await?,
                objects_waiting: waiting(&admin, &layout).await?.0,
                nodes_missing: match begun {
                    true => 0,
                    false => {
                        let staged = layout.staged_role_changes.len() as u64;
                        u64::from(copies).saturating_sub(staged)
                    }
                },
            });
        }
        Ok(rows)
    })
}

/// What became of a removal.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// The node's number.
    pub id: String,
    /// Whether all its copies are elsewhere now; false where nobody waited for it.
    pub complete: bool,
}

/// Takes a node out of all clusters: its part of the data is copied to others from the copies that are left. It
/// is named by its number, the beginning of that, or the address of its front.
///
/// # Errors
/// `NotFound` where there is no such node, `Usage` where too few nodes would be left, `Interrupted` when the copies
/// are not complete after `wait`.
pub fn remove(dir: &NodeDir, node: &str, wait: Option<Duration>) -> Result<Removed> {
    const DOING: &str = "remove a node";
    let rows = list(dir)?;
    let named = |row: &&NodeRow| {
        row.id == node
            || row.address.as_deref() == Some(node)
            || (node.len() >= 4 && row.id.starts_with(node))
    };
    let found: Vec<&NodeRow> = rows.iter().filter(named).collect();
    let id = match found.as_slice() {
        [one] => one.id.clone(),
        [] => {
            return Err(Error::new(ErrorKind::NotFound, DOING)
                .because(format!("there is no node `{}`", node.escape_debug()))
                .hint("`durum node list` lists all."));
        }
        _ => {
            return Err(Error::new(ErrorKind::Usage, DOING).because(format!(
                "several nodes begin with `{}`",
                node.escape_debug()
            )));
        }
    };
    block_on(async {
        let admins = admins(dir)?;
        for (copies, admin) in &admins {
            let layout = admin.layout().await?;
            let left = layout.roles.iter().filter(|role| role.id != id).count();
            if left < *copies as usize && layout.roles.iter().any(|role| role.id == id) {
                return Err(Error::new(ErrorKind::Usage, DOING)
                    .because(format!(
                        "{left} nodes would be left, and {copies} copies need as many nodes"
                    ))
                    .hint("Have another node join first."));
            }
        }
        for (_, admin) in &admins {
            // It is applied by the node that applies all layouts, so that no two are made at once.
            if admin.layout().await?.roles.iter().any(|role| role.id == id) {
                admin.stage_removal(&id).await?;
            }
        }
        let complete = match wait {
            None => false,
            Some(time) => {
                let deadline = Instant::now() + time;
                for (_, admin) in &admins {
                    wait_until_moved(admin, &id, deadline).await?;
                }
                true
            }
        };
        Ok(Removed { id, complete })
    })
}

/// Whether clients are let in. That the key may make buckets is the last that is said of it.
async fn knows(admin: &Admin, key_id: &str) -> Result<bool> {
    let key = admin.key(key_id).await?;
    Ok(key.is_some_and(|key| key.permissions.create_bucket))
}

async fn wait_until_moved(admin: &Admin, id: &str, deadline: Instant) -> Result<()> {
    // Since when nothing moves, and since when the same is waiting.
    let mut moved = None;
    let mut same = ((0, 0), Instant::now());
    loop {
        let (status, layout) = seen(admin).await?;
        let out = !layout.roles.iter().any(|role| role.id == id);
        // Objects follow the items.
        if out && !is_moving(admin, &status).await? {
            let now = Instant::now();
            let moved = *moved.get_or_insert(now);
            let waiting = waiting(admin, &layout).await?;
            if same.0 != waiting {
                same = (waiting, now);
            }
            // What is left then, and has not failed, is to be deleted and not to be fetched.
            let left_to_delete = waiting.1 == 0
                && now.duration_since(moved) > FETCHED_AFTER
                && now.duration_since(same.1) > FETCH_TIME_MAX;
            if waiting.0 == 0 || left_to_delete {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            return Err(Error::new(ErrorKind::Interrupted, "wait for the copies")
                .because("they are not complete yet")
                .hint("They go on being made: `durum node status` shows when nothing is moved any more."));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Each node has a list of parts of objects that it has still to fetch. That of one that was removed is of those that
/// it will delete. How many they are, and how many of them could not be fetched so far.
async fn waiting(admin: &Admin, layout: &Layout) -> Result<(u64, u64)> {
    let all = admin.waiting().await?;
    let of = layout.roles.iter().filter_map(|role| all.get(&role.id));
    Ok(of.fold((0, 0), |(objects, failed), waiting| {
        (objects + waiting.objects, failed + waiting.failed)
    }))
}

/// Whether data are being moved, or may be.
///
/// Garage has only one layout left as soon as a quorum is done with giving. Nodes with new disks have nothing to give, and
/// are done at once: then another one may have everything to give still. So each is asked whether it gives, and one that
/// does not say counts as one that does. The order matters: all that have only one layout left have heard of it, and
/// have begun to give.
pub(crate) async fn is_moving(admin: &Admin, status: &Status) -> Result<bool> {
    let history = admin.layout_history().await?;
    if history.versions.iter().any(|it| it.status == "Draining") {
        return Ok(true);
    }
    let giving = admin.giving().await?;
    let mut up = status.nodes.iter().filter(|node| node.is_up);
    let silent = up.any(|node| node.role.is_some() && !giving.contains_key(&node.id));
    Ok(silent || giving.values().any(|gives| *gives))
}

async fn seen(admin: &Admin) -> Result<(Status, Layout)> {
    let status = admin.status().await.map_err(|error| match error.kind() {
        ErrorKind::Unreachable => {
            Error::new(ErrorKind::Unreachable, "ask the node in this directory")
                .because(error.reason().to_owned())
                .hint("It has to run: `durum node run`.")
        }
        _ => error,
    })?;
    Ok((status, admin.layout().await?))
}

fn admins(dir: &NodeDir) -> Result<Vec<(u32, Admin)>> {
    let (settings, secrets) = (dir.settings()?, dir.secrets()?);
    let copies = settings.copies.into_iter();
    Ok(copies
        .map(|copies| (copies, admin(dir, &secrets, copies)))
        .collect())
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io(error, "ask a node"))?
        .block_on(future)
}
