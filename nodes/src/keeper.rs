//! The administrator that nobody has to be: it gives new nodes their role, connects nodes, applies layouts.
//!
//! Each node stages its own role. One node applies what is staged: the first layout, the node that was made first;
//! later ones, among the nodes that have a role, the one with the smallest number that is not down for longer than
//! a minute, while it reaches more than half of them: the two sides of a parted network do not both make a layout.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use durum_core::{IoResultExt as _, Result};
use durum_garage::admin::{Layout, NodeStatus, Role, Status};
use durum_garage::{Admin, Credentials};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::front::Routes;
use crate::settings::NodeDir;
use crate::supervise::Shared;

/// The tag of a role that says where a node's front is.
const FRONT_TAG: &str = "front=";
/// The tag of a role that says on which disk the node had nothing yet when it asked for the role.
const DISK_TAG: &str = "disk=";
/// How often a cluster is looked after while something is to be done, and else.
const BUSY: Duration = Duration::from_millis(250);
const QUIET: Duration = Duration::from_secs(3);
/// A process that has not answered for so long, so often in a row, is killed.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);
const PROBES_MISSED_MAX: u32 = 3;
/// A node that cannot be reached is still taken for the one that applies layouts for so long.
const TURN_KEPT_SECONDS: u64 = 60;
/// When nodes are connected again that cannot be reached; each time after twice as long.
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(250);
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(16);
/// What only a removed node had that is down is taken for lost after so long.
const LOSS_ACCEPTED_AFTER: Duration = Duration::from_secs(10);
/// How long a node with a new disk waits until the others can give it all at once. What they could not then it gets
/// within the ten minutes after which they look by themselves.
const GIVERS_TIME_MAX: Duration = Duration::from_secs(60);
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
    /// Whether the cluster begins with this node.
    pub(crate) first: bool,
    /// The name of the disk that it has.
    pub(crate) disk: String,
    pub(crate) dir: NodeDir,
    pub(crate) routes: Arc<Routes>,
    pub(crate) process: Arc<Shared>,
}

/// What one turn leaves for the next.
#[derive(Default)]
pub(crate) struct Memory {
    /// Since when a layout waits for nodes that were removed.
    waits: Option<Instant>,
    /// Nodes that are not reached, when it is tried again, and how long after that.
    missing: usize,
    connect_at: Option<Instant>,
    connect_pause: Duration,
    /// Whether the log says already that this node was removed.
    told: bool,
    /// Whether a quorum has confirmed the access key of clients.
    key_is_known: bool,
    /// Since when this node waits for others that are to give it what it had before its disk was replaced.
    pub(crate) waits_for_givers: Option<Instant>,
    /// How often the process had been started when this node asked for that; none where an earlier keeper has asked.
    pub(crate) asked_in: Option<u32>,
    /// Whether it could be that some of it was not given, because somebody was away.
    pub(crate) disturbed: bool,
}

/// What was seen of the cluster.
pub(crate) struct Seen {
    pub(crate) status: Status,
    pub(crate) layout: Layout,
}

/// Whether a node has a role that it has asked for with this disk.
pub(crate) fn has_role_with(layout: &Layout, id: &str, disk: &str) -> bool {
    let tag = format!("{DISK_TAG}{disk}");
    let mut roles = layout.roles.iter();
    roles.any(|role| role.id == id && role.tags.contains(&tag))
}

impl Seen {
    fn has_role(&self, id: &str) -> bool {
        self.layout.roles.iter().any(|role| role.id == id)
    }

    fn node(&self, id: &str) -> Option<&NodeStatus> {
        self.status.nodes.iter().find(|node| node.id == id)
    }

    pub(crate) fn is_up(&self, id: &str) -> bool {
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
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut missed = 0;
        let mut answered = false;
        let mut warned = false;
        let mut memory = Memory::default();
        loop {
            let turn = timeout(PROBE_TIME_MAX, self.see()).await;
            let pause = match turn {
                Ok(Ok(seen)) => {
                    (missed, answered) = (0, true);
                    match self.care(&seen, &mut memory).await {
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
    async fn care(&mut self, seen: &Seen, memory: &mut Memory) -> Result<bool> {
        self.list_nodes(seen);
        let mut quiet = self.connect(seen, memory).await;
        quiet &= self.take_part(seen, memory).await?;
        quiet &= self.be_given(seen, memory).await?;
        if seen.applies(&self.id, self.first) {
            quiet &= self.apply(seen).await?;
            quiet &= self.leave_behind(seen, &mut memory.waits).await?;
            quiet &= self.know_the_key(seen, memory).await?;
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
    async fn connect(&self, seen: &Seen, memory: &mut Memory) -> bool {
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
        let now = Instant::now();
        if missing.len() != memory.missing {
            memory.missing = missing.len();
            memory.connect_pause = CONNECT_PAUSE_MIN;
            memory.connect_at = None;
        }
        if memory.connect_at.is_some_and(|at| now < at) {
            return true;
        }
        let failed = match timeout(PROBE_TIME_MAX, self.admin.connect(&missing)).await {
            Ok(Ok(failed)) => failed.len(),
            _ => missing.len(),
        };
        // Those that are down may be for long, and Garage writes each attempt to its log.
        memory.connect_at = Some(now + memory.connect_pause);
        memory.connect_pause = (memory.connect_pause * 2).min(CONNECT_PAUSE_MAX);
        failed == missing.len() && memory.connect_pause == CONNECT_PAUSE_MAX
    }

    /// Stages a role for this node, if it has none and had none.
    ///
    /// One that has its role from before its disk was replaced stages it again: only a new layout has the others
    /// look at once for what it lacks, and shows when it has it. By itself Garage does so every ten minutes.
    async fn take_part(&self, seen: &Seen, memory: &mut Memory) -> Result<bool> {
        const DOING: &str = "remember that this node has a role";
        let had_role = self.dir.had_role(self.copies);
        if has_role_with(&seen.layout, &self.id, &self.disk) {
            if !had_role.exists() {
                std::fs::write(&had_role, "").during(DOING, &had_role)?;
                info!(copies = self.copies, "this node has its role");
            }
            return Ok(true);
        }
        let replaced = seen.has_role(&self.id);
        if had_role.exists() && !replaced {
            if !std::mem::replace(&mut memory.told, true) {
                error!(
                    copies = self.copies,
                    "this node was removed from the cluster: delete its directory, and join with an invitation"
                );
            }
            return Ok(true);
        }
        let staged = &seen.layout.staged_role_changes;
        if staged.iter().any(|change| change.id == self.id) {
            return Ok(false);
        }
        let reached = |node: &NodeStatus| node.is_up && node.id != self.id;
        if !self.first && !seen.status.nodes.iter().any(reached) {
            // What is staged is told to those that are connected; others hear of it ten seconds later only.
            return Ok(false);
        }
        if replaced {
            let since = *memory.waits_for_givers.get_or_insert_with(Instant::now);
            if !self.can_give(seen).await? && since.elapsed() < GIVERS_TIME_MAX {
                return Ok(false);
            }
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
            tags: vec![
                format!("{FRONT_TAG}{}", self.front),
                format!("{DISK_TAG}{}", self.disk),
            ],
            capacity: Some(capacity.max(CAPACITY_MIN)),
        };
        info!(
            copies = self.copies,
            zone = role.zone,
            replaced,
            "this node asks for a role"
        );
        if replaced {
            self.asks_again(memory)?;
        }
        self.admin.stage(&[(self.id.clone(), role)]).await?;
        Ok(false)
    }

    /// Whether all others are there, and would give a node that has nothing all that they have.
    async fn can_give(&self, seen: &Seen) -> Result<bool> {
        let roles = &seen.layout.roles;
        if !roles.iter().all(|role| seen.is_up(&role.id)) {
            return Ok(false);
        }
        let waiting = self.admin.waiting().await?;
        let ready = |id| waiting.get(id).is_some_and(|waiting| waiting.items == 0);
        Ok(roles.iter().all(|role| ready(&role.id)))
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
    ///
    /// Where there is one copy, what they had is lost with them, and the layout would wait for it for ever; `waits`
    /// says since when it does: the others first get the time to move what they have.
    async fn leave_behind(&self, seen: &Seen, waits: &mut Option<Instant>) -> Result<bool> {
        let history = self.admin.layout_history().await?;
        let drains = history.versions.iter().any(|it| it.status == "Draining");
        let Some(trackers) = history.update_trackers.filter(|_| drains) else {
            *waits = None;
            return Ok(true);
        };
        let version = history.current_version;
        let down = trackers.iter().filter(|(id, _)| !seen.is_up(id));
        let mut behind = false;
        for (id, tracker) in down {
            if seen.has_role(id) {
                // It is only down, comes back, and must not find that others went on without it.
                return Ok(false);
            }
            behind |= tracker.ack < version || (self.copies == 1 && tracker.sync < version);
        }
        if !behind {
            return Ok(false);
        }
        let since = *waits.get_or_insert_with(Instant::now);
        let despite_loss = self.copies == 1 && since.elapsed() > LOSS_ACCEPTED_AFTER;
        if self.copies > 1 || despite_loss {
            info!(
                copies = self.copies,
                despite_loss, "the layout counts without nodes that were removed"
            );
            self.admin.skip_dead_nodes(version, despite_loss).await?;
        }
        Ok(false)
    }

    /// Makes the access key known that is in all invitations of clients.
    ///
    /// That it is listed does not suffice: an attempt that too few nodes have confirmed leaves it with some, and
    /// then it depends on who is asked.
    async fn know_the_key(&self, seen: &Seen, memory: &mut Memory) -> Result<bool> {
        if seen.layout.roles.is_empty() || memory.key_is_known {
            return Ok(true);
        }
        self.admin.import_key("durum", &self.credentials).await?;
        memory.key_is_known = true;
        Ok(true)
    }
}
