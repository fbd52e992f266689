//! Streams of what is in a class, a page at a time.

use std::collections::VecDeque;
use std::ops::Bound;

use durum_core::{Error, ErrorKind, Result};
use durum_objects::{Database, Ref, Transaction};

use super::layout::{ClassRoot, Entry, FORM_BYTES_MAX, Form, Line};
use super::{log, open, write};
use crate::class::Index;
use crate::clock::RevisionId;
use crate::home::{Change, Dictionary};
use crate::order::{Span, cut};
use crate::revision::Revision;
use crate::value::Value;

/// How many dictionaries are read at once, and with how many bytes.
const PAGE: usize = 128;
const PAGE_BYTES: usize = 1 << 20;

/// What a stream reads next.
pub(super) trait Page: Send + 'static {
    type Item: Send;

    /// Reads on; says whether there is more. Where it fails it is as it was before.
    fn read(
        &mut self,
        tx: &Transaction,
        root: &ClassRoot,
        out: &mut VecDeque<Self::Item>,
    ) -> Result<bool>;
}

/// A stream of pages. They are of one state, unless that cannot be had for so long: then the rest is of a later one.
pub(super) struct Pages<P: Page> {
    database: Database,
    class: String,
    view: Option<Transaction>,
    page: P,
    ready: VecDeque<P::Item>,
    done: bool,
}

impl<P: Page> Pages<P> {
    pub(super) fn new(database: Database, class: &str, page: P) -> Pages<P> {
        Pages {
            database,
            class: class.to_owned(),
            view: None,
            page,
            ready: VecDeque::new(),
            done: false,
        }
    }

    fn read(&mut self) -> Result<bool> {
        let kept = self.view.is_some();
        let view = match self.view.take() {
            Some(view) => view,
            None => self.database.view()?,
        };
        let result =
            open(&view, &self.class).and_then(|root| self.page.read(&view, &root, &mut self.ready));
        match result {
            Err(error) if kept && matches!(error.kind(), ErrorKind::TooOld | ErrorKind::Gone) => {
                self.ready.clear();
                self.read()
            }
            result => {
                self.view = Some(view);
                result
            }
        }
    }
}

impl<P: Page> Iterator for Pages<P> {
    type Item = Result<P::Item>;

    fn next(&mut self) -> Option<Result<P::Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.done {
                return None;
            }
            match self.read() {
                Ok(more) => self.done = !more,
                Err(error) => {
                    self.ready.clear();
                    self.done = true;
                    return Some(Err(error));
                }
            }
            if self.done {
                self.view = None;
            }
        }
    }
}

/// A dictionary with its newest revision.
pub(super) fn dictionary(tx: &Transaction, key: &str, entry: &Entry) -> Result<Dictionary> {
    Ok(Dictionary {
        key: key.to_owned(),
        revision: write::load(tx, &entry.newest)?,
        concurrent: entry.heads.clone(),
        as_of: None,
    })
}

fn weight(revision: &Revision) -> usize {
    revision.fields.values().map(Value::weight).sum()
}

/// All dictionaries, by their keys.
pub(super) struct All {
    from: Bound<String>,
    deleted: bool,
}

impl All {
    pub(super) fn new(from: &str, deleted: bool) -> All {
        All {
            from: Bound::Included(from.to_owned()),
            deleted,
        }
    }
}

impl Page for All {
    type Item = Dictionary;

    fn read(
        &mut self,
        tx: &Transaction,
        root: &ClassRoot,
        out: &mut VecDeque<Dictionary>,
    ) -> Result<bool> {
        let range = root
            .entries
            .range(tx, (self.from.clone(), Bound::Unbounded))?;
        let entries: Vec<(String, Ref<Entry>)> = range.take(PAGE).collect::<Result<_>>()?;
        let refs: Vec<_> = entries.iter().map(|(_, entry)| *entry).collect();
        tx.prefetch(&refs)?;
        let (mut bytes, mut last) = (0, None);
        for (key, entry) in &entries {
            let found = dictionary(tx, key, &*tx.get(*entry)?)?;
            bytes += weight(&found.revision);
            last = Some(key);
            if self.deleted || !found.revision.is_deleted() {
                out.push_back(found);
            }
            if bytes > PAGE_BYTES {
                break;
            }
        }
        let Some(last) = last else {
            return Ok(false);
        };
        self.from = Bound::Excluded(last.clone());
        Ok(true)
    }
}

/// What an index finds.
pub(super) struct Selected {
    index: Index,
    span: Span,
    from: Bound<Line>,
    to: Bound<Line>,
}

impl Selected {
    pub(super) fn new(index: Index, span: Span) -> Selected {
        let first = |form| Line {
            form: Form(form),
            key: String::new(),
        };
        let (low, high) = span.lying(FORM_BYTES_MAX);
        Selected {
            index,
            span,
            from: Bound::Included(first(low)),
            to: high.map_or(Bound::Unbounded, |high| Bound::Excluded(first(high))),
        }
    }

    /// Whether the line is that of the dictionary's least value that is meant.
    fn is_first(&self, line: &Line, revision: &Revision) -> bool {
        let first = self.span.least(&self.index, &revision.fields);
        first.is_some_and(|first| cut(&first, FORM_BYTES_MAX) == line.form.0)
    }
}

impl Page for Selected {
    type Item = Dictionary;

    fn read(
        &mut self,
        tx: &Transaction,
        root: &ClassRoot,
        out: &mut VecDeque<Dictionary>,
    ) -> Result<bool> {
        let place = root.indexes.iter().find(|place| place.index == self.index);
        let place = place.ok_or_else(|| {
            Error::new(ErrorKind::Gone, "select dictionaries").because(format!(
                "the index `{}` was taken away meanwhile",
                self.index.name
            ))
        })?;
        let lines = place
            .lines
            .range(tx, (self.from.clone(), self.to.clone()))?;
        let lines: Vec<Line> = lines.take(PAGE).collect::<Result<_>>()?;
        let mut entries = Vec::with_capacity(lines.len());
        for line in &lines {
            let entry = root.entries.get(tx, line.key.as_str())?;
            entries.push(entry.ok_or_else(|| torn(&self.index, line))?);
        }
        tx.prefetch(&entries)?;
        let (mut bytes, mut last) = (0, None);
        for (line, entry) in lines.iter().zip(&entries) {
            let found = dictionary(tx, &line.key, &*tx.get(*entry)?)?;
            last = Some(line);
            if self.is_first(line, &found.revision) {
                bytes += weight(&found.revision);
                out.push_back(found);
            }
            if bytes > PAGE_BYTES {
                break;
            }
        }
        let Some(last) = last else {
            return Ok(false);
        };
        self.from = Bound::Excluded(last.clone());
        Ok(true)
    }
}

fn torn(index: &Index, line: &Line) -> Error {
    Error::damaged(
        "select dictionaries",
        format!(
            "the index `{}` has `{}`, which is not there",
            index.name, line.key
        ),
    )
}

/// The revisions of a dictionary, newest first.
pub(super) struct History {
    key: String,
    high: Bound<RevisionId>,
}

impl History {
    pub(super) fn new(key: &str) -> History {
        History {
            key: key.to_owned(),
            high: Bound::Unbounded,
        }
    }
}

impl Page for History {
    type Item = Revision;

    fn read(
        &mut self,
        tx: &Transaction,
        root: &ClassRoot,
        out: &mut VecDeque<Revision>,
    ) -> Result<bool> {
        let Some(entry) = root.entries.get(tx, self.key.as_str())? else {
            return Ok(false);
        };
        let entry = tx.get(entry)?;
        let (mut bytes, mut last) = (0, None);
        let newest = entry.newest.id;
        let is_next = match self.high {
            Bound::Unbounded => true,
            Bound::Excluded(high) | Bound::Included(high) => newest < high,
        };
        if is_next {
            out.push_back(write::load(tx, &entry.newest)?);
            self.high = Bound::Excluded(newest);
            return Ok(true);
        }
        let found = entry.past.back_from(tx, self.high, PAGE)?;
        let refs: Vec<_> = found.iter().map(|(_, kept)| *kept).collect();
        tx.prefetch(&refs)?;
        for (id, kept) in &found {
            let revision = write::load(tx, &*tx.get(*kept)?)?;
            bytes += weight(&revision);
            last = Some(*id);
            out.push_back(revision);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        if let Some(last) = last {
            self.high = Bound::Excluded(last);
        }
        Ok(last.is_some())
    }
}

/// What came to a class, in the order of its commits.
pub(super) struct Changes {
    from: u64,
}

impl Changes {
    pub(super) fn new(from: u64) -> Changes {
        Changes { from }
    }
}

impl Page for Changes {
    type Item = Change;

    fn read(
        &mut self,
        tx: &Transaction,
        root: &ClassRoot,
        out: &mut VecDeque<Change>,
    ) -> Result<bool> {
        check_log(tx, root, self.from)?;
        let Some((changes, next)) = log::read(tx, root, self.from)? else {
            return Ok(false);
        };
        let (mut bytes, mut from) = (0, next);
        for (at, change) in changes {
            let entry = root.entries.get(tx, change.key.as_str())?;
            let found = entry.map(|entry| write::find(tx, &*tx.get(entry)?, change.id));
            // What was pruned since was superseded, by what comes later.
            let Some(revision) = found.transpose()?.flatten() else {
                continue;
            };
            bytes += weight(&revision);
            out.push_back(Change {
                key: change.key,
                revision,
                marker: log::marker(at + 1),
            });
            if bytes > PAGE_BYTES {
                from = at + 1;
                break;
            }
        }
        self.from = from;
        Ok(true)
    }
}

/// # Errors
/// `TooOld` where changes from a position on are no longer all there; `Usage` for one that is not reached yet.
pub(super) fn check_log(tx: &Transaction, root: &ClassRoot, from: u64) -> Result<()> {
    const READ: &str = "read changes";
    if from < root.log_begins {
        return Err(Error::new(ErrorKind::TooOld, READ)
            .because(format!(
                "the class `{}` keeps its history for a time only, which is over",
                root.class.name
            ))
            .hint(
                "Ask for a marker, read all dictionaries, and then the changes since that marker.",
            ));
    }
    match from > tx.get(root.tail)?.end() {
        true => Err(Error::new(ErrorKind::Usage, READ)
            .because(format!("`{}` is later than all changes", log::marker(from)))
            .hint("Markers come with changes, and with those of the same home and class only.")),
        false => Ok(()),
    }
}
