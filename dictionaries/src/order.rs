//! The forms in which values lie in indexes: bytes in the values' order.

use std::ops::Bound;

use durum_core::{Error, ErrorKind, Result};

use crate::class::{Index, IndexType};
use crate::value::{Fields, Value};

/// What to look for in an index.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// This value.
    Equals(Value),
    /// The values between these.
    Range(Bound<Value>, Bound<Value>),
    /// Strings, or bytes, that begin so.
    Prefix(Value),
    /// Any value at all.
    Any,
}

/// The values of a query, by their whole forms.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) low: Bound<Vec<u8>>,
    pub(crate) high: Bound<Vec<u8>>,
}

impl Query {
    /// # Errors
    /// `Usage` where the index cannot have such values.
    pub(crate) fn span(&self, index: &Index) -> Result<Span> {
        let form = |value: &Value| form(index.of, value).ok_or_else(|| unfit(index, value));
        let bound = |bound: &Bound<Value>| {
            Ok(match bound {
                Bound::Included(value) => Bound::Included(form(value)?),
                Bound::Excluded(value) => Bound::Excluded(form(value)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        let (low, high) = match self {
            Query::Equals(value) => {
                let form = form(value)?;
                (Bound::Included(form.clone()), Bound::Included(form))
            }
            Query::Range(low, high) => (bound(low)?, bound(high)?),
            Query::Prefix(value) => {
                if !matches!(index.of, IndexType::String | IndexType::Bytes) {
                    return Err(
                        unfit(index, value).hint("Only strings and bytes have a beginning.")
                    );
                }
                let form = form(value)?;
                (Bound::Included(form.clone()), after_prefix(form))
            }
            Query::Any => (Bound::Unbounded, Bound::Unbounded),
        };
        Ok(Span { low, high })
    }
}

impl Span {
    /// Whether the value of this whole form is meant.
    pub(crate) fn has(&self, form: &[u8]) -> bool {
        let above = match &self.low {
            Bound::Included(low) => form >= low.as_slice(),
            Bound::Excluded(low) => form > low.as_slice(),
            Bound::Unbounded => true,
        };
        above
            && match &self.high {
                Bound::Included(high) => form <= high.as_slice(),
                Bound::Excluded(high) => form < high.as_slice(),
                Bound::Unbounded => true,
            }
    }

    /// The form of the least of a dictionary's values that are meant.
    pub(crate) fn least(&self, index: &Index, fields: &Fields) -> Option<Vec<u8>> {
        forms(index, fields).into_iter().find(|form| self.has(form))
    }

    /// From which, and up to but without which, forms as they lie in an index the values are found, where `most` bytes of each
    /// lie there. Where a form was cut off there are others among them.
    pub(crate) fn lying(&self, most: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let is_whole = |form: &[u8]| form.len() < most;
        let low = match &self.low {
            Bound::Unbounded => Vec::new(),
            Bound::Excluded(low) if is_whole(low) => next(low),
            Bound::Included(low) | Bound::Excluded(low) => cut(low, most).to_vec(),
        };
        let high = match &self.high {
            Bound::Unbounded => None,
            Bound::Excluded(high) if is_whole(high) => Some(high.clone()),
            Bound::Included(high) | Bound::Excluded(high) => Some(next(cut(high, most))),
        };
        (low, high)
    }
}

/// The values of a dictionary in an index: their whole forms, in order, each once. Values of other types are not in it.
pub(crate) fn forms(index: &Index, fields: &Fields) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = match fields.get(index.field()) {
        Some(Value::List(values)) if index.many => values
            .iter()
            .filter_map(|value| form(index.of, value))
            .collect(),
        Some(value) if !index.many => form(index.of, value).into_iter().collect(),
        _ => Vec::new(),
    };
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// As much of a form as lies in an index. Dictionaries of longer values are found by that much, and then looked at.
pub(crate) fn cut(form: &[u8], most: usize) -> &[u8] {
    form.get(..most).unwrap_or(form)
}

/// Integers as big-endian with the sign turned over; floats so, too, by the order of IEEE 754, where zero has one sign and all that
/// are no number are one; the rest as its bytes.
pub(crate) fn form(of: IndexType, value: &Value) -> Option<Vec<u8>> {
    Some(match (of, value) {
        (IndexType::Bool, Value::Bool(value)) => vec![u8::from(*value)],
        (IndexType::Int, Value::Int(value)) => ((*value as u64) ^ (1 << 63)).to_be_bytes().to_vec(),
        (IndexType::Float, Value::Int(value)) => float(*value as f64),
        (IndexType::Float, Value::Float(value)) => float(*value),
        (IndexType::String, Value::String(text)) => text.as_bytes().to_vec(),
        (IndexType::Bytes, Value::Bytes(bytes)) => bytes.clone(),
        _ => return None,
    })
}

fn float(value: f64) -> Vec<u8> {
    let value = match value {
        value if value.is_nan() => f64::NAN.copysign(1.0),
        0.0 => 0.0,
        value => value,
    };
    let bits = value.to_bits();
    let turned = match bits >> 63 {
        0 => bits | (1 << 63),
        _ => !bits,
    };
    turned.to_be_bytes().to_vec()
}

/// The least form behind this one.
fn next(form: &[u8]) -> Vec<u8> {
    let mut next = form.to_vec();
    next.push(0);
    next
}

/// The end of all that begin so.
fn after_prefix(mut form: Vec<u8>) -> Bound<Vec<u8>> {
    while let Some(last) = form.pop() {
        if let Some(above) = last.checked_add(1) {
            form.push(above);
            return Bound::Excluded(form);
        }
    }
    Bound::Unbounded
}

fn unfit(index: &Index, value: &Value) -> Error {
    Error::new(ErrorKind::Usage, "select dictionaries").because(format!(
        "the index `{}` is by {}, and not by {}",
        index.name,
        index.of.name(),
        value.sort()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM_BYTES_MAX: usize = 200;

    #[test]
    fn forms_are_in_the_order_of_the_values() {
        let ints = [i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX].map(Value::Int);
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -f64::MIN_POSITIVE,
            0.0,
            5e-324,
            1.0,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(Value::Float);
        let strings = ["", "\0", "a", "a\0", "ab", "b", "é", "𝄞"].map(Value::from);
        let bools = [false, true].map(Value::Bool);
        for (of, values) in [
            (IndexType::Int, &ints[..]),
            (IndexType::Float, &floats[..]),
            (IndexType::String, &strings[..]),
            (IndexType::Bool, &bools[..]),
        ] {
            let forms: Vec<_> = values
                .iter()
                .map(|value| form(of, value).unwrap())
                .collect();
            assert!(
                forms.is_sorted_by(|one, two| one < two),
                "{of:?}: {forms:?}"
            );
        }
        assert_eq!(float(-0.0), float(0.0));
        assert_eq!(float(-f64::NAN), float(f64::NAN));
        assert_eq!(form(IndexType::Float, &Value::Int(3)), Some(float(3.0)));
    }

    #[test]
    fn a_span_as_it_lies_has_all_that_the_query_has() {
        let long = |last: &str| format!("{}{last}", "x".repeat(FORM_BYTES_MAX));
        let values =
            ["", "a", "a\0", "b", &long(""), &long("a"), &long("b"), "y"].map(str::to_owned);
        let index = Index::new("name", IndexType::String);
        let bounds = || {
            let each = values.iter().flat_map(|value| {
                let value = Value::from(value.as_str());
                [Bound::Included(value.clone()), Bound::Excluded(value)]
            });
            each.chain([Bound::Unbounded])
        };
        for low in bounds() {
            for high in bounds() {
                let span = Query::Range(low.clone(), high.clone())
                    .span(&index)
                    .unwrap();
                let (from, to) = span.lying(FORM_BYTES_MAX);
                for value in &values {
                    let lies = cut(value.as_bytes(), FORM_BYTES_MAX);
                    let found = lies >= from.as_slice() && to.as_deref().is_none_or(|to| lies < to);
                    assert!(
                        found || !span.has(value.as_bytes()),
                        "{low:?} {high:?} {value}"
                    );
                    let is_cut = values.iter().any(|value| {
                        value.len() > FORM_BYTES_MAX
                            && lies == cut(value.as_bytes(), FORM_BYTES_MAX)
                    });
                    assert!(
                        is_cut || found == span.has(value.as_bytes()),
                        "{low:?} {high:?} {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn prefixes_end_where_they_should() {
        let index = Index::new("name", IndexType::Bytes);
        let span = |bytes: &[u8]| Query::Prefix(Value::from(bytes)).span(&index).unwrap();
        let all = span(b"");
        assert!(all.has(b"") && all.has(&[255; 9]));
        let some = span(&[1, 255, 255]);
        assert!(some.has(&[1, 255, 255, 0]) && some.has(&[1, 255, 255]));
        assert!(!some.has(&[2]) && !some.has(&[1, 255, 254]));
        let last = span(&[255, 255]);
        assert!(last.has(&[255, 255, 1]) && !last.has(&[255, 254]));
        let ints = Index::new("name", IndexType::Int);
        let error = Query::Prefix(Value::Int(1)).span(&ints).unwrap_err();
        assert!(error.to_string().contains("beginning"), "{error}");
    }
}
