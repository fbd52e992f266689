//! Answers of nodes: bounded, and read with care.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::de::DeserializeOwned;

use crate::fault::Fault;

/// No message of an error is longer.
pub(crate) const ERROR_MAX: usize = 64 << 10;

/// Reads a body to its end.
pub(crate) async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Fault> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(Fault::TooLong(limit));
    }
    // Not the announced length: memory is taken for what has come.
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::Lost(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if all.len() + data.len() > limit {
                return Err(Fault::TooLong(limit));
            }
            if all.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

/// Reads JSON.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The code and the message of an error, which is JSON from K2V and the administration, XML from S3, and text
/// from others.
pub(crate) fn error(body: &[u8]) -> (String, String) {
    #[derive(serde::Deserialize)]
    struct Told {
        code: String,
        message: String,
    }
    if let Ok(told) = serde_json::from_slice::<Told>(body) {
        return (told.code, told.message);
    }
    let text = String::from_utf8_lossy(body).into_owned();
    match elements(&text) {
        Ok(elements) => {
            let find = |name: &str| {
                let path = format!("Error/{name}");
                let found = elements.iter().find(|element| element.path == path);
                found.map(|element| element.text.clone())
            };
            match find("Code") {
                Some(code) => (code, find("Message").unwrap_or_default()),
                None => (String::new(), text),
            }
        }
        Err(_) => (String::new(), text),
    }
}

/// An element of an XML document, at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its name below those that it is in: `Error/Code`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// No document is nested deeper.
const DEPTH_MAX: usize = 16;

/// All elements of a document in the order in which they end.
pub(crate) fn elements(xml: &str) -> Result<Vec<Element>, String> {
    let mut reader = Reader::from_str(xml);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut found = Vec::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if path.len() >= DEPTH_MAX {
                    return Err("it is nested too deeply".to_owned());
                }
                let name = start.local_name();
                path.push(name.as_ref().to_owned());
                text.clear();
            }
            Event::Text(more) => text.push_str(&more),
            Event::GeneralRef(reference) => text.push(resolve(&reference)?),
            Event::CData(more) => text.push_str(&more),
            Event::End(_) => {
                let text = std::mem::take(&mut text);
                let path_text = path.join("/");
                path.pop();
                found.push(Element {
                    path: path_text,
                    text,
                });
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match path.is_empty() {
        true => Ok(found),
        false => Err("it ends too early".to_owned()),
    }
}

/// The character of `&amp;` and the like; there are no entities of a document's own.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<char, String> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err("it has an unknown entity".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_all_forms() {
        let json = br#"{"code":"NoSuchKey","message":"Key not found","path":"/b/p"}"#;
        assert_eq!(error(json), ("NoSuchKey".into(), "Key not found".into()));
        let xml =
            b"<?xml version=\"1.0\"?><Error><Code>A&amp;B</Code><Message>why</Message></Error>";
        assert_eq!(error(xml), ("A&B".into(), "why".into()));
        assert_eq!(error(b"plain"), (String::new(), "plain".into()));
        assert_eq!(error(b""), (String::new(), String::new()));
        let _no_panic = error(b"\xff<Error><Code>");
    }

    #[test]
    fn elements_have_paths_and_hostile_documents_are_refused() {
        let xml = "<a xmlns='x'><b>1</b><b> &lt;&#65;</b><c/></a>";
        let found = elements(xml).unwrap();
        let shown: Vec<(&str, &str)> = found
            .iter()
            .map(|it| (it.path.as_str(), it.text.as_str()))
            .collect();
        assert_eq!(shown, [("a/b", "1"), ("a/b", " <A"), ("a", "")]);
        assert!(elements(&"<a>".repeat(1000)).is_err());
        assert!(elements("<a><b></a>").is_err());
        assert!(elements("<a>&bomb;</a>").is_err());
        assert!(elements("<a>").is_err());
    }
}
