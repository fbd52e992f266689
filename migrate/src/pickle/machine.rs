//! An unpickler that builds nothing and gives the persistent ids.

use std::collections::BTreeMap;

use super::opcode::*;
use super::reader::{Argument, Reader};
use super::text;
use super::value::{ListHead, PersistentId, Popped, Stack, Text, Value};

/// The persistent ids in a series of pickles that one pickler wrote, which share a memo.
///
/// Memory is in proportion to the pickles, and mostly a fraction of their size: see [`Stack`]. Nothing
/// is called or imported, so no pickle can do harm; a value that such a call would make counts as no
/// part of a persistent id, as for ZODB's own `referencesf`.
#[derive(Debug)]
pub(crate) struct PersistentIds<'b> {
    reader: Reader<'b>,
    stack: Stack,
    memo: Memo,
    lists: Vec<ListHead>,
}

/// Why bytes are no pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPickle {
    /// The offset of the opcode, in bytes.
    pub(crate) at: usize,
    pub(crate) why: &'static str,
}

/// What an opcode comes to.
enum Step {
    Next,
    Stop,
    Found(PersistentId),
}

impl<'b> PersistentIds<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> PersistentIds<'b> {
        PersistentIds {
            reader: Reader::new(bytes),
            stack: Stack::default(),
            memo: Memo::default(),
            lists: Vec::new(),
        }
    }

    /// Reads the next pickle and passes its persistent ids to `found`, until that says what is wrong
    /// with one.
    pub(crate) fn pickle(
        &mut self,
        found: &mut dyn FnMut(PersistentId) -> Result<(), &'static str>,
    ) -> Result<(), BadPickle> {
        self.stack.clear();
        loop {
            let at = self.reader.at();
            let step = self.step().and_then(|step| match step {
                Step::Found(id) => found(id).map(|()| Step::Next),
                other => Ok(other),
            });
            match step {
                Ok(Step::Stop) => return Ok(()),
                Ok(_) => {}
                Err(why) => return Err(BadPickle { at, why }),
            }
        }
    }

    fn step(&mut self) -> Argument<Step> {
        match self.reader.byte()? {
            STOP => {
                self.pop()?;
                return Ok(Step::Stop);
            }
            PERSID => {
                let text = text::ascii(self.reader.line()?);
                self.stack.push(Value::Other);
                return Ok(Step::Found(
                    text.map_or(PersistentId::Other, PersistentId::Text),
                ));
            }
            BINPERSID => {
                let id = match self.pop()? {
                    Value::Text(text) => PersistentId::Text(text),
                    Value::Tuple(first) => PersistentId::Tuple(first),
                    Value::List(number) => PersistentId::List(*self.list(number)?),
                    Value::Other | Value::Mark => PersistentId::Other,
                };
                self.stack.push(Value::Other);
                return Ok(Step::Found(id));
            }
            opcode @ (PROTO | FRAME) => self.frame(opcode)?,
            opcode @ (MARK | POP | POP_MARK | DUP) => self.shuffle(opcode)?,
            opcode @ (GET | BINGET | LONG_BINGET | PUT | BINPUT | LONG_BINPUT | MEMOIZE) => {
                self.memorise(opcode)?;
            }
            opcode @ (STRING | BINSTRING | SHORT_BINSTRING | UNICODE | BINUNICODE | BINBYTES
            | SHORT_BINBYTES | SHORT_BINUNICODE | BINUNICODE8 | BINBYTES8) => self.text(opcode)?,
            opcode @ (EMPTY_LIST | LIST | APPEND | APPENDS) => self.change_list(opcode)?,
            opcode @ (TUPLE | TUPLE1 | TUPLE2 | TUPLE3) => self.tuple(opcode)?,
            opcode @ (REDUCE | NEWOBJ | NEWOBJ_EX | STACK_GLOBAL | BUILD | SETITEM | SETITEMS
            | ADDITEMS | DICT | FROZENSET | OBJ | INST) => self.combine(opcode)?,
            opcode => self.plain(opcode)?,
        }
        Ok(Step::Next)
    }

    fn frame(&mut self, opcode: u8) -> Argument<()> {
        if opcode == PROTO {
            return match self.reader.byte()? {
                0..=PROTOCOL_MAX => Ok(()),
                _ => Err("its protocol is newer than 5"),
            };
        }
        let length = self.reader.little(8)?;
        // Only looked at: frames say how much an unpickler should read at once.
        self.reader.clone().take(length).map(drop)
    }

    fn shuffle(&mut self, opcode: u8) -> Argument<()> {
        match opcode {
            MARK => self.stack.push(Value::Mark),
            DUP => self.stack.push(self.stack.top().ok_or(EMPTY)?),
            POP_MARK => return self.stack.pop_to_mark().map(drop).ok_or(NO_MARK),
            // As Python does it, which lets a pickler take back a mark.
            _ => match self.stack.pop() {
                Some(_) => {}
                None => return self.stack.pop_to_mark().map(drop).ok_or(EMPTY),
            },
        }
        Ok(())
    }

    fn memorise(&mut self, opcode: u8) -> Argument<()> {
        let key = match opcode {
            GET | PUT => self.reader.decimal()?,
            BINGET | BINPUT => self.reader.little(1)?,
            LONG_BINGET | LONG_BINPUT => self.reader.little(4)?,
            _ => self.memo.distinct,
        };
        if matches!(opcode, GET | BINGET | LONG_BINGET) {
            let value = self
                .memo
                .get(key)
                .ok_or("it uses a value that it has not kept")?;
            self.stack.push(value);
        } else {
            self.memo.put(key, self.stack.top().ok_or(EMPTY)?);
        }
        Ok(())
    }

    fn text(&mut self, opcode: u8) -> Argument<()> {
        let reader = &mut self.reader;
        let text = match opcode {
            STRING => text::quoted(reader.line()?).ok_or("a string is not quoted well")?,
            UNICODE => text::raw_unicode(reader.line()?),
            BINSTRING => Text::new(reader.counted_signed()?),
            SHORT_BINSTRING | SHORT_BINBYTES => Text::new(reader.counted(1)?),
            BINBYTES => Text::new(reader.counted(4)?),
            BINBYTES8 => Text::new(reader.counted(8)?),
            SHORT_BINUNICODE => text::ascii(reader.counted(1)?),
            BINUNICODE => text::ascii(reader.counted(4)?),
            _ => text::ascii(reader.counted(8)?),
        };
        self.stack.push(text.map_or(Value::Other, Value::Text));
        Ok(())
    }

    fn change_list(&mut self, opcode: u8) -> Argument<()> {
        let items = match opcode {
            APPEND => {
                let item = self.pop()?;
                Popped {
                    first: Some(item),
                    count: 1,
                }
            }
            EMPTY_LIST => Popped {
                first: None,
                count: 0,
            },
            _ => self.stack.pop_to_mark().ok_or(NO_MARK)?,
        };
        if matches!(opcode, EMPTY_LIST | LIST) {
            // One list for each byte of a pickle at the most.
            let number = u32::try_from(self.lists.len()).map_err(|_| "it has 2^32 lists")?;
            let mut head = ListHead::default();
            head.append(&items);
            self.lists.push(head);
            self.stack.push(Value::List(number));
        } else if let Value::List(number) = self.stack.top().ok_or(EMPTY)? {
            self.list(number)?.append(&items);
        }
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Argument<()> {
        let first = match opcode {
            TUPLE => self.stack.pop_to_mark().ok_or(NO_MARK)?.first,
            _ => {
                for _ in TUPLE1..opcode {
                    self.pop()?;
                }
                Some(self.pop()?)
            }
        };
        self.stack.push(Value::tuple(first));
        Ok(())
    }

    /// What takes values off the stack and leaves nothing of interest.
    fn combine(&mut self, opcode: u8) -> Argument<()> {
        if opcode == INST {
            self.reader.line()?;
            self.reader.line()?;
        }
        let (taken, leaves_new) = match opcode {
            REDUCE | NEWOBJ | STACK_GLOBAL => (2, true),
            NEWOBJ_EX => (3, true),
            BUILD => (1, false),
            SETITEM => (2, false),
            _ => {
                self.stack.pop_to_mark().ok_or(NO_MARK)?;
                (0, matches!(opcode, DICT | FROZENSET | OBJ | INST))
            }
        };
        for _ in 0..taken {
            self.pop()?;
        }
        if leaves_new {
            self.stack.push(Value::Other);
        } else {
            self.stack.top().ok_or(EMPTY)?;
        }
        Ok(())
    }

    /// What leaves a value of no interest.
    fn plain(&mut self, opcode: u8) -> Argument<()> {
        let reader = &mut self.reader;
        match opcode {
            NONE | NEWTRUE | NEWFALSE | EMPTY_TUPLE | EMPTY_DICT | EMPTY_SET => {}
            BININT1 | EXT1 => drop(reader.take(1)?),
            BININT2 | EXT2 => drop(reader.take(2)?),
            BININT | EXT4 => drop(reader.take(4)?),
            BINFLOAT => drop(reader.take(8)?),
            INT | LONG | FLOAT => drop(reader.line()?),
            LONG1 => drop(reader.counted(1)?),
            LONG4 => drop(reader.counted_signed()?),
            BYTEARRAY8 => drop(reader.counted(8)?),
            GLOBAL => {
                reader.line()?;
                reader.line()?;
            }
            NEXT_BUFFER | READONLY_BUFFER => return Err("it needs a buffer from elsewhere"),
            _ => return Err("it has an unknown opcode"),
        }
        self.stack.push(Value::Other);
        Ok(())
    }

    fn pop(&mut self) -> Argument<Value> {
        self.stack.pop().ok_or(EMPTY)
    }

    fn list(&mut self, number: u32) -> Argument<&mut ListHead> {
        self.lists.get_mut(number as usize).ok_or(EMPTY)
    }
}

/// The values that a pickle refers back to. Picklers number them from 0 or 1 on.
#[derive(Debug, Default)]
struct Memo {
    /// By number; a mark stands for none.
    dense: Vec<Value>,
    /// Numbers that are far beyond the number of those before.
    sparse: BTreeMap<u64, Value>,
    distinct: u64,
}

impl Memo {
    fn get(&self, key: u64) -> Option<Value> {
        let dense = usize::try_from(key)
            .ok()
            .and_then(|key| self.dense.get(key));
        let dense = dense.copied().filter(|value| *value != Value::Mark);
        dense.or_else(|| self.sparse.get(&key).copied())
    }

    fn put(&mut self, key: u64, value: Value) {
        if self.get(key).is_none() {
            self.distinct += 1;
        }
        let near = usize::try_from(key)
            .ok()
            .filter(|key| *key < self.dense.len() + GAP_MAX);
        let Some(key) = near else {
            self.sparse.insert(key, value);
            return;
        };
        if key >= self.dense.len() {
            self.dense.resize(key + 1, Value::Mark);
        }
        if let Some(place) = self.dense.get_mut(key) {
            *place = value;
        }
    }
}

/// How many numbers may be left out for a memo to count as dense.
const GAP_MAX: usize = 16;

const PROTOCOL_MAX: u8 = 5;

const EMPTY: &str = "it takes a value where there is none";
const NO_MARK: &str = "it looks for a mark where there is none";
