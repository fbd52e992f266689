//! The administration of one Garage process: for whoever runs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use durum_server::Address;
use http_body_util::Full;
use hyper::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::{ERROR_MAX, collect};
use crate::connect::Target;
use crate::fault::{Attempt, Fault, verdict};
use crate::routing::malformed;
use crate::sigv4::{Credentials, HOST};

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 16 << 20;
/// Each table has a worker whose name ends so: it gives others what they lack.
const GIVER: &str = " sync";
/// No request takes longer.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The administration of one Garage process.
#[derive(Clone)]
pub struct Admin {
    target: Arc<Target>,
    name: String,
    token: String,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Admin")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The nodes of a cluster, as one of them sees them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Counts the layouts; 0 before the first.
    pub layout_version: u64,
    /// All that are known.
    pub nodes: Vec<NodeStatus>,
}

/// A node, as another one sees it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its public key in hexadecimal digits.
    pub id: String,
    /// Garage's version there.
    pub garage_version: Option<String>,
    /// Where other nodes reach it.
    pub addr: Option<String>,
    /// Its machine's name.
    pub hostname: Option<String>,
    /// Whether it can be reached.
    pub is_up: bool,
    /// For how long it could not be reached.
    pub last_seen_secs_ago: Option<u64>,
    /// What it has to do, if anything.
    pub role: Option<Role>,
    /// Whether it gives its data away because it no longer has a role.
    pub draining: bool,
    /// The disk of its data.
    pub data_partition: Option<Space>,
    /// How many parts of objects it has still to look at, and to fetch where they are missing.
    pub resync_queue_len: Option<u64>,
}

/// The room of a disk.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Space {
    /// Bytes that can be used.
    pub available: u64,
    /// All bytes.
    pub total: u64,
}

/// What a node has to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Role {
    /// Where it is: copies are spread over as many zones as there are.
    pub zone: String,
    /// Words of the administrator.
    pub tags: Vec<String>,
    /// How many bytes it takes, `None` for one that only passes requests on.
    pub capacity: Option<u64>,
}

/// How a cluster does, as one of its nodes sees it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, `degraded` or `unavailable`.
    pub status: String,
    /// Nodes with a role.
    pub storage_nodes: u64,
    /// Those of them that are reached.
    pub storage_nodes_up: u64,
    /// Parts of the data.
    pub partitions: u64,
    /// Those that can be written.
    pub partitions_quorum: u64,
    /// Those of which all copies are reached.
    pub partitions_all_ok: u64,
}

/// Who has what.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Counts the layouts.
    pub version: u64,
    /// The nodes with a role.
    pub roles: Vec<LayoutRole>,
    /// What the next layout will change.
    pub staged_role_changes: Vec<RoleChange>,
}

/// A node with a role.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutRole {
    /// The node.
    pub id: String,
    /// Where it is.
    pub zone: String,
    /// Words of the administrator.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How many bytes it takes.
    pub capacity: Option<u64>,
    /// How many of the 256 parts of the data it has a copy of.
    pub stored_partitions: Option<u64>,
}

/// A change of a role.
#[derive(Clone, Debug, Deserialize)]
pub struct RoleChange {
    /// The node.
    pub id: String,
    /// Whether it loses its role.
    #[serde(default)]
    pub remove: bool,
}

/// The layouts that count at the moment.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutHistory {
    /// The newest.
    pub current_version: u64,
    /// All of them.
    pub versions: Vec<LayoutVersion>,
    /// How far each node is, while data move.
    pub update_trackers: Option<HashMap<String, Tracker>>,
}

/// A layout.
#[derive(Clone, Debug, Deserialize)]
pub struct LayoutVersion {
    /// Its number.
    pub version: u64,
    /// `Current`, `Draining` (data are still moved away from it) or `Historical`.
    pub status: String,
}

/// How far a node is with a new layout.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracker {
    /// It knows of this layout.
    pub ack: u64,
    /// It has the data of this layout.
    pub sync: u64,
    /// It knows that all have.
    pub sync_ack: u64,
}

/// A bucket.
#[derive(Clone, Debug, Deserialize)]
pub struct Bucket {
    /// Its number.
    pub id: String,
}

/// An access key.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    /// What it is called.
    pub name: String,
    /// What it may.
    pub permissions: Permissions,
}

/// What an access key may besides using its buckets.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// Make buckets.
    pub create_bucket: bool,
}

/// What a node has still to do.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Parts of objects that it has to look at: to fetch where they are missing, and after ten minutes to delete
    /// where they are no longer wanted.
    pub objects: u64,
    /// Those that it could not fetch so far.
    pub failed: u64,
    /// Items that are not in its checksums yet, by which it finds what others lack: until then it gives them to
    /// nobody.
    pub items: u64,
}

impl Admin {
    /// The administration at an address.
    pub fn new(address: Address, token: impl Into<String>) -> Admin {
        Admin {
            name: address.to_string(),
            target: Arc::new(Target::new(address, None)),
            token: token.into(),
        }
    }

    /// The nodes.
    ///
    /// # Errors
    /// `Unreachable` where the process does not answer, `Refused` where it does not know the token, as all
    /// requests here.
    pub async fn status(&self) -> Result<Status> {
        self.get("ask for the nodes", "GetClusterStatus").await
    }

    /// How the cluster does.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn health(&self) -> Result<Health> {
        let doing = "ask how the cluster does";
        self.get(doing, "GetClusterHealth").await
    }

    /// The current layout and what is staged.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn layout(&self) -> Result<Layout> {
        self.get("ask for the layout", "GetClusterLayout").await
    }

    /// The layouts that count.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn layout_history(&self) -> Result<LayoutHistory> {
        let doing = "ask for the layouts";
        self.get(doing, "GetClusterLayoutHistory").await
    }

    /// Stages roles for the next layout.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn stage(&self, roles: &[(String, Role)]) -> Result<Layout> {
        let change = |(id, role): &(String, Role)| json!({ "id": id, "zone": role.zone, "tags": role.tags, "capacity": role.capacity });
        let roles: Vec<Value> = roles.iter().map(change).collect();
        let body = json!({ "roles": roles });
        self.post("stage a role", "UpdateClusterLayout", &body)
            .await
    }

    /// Stages that a node loses its role.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn stage_removal(&self, id: &str) -> Result<Layout> {
        let body = json!({ "roles": [{ "id": id, "remove": true }] });
        let doing = "stage the removal of a node";
        self.post(doing, "UpdateClusterLayout", &body).await
    }

    /// Makes what is staged the layout with this number, which has to be the next one.
    ///
    /// # Errors
    /// `Usage` where it is not, or the roles do not make a layout (too few nodes); and as [`Admin::status`].
    pub async fn apply(&self, version: u64) -> Result<()> {
        let body = json!({ "version": version });
        let _message: Value = self
            .post("apply a layout", "ApplyClusterLayout", &body)
            .await?;
        Ok(())
    }

    /// Forgets what is staged.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn revert(&self) -> Result<Layout> {
        let doing = "revert the staged layout";
        self.post(doing, "RevertClusterLayout", &Value::Null).await
    }

    /// Has a layout count without the nodes that are down, which can no longer say that they know it; with
    /// `despite_loss` also where they have the only copies of data, which are then lost.
    ///
    /// # Errors
    /// `Usage` where no layout waits for anybody; and as [`Admin::status`].
    pub async fn skip_dead_nodes(&self, version: u64, despite_loss: bool) -> Result<()> {
        let body = json!({ "version": version, "allowMissingData": despite_loss });
        let doing = "leave nodes behind that are down";
        let _skipped: Value = self
            .post(doing, "ClusterLayoutSkipDeadNodes", &body)
            .await?;
        Ok(())
    }

    /// Connects to other nodes, `ID@HOST:PORT` each; what went wrong, by node.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn connect(&self, peers: &[String]) -> Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Outcome {
            error: Option<String>,
        }
        let doing = "connect nodes";
        let all: Vec<Outcome> = self
            .post(doing, "ConnectClusterNodes", &json!(peers))
            .await?;
        let failed = peers.iter().cloned().zip(all);
        Ok(failed
            .filter_map(|(peer, outcome)| Some((peer, outcome.error?)))
            .collect())
    }

    /// Makes an access key known that was made elsewhere. It may create buckets. It is as well if it is known
    /// already.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn import_key(&self, name: &str, key: &Credentials) -> Result<()> {
        let body = json!({
            "accessKeyId": key.key_id, "secretAccessKey": key.secret, "name": name,
        });
        let doing = "make an access key known";
        match self.post::<Value>(doing, "ImportKey", &body).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => return Err(error),
        }
        let path = format!("UpdateKey?id={}", crate::sigv4::encode(&key.key_id, true));
        let body = json!({ "allow": { "createBucket": true } });
        let _info: Value = self.post(doing, &path, &body).await?;
        Ok(())
    }

    /// An access key, `None` where it is unknown.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn key(&self, key_id: &str) -> Result<Option<Key>> {
        let path = format!("GetKeyInfo?id={}", crate::sigv4::encode(key_id, true));
        match self.get("look for an access key", &path).await {
            Ok(key) => Ok(Some(key)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The buckets.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn buckets(&self) -> Result<Vec<Bucket>> {
        self.get("list buckets", "ListBuckets").await
    }

    /// Makes a bucket that all access keys can be allowed to use, under a name.
    ///
    /// # Errors
    /// `Exists` where there is one; and as [`Admin::status`].
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket> {
        let body = json!({ "globalAlias": name });
        self.post("make a bucket", "CreateBucket", &body).await
    }

    /// Lets an access key do everything with a bucket.
    ///
    /// # Errors
    /// `NotFound` where one of them is unknown; and as [`Admin::status`].
    pub async fn allow(&self, bucket: &Bucket, key_id: &str) -> Result<()> {
        let permissions = json!({ "read": true, "write": true, "owner": true });
        let body = json!({
            "bucketId": bucket.id, "accessKeyId": key_id, "permissions": permissions,
        });
        let doing = "let an access key use a bucket";
        let _info: Value = self.post(doing, "AllowBucketKey", &body).await?;
        Ok(())
    }

    /// Whether nodes compare their items with those of others and give them what they lack, by the numbers of the nodes
    /// that have answered. They do so after each new layout, ten minutes after the last time, and, for buckets and keys,
    /// for a moment every ten seconds.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn giving(&self) -> Result<HashMap<String, bool>> {
        #[derive(Deserialize)]
        struct Answers {
            success: HashMap<String, Vec<Worker>>,
        }
        #[derive(Deserialize)]
        struct Worker {
            name: String,
        }
        // One whose queue is empty is idle only after it has looked whether there is a newer layout. One that has failed
        // is not idle until it has succeeded.
        let body = json!({ "busyOnly": true, "errorOnly": false });
        let doing = "ask which nodes give items to others";
        let answers: Answers = self.post(doing, "ListWorkers?node=*", &body).await?;
        let nodes = answers.success.into_iter();
        let gives = |busy: &[Worker]| busy.iter().any(|it| it.name.ends_with(GIVER));
        Ok(nodes.map(|(id, busy)| (id, gives(&busy))).collect())
    }

    /// What each node that is reached has still to do, by the nodes' numbers. [`NodeStatus`] has a part of it, as it
    /// was up to ten seconds ago.
    ///
    /// # Errors
    /// As [`Admin::status`].
    pub async fn waiting(&self) -> Result<HashMap<String, Waiting>> {
        #[derive(Deserialize)]
        struct Answers {
            success: HashMap<String, Statistics>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Statistics {
            block_manager_stats: Blocks,
            table_stats: Vec<Table>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Table {
            merkle_queue_len: u64,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Blocks {
            resync_queue_len: u64,
            resync_errors: u64,
        }
        let doing = "ask for what nodes have to fetch";
        let answers: Answers = self.get(doing, "GetNodeStatistics?node=*").await?;
        let nodes = answers.success.into_iter();
        let waiting = |it: Statistics| Waiting {
            objects: it.block_manager_stats.resync_queue_len,
            failed: it.block_manager_stats.resync_errors,
            items: it.table_stats.iter().map(|it| it.merkle_queue_len).sum(),
        };
        Ok(nodes.map(|(id, it)| (id, waiting(it))).collect())
    }

    async fn get<T: DeserializeOwned>(&self, doing: &'static str, path: &str) -> Result<T> {
        self.ask(doing, "GET", path, Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<T> {
        let body = Bytes::from(body.to_string());
        self.ask(doing, "POST", path, body).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<T> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2/{path}"))
            .header("host", HOST)
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::new(body))
            .map_err(|error| {
                let wrong = Error::new(ErrorKind::Usage, doing);
                wrong.because(error.to_string()).caused_by(error)
            })?;
        let asking = async {
            let (response, lease) = self.target.send(&request).await?;
            let status = response.status();
            let limit = match status.is_success() {
                true => ANSWER_MAX,
                false => ERROR_MAX,
            };
            let body = collect(response.into_body(), limit).await?;
            lease.give_back();
            match status.is_success() {
                true => Ok(body),
                false => Err(Fault::of_answer(status.as_u16(), &body)),
            }
        };
        let answer = timeout(TIME_MAX, asking).await;
        match answer.unwrap_or(Err(Fault::Late(TIME_MAX))) {
            Ok(body) => crate::answer::json(&body).map_err(|why| malformed(doing, why)),
            Err(fault) => {
                let node = self.name.clone();
                Err(verdict(doing, &[Attempt { node, fault }]))
            }
        }
    }
}
