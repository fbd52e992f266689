//! Values without their Rust types.

use durum_core::Oid;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::reference::{STRONG, WEAK};
use crate::types::Fields;

/// How deep values may be nested. What a program has derived is far from it; hostile bytes are not.
const DEPTH_MAX: usize = 128;
/// What the decoder takes of its own limit for each level.
const STEPS_A_LEVEL: usize = 2;

/// A value as its bytes show it.
///
/// With serde it is written as JSON has it best: references as `{"ref": 5}` and `{"weak_ref": 5}`, bytes as
/// `{"bytes": "00ff"}`, maps whose keys are not text as lists of pairs.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `None`, and `()`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer of up to 64 bits.
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes; also text that is not UTF-8.
    Bytes(Vec<u8>),
    /// A sequence, a tuple, or a struct of which the names are not known.
    List(Vec<Value>),
    /// A map, in the order in which it is stored.
    Map(Vec<(Value, Value)>),
    /// A struct with the names of its fields.
    Struct(Vec<(String, Value)>),
    /// A variant of an enum, and what it holds.
    Variant(String, Box<Value>),
    /// A reference.
    Ref(Oid),
    /// A reference that does not keep its target.
    Weak(Oid),
    /// An application-defined type of MessagePack that is none of ours.
    Extension(i8, Vec<u8>),
    /// So many parts more, which were cut off.
    More(u64),
}

impl Value {
    /// Decodes the value that `bytes` begin with, whatever they are.
    ///
    /// # Errors
    /// Why they are none.
    pub fn decode(bytes: &[u8]) -> Result<Value, String> {
        let mut rest = bytes;
        match rmpv::decode::read_value_with_max_depth(&mut rest, DEPTH_MAX * STEPS_A_LEVEL) {
            Ok(value) => Ok(Value::of(value)),
            Err(rmpv::decode::Error::DepthLimitExceeded) => {
                Err(format!("it is nested deeper than {DEPTH_MAX} levels"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn of(value: rmpv::Value) -> Value {
        match value {
            rmpv::Value::Nil => Value::Nil,
            rmpv::Value::Boolean(value) => Value::Bool(value),
            rmpv::Value::Integer(value) => {
                let signed = value.as_i64().map(i128::from);
                Value::Integer(
                    signed
                        .or(value.as_u64().map(i128::from))
                        .unwrap_or_default(),
                )
            }
            rmpv::Value::F32(value) => Value::Float(f64::from(value)),
            rmpv::Value::F64(value) => Value::Float(value),
            rmpv::Value::String(text) => match text.is_str() {
                true => Value::Text(text.into_str().unwrap_or_default()),
                false => Value::Bytes(text.into_bytes()),
            },
            rmpv::Value::Binary(bytes) => Value::Bytes(bytes),
            rmpv::Value::Array(parts) => Value::List(parts.into_iter().map(Value::of).collect()),
            rmpv::Value::Map(pairs) => {
                let pairs = pairs.into_iter();
                Value::Map(
                    pairs
                        .map(|(key, value)| (Value::of(key), Value::of(value)))
                        .collect(),
                )
            }
            rmpv::Value::Ext(kind, bytes) => extension(kind, bytes),
        }
    }

    /// Gives the parts their names.
    pub(crate) fn named(self, fields: &Fields) -> Value {
        match (self, fields) {
            (Value::List(parts), Fields::Struct(names)) if !names.is_empty() => pair(parts, names),
            (Value::Text(variant), Fields::Enum(_)) => {
                Value::Variant(variant, Box::new(Value::Nil))
            }
            (Value::Map(pairs), Fields::Enum(variants)) => variant(pairs, variants),
            (value, _) => value,
        }
    }

    /// Everything that it refers to weakly, in the order of the value.
    pub fn weak_refs(&self) -> Vec<Oid> {
        let mut found = Vec::new();
        self.visit(&mut |value| {
            if let Value::Weak(oid) = value {
                found.push(*oid);
            }
        });
        found
    }

    /// Everything that it refers to, in the order of the value.
    pub fn refs(&self) -> Vec<Oid> {
        let mut found = Vec::new();
        self.visit(&mut |value| {
            if let Value::Ref(oid) = value {
                found.push(*oid);
            }
        });
        found
    }

    fn visit(&self, visit: &mut dyn FnMut(&Value)) {
        visit(self);
        match self {
            Value::List(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Value::Struct(fields) => fields.iter().for_each(|(_, part)| part.visit(visit)),
            Value::Variant(_, part) => part.visit(visit),
            Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                key.visit(visit);
                value.visit(visit);
            }),
            _ => {}
        }
    }
}

/// References are application-defined types, with the OID in up to eight bytes.
fn extension(kind: i8, bytes: Vec<u8>) -> Value {
    let oid = match bytes.len() {
        1..=8 => bytes
            .iter()
            .fold(0, |oid, byte| oid << 8 | u64::from(*byte)),
        _ => return Value::Extension(kind, bytes),
    };
    match kind {
        STRONG => Value::Ref(Oid(oid)),
        WEAK => Value::Weak(Oid(oid)),
        _ => Value::Extension(kind, bytes),
    }
}

/// Fields that were added at the end later have no names in the table.
fn pair(parts: Vec<Value>, names: &[String]) -> Value {
    let parts = parts.into_iter().enumerate();
    let fields = parts.map(|(number, part)| {
        let name = names.get(number).cloned();
        (name.unwrap_or_else(|| number.to_string()), part)
    });
    Value::Struct(fields.collect())
}

/// A variant that holds something is a map of its name to that.
fn variant(mut pairs: Vec<(Value, Value)>, variants: &[(String, Vec<String>)]) -> Value {
    match pairs.pop() {
        Some((Value::Text(name), part)) if pairs.is_empty() => {
            let names = variants.iter().find(|(variant, _)| *variant == name);
            let part = match (part, names) {
                (Value::List(parts), Some((_, names))) if !names.is_empty() => pair(parts, names),
                (part, _) => part,
            };
            Value::Variant(name, Box::new(part))
        }
        Some(last) => {
            pairs.push(last);
            Value::Map(pairs)
        }
        None => Value::Map(pairs),
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                _ => serializer.collect_str(value),
            },
            // JSON has no such numbers.
            Value::Float(value) if !value.is_finite() => serializer.collect_str(value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => single(serializer, "bytes", &hex(bytes)),
            Value::List(parts) => serializer.collect_seq(parts),
            Value::Map(pairs) => serialize_map(pairs, serializer),
            Value::Struct(fields) => {
                serializer.collect_map(fields.iter().map(|(name, part)| (name, part)))
            }
            Value::Variant(name, part) => match **part {
                Value::Nil => serializer.serialize_str(name),
                _ => single(serializer, name, part),
            },
            Value::Ref(oid) => single(serializer, "ref", &oid.0),
            Value::Weak(oid) => single(serializer, "weak_ref", &oid.0),
            Value::Extension(kind, bytes) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("extension", kind)?;
                map.serialize_entry("bytes", &hex(bytes))?;
                map.end()
            }
            Value::More(left) => single(serializer, "more", left),
        }
    }
}

fn single<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    key: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

fn serialize_map<S: Serializer>(
    pairs: &[(Value, Value)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let texts = pairs.iter().map(|(key, value)| match key {
        Value::Text(key) => Some((key, value)),
        _ => None,
    });
    match texts.collect::<Option<Vec<_>>>() {
        Some(pairs) => serializer.collect_map(pairs),
        None => serializer.collect_seq(pairs),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
