//! Items: values under a partition key and a sort key.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::answer::json;
use crate::cluster::Access;
use crate::narrow;
use crate::request::Ask;
use crate::routing::{Answer, malformed};
use crate::sigv4::{Service, encode};

/// The longest sort key, in bytes: LMDB's keys have 511, of which Garage takes 32 for the partition's hash, and 8
/// more for its list of deleted items.
pub const SORT_KEY_MAX: usize = 471;
/// The longest partition key, in bytes: it is a sort key in Garage's table of counters.
pub const PARTITION_KEY_MAX: usize = 471;
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;
/// Has Garage answer what a quorum has. Else, where it finds a write that is not on all nodes, it first repairs that
/// on all of them: it fails where one is down, and waits for one that hangs. Without, what was acknowledged is seen
/// all the same (of any two quorums some node is in both); but of two reads during a write that was not acknowledged
/// yet, or never is, the first can see it and the second not.
const NON_MONOTONIC: &str = "x-garage-non-monotonic-read";
const YES: &str = "true";
/// For how long a poll may wait, as Garage has it.
const POLL_MAX: Duration = Duration::from_secs(600);

/// The items of a bucket. It is cheap to clone.
///
/// Items of one partition are sorted by their sort keys, byte by byte, and are on the same nodes. Where two
/// programs write an item without having seen each other's value, both values are kept: an [`Item`] has a list.
#[derive(Clone, Debug)]
pub struct K2v {
    access: Access,
    bucket: String,
}

/// An item to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The partition.
    pub partition: String,
    /// The sort key.
    pub sort: String,
    /// What was read of it before, which this replaces; `None` for an item that is new.
    pub token: Option<String>,
    /// The value; `None` deletes the item.
    pub value: Option<Bytes>,
}

impl Insert {
    /// An item that is new.
    pub fn new(partition: &str, sort: &str, value: impl Into<Bytes>) -> Insert {
        Insert {
            partition: partition.to_owned(),
            sort: sort.to_owned(),
            token: None,
            value: Some(value.into()),
        }
    }
}

/// An item that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its sort key.
    pub sort: String,
    /// Stands for the values, for those who replace or delete them.
    pub token: String,
    /// One value, or several that were written concurrently; `None` where it was deleted.
    pub values: Vec<Option<Bytes>>,
}

impl Item {
    /// The first value that was not deleted.
    pub fn value(&self) -> Option<&Bytes> {
        self.values.iter().flatten().next()
    }
}

/// Which items of a partition are read.
///
/// Without anything else all of them. In reverse, `start` is the greatest and `end` below the least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The partition.
    #[serde(rename = "partitionKey")]
    pub partition: String,
    /// Only sort keys that begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// From this one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Up to this one, which is not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// No more than so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// From the last to the first.
    pub reverse: bool,
    /// Only the item whose sort key is `start`.
    pub single_item: bool,
    /// Only items with several values.
    pub conflicts_only: bool,
    /// Deleted items as well.
    pub tombstones: bool,
}

impl Range {
    /// All of a partition.
    pub fn of(partition: &str) -> Range {
        Range {
            partition: partition.to_owned(),
            ..Range::default()
        }
    }

    /// One item.
    pub fn single(partition: &str, sort: &str) -> Range {
        Range {
            start: Some(sort.to_owned()),
            single_item: true,
            ..Range::of(partition)
        }
    }

    /// The items whose sort keys begin so.
    pub fn prefix(partition: &str, prefix: &str) -> Range {
        Range {
            prefix: Some(prefix.to_owned()),
            ..Range::of(partition)
        }
    }
}

/// What a [`Range`] has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The items, sorted.
    pub items: Vec<Item>,
    /// Where there are more: the `start` of the next page.
    pub next: Option<String>,
}

/// What has changed in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The items that were new to whoever gave the last marker, or all.
    pub items: Vec<Item>,
    /// Stands for what was seen by now.
    pub marker: String,
}

/// A partition, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Partition {
    /// Its key.
    #[serde(rename = "pk")]
    pub partition: String,
    /// Items that are there.
    pub entries: i64,
    /// Items with several values.
    pub conflicts: i64,
    /// Values.
    pub values: i64,
    /// Bytes of all values.
    pub bytes: i64,
}

/// Partitions of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Sorted by their keys. The numbers follow the truth a little later.
    pub partitions: Vec<Partition>,
    /// Where there are more: the `start` of the next page.
    pub next: Option<String>,
}

#[derive(Serialize)]
struct SentInsert<'a> {
    pk: &'a str,
    sk: &'a str,
    ct: Option<&'a str>,
    v: Option<String>,
}

#[derive(Deserialize)]
struct ReadItem {
    sk: String,
    ct: String,
    v: Vec<Option<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadPage {
    items: Vec<ReadItem>,
    more: bool,
    next_start: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SentDelete<'a> {
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
    single_item: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadDeleted {
    deleted_items: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SentPoll<'a> {
    prefix: Option<&'a str>,
    start: Option<&'a str>,
    end: Option<&'a str>,
    timeout: u64,
    seen_marker: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadPoll {
    items: Vec<ReadItem>,
    seen_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadIndex {
    partition_keys: Vec<Partition>,
    more: bool,
    next_start: Option<String>,
}

impl ReadItem {
    fn decode(self) -> Result<Item, String> {
        let value = |text: String| match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) => Err(format!("a value is no Base64: {error}")),
        };
        let values: Result<_, String> = self
            .v
            .into_iter()
            .map(|it| it.map(value).transpose())
            .collect();
        Ok(Item {
            sort: self.sk,
            token: self.ct,
            values: values?,
        })
    }
}

fn decode_all(items: Vec<ReadItem>) -> Result<Vec<Item>, String> {
    items.into_iter().map(ReadItem::decode).collect()
}

/// Where the next page begins. Without that a list that says that there is more would be read for ever.
fn next(more: bool, start: Option<String>) -> Result<Option<String>, String> {
    match (more, start) {
        (true, None) => Err("there is more, and it does not say where".to_owned()),
        (true, start) => Ok(start),
        (false, _) => Ok(None),
    }
}

impl K2v {
    pub(crate) fn new(access: Access, bucket: String) -> K2v {
        K2v { access, bucket }
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes items. When it returns, a quorum of the nodes that have each item has made it durable. The items of
    /// one batch are not written atomically: where it fails, some may be there.
    ///
    /// # Errors
    /// `TooLarge` for a key that is too long; `Unreachable`, `NoQuorum`, `Refused`, `NotFound` (no such bucket).
    pub async fn insert(&self, items: &[Insert]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        const DOING: &str = "write items";
        let mut sent = Vec::with_capacity(items.len());
        for item in items {
            check_key(DOING, "partition key", &item.partition, PARTITION_KEY_MAX)?;
            check_key(DOING, "sort key", &item.sort, SORT_KEY_MAX)?;
            sent.push(SentInsert {
                pk: &item.partition,
                sk: &item.sort,
                ct: item.token.as_deref(),
                v: item
                    .value
                    .as_ref()
                    .map(|value| BASE64_STANDARD.encode(value)),
            });
        }
        let ask = self.ask(DOING, "POST", &[], encoded(DOING, &sent)?);
        self.access.perform(ask).await?;
        Ok(())
    }

    /// Reads ranges, one [`Page`] for each. A page without a `limit` is read to its end. It has whatever was
    /// acknowledged before; of a write that was not, one read may know and the next one not.
    ///
    /// # Errors
    /// `TooLarge` for an answer of more than 64 MiB, and as [`K2v::insert`].
    pub async fn read(&self, ranges: &[Range]) -> Result<Vec<Page>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let mut reading = std::pin::pin!(self.read_pages(ranges));
        if !narrow::all(ranges) {
            return reading.await;
        }
        tokio::select! {
            read = &mut reading => return read,
            () = tokio::time::sleep(self.access.hedge_after() + narrow::LATER) => {}
        }
        tokio::select! {
            read = &mut reading => read,
            Some(pages) = self.read_by_polls(ranges) => Ok(pages),
        }
    }

    async fn read_pages(&self, ranges: &[Range]) -> Result<Vec<Page>> {
        const DOING: &str = "read items";
        let body = encoded(DOING, &ranges)?;
        let headers = [(NON_MONOTONIC, YES.to_owned())];
        let ask = Ask {
            headers: &headers,
            ..self.ask(DOING, "POST", &[("search", "")], body)
        };
        let answer = self.access.perform(ask).await?;
        let pages: Vec<ReadPage> = read(DOING, &answer)?;
        if pages.len() != ranges.len() {
            return Err(malformed(DOING, "it has not one page for each range"));
        }
        let decode = |page: ReadPage| {
            Ok(Page {
                next: next(page.more, page.next_start)?,
                items: decode_all(page.items)?,
            })
        };
        let pages: Result<Vec<Page>, String> = pages.into_iter().map(decode).collect();
        pages.map_err(|why| malformed(DOING, why))
    }

    /// Reads narrow ranges in the way that asks all nodes that have them; see [`narrow`]. `None` where that fails.
    async fn read_by_polls(&self, ranges: &[Range]) -> Option<Vec<Page>> {
        let mut polls = tokio::task::JoinSet::new();
        for (index, range) in ranges.iter().enumerate() {
            let (k2v, range) = (self.clone(), range.clone());
            polls.spawn(async move {
                let bounds = narrow::bounds(&range);
                let polled = k2v
                    .poll_within(&bounds, None, POLL_MAX, narrow::ANSWER_MAX)
                    .await;
                let changes = polled.ok().flatten()?;
                Some((index, narrow::page(&range, changes.items)))
            });
        }
        let mut pages = Vec::new();
        while let Some(done) = polls.join_next().await {
            pages.push(done.ok().flatten()?);
        }
        pages.sort_by_key(|(index, _)| *index);
        Some(pages.into_iter().map(|(_, page)| page).collect())
    }

    /// Reads one range.
    ///
    /// # Errors
    /// As [`K2v::read`].
    pub async fn read_range(&self, range: &Range) -> Result<Page> {
        let mut pages = self.read(std::slice::from_ref(range)).await?;
        Ok(pages.pop().unwrap_or_default())
    }

    /// Reads one item, `None` where there is none or it was deleted.
    ///
    /// # Errors
    /// As [`K2v::read`].
    pub async fn read_item(&self, partition: &str, sort: &str) -> Result<Option<Item>> {
        let page = self.read_range(&Range::single(partition, sort)).await?;
        Ok(page.items.into_iter().next())
    }

    /// Deletes the items of ranges, and says how many there were in each. `limit` and `reverse` have no meaning
    /// here.
    ///
    /// A node that has deleted an item says nothing of it, so that a range that is read right afterwards can have it
    /// still, from one that has not heard of that yet. One that is read with [`Range::tombstones`] has not, nor has
    /// a single item.
    ///
    /// # Errors
    /// As [`K2v::insert`].
    pub async fn delete(&self, ranges: &[Range]) -> Result<Vec<u64>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        const DOING: &str = "delete items";
        let sent: Vec<SentDelete<'_>> = ranges
            .iter()
            .map(|range| SentDelete {
                partition_key: &range.partition,
                prefix: range.prefix.as_deref(),
                start: range.start.as_deref(),
                end: range.end.as_deref(),
                single_item: range.single_item,
            })
            .collect();
        let body = encoded(DOING, &sent)?;
        let ask = self.ask(DOING, "POST", &[("delete", "")], body);
        let answer = self.access.perform(ask).await?;
        let deleted: Vec<ReadDeleted> = read(DOING, &answer)?;
        match deleted.len() == ranges.len() {
            true => Ok(deleted.iter().map(|it| it.deleted_items).collect()),
            false => Err(malformed(DOING, "it has not one number for each range")),
        }
    }

    /// Waits for changes in a range, of which `prefix`, `start` and `end` count: without a marker it answers at
    /// once with all items, deleted ones too; with the marker of an earlier answer, when something is new to
    /// whoever has seen that, or with `None` when nothing was for as long as `wait`, which is 1 to 600 seconds and
    /// has no meaning without a marker.
    ///
    /// # Errors
    /// `Usage` for a marker that is none, and as [`K2v::read`].
    pub async fn poll(
        &self,
        range: &Range,
        marker: Option<&str>,
        wait: Duration,
    ) -> Result<Option<Changes>> {
        self.poll_within(range, marker, wait, ANSWER_MAX).await
    }

    async fn poll_within(
        &self,
        range: &Range,
        marker: Option<&str>,
        wait: Duration,
        limit: usize,
    ) -> Result<Option<Changes>> {
        const DOING: &str = "wait for changes";
        check_key(DOING, "partition key", &range.partition, PARTITION_KEY_MAX)?;
        // When the time is over Garage answers with what it has, be it nothing and from nobody. That is wrong unless
        // more can be asked for later, so that without a marker nobody is to wait for less long than we do.
        let wait = match marker {
            Some(_) => wait.clamp(Duration::from_secs(1), POLL_MAX),
            None => POLL_MAX,
        };
        let sent = SentPoll {
            prefix: range.prefix.as_deref(),
            // Garage begins where this says, be it before the prefix, and ends at the first item without that.
            start: range.start.as_deref().max(range.prefix.as_deref()),
            end: range.end.as_deref(),
            timeout: wait.as_secs(),
            seen_marker: marker,
        };
        let path = format!("/{}/{}", self.bucket, encode(&range.partition, true));
        let headers = [(NON_MONOTONIC, YES.to_owned())];
        let ask = Ask {
            path,
            headers: &headers,
            limit: Some(limit),
            waits: marker.map(|_| wait),
            ..self.ask(DOING, "POST", &[("poll_range", "")], encoded(DOING, &sent)?)
        };
        let answer = self.access.perform(ask).await?;
        if answer.status == 304 {
            return Ok(None);
        }
        let found: ReadPoll = read(DOING, &answer)?;
        Ok(Some(Changes {
            items: decode_all(found.items).map_err(|why| malformed(DOING, why))?,
            marker: found.seen_marker,
        }))
    }

    /// The partitions of the bucket that have items, from `start` on, at most `limit`, at most 1,000.
    ///
    /// # Errors
    /// As [`K2v::read`].
    pub async fn partitions(&self, start: Option<&str>, limit: u64) -> Result<Index> {
        const DOING: &str = "list partitions";
        let limit = limit.clamp(1, 1000).to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(start.map(|start| ("start", start)));
        let ask = self.ask(DOING, "GET", &query, Bytes::new());
        let answer = self.access.perform(ask).await?;
        let found: ReadIndex = read(DOING, &answer)?;
        Ok(Index {
            next: next(found.more, found.next_start).map_err(|why| malformed(DOING, why))?,
            partitions: found.partition_keys,
        })
    }

    fn ask<'a>(
        &self,
        doing: &'static str,
        method: &'static str,
        query: &'a [(&'a str, &'a str)],
        body: Bytes,
    ) -> Ask<'a> {
        Ask {
            doing,
            service: Service::K2v,
            method,
            path: format!("/{}", self.bucket),
            query,
            headers: &[],
            body,
            limit: Some(ANSWER_MAX),
            waits: None,
            alone: false,
        }
    }
}

fn encoded<T: Serialize>(doing: &'static str, sent: &T) -> Result<Bytes> {
    serde_json::to_vec(sent)
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorKind::Other, doing).caused_by(error))
}

fn read<T: serde::de::DeserializeOwned>(doing: &'static str, answer: &Answer) -> Result<T> {
    json(answer.whole()).map_err(|why| malformed(doing, why))
}

fn check_key(doing: &'static str, what: &str, key: &str, limit: usize) -> Result<()> {
    if key.is_empty() {
        return Err(Error::new(ErrorKind::Usage, doing).because(format!("a {what} is empty")));
    }
    match key.len() > limit {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::TooLarge, doing).because(format!(
            "a {what} has {} bytes, and {limit} is the most",
            key.len()
        ))),
    }
}
