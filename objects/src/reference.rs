//! References between objects.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU64;

use durum_core::{Error, ErrorKind, Oid, Result};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{self, Serialize, Serializer};

/// Which open database of this process a reference is of; never 0. So a reference of one database that is
/// used in another is noticed, though it is only eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark(pub(crate) u16);

/// How many bits of a reference are the OID; the rest is the mark.
const OID_BITS: u32 = 52;
/// The largest mark.
pub(crate) const MARK_MAX: u16 = (1 << (64 - OID_BITS)) - 1;

/// The name by which MessagePack's serde crate recognises values of application-defined types.
const EXTENSION: &str = rmp_serde::MSGPACK_EXT_STRUCT_NAME;
/// The application-defined type of references.
pub(crate) const STRONG: i8 = 1;
/// The application-defined type of weak references.
pub(crate) const WEAK: i8 = 2;

/// Eight bytes: an OID, and the mark of the database that it is of. There is no mark 0, so it is not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Packed(NonZeroU64);

impl Packed {
    fn new(mark: Mark, oid: Oid) -> Result<Packed> {
        let bits = u64::from(mark.0) << OID_BITS | oid.0;
        match NonZeroU64::new(bits).filter(|_| oid.0 >> OID_BITS == 0) {
            Some(bits) => Ok(Packed(bits)),
            None => Err(Error::new(ErrorKind::Unsupported, "refer to an object")
                .because("typed objects have OIDs below 2^52")
                .with_oid(oid)),
        }
    }

    fn oid(self) -> Oid {
        Oid(self.0.get() & ((1 << OID_BITS) - 1))
    }

    fn mark(self) -> Mark {
        Mark((self.0.get() >> OID_BITS) as u16)
    }

    fn oid_in(self, mark: Mark) -> Result<Oid> {
        if self.mark() == mark {
            return Ok(self.oid());
        }
        Err(foreign(self.oid()))
    }
}

fn foreign(oid: Oid) -> Error {
    Error::new(ErrorKind::Usage, "follow a reference")
        .because("it is one of another database, or of one that was closed")
        .hint("Look the object up in this database, from its root.")
        .with_oid(oid)
}

thread_local! {
    /// What the object that this thread is just writing or reading belongs to.
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

struct Context {
    mark: Mark,
    /// What was referred to since the object's beginning.
    refs: Vec<Oid>,
}

/// Restores what was there before, also where a value's own code panics.
struct Within(Option<Context>);

impl Within {
    fn enter(mark: Mark, refs: Vec<Oid>) -> Within {
        Within(CONTEXT.with(|context| context.replace(Some(Context { mark, refs }))))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let before = self.0.take();
        CONTEXT.with(|context| *context.borrow_mut() = before);
    }
}

/// Runs `write`, and adds to `refs` what it refers to.
pub(crate) fn collecting<R>(mark: Mark, refs: &mut Vec<Oid>, write: impl FnOnce() -> R) -> R {
    let within = Within::enter(mark, std::mem::take(refs));
    let result = write();
    if let Some(context) = CONTEXT.with(|context| context.borrow_mut().take()) {
        *refs = context.refs;
    }
    drop(within);
    result
}

/// Runs `read`; references that it reads are of the database with `mark`.
pub(crate) fn within<R>(mark: Mark, read: impl FnOnce() -> R) -> R {
    let _within = Within::enter(mark, Vec::new());
    read()
}

/// Notes that the object which is being written refers to this one.
fn note(packed: Packed, strong: bool) -> Result<(), String> {
    CONTEXT.with(|context| match context.borrow_mut().as_mut() {
        Some(context) if packed.mark() == context.mark => {
            if strong {
                context.refs.push(packed.oid());
            }
            Ok(())
        }
        Some(_) => Err(format!(
            "it refers to object {} of another database",
            packed.oid()
        )),
        // Not an object of a database: a log message, or JSON.
        None => Ok(()),
    })
}

fn received(oid: u64) -> Result<Packed, String> {
    let mark = CONTEXT.with(|context| context.borrow().as_ref().map(|context| context.mark));
    let Some(mark) = mark else {
        return Err("a reference can be read only as a part of an object".to_owned());
    };
    Packed::new(mark, Oid(oid)).map_err(|error| error.to_string())
}

struct Bytes([u8; 8], usize);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.get(8 - self.1..).unwrap_or(&self.0))
    }
}

fn write<S: Serializer>(packed: Packed, kind: i8, serializer: S) -> Result<S::Ok, S::Error> {
    note(packed, kind == STRONG).map_err(ser::Error::custom)?;
    let oid = packed.oid().0;
    if serializer.is_human_readable() {
        return serializer.serialize_u64(oid);
    }
    // MessagePack has short forms of 1, 2, 4 and 8 bytes.
    let length = match oid {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    serializer.serialize_newtype_struct(EXTENSION, &(kind, Bytes(oid.to_be_bytes(), length)))
}

struct Extension(i8);

impl<'de> Visitor<'de> for Extension {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0 == WEAK {
            "a weak reference"
        } else {
            "a reference"
        })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<u64, D::Error> {
        inner.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<u64, A::Error> {
        let kind: Option<i8> = parts.next_element()?;
        if kind != Some(self.0) {
            let kind = kind.map(i64::from).unwrap_or_default();
            return Err(de::Error::invalid_type(de::Unexpected::Signed(kind), &self));
        }
        let OidBytes(oid) = parts
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(1, &self))?;
        Ok(oid)
    }
}

struct OidBytes(u64);

impl<'de> Deserialize<'de> for OidBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OidBytes, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = OidBytes;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an OID of up to eight bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<OidBytes, E> {
                if bytes.is_empty() || bytes.len() > 8 {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                let oid = bytes
                    .iter()
                    .fold(0, |oid, byte| oid << 8 | u64::from(*byte));
                Ok(OidBytes(oid))
            }
        }
        deserializer.deserialize_bytes(Reader)
    }
}

fn read<'de, D: Deserializer<'de>>(kind: i8, deserializer: D) -> Result<Packed, D::Error> {
    let oid = deserializer.deserialize_newtype_struct(EXTENSION, Extension(kind))?;
    received(oid).map_err(de::Error::custom)
}

macro_rules! reference {
    ($name:ident, $kind:expr) => {
        impl<T> $name<T> {
            /// The OID of what it refers to.
            pub fn oid(self) -> Oid {
                self.packed.oid()
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> $name<T> {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> PartialEq for $name<T> {
            fn eq(&self, other: &$name<T>) -> bool {
                self.packed == other.packed
            }
        }

        impl<T> Eq for $name<T> {}

        impl<T> PartialOrd for $name<T> {
            fn partial_cmp(&self, other: &$name<T>) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl<T> Ord for $name<T> {
            fn cmp(&self, other: &$name<T>) -> std::cmp::Ordering {
                self.packed.cmp(&other.packed)
            }
        }

        impl<T> Hash for $name<T> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.packed.hash(state);
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({})", stringify!($name), self.oid())
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write(self.packed, $kind, serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name<T>, D::Error> {
                Ok($name {
                    packed: read($kind, deserializer)?,
                    target: PhantomData,
                })
            }
        }
    };
}

/// A reference to an object of type `T`, which it keeps alive where it is a part of an object that is.
///
/// It takes eight bytes, can be copied, and says nothing about the object until a
/// [`Transaction`](crate::Transaction) of its own database follows it; one of another database is refused.
pub struct Ref<T> {
    packed: Packed,
    target: PhantomData<fn() -> T>,
}

reference!(Ref, STRONG);

/// A reference to an object of type `T` that does not keep it alive.
///
/// [`Transaction::upgrade`](crate::Transaction::upgrade) says whether the object is still there. It cannot
/// meet another object: an OID is never used again.
pub struct WeakRef<T> {
    packed: Packed,
    target: PhantomData<fn() -> T>,
}

reference!(WeakRef, WEAK);

impl<T> Ref<T> {
    pub(crate) fn to(mark: Mark, oid: Oid) -> Result<Ref<T>> {
        Ok(Ref {
            packed: Packed::new(mark, oid)?,
            target: PhantomData,
        })
    }

    pub(crate) fn oid_in(self, mark: Mark) -> Result<Oid> {
        self.packed.oid_in(mark)
    }

    /// A weak reference to the same object.
    pub fn downgrade(self) -> WeakRef<T> {
        WeakRef {
            packed: self.packed,
            target: PhantomData,
        }
    }

    /// The same reference, taken to be to an object of type `U`: whether it is one is seen when it is followed.
    pub fn cast<U>(self) -> Ref<U> {
        Ref {
            packed: self.packed,
            target: PhantomData,
        }
    }
}

impl<T> WeakRef<T> {
    pub(crate) fn strong(self) -> Ref<T> {
        Ref {
            packed: self.packed,
            target: PhantomData,
        }
    }
}
