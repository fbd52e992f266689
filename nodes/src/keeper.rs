//! The administrator that nobody has to be: it gives new nodes their role, connects nodes, applies layouts.
//!
//! Each node stages its own role. One node applies what is staged: the first layout, the node that was made first;
//! later ones, among the nodes that have a role, the one with the smallest number that is not down for longer than
//! a minute, while it reaches more than half of them: the two sides of a parted network do not both make a layout.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use durum_core::{IoResultExt as _, Result};
use durum_garage::admin::{Layout, NodeStatus, Role, Status};
use durum_garage::{Admin, Credentials};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::front::Routes;
use crate::supervise::Shared;

/// The tag of a role that says where a node's front is.
const FRONT_TAG: &str = "front=";
/// How often a cluster is looked after while something is to be done, and else.
const BUSY: Duration = Duration::from_millis(250);
const QUIET: Duration = Duration::from_secs(3);
/// A process that has not answered for so long, so often in a row, is killed.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);
const PROBES_MISSED_MAX: u32 = 3;
/// A node that cannot be reached is still taken for the one that applies layouts for so long.
const TURN_KEPT_SECONDS: u64 = 60;
/// A node without room still takes part.
const CAPACITY_MIN: u64 = 1 << 30;

/// Looks after one cluster, from one of its nodes.
pub(crate) struct Keeper {
    pub(crate) copies: u32,
    pub(crate) id: String,
    pub(crate) admin: Admin,
    pub(crate) zone: String,
    pub(crate) front: String,
    pub(crate) capacity: Option<u64>,
    /// `ID@HOST:PORT`.
    pub(crate) peers: Vec<String>,
    pub(crate) credentials: Credentials,
    /// A file that is there once this node has had a role.
    pub(crate) had_role: PathBuf,
    pub(crate) routes: Arc<Routes>,
    pub(crate) process: Arc<Shared>,
}

/// What was seen of the cluster.
struct Seen {
    status: Status,
    layout: Layout,
}

impl Seen {
    fn has_role(&self, id: &str) -> bool {
        self.layout.roles.iter().any(|role| role.id == id)
    }

    fn node(&self, id: &str) -> Option<&NodeStatus> {
        self.status.nodes.iter().find(|node| node.id == id)
    }

    fn is_up(&self, id: &str) -> bool {
        self.node(id).is_some_and(|node| node.is_up)
    }

    /// Whether a node is the one that applies layouts.
    ///
    /// Two that do at the same time can make two layouts of one number, which Garage cannot reconcile. So the very
    /// first layout is made by the node that was made first; and later one that is down keeps its turn for a
    /// while, unless it is being removed.
    fn applies(&self, id: &str, is_first: bool) -> bool {
        let roles = &self.layout.roles;
        if roles.is_empty() {
            return is_first;
        }
        let leaves = |id: &str| {
            let changes = &self.layout.staged_role_changes;
            changes
                .iter()
                .any(|change| change.remove && change.id == id)
        };
        let keeps_its_turn = |id: &str| {
            self.node(id).is_some_and(|node| {
                let gone = node.last_seen_secs_ago.unwrap_or(u64::MAX);
                node.is_up || gone < TURN_KEPT_SECONDS
            })
        };
        let ids = roles.iter().map(|role| role.id.as_str());
        let up = ids.clone().filter(|id| self.is_up(id)).count();
        let turn = ids.filter(|id| keeps_its_turn(id) && !leaves(id)).min();
        turn == Some(id) && up * 2 > roles.len()
    }

    /// How many nodes have a role when what is staged is applied.
    fn staged_count(&self) -> usize {
        let changes = &self.layout.staged_role_changes;
        let added = changes
            .iter()
            .filter(|change| !change.remove && !self.has_role(&change.id));
        let removed = changes
            .iter()
            .filter(|change| change.remove && self.has_role(&change.id));
        (self.layout.roles.len() + added.count()).saturating_sub(removed.count())
    }
}

impl Keeper {
    /// Until it is told to stop.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut missed = 0;
        let mut answered = false;
        let mut warned = false;
        loop {
            let turn = timeout(PROBE_TIME_MAX, self.see()).await;
            let pause = match turn {
                Ok(Ok(seen)) => {
                    (missed, answered) = (0, true);
                    match self.care(&seen).await {
                        Ok(true) => QUIET,
                        Ok(false) => BUSY,
                        Err(error) => {
                            debug!(copies = self.copies, %error, "it is tried again");
                            BUSY
                        }
                    }
                }
                Ok(Err(error)) => {
                    // It does not run, and is started by others; or it does not let us in.
                    if answered && !warned {
                        warn!(copies = self.copies, %error, "Garage does not tell how it is");
                    }
                    warned = answered;
                    missed = 0;
                    BUSY
                }
                Err(_) => {
                    missed += 1;
                    if answered && missed >= PROBES_MISSED_MAX {
                        self.process.hangs.store(true, Ordering::Release);
                        (missed, answered) = (0, false);
                    }
                    BUSY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stops| *stops) => return,
            }
        }
    }

    async fn see(&self) -> Result<Seen> {
        Ok(Seen {
            status: self.admin.status().await?,
            layout: self.admin.layout().await?,
        })
    }

    /// Does what is to be done; whether nothing is.
    async fn care(&self, seen: &Seen) -> Result<bool> {
        self.list_nodes(seen);
        let mut quiet = self.connect(seen).await;
        quiet &= self.take_part(seen).await?;
        if seen.applies(&self.id, self.peers.is_empty()) {
            quiet &= self.apply(seen).await?;
            quiet &= self.leave_behind(seen).await?;
            quiet &= self.know_the_key(seen).await?;
        }
        Ok(quiet)
    }

    /// Tells the front where all nodes are.
    fn list_nodes(&self, seen: &Seen) {
        let front = |node: &NodeStatus| {
            let role = node.role.as_ref()?;
            let tag = role.tags.iter().find_map(|tag| tag.strip_prefix(FRONT_TAG));
            tag.map(str::to_owned)
        };
        let mut found: Vec<String> = seen.status.nodes.iter().filter_map(front).collect();
        found.sort();
        let mut nodes = self
            .routes
            .nodes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // All clusters have the same nodes. That with most copies tells, once it has begun.
        let tells = self.copies == self.routes.most_copies() || nodes.is_empty();
        if tells && !found.is_empty() {
            *nodes = found;
        }
    }

    /// Connects to nodes that are not reached: Garage by itself tries that again after half a minute only.
    async fn connect(&self, seen: &Seen) -> bool {
        let id_of = |peer: &String| peer.split('@').next().unwrap_or_default().to_owned();
        let known = seen.status.nodes.iter().filter_map(|node| {
            let address = node.addr.as_ref()?;
            Some(format!("{}@{address}", node.id))
        });
        let mut missing: Vec<String> = self.peers.iter().cloned().chain(known).collect();
        missing.retain(|peer| {
            let id = id_of(peer);
            id != self.id && !seen.is_up(&id)
        });
        missing.dedup();
        if missing.is_empty() {
            return true;
        }
        match timeout(PROBE_TIME_MAX, self.admin.connect(&missing)).await {
            Ok(Ok(failed)) if failed.len() == missing.len() => {}
            _ => return false,
        }
        // They are down, and may be for long.
        true
    }

    /// Stages a role for this node, if it has none and had none.
    async fn take_part(&self, seen: &Seen) -> Result<bool> {
        const DOING: &str = "remember that this node has a role";
        if seen.has_role(&self.id) {
            if !self.had_role.exists() {
                std::fs::write(&self.had_role, "").during(DOING, &self.had_role)?;
                info!(copies = self.copies, "this node has its role");
            }
            return Ok(true);
        }
        if self.had_role.exists() {
            error!(
                copies = self.copies,
                "this node was removed from the cluster: delete its directory, and join with an invitation"
            );
            return Ok(true);
        }
        let staged = &seen.layout.staged_role_changes;
        if staged.iter().any(|change| change.id == self.id) {
            return Ok(false);
        }
        let Some(own) = seen.node(&self.id) else {
            return Ok(false);
        };
        let free = own.data_partition.map(|space| space.available);
        let capacity = match (self.capacity, free) {
            (Some(capacity), _) => capacity,
            (None, Some(free)) => free,
            // It is measured a moment after the start.
            (None, None) => return Ok(false),
        };
        let role = Role {
            zone: self.zone.clone(),
            tags: vec![format!("{FRONT_TAG}{}", self.front)],
            capacity: Some(capacity.max(CAPACITY_MIN)),
        };
        info!(
            copies = self.copies,
            zone = role.zone,
            "this node asks for a role"
        );
        self.admin.stage(&[(self.id.clone(), role)]).await?;
        Ok(false)
    }

    async fn apply(&self, seen: &Seen) -> Result<bool> {
        if seen.layout.staged_role_changes.is_empty() {
            return Ok(true);
        }
        let (nodes, copies) = (seen.staged_count(), self.copies);
        if nodes < copies as usize {
            debug!(copies, nodes, "there are too few nodes for a layout yet");
            return Ok(false);
        }
        let version = seen.layout.version + 1;
        info!(copies, nodes, version, "a layout is applied");
        self.admin.apply(version).await?;
        Ok(false)
    }

    /// Lets a layout count without nodes that were removed and cannot say any more that they know it.
    async fn leave_behind(&self, seen: &Seen) -> Result<bool> {
        let history = self.admin.layout_history().await?;
        let waits = history.versions.iter().any(|it| it.status == "Draining");
        let Some(trackers) = history.update_trackers.filter(|_| waits) else {
            return Ok(true);
        };
        let behind = |id: &&String| {
            let tracker = trackers.get(*id);
            tracker.is_some_and(|it| it.ack < history.current_version) && !seen.is_up(id)
        };
        let dead: Vec<&String> = trackers.keys().filter(behind).collect();
        // One that is only down comes back, and must not find that others went on without it.
        if !dead.is_empty() && dead.iter().all(|id| !seen.has_role(id)) {
            info!(
                copies = self.copies,
                "the layout counts without nodes that were removed"
            );
            self.admin.skip_dead_nodes(history.current_version).await?;
        }
        Ok(false)
    }

    /// Makes the access key known that is in all invitations of clients.
    async fn know_the_key(&self, seen: &Seen) -> Result<bool> {
        if seen.layout.roles.is_empty() {
            return Ok(true);
        }
        let keys = self.admin.keys().await?;
        if !keys.iter().any(|key| key.id == self.credentials.key_id) {
            let key = &self.credentials;
            self.admin.import_key("durum", key).await?;
            return Ok(false);
        }
        Ok(true)
    }
}
