//! Objects: large values under a key.

use bytes::{Bytes, BytesMut};
use durum_core::{Error, ErrorKind, Result};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;

use crate::answer::{Element, elements};
use crate::cluster::Access;
use crate::request::Ask;
use crate::routing::{Answer, Body, malformed};
use crate::sigv4::{Service, encode};

/// The longest key of an object, in bytes.
pub const OBJECT_KEY_MAX: usize = 471;
/// The longest list, in bytes: a thousand keys.
const LIST_MAX: usize = 16 << 20;
/// The most keys of a list.
const LIST_KEYS_MAX: u64 = 1000;
/// A download that breaks off so often without a byte in between is given up.
const BREAKS_MAX: u32 = 5;

/// The objects of a bucket. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct S3 {
    access: Access,
    bucket: String,
}

/// What is known of an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its length in bytes.
    pub len: u64,
    /// Stands for its content.
    pub etag: String,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Objects of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// Sorted by their keys.
    pub objects: Vec<Listed>,
    /// Where there are more: what the next page is asked for with.
    pub next: Option<String>,
}

impl S3 {
    pub(crate) fn new(access: Access, bucket: String) -> S3 {
        S3 { access, bucket }
    }

    /// Makes the bucket, for items too; it is as well if there is one.
    ///
    /// Two nodes that make a bucket of one name at the same time make two, of which one is forgotten. So one node is
    /// asked, by all clients the same as long as it can be reached, and it is not repeated elsewhere while that one
    /// may still do it.
    ///
    /// # Errors
    /// As [`crate::Cluster::create_bucket`].
    pub async fn create(&self) -> Result<()> {
        match self.list("", None, 1).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let ask = Ask {
            path: format!("/{}", self.bucket),
            alone: true,
            ..self.ask("make a bucket", "PUT", "")
        };
        match self.access.perform(ask).await {
            Ok(_) => Ok(()),
            Err(error) if error.reason().contains("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes an object, in the place of one that may be there. When it returns, a quorum of nodes has made it
    /// durable.
    ///
    /// # Errors
    /// `TooLarge` for a key that is too long; `Unreachable`, `NoQuorum`, `Refused`, `NotFound` (no such bucket).
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<()> {
        const DOING: &str = "write an object";
        check_key(DOING, key)?;
        let ask = Ask {
            body: value.into(),
            ..self.ask(DOING, "PUT", key)
        };
        self.access.perform(ask).await?;
        Ok(())
    }

    /// An object's length and mark, `None` where there is none.
    ///
    /// # Errors
    /// As [`S3::put`].
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        const DOING: &str = "look at an object";
        check_key(DOING, key)?;
        let ask = self.ask(DOING, "HEAD", key);
        absent_is_none(self.access.perform(ask).await)?
            .map(|answer| info(DOING, &answer.headers))
            .transpose()
    }

    /// Begins to read an object, `None` where there is none.
    ///
    /// # Errors
    /// As [`S3::put`].
    pub async fn get(&self, key: &str) -> Result<Option<Download>> {
        const DOING: &str = "read an object";
        check_key(DOING, key)?;
        let ask = Ask {
            limit: None,
            ..self.ask(DOING, "GET", key)
        };
        let Some(answer) = absent_is_none(self.access.perform(ask).await)? else {
            return Ok(None);
        };
        Ok(Some(Download {
            info: info(DOING, &answer.headers)?,
            s3: self.clone(),
            key: key.to_owned(),
            read: 0,
            breaks: 0,
            body: Some(answer.body),
        }))
    }

    /// Reads an object of at most `limit` bytes, `None` where there is none.
    ///
    /// # Errors
    /// `TooLarge` for one that is longer, and as [`S3::put`].
    pub async fn get_whole(&self, key: &str, limit: usize) -> Result<Option<Bytes>> {
        let Some(mut download) = self.get(key).await? else {
            return Ok(None);
        };
        if download.info.len > limit as u64 {
            let len = download.info.len;
            return Err(Error::new(ErrorKind::TooLarge, "read an object")
                .because(format!("it has {len} bytes, and {limit} are allowed")));
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = download.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(Some(all.freeze()))
    }

    /// Deletes an object; it is as well if there is none.
    ///
    /// # Errors
    /// As [`S3::put`].
    pub async fn delete(&self, key: &str) -> Result<()> {
        const DOING: &str = "delete an object";
        check_key(DOING, key)?;
        absent_is_none(self.access.perform(self.ask(DOING, "DELETE", key)).await)?;
        Ok(())
    }

    /// The objects whose keys begin with `prefix`, at most a thousand, after those that earlier pages had.
    ///
    /// # Errors
    /// As [`S3::put`].
    pub async fn list(&self, prefix: &str, next: Option<&str>, limit: u64) -> Result<ObjectPage> {
        const DOING: &str = "list objects";
        let limit = limit.clamp(1, LIST_KEYS_MAX).to_string();
        let mut query = vec![
            ("list-type", "2"),
            ("max-keys", limit.as_str()),
            ("prefix", prefix),
            // XML cannot express all keys.
            ("encoding-type", "url"),
        ];
        query.extend(next.map(|next| ("continuation-token", next)));
        let ask = Ask {
            path: format!("/{}", self.bucket),
            query: &query,
            limit: Some(LIST_MAX),
            ..self.ask(DOING, "GET", "")
        };
        let answer = self.access.perform(ask).await?;
        let text = std::str::from_utf8(answer.whole()).map_err(|error| malformed(DOING, error))?;
        page(text).map_err(|why| malformed(DOING, why))
    }

    fn ask<'a>(&self, doing: &'static str, method: &'static str, key: &str) -> Ask<'a> {
        Ask {
            doing,
            service: Service::S3,
            method,
            path: format!("/{}/{}", self.bucket, encode(key, false)),
            query: &[],
            headers: &[],
            body: Bytes::new(),
            limit: Some(1 << 20),
            waits: None,
            alone: false,
        }
    }
}

/// An object that is being read. A download that breaks off goes on at another node by itself.
#[derive(Debug)]
pub struct Download {
    /// What it is.
    pub info: ObjectInfo,
    s3: S3,
    key: String,
    read: u64,
    breaks: u32,
    body: Option<Body>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Body::Whole(_) => "Whole",
            Body::Stream(..) => "Stream",
        })
    }
}

impl Download {
    /// The next bytes, `None` at the end, at which all has been read.
    ///
    /// # Errors
    /// `Gone` where the object was replaced or deleted meanwhile, and as [`S3::put`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        const DOING: &str = "read an object";
        loop {
            if self.read >= self.info.len {
                if let Some(Body::Stream(mut body, lease)) = self.body.take()
                    && body.frame().await.is_none()
                {
                    lease.give_back();
                }
                return Ok(None);
            }
            let frame = match &mut self.body {
                Some(Body::Stream(body, _)) => body.frame().await,
                _ => None,
            };
            if let Some(Ok(frame)) = frame {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if data.is_empty() {
                    continue;
                }
                self.read += data.len() as u64;
                self.breaks = 0;
                if self.read > self.info.len {
                    return Err(malformed(DOING, "there is more than it has announced"));
                }
                return Ok(Some(data));
            }
            self.breaks += 1;
            if self.breaks > BREAKS_MAX {
                return Err(Error::new(ErrorKind::Unreachable, DOING).because(format!(
                    "it breaks off again and again after {} bytes",
                    self.read
                )));
            }
            self.body = Some(self.go_on().await?);
        }
    }

    /// The rest of the same object, from any node.
    async fn go_on(&self) -> Result<Body> {
        const DOING: &str = "go on reading an object";
        let headers = [
            ("range", format!("bytes={}-", self.read)),
            ("if-match", self.info.etag.clone()),
        ];
        let ask = Ask {
            headers: &headers,
            limit: None,
            ..self.s3.ask(DOING, "GET", &self.key)
        };
        let gone = |why: &str| Error::new(ErrorKind::Gone, DOING).because(why);
        match self.s3.access.perform(ask).await {
            Ok(answer) => {
                let etag = text(&answer.headers, "etag");
                match etag == Some(self.info.etag.as_str()) && answer.status == 206 {
                    true => Ok(answer.body),
                    false => Err(gone("it was replaced meanwhile")),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(gone("it was deleted meanwhile"))
            }
            Err(error) if error.reason().contains("PreconditionFailed") => {
                Err(gone("it was replaced meanwhile"))
            }
            Err(error) => Err(error),
        }
    }
}

/// An object that does not exist is no failure; a bucket that does not is.
fn absent_is_none(answer: Result<Answer>) -> Result<Option<Answer>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error)
            if error.kind() == ErrorKind::NotFound && !error.reason().contains("NoSuchBucket") =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn info(doing: &'static str, headers: &HeaderMap) -> Result<ObjectInfo> {
    let len = text(headers, "content-length").and_then(|text| text.parse().ok());
    match (len, text(headers, "etag")) {
        (Some(len), Some(etag)) => Ok(ObjectInfo {
            len,
            etag: etag.to_owned(),
        }),
        _ => Err(malformed(doing, "the length or the mark is missing")),
    }
}

fn page(xml: &str) -> Result<ObjectPage, String> {
    let mut page = ObjectPage::default();
    let (mut key, mut len, mut more) = (None, None, false);
    for Element { path, text } in elements(xml)? {
        match path.as_str() {
            "ListBucketResult/Contents/Key" => key = Some(decode(&text)?),
            "ListBucketResult/Contents/Size" => {
                len = Some(text.parse().map_err(|_| "a size is no number".to_owned())?);
            }
            "ListBucketResult/Contents" => match (key.take(), len.take()) {
                (Some(key), Some(len)) => page.objects.push(Listed { key, len }),
                _ => return Err("an object has no key or no size".to_owned()),
            },
            "ListBucketResult/IsTruncated" => more = text == "true",
            "ListBucketResult/NextContinuationToken" => page.next = Some(text),
            _ => {}
        }
    }
    match (more, page.next.is_some()) {
        (true, false) => Err("there is more, and it does not say where".to_owned()),
        (false, _) => Ok(ObjectPage { next: None, ..page }),
        (true, true) => Ok(page),
    }
}

/// Takes percent encoding away.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || "a key is encoded wrongly".to_owned();
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = bytes.next().map(char::from)?;
            digit.to_digit(16)
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(wrong()),
        }
    }
    String::from_utf8(out).map_err(|_| wrong())
}

fn check_key(doing: &'static str, key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::new(ErrorKind::Usage, doing).because("its key is empty"));
    }
    match key.len() > OBJECT_KEY_MAX {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::TooLarge, doing).because(format!(
            "its key has {} bytes, and {OBJECT_KEY_MAX} is the most",
            key.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_wrong_ones_refused() {
        let list = |inner: &str| page(&format!("<ListBucketResult>{inner}</ListBucketResult>"));
        let good = "<Contents><Key>a%2Fb%20c</Key><Size>7</Size></Contents>";
        let more = "<IsTruncated>true</IsTruncated>";
        let token = "<NextContinuationToken>t</NextContinuationToken>";
        let found = list(&format!("{good}{more}{token}")).unwrap();
        let object = Listed {
            key: "a/b c".to_owned(),
            len: 7,
        };
        assert_eq!(
            (found.objects, found.next),
            (vec![object], Some("t".into()))
        );
        assert_eq!(list("").unwrap(), ObjectPage::default());
        for wrong in [
            more,
            "<Contents><Key>a</Key></Contents>",
            "<Contents><Key>%zz</Key><Size>1</Size></Contents>",
            "<Contents><Key>%ff</Key><Size>1</Size></Contents>",
            "<Contents><Key>a</Key><Size>-1</Size></Contents>",
        ] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}
