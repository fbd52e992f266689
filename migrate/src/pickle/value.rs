//! What is kept of the values in a pickle: enough to recognise persistent ids, and no more.
//!
//! A value has a fixed size whatever it stands for: of a string its bytes where they are few, of a
//! tuple its first element. Only lists are kept aside, because they change after they were memoized.

/// A short string; longer ones are [`Value::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// One byte, as the names of the kinds of references have.
    One(u8),
    /// Eight bytes, as OIDs have.
    Eight([u8; 8]),
}

impl Text {
    /// The string, where it is of a length that matters.
    pub(super) fn new(bytes: &[u8]) -> Option<Text> {
        match bytes {
            [one] => Some(Text::One(*one)),
            _ => bytes.try_into().ok().map(Text::Eight),
        }
    }
}

/// What is known of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListHead {
    /// The first element, where it is a short string.
    pub(crate) first: Option<Text>,
    /// The number of elements; 255 stands for that many or more.
    pub(crate) length: u8,
}

impl ListHead {
    pub(super) fn append(&mut self, items: &Popped) {
        if self.length == 0 {
            self.first = match items.first {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            };
        }
        let added = u8::try_from(items.count).unwrap_or(u8::MAX);
        self.length = self.length.saturating_add(added);
    }
}

/// A value on the stack or in the memo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything that can be no part of a persistent id.
    Other,
    /// A byte string, or a text of ASCII characters.
    Text(Text),
    /// A tuple that begins with such a string.
    Tuple(Text),
    /// A list, by its number.
    List(u32),
    /// Not a value: where a sequence of values begins.
    Mark,
}

impl Value {
    /// The tuple with this first element.
    pub(super) fn tuple(first: Option<Value>) -> Value {
        match first {
            Some(Value::Text(text)) => Value::Tuple(text),
            _ => Value::Other,
        }
    }
}

/// A persistent id, by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PersistentId {
    /// A string alone.
    Text(Text),
    /// A tuple that begins with a string.
    Tuple(Text),
    /// A list.
    List(ListHead),
    /// Something else.
    Other,
}

/// What was taken off the stack, down to a mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Popped {
    /// The one that was pushed first.
    pub(super) first: Option<Value>,
    pub(super) count: u64,
}

/// The stack of an unpickler. Equal neighbours share an entry, where they are such as come in numbers:
/// a tuple of a million floats takes no more room than one of two.
#[derive(Debug, Default)]
pub(super) struct Stack {
    entries: Vec<(Value, u32)>,
}

impl Stack {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn push(&mut self, value: Value) {
        if matches!(value, Value::Other | Value::Mark)
            && let Some((last, count)) = self.entries.last_mut()
            && *last == value
            && *count < u32::MAX
        {
            *count += 1;
            return;
        }
        self.entries.push((value, 1));
    }

    /// The topmost value; `None` where there is none above the last mark.
    pub(super) fn top(&self) -> Option<Value> {
        self.entries
            .last()
            .map(|(value, _)| *value)
            .filter(|value| *value != Value::Mark)
    }

    /// Takes the topmost value, as [`top`](Stack::top).
    pub(super) fn pop(&mut self) -> Option<Value> {
        let value = self.top()?;
        self.drop_one();
        Some(value)
    }

    /// Takes everything above the last mark, and the mark; `None` where there is no mark.
    pub(super) fn pop_to_mark(&mut self) -> Option<Popped> {
        let mut popped = Popped {
            first: None,
            count: 0,
        };
        loop {
            let (value, count) = *self.entries.last()?;
            if value == Value::Mark {
                self.drop_one();
                return Some(popped);
            }
            self.entries.pop();
            popped.first = Some(value);
            popped.count += u64::from(count);
        }
    }

    fn drop_one(&mut self) {
        if let Some((_, count)) = self.entries.last_mut() {
            *count -= 1;
            if *count == 0 {
                self.entries.pop();
            }
        }
    }
}
