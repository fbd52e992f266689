//! Signatures of requests: AWS Signature Version 4.
//!
//! The signature covers the method, the path, the query, the headers that are named in it and the hash of the
//! body. It does not cover the node that is asked, because the `Host` that is signed is [`HOST`] everywhere: a
//! request is signed once and can be sent to any node, and through a proxy.

use std::fmt;
use std::time::SystemTime;

use ring::{digest, hmac};
use time::OffsetDateTime;

/// The `Host` of all requests. Buckets are named in paths, so that Garage does not look at it.
pub(crate) const HOST: &str = "garage";
/// The region of every cluster that is set up by `durum node`.
pub const REGION: &str = "garage";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// An access key of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's public name: `GK` and 24 hexadecimal digits.
    pub key_id: String,
    /// The secret: 64 hexadecimal digits.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets do not belong into logs.
        out.debug_struct("Credentials")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Which of Garage's interfaces is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Items in partitions.
    K2v,
    /// Objects in buckets.
    S3,
}

impl Service {
    /// Its name in signatures and in the header that a front routes by.
    pub fn name(self) -> &'static str {
        match self {
            Service::K2v => "k2v",
            Service::S3 => "s3",
        }
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    /// As it is sent: percent-encoded once.
    pub(crate) path: &'a str,
    /// Names and values, not encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// In lower case and sorted by name; `host` is among them.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Of the body, in hexadecimal digits.
    pub(crate) body_sha256: &'a str,
}

/// The `Authorization` of a request at a time.
pub(crate) fn authorization(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    date: &str,
) -> String {
    let day = date.get(..8).unwrap_or(date);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let canonical = canonical(request, service != "s3");
    let to_sign = format!(
        "{ALGORITHM}\n{date}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let mut key = format!("AWS4{}", credentials.secret).into_bytes();
    for part in [day, region, service, "aws4_request"] {
        key = sign(&key, part).as_ref().to_vec();
    }
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        credentials.key_id,
        names.join(";"),
        hex(sign(&key, &to_sign).as_ref())
    )
}

/// The one form of a request that both sides hash. Services other than S3 encode the path once more than it is
/// when sent.
fn canonical(request: &Unsigned<'_>, encode_again: bool) -> String {
    let mut out = String::with_capacity(512);
    let path = match encode_again {
        true => encode(request.path, false),
        false => request.path.to_owned(),
    };
    for part in [request.method, &path, &query(request.query)] {
        out.push_str(part);
        out.push('\n');
    }
    for (name, value) in request.headers {
        let value: Vec<&str> = value.split_whitespace().collect();
        out.push_str(&format!("{name}:{}\n", value.join(" ")));
    }
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    out.push_str(&format!("\n{}\n{}", names.join(";"), request.body_sha256));
    out
}

/// A query as it is signed and sent: encoded, sorted.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| (encode(name, true), encode(value, true)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Percent-encodes all but RFC 3986's unreserved characters, and `/` if so wanted.
pub(crate) fn encode(text: &str, slash_too: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if !slash_too => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A time as signatures write it: `20150830T123600Z`.
pub(crate) fn date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The SHA-256 of a body, in hexadecimal digits.
pub(crate) fn sha256(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn sign(key: &[u8], data: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A case of the test suite that AWS publishes for Signature Version 4.
    fn suite(method: &str, path: &str, query: &[(&str, &str)], body: Option<&str>) -> String {
        let credentials = Credentials {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        let date = "20150830T123600Z";
        let mut headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", date)];
        if body.is_some() {
            headers.insert(0, ("content-type", "application/x-www-form-urlencoded"));
        }
        let request = Unsigned {
            method,
            path,
            query,
            headers: &headers,
            body_sha256: &sha256(body.unwrap_or_default().as_bytes()),
        };
        signature(&request, &credentials, "service", date)
    }

    fn signature(request: &Unsigned<'_>, who: &Credentials, service: &str, date: &str) -> String {
        let authorization = authorization(request, who, "us-east-1", service, date);
        authorization.rsplit_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn the_published_suite_is_met() {
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(suite("GET", "/", &[], None), vanilla);
        assert_eq!(
            suite("POST", "/", &[], None),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        assert_eq!(
            suite(
                "GET",
                "/",
                &[("Param2", "value2"), ("Param1", "value1")],
                None
            ),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
        let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        assert_eq!(
            suite("GET", "/", &[(unreserved, unreserved)], None),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"
        );
        assert_eq!(
            suite("POST", "/", &[], Some("Param1=value1")),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn the_examples_of_s3_are_met() {
        let credentials = Credentials {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        let date = "20130524T000000Z";
        let host = ("host", "examplebucket.s3.amazonaws.com");
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let of =
            |method: &str, path: &str, query: Pairs<'_>, headers: Pairs<'_>, body_sha256: &str| {
                let request = Unsigned {
                    method,
                    path,
                    query,
                    headers,
                    body_sha256,
                };
                signature(&request, &credentials, "s3", date)
            };
        let hash = ("x-amz-content-sha256", EMPTY);
        assert_eq!(
            of(
                "GET",
                "/test.txt",
                &[],
                &[host, ("range", "bytes=0-9"), hash, ("x-amz-date", date)],
                EMPTY
            ),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let body = sha256(b"Welcome to Amazon S3.");
        assert_eq!(
            of(
                "PUT",
                &encode("/test$file.text", false),
                &[],
                &[
                    ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                    host,
                    ("x-amz-content-sha256", &body),
                    ("x-amz-date", date),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ],
                &body
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            of(
                "GET",
                "/",
                &[("prefix", "J"), ("max-keys", "2")],
                &[host, hash, ("x-amz-date", date)],
                EMPTY
            ),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn dates_and_escapes_are_as_they_have_to_be() {
        use std::time::Duration;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        assert_eq!(date(time), "20150830T123600Z");
        assert_eq!(encode("a b/ü%+", true), "a%20b%2F%C3%BC%25%2B");
        assert_eq!(encode("a/b", false), "a/b");
        assert_eq!(sha256(b""), EMPTY);
    }

    #[test]
    fn secrets_are_not_debugged() {
        let credentials = Credentials {
            key_id: "GK1".to_owned(),
            secret: "hush".to_owned(),
        };
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
