//! Streams of what is in a class, from all of its shards at once.

use std::collections::VecDeque;
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use durum_garage::{Item, K2v, Range};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::catalogue::Opened;
use super::dictionary;
use super::form::{self, FORM_BYTES_MAX, Line};
use super::shard::{self, PAGE, Place};
use crate::class::Index;
use crate::clock::RevisionId;
use crate::error;
use crate::home::{Change, Dictionary, Marker};
use crate::order::{Span, cut};
use crate::revision::Revision;

/// The least time for which Garage waits for changes.
const POLL_WAIT: Duration = Duration::from_secs(1);

/// The revisions of one dictionary.
pub(super) struct Revisions {
    handle: Handle,
    class: Opened,
    /// `None` at the end.
    range: Option<Range>,
    ready: VecDeque<Revision>,
}

impl Revisions {
    pub(super) fn new(handle: Handle, class: Opened, range: Range) -> Revisions {
        Revisions {
            handle,
            class,
            range: Some(range),
            ready: VecDeque::new(),
        }
    }

    async fn read(class: &Opened, range: &mut Option<Range>) -> Result<VecDeque<Revision>> {
        let Some(asked) = range else {
            return Ok(VecDeque::new());
        };
        let page = class.items.read_range(asked).await?;
        match page.next {
            Some(next) => asked.start = Some(next),
            None => *range = None,
        }
        let mut ready = VecDeque::new();
        for item in &page.items {
            ready.extend(shard::revision(class, item).await?);
        }
        Ok(ready)
    }
}

impl Iterator for Revisions {
    type Item = Result<Revision>;

    fn next(&mut self) -> Option<Result<Revision>> {
        loop {
            if let Some(revision) = self.ready.pop_front() {
                return Some(Ok(revision));
            }
            self.range.as_ref()?;
            match self
                .handle
                .block_on(Revisions::read(&self.class, &mut self.range))
            {
                Ok(ready) => self.ready = ready,
                Err(error) => {
                    self.range = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Where a stream is in one shard.
struct Cursor {
    shard: String,
    /// What is read next; `None` at the end.
    range: Option<Range>,
    ready: VecDeque<Item>,
}

/// The items of all shards in the order of their names.
pub(super) struct Merged {
    items: K2v,
    cursors: Vec<Cursor>,
    /// How many items are read at once of each shard.
    page: u64,
}

impl Merged {
    /// Those that begin so, from one on and up to another.
    pub(super) fn new(
        class: &Opened,
        prefix: &str,
        from: Option<String>,
        to: Option<String>,
    ) -> Merged {
        let range = Range {
            start: from,
            end: to,
            ..Range::prefix("", prefix)
        };
        Merged::of(class, &range)
    }

    /// All that begin so, and deleted ones, which makes it as new as the last deletion: see [`shard::heads`].
    pub(super) fn exact(class: &Opened, prefix: &str) -> Merged {
        let range = Range {
            tombstones: true,
            ..Range::prefix("", prefix)
        };
        Merged::of(class, &range)
    }

    fn of(class: &Opened, range: &Range) -> Merged {
        let cursor = |shard: String| Cursor {
            range: Some(Range {
                partition: shard.clone(),
                limit: Some(PAGE),
                ..range.clone()
            }),
            shard,
            ready: VecDeque::new(),
        };
        Merged {
            items: class.items.clone(),
            cursors: class.shards().into_iter().map(cursor).collect(),
            page: PAGE,
        }
    }

    /// Reads on in all shards of which nothing is at hand, by one request.
    async fn fill(&mut self) -> Result<()> {
        let empty = self
            .cursors
            .iter_mut()
            .filter(|cursor| cursor.ready.is_empty());
        let (mut cursors, mut ranges) = (Vec::new(), Vec::new());
        for cursor in empty {
            if let Some(range) = cursor.range.clone() {
                cursors.push(cursor);
                ranges.push(range);
            }
        }
        // Items can be large: where an answer would be too long, shorter ones are asked for.
        let pages = loop {
            match shard::read_ranges(&self.items, &ranges).await {
                Err(error) if error.kind() == ErrorKind::TooLarge && self.page > 1 => {
                    self.page /= 2;
                    for range in &mut ranges {
                        range.limit = Some(self.page);
                    }
                }
                pages => break pages?,
            }
        };
        for ((cursor, range), page) in cursors.into_iter().zip(ranges).zip(pages) {
            cursor.ready.extend(page.items);
            cursor.range = page.next.map(|next| Range {
                start: Some(next),
                ..range
            });
        }
        Ok(())
    }

    /// The shard of the next item, and that.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Item)>> {
        while self
            .cursors
            .iter()
            .any(|cursor| cursor.ready.is_empty() && cursor.range.is_some())
        {
            self.fill().await?;
        }
        let first = self.cursors.iter().enumerate();
        let first = first
            .filter_map(|(number, cursor)| Some((cursor.ready.front()?.sort.clone(), number)))
            .min();
        let Some((_, number)) = first else {
            return Ok(None);
        };
        let cursor = self.cursors.get_mut(number);
        Ok(cursor.and_then(|cursor| Some((cursor.shard.clone(), cursor.ready.pop_front()?))))
    }

    /// The item that comes next, without going on.
    pub(super) async fn peek(&mut self) -> Result<Option<&Item>> {
        while self
            .cursors
            .iter()
            .any(|cursor| cursor.ready.is_empty() && cursor.range.is_some())
        {
            self.fill().await?;
        }
        let items = self
            .cursors
            .iter()
            .filter_map(|cursor| cursor.ready.front());
        Ok(items.min_by(|one, two| one.sort.cmp(&two.sort)))
    }

    /// The items of the next key, and its place.
    pub(super) async fn next_key(&mut self) -> Result<Option<(Place, Vec<Item>)>> {
        let Some((shard, item)) = self.next().await? else {
            return Ok(None);
        };
        let key = key_of(&item)?.to_owned();
        let mut items = vec![item];
        while let Some(next) = self.peek().await?
            && key_of(next)? == key
        {
            items.extend(self.next().await?.map(|(_, item)| item));
        }
        Ok(Some((Place::escaped(&shard, &key), items)))
    }
}

/// The escaped key of an item.
pub(super) fn key_of(item: &Item) -> Result<&str> {
    form::parse(&item.sort)
        .map(|(key, _)| key)
        .ok_or_else(|| strange(&item.sort))
}

pub(super) fn strange(sort: &str) -> Error {
    Error::damaged("read a class", format!("`{sort}` is no name of an item"))
}

/// The key that is escaped so.
pub(super) fn plain(escaped: &str) -> Result<String> {
    form::unescape(escaped).ok_or_else(|| strange(escaped))
}

/// All dictionaries, by their keys.
pub(super) struct All {
    handle: Handle,
    class: Opened,
    items: Merged,
    deleted: bool,
    done: bool,
}

impl All {
    pub(super) fn new(handle: Handle, class: Opened, from: &str, deleted: bool) -> Result<All> {
        let from = match from {
            "" => None,
            from => Some(format!("n {}", form::escape(from)?)),
        };
        Ok(All {
            items: Merged::new(&class, "n ", from, None),
            handle,
            class,
            deleted,
            done: false,
        })
    }

    async fn read(class: &Opened, items: &mut Merged) -> Result<Option<Dictionary>> {
        while let Some((place, items)) = items.next_key().await? {
            let heads = shard::heads_of(class, &items).await?;
            if let Some(found) = dictionary(plain(&place.key)?, heads) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Iterator for All {
    type Item = Result<Dictionary>;

    fn next(&mut self) -> Option<Result<Dictionary>> {
        while !self.done {
            let found = self
                .handle
                .block_on(All::read(&self.class, &mut self.items))
                .transpose();
            self.done = !matches!(found, Some(Ok(_)));
            match found {
                Some(Ok(found)) if found.revision.is_deleted() && !self.deleted => {}
                found => return found,
            }
        }
        None
    }
}

/// What an index finds.
pub(super) struct Selected {
    handle: Handle,
    class: Opened,
    index: Index,
    span: Span,
    lines: Merged,
    ready: VecDeque<Dictionary>,
    done: bool,
}

impl Selected {
    pub(super) fn new(handle: Handle, class: Opened, index: Index, span: Span) -> Selected {
        let (low, high) = span.lying(FORM_BYTES_MAX);
        // What is behind a value is behind its blank, too.
        let from = form::value(&index.name, &low);
        let to = high.map(|high| form::value(&index.name, &high));
        Selected {
            lines: Merged::new(&class, &form::index(&index.name), Some(from), to),
            handle,
            class,
            index,
            span,
            ready: VecDeque::new(),
            done: false,
        }
    }

    /// Reads some more lines, and the dictionaries that they name; says whether there are more.
    async fn read(&mut self) -> Result<bool> {
        let mut lines: Vec<(String, Line)> = Vec::new();
        while lines.len() < PAGE as usize
            && let Some((shard, item)) = self.lines.next().await?
        {
            if item.value().is_some() {
                let line = form::parse_line(&item.sort).ok_or_else(|| strange(&item.sort))?;
                lines.push((shard, line));
            }
        }
        if lines.is_empty() {
            return Ok(false);
        }
        let places = lines
            .iter()
            .map(|(shard, line)| Place::escaped(shard, &line.key));
        let ranges: Vec<Range> = places.map(|place| place.newest()).collect();
        let pages = shard::read_ranges(&self.class.items, &ranges).await?;
        for ((_, line), page) in lines.iter().zip(pages) {
            let heads = shard::heads_of(&self.class, &page.items).await?;
            let found = dictionary(plain(&line.key)?, heads);
            self.ready
                .extend(found.filter(|found| self.is_meant(line, found)));
        }
        Ok(true)
    }

    /// Whether the line is of the newest revision, and of the least value of it that is meant.
    fn is_meant(&self, line: &Line, found: &Dictionary) -> bool {
        let first = self.span.least(&self.index, found.fields());
        found.revision.id == line.id
            && first.is_some_and(|first| cut(&first, FORM_BYTES_MAX) == line.form)
    }
}

impl Iterator for Selected {
    type Item = Result<Dictionary>;

    fn next(&mut self) -> Option<Result<Dictionary>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(Ok(found));
            }
            if self.done {
                return None;
            }
            let handle = self.handle.clone();
            match handle.block_on(self.read()) {
                Ok(more) => self.done = !more,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// What a marker holds: Garage's own for each shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen(Vec<Option<String>>);

impl Seen {
    fn read(class: &Opened, marker: Option<&Marker>) -> Result<Seen> {
        let shards = class.shards().len();
        let Some(marker) = marker else {
            return Ok(Seen(vec![None; shards]));
        };
        let seen = marker
            .as_str()
            .strip_prefix('g')
            .and_then(|json| serde_json::from_str::<Seen>(json).ok());
        seen.filter(|seen| seen.0.len() == shards)
            .ok_or_else(|| error::foreign(marker))
    }

    fn marker(&self) -> Result<Marker> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|error| {
            Error::new(ErrorKind::Other, "read changes").because(error.to_string())
        })?;
        Ok(Marker::new(format!("g{json}")))
    }
}

/// What came since a marker, and the next one.
async fn poll(class: &Opened, mut seen: Seen) -> Result<(Vec<(String, Item)>, Seen)> {
    let mut polls = JoinSet::new();
    for (number, (shard, marker)) in class.shards().into_iter().zip(seen.0.clone()).enumerate() {
        let items = class.items.clone();
        polls.spawn(async move {
            let range = Range::prefix(&shard, "h ");
            (
                number,
                shard,
                items.poll(&range, marker.as_deref(), POLL_WAIT).await,
            )
        });
    }
    let mut found = Vec::new();
    while let Some(poll) = polls.join_next().await {
        let (number, shard, changes) = poll.map_err(|error| {
            Error::new(ErrorKind::Other, "read changes").because(error.to_string())
        })?;
        if let Some(changes) = changes? {
            if let Some(marker) = seen.0.get_mut(number) {
                *marker = Some(changes.marker);
            }
            found.extend(changes.items.into_iter().map(|item| (shard.clone(), item)));
        }
    }
    Ok((found, seen))
}

/// What came to a class since a marker, in the order of time, in which each comes after what it supersedes. All but the last have the marker
/// from before them, so that whoever stops between gets some again.
pub(super) async fn changes(class: &Opened, since: Option<&Marker>) -> Result<Vec<Change>> {
    let before = Seen::read(class, since)?;
    let (items, after) = poll(class, before.clone()).await?;
    let (before, after) = (before.marker()?, after.marker()?);
    let mut found: Vec<(RevisionId, Change)> = Vec::new();
    for (_, item) in items {
        let Some(revision) = shard::revision(class, &item).await? else {
            continue;
        };
        let key = plain(key_of(&item)?)?;
        found.push((
            revision.id,
            Change {
                key,
                revision,
                marker: before.clone(),
            },
        ));
    }
    found.sort_by_key(|(id, _)| *id);
    if let Some((_, last)) = found.last_mut() {
        last.marker = after;
    }
    Ok(found.into_iter().map(|(_, change)| change).collect())
}

/// Where the changes end now.
pub(super) async fn marker(class: &Opened) -> Result<Marker> {
    let (_, seen) = poll(class, Seen::read(class, None)?).await?;
    seen.marker()
}
