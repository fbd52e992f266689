//! Dictionaries in their shards: read, written, and tidied up after.

use std::collections::BTreeSet;

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use durum_garage::{Insert, Item, K2v, Page, Range};

use super::catalogue::Opened;
use super::codec::{self, Encoded};
use super::form::{self, FORM_BYTES_MAX};
use crate::clock::RevisionId;
use crate::order::{cut, forms};
use crate::revision::Revision;

/// How many items are read at once.
pub(super) const PAGE: u64 = 64;

const READ: &str = "read a dictionary";

/// A value that an object holds is no larger.
const OBJECT_BYTES_MAX: usize = crate::revision::DICTIONARY_BYTES_MAX * 2;

/// Where a dictionary is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) shard: String,
    /// Escaped.
    pub(super) key: String,
}

impl Place {
    pub(super) fn new(class: &Opened, key: &str) -> Result<Place> {
        Ok(Place {
            shard: class.shard(key),
            key: form::escape(key)?,
        })
    }

    /// The one of an item that was read there.
    pub(super) fn escaped(shard: &str, key: &str) -> Place {
        Place {
            shard: shard.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(super) fn newest(&self) -> Range {
        Range::prefix(&self.shard, &form::newest(&self.key))
    }

    pub(super) fn history(&self) -> Range {
        Range::prefix(&self.shard, &form::history(&self.key))
    }

    pub(super) fn revision(&self, id: RevisionId) -> Range {
        Range::single(&self.shard, &format!("{}{id}", form::history(&self.key)))
    }

    fn head(&self, id: RevisionId) -> Range {
        Range::single(&self.shard, &format!("{}{id}", form::newest(&self.key)))
    }

    /// The lines of a revision in all indexes.
    pub(super) fn lines(&self, class: &Opened, revision: &Revision) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for index in &class.defined.class.indexes {
            for form in forms(index, &revision.fields) {
                lines.insert(form::line(
                    &index.name,
                    cut(&form, FORM_BYTES_MAX),
                    &self.key,
                    revision.id,
                ));
            }
        }
        lines.into_iter().collect()
    }
}

/// Reads ranges, in as many requests as it takes where one would have too long an answer.
pub(super) async fn read_ranges(items: &K2v, ranges: &[Range]) -> Result<Vec<Page>> {
    let (mut pages, mut at_once) = (Vec::with_capacity(ranges.len()), ranges.len());
    while pages.len() < ranges.len() {
        let some = ranges.iter().skip(pages.len()).take(at_once);
        let some: Vec<Range> = some.cloned().collect();
        match items.read(&some).await {
            Err(error) if error.kind() == ErrorKind::TooLarge && at_once > 1 => at_once /= 2,
            read => pages.extend(read?),
        }
    }
    Ok(pages)
}

/// A revision that was read, with its large values.
pub(super) async fn revision(class: &Opened, item: &Item) -> Result<Option<Revision>> {
    let Some(value) = item.value() else {
        return Ok(None);
    };
    let wrong = |why: String| {
        let bucket = class.items.bucket();
        Error::damaged(
            READ,
            format!("the item `{}` of the bucket `{bucket}`: {why}", item.sort),
        )
    };
    let decoded = codec::decode(value).map_err(wrong)?;
    let mut revision = decoded.revision;
    for (field, object) in decoded.large {
        let bytes = class.objects.get_whole(&object, OBJECT_BYTES_MAX).await?;
        let bytes = bytes.ok_or_else(|| wrong(format!("its object `{object}` is not there")))?;
        let value = codec::decode_object(&object, &bytes)
            .map_err(|why| wrong(format!("its object `{object}`: {why}")))?;
        revision.fields.insert(field, value);
    }
    Ok(Some(revision))
}

/// The revisions that nothing supersedes, in order of time. Ones whose items are still to be taken away are left out.
///
/// A node that has deleted an item says nothing of it, so that one which has not heard of that yet is believed. Where that would show what is no
/// longer so, the deleted ones are asked for, too, which makes the answer as new as the last write, and longer.
pub(super) async fn heads(class: &Opened, place: &Place) -> Result<Vec<Revision>> {
    let page = class.items.read_range(&place.newest()).await?;
    let heads = heads_of(class, &page.items).await?;
    if let [one] = heads.as_slice()
        && !one.is_deleted()
    {
        return Ok(heads);
    }
    let range = Range {
        tombstones: true,
        ..place.newest()
    };
    let page = class.items.read_range(&range).await?;
    heads_of(class, &page.items).await
}

pub(super) async fn heads_of(class: &Opened, items: &[Item]) -> Result<Vec<Revision>> {
    heads_and_superseded(class, items)
        .await
        .map(|(heads, _)| heads)
}

/// The revisions that nothing supersedes, and those of which that is still to be told to readers.
pub(super) async fn heads_and_superseded(
    class: &Opened,
    items: &[Item],
) -> Result<(Vec<Revision>, Vec<Revision>)> {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        all.extend(revision(class, item).await?);
    }
    let parents = all.iter().flat_map(|head| head.parents.iter().copied());
    let superseded: BTreeSet<RevisionId> = parents.collect();
    let (gone, heads) = all
        .into_iter()
        .partition(|head| superseded.contains(&head.id));
    Ok((heads, gone))
}

/// The first revision that the history has.
pub(super) async fn oldest(class: &Opened, place: &Place) -> Result<Option<RevisionId>> {
    let range = Range {
        limit: Some(1),
        ..place.history()
    };
    let page = class.items.read_range(&range).await?;
    let first = page.items.first().and_then(|item| form::parse(&item.sort));
    Ok(first.map(|(_, id)| id))
}

/// A revision of a dictionary.
pub(super) async fn find(
    class: &Opened,
    place: &Place,
    id: RevisionId,
) -> Result<Option<Revision>> {
    let page = class.items.read_range(&place.revision(id)).await?;
    match page.items.first() {
        Some(item) => revision(class, item).await,
        None => Ok(None),
    }
}

/// What is to be written of a revision.
pub(super) struct Parts {
    pub(super) items: Vec<Insert>,
    pub(super) objects: Vec<(String, Vec<u8>)>,
}

/// The items of a revision; where nothing supersedes it, with those by which it is found. The history comes first: a revision that is
/// cut off there by a crash was not acknowledged, and healing finds it.
pub(super) fn parts(
    class: &Opened,
    place: &Place,
    revision: &Revision,
    is_head: bool,
) -> Result<Parts> {
    let Encoded { item, objects } = codec::encode(revision)?;
    let item = Bytes::from(item);
    let insert = |sort: &str, value: Bytes| Insert::new(&place.shard, sort, value);
    let mut items = vec![insert(
        &format!("{}{}", form::history(&place.key), revision.id),
        item.clone(),
    )];
    if is_head {
        items.push(insert(
            &format!("{}{}", form::newest(&place.key), revision.id),
            item,
        ));
        let lines = place.lines(class, revision);
        items.extend(lines.iter().map(|line| insert(line, Bytes::new())));
    }
    Ok(Parts { items, objects })
}

/// Writes items, after the objects that they name.
pub(super) async fn write(class: &Opened, parts: Vec<Parts>) -> Result<()> {
    let mut items = Vec::new();
    for part in parts {
        for (name, value) in part.objects {
            if class.objects.head(&name).await?.is_none() {
                class.objects.put(&name, value).await?;
            }
        }
        items.extend(part.items);
    }
    class.items.insert(&items).await
}

/// Takes away by what superseded revisions were found.
pub(super) async fn tidy(class: &Opened, superseded: &[(Place, Revision)]) -> Result<()> {
    let mut ranges = Vec::new();
    for (place, revision) in superseded {
        ranges.push(place.head(revision.id));
        let lines = place.lines(class, revision);
        ranges.extend(lines.iter().map(|line| Range::single(&place.shard, line)));
    }
    class.items.delete(&ranges).await.map(drop)
}

/// Whether something that is there supersedes a revision. What does is later.
pub(super) async fn is_superseded(class: &Opened, place: &Place, id: RevisionId) -> Result<bool> {
    let mut range = Range {
        start: Some(format!("{}{id}", form::history(&place.key))),
        limit: Some(PAGE),
        ..place.history()
    };
    loop {
        let page = class.items.read_range(&range).await?;
        for item in &page.items {
            let later = revision(class, item).await?;
            if later.is_some_and(|later| later.parents.binary_search(&id).is_ok()) {
                return Ok(true);
            }
        }
        match page.next {
            Some(next) => range.start = Some(next),
            None => return Ok(false),
        }
    }
}
