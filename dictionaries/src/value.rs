//! What dictionaries hold.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The entries of a dictionary: names, and what they stand for.
pub type Fields = BTreeMap<String, Value>;

/// How deep lists and maps may be nested: with the marks that [JSON](crate::json) needs still less than its usual parsers take.
pub const DEPTH_MAX: usize = 48;

/// A value in a dictionary.
///
/// Values are equal if they are of one sort and have the same content: `Int(1)` is not `Float(1.0)`. Floats are
/// equal if they are the same by IEEE 754's total order, so that a NaN equals itself; `0.0` and `-0.0` differ.
/// The order is by sort first, in the order of the variants.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map of names to values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The sort's name, for messages.
    pub fn sort(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::String(_) => 4,
            Value::Bytes(_) => 5,
            Value::List(_) => 6,
            Value::Map(_) => 7,
        }
    }

    /// Bytes that it takes, about: contents, and a few for each value.
    pub fn weight(&self) -> usize {
        let within = match self {
            Value::Null | Value::Bool(_) => 0,
            Value::Int(_) | Value::Float(_) => 8,
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(Value::weight).sum(),
            Value::Map(values) => values
                .iter()
                .map(|(name, value)| name.len() + value.weight())
                .sum(),
        };
        within + 4
    }

    /// Whether lists and maps are nested no more than `levels` deep.
    pub(crate) fn is_within(&self, levels: usize) -> bool {
        let Some(below) = levels.checked_sub(1) else {
            return false;
        };
        match self {
            Value::List(values) => values.iter().all(|value| value.is_within(below)),
            Value::Map(values) => values.values().all(|value| value.is_within(below)),
            _ => true,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(mine), Value::Bool(other)) => mine.cmp(other),
            (Value::Int(mine), Value::Int(other)) => mine.cmp(other),
            (Value::Float(mine), Value::Float(other)) => mine.total_cmp(other),
            (Value::String(mine), Value::String(other)) => mine.cmp(other),
            (Value::Bytes(mine), Value::Bytes(other)) => mine.cmp(other),
            (Value::List(mine), Value::List(other)) => mine.cmp(other),
            (Value::Map(mine), Value::Map(other)) => mine.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($type:ty => $variant:ident,)*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool,
    i64 => Int,
    i32 => Int,
    u32 => Int,
    f64 => Float,
    String => String,
    &str => String,
    Vec<u8> => Bytes,
    &[u8] => Bytes,
    Vec<Value> => List,
    BTreeMap<String, Value> => Map,
}

/// In a self-describing format, which MessagePack is, each value is what that has for it.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_bytes(value),
            Value::List(values) => serializer.collect_seq(values),
            Value::Map(values) => serializer.collect_map(values),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value of a dictionary")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value)
            .map(Value::Int)
            .map_err(|_| E::custom(format!("{value} is not below 2^63")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_byte_buf<E>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if values.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Map(values))
    }
}
