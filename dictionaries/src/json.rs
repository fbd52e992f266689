//! Values as JSON.
//!
//! All that JSON has is itself; a number with a fraction or an exponent is a float, another one an integer. What it does not have is
//! a map with one name: `{"$bytes": "base64"}`, `{"$float": "NaN" | "inf" | "-inf"}`, and `{"$map": {...}}` for a map that would
//! otherwise be taken for one of these.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use durum_core::{Error, ErrorKind, Result};
use serde_json::{Map, Number, Value as Json, json};

use crate::value::{DEPTH_MAX, Fields, Value};

const READ: &str = "read a value";

/// A dictionary's fields as a JSON object.
pub fn from_fields(fields: &Fields) -> Json {
    Json::Object(object(fields))
}

/// A dictionary's fields of a JSON object.
///
/// # Errors
/// `Usage` where it is not one, or has a value that dictionaries do not.
pub fn to_fields(json: &Json) -> Result<Fields> {
    match json {
        Json::Object(fields) => read_map(fields, DEPTH_MAX),
        _ => Err(refused("a dictionary is a JSON object".to_owned())),
    }
}

/// A value as JSON.
pub fn from_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::Number((*value).into()),
        Value::Float(value) => match Number::from_f64(*value) {
            Some(number) => Json::Number(number),
            None if value.is_nan() => json!({"$float": "NaN"}),
            None if *value > 0.0 => json!({"$float": "inf"}),
            None => json!({"$float": "-inf"}),
        },
        Value::String(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => json!({"$bytes": BASE64.encode(bytes)}),
        Value::List(values) => Json::Array(values.iter().map(from_value).collect()),
        Value::Map(values) if is_marked(values.keys()) => json!({"$map": object(values)}),
        Value::Map(values) => Json::Object(object(values)),
    }
}

/// A value of JSON.
///
/// # Errors
/// `Usage` for an integer that 64 bits do not hold, for what stands in the place of bytes and is not, and for what is nested too deep.
pub fn to_value(json: &Json) -> Result<Value> {
    read(json, DEPTH_MAX)
}

fn object(values: &BTreeMap<String, Value>) -> Map<String, Json> {
    let entry = |(name, value): (&String, &Value)| (name.clone(), from_value(value));
    values.iter().map(entry).collect()
}

/// Whether a map of these names would be read as something else.
fn is_marked<'a>(mut names: impl ExactSizeIterator<Item = &'a String>) -> bool {
    names.len() == 1 && names.all(|name| ["$bytes", "$float", "$map"].contains(&name.as_str()))
}

fn read(json: &Json, levels: usize) -> Result<Value> {
    let Some(below) = levels.checked_sub(1) else {
        return Err(refused(format!("it is nested more than {DEPTH_MAX} deep")));
    };
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => read_number(number)?,
        Json::String(text) => Value::String(text.clone()),
        Json::Array(values) => {
            let values = values.iter().map(|value| read(value, below));
            Value::List(values.collect::<Result<_>>()?)
        }
        Json::Object(values) if is_marked(values.keys()) => {
            let marked = values.iter().next();
            let (name, value) = marked.ok_or_else(|| refused("it is empty".to_owned()))?;
            read_marked(name, value, below)?
        }
        Json::Object(values) => Value::Map(read_map(values, below)?),
    })
}

fn read_map(values: &Map<String, Json>, levels: usize) -> Result<BTreeMap<String, Value>> {
    let entry = |(name, value): (&String, &Json)| Ok((name.clone(), read(value, levels)?));
    values.iter().map(entry).collect()
}

fn read_number(number: &Number) -> Result<Value> {
    match (number.as_i64(), number.is_u64(), number.as_f64()) {
        (Some(value), ..) => Ok(Value::Int(value)),
        (None, false, Some(value)) => Ok(Value::Float(value)),
        _ => Err(refused(format!("{number} is not below 2^63"))),
    }
}

fn read_marked(name: &str, value: &Json, levels: usize) -> Result<Value> {
    match (name, value) {
        ("$bytes", Json::String(text)) => BASE64
            .decode(text)
            .map(Value::Bytes)
            .map_err(|_| refused(format!("`{text}` is not base64"))),
        ("$float", Json::String(text)) => match text.as_str() {
            "NaN" => Ok(Value::Float(f64::NAN)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            _ => Err(refused(format!("`{text}` is none of NaN, inf and -inf"))),
        },
        ("$map", Json::Object(values)) => Ok(Value::Map(read_map(values, levels)?)),
        _ => Err(refused(format!("`{name}` has another sort of value"))),
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Usage, READ).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_back() {
        let nested = Value::Map([("$bytes".to_owned(), Value::Null)].into());
        let list = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Int(1),
            Value::Float(1.0),
            Value::Float(-0.0),
            Value::Float(0.1 + 0.2),
            Value::Float(5e-324),
            Value::Float(1.797_693_134_862_315_7e308),
            Value::Float(f64::NAN),
            Value::Float(f64::INFINITY),
            Value::Float(f64::NEG_INFINITY),
            Value::String("é\u{0}\"".to_owned()),
            Value::Bytes(vec![0, 255]),
            Value::Map([("$map".to_owned(), nested.clone())].into()),
            nested,
        ];
        let value = Value::List(list);
        let text = from_value(&value).to_string();
        let read = to_value(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(read, value, "{text}");
    }

    #[test]
    fn what_no_value_is_gets_refused() {
        for (text, why) in [
            ("9223372036854775808", "2^63"),
            (r#"{"$bytes": "?"}"#, "base64"),
            (r#"{"$float": "1"}"#, "NaN"),
            (r#"{"$map": 1}"#, "another sort"),
        ] {
            let error = to_value(&serde_json::from_str(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        to_value(&serde_json::from_str(&deep).unwrap()).unwrap();
        let deeper = format!("[{deep}]");
        let error = to_value(&serde_json::from_str(&deeper).unwrap()).unwrap_err();
        assert!(error.to_string().contains("nested"), "{error}");
    }
}
