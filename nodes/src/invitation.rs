//! Invitations: what a machine needs to become a node.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use durum_core::{Error, ErrorKind, Result};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::key::hex;
use crate::settings::{ClusterSecrets, Peer};

const DOING: &str = "read an invitation";
/// The first line, with the form of what follows.
const HEAD: &str = "durum-node-invitation 1";
const KIND: &str = "durum-node-invitation";
/// No invitation is longer, in bytes.
pub(crate) const LENGTH_MAX: u64 = 1 << 20;
const LINE: usize = 76;

/// What a machine needs to become a node: who has it is one.
///
/// The authority's key is in it, so that every node can invite others and make the certificates of clients, also
/// when the first one is lost. It opens nothing that the other secrets would not open as well.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invitation {
    pub(crate) cluster: Vec<ClusterSecrets>,
    pub(crate) ca_certificate: String,
    pub(crate) ca_key: String,
    pub(crate) peers: Vec<Peer>,
}

impl Invitation {
    /// A line that says what it is, the content in Base64, a checksum.
    pub(crate) fn to_text(&self) -> Result<String> {
        let json = serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::Other, "write an invitation").caused_by(error)
        })?;
        let encoded = BASE64_STANDARD.encode(&json);
        let mut text = format!("{HEAD}\n");
        for line in encoded.as_bytes().chunks(LINE) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(&format!("sha256 {}\n", sum(&json)));
        Ok(text)
    }

    pub(crate) fn parse(text: &str) -> Result<Invitation> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, DOING)
                .because(why)
                .hint("Have a new one made with `durum node invite`, and copy it as a whole.")
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match lines.next() {
            Some(HEAD) => {}
            Some(head) if head.starts_with(KIND) => {
                return Err(wrong("it was made by another version of this program"));
            }
            _ => return Err(wrong("this is no invitation")),
        }
        let mut encoded = String::new();
        let mut expected = None;
        for line in lines {
            match line.strip_prefix("sha256 ") {
                Some(sum) => expected = Some(sum),
                None if expected.is_some() => {
                    return Err(wrong("there is something after its end"));
                }
                None => encoded.push_str(line),
            }
        }
        let Some(expected) = expected else {
            return Err(wrong("it is cut off"));
        };
        let json = BASE64_STANDARD
            .decode(&encoded)
            .map_err(|_| wrong("it is damaged"))?;
        if sum(&json) != expected {
            return Err(wrong("it is damaged: its checksum is another one"));
        }
        serde_json::from_slice(&json).map_err(|error| wrong(&error.to_string()).caused_by(error))
    }
}

fn sum(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            cluster: vec![ClusterSecrets {
                copies: 3,
                rpc_secret: "r".repeat(64),
                access_key: "GK".to_owned(),
                secret_key: "s".repeat(64),
            }],
            ca_certificate: "certificate\n".repeat(20),
            ca_key: "key\n".repeat(5),
            peers: vec![Peer {
                id: "ab".to_owned(),
                host: "host".to_owned(),
                port: 4600,
            }],
        }
    }

    #[test]
    fn an_invitation_survives_the_mail_and_damage_is_found() {
        let text = invitation().to_text().unwrap();
        let mailed = text.replace('\n', "\r\n  ");
        let read = Invitation::parse(&mailed).unwrap();
        assert_eq!(read.peers, invitation().peers);
        assert_eq!(read.ca_key, invitation().ca_key);
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                continue;
            }
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if byte == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(Invitation::parse(&damaged).is_err(), "at {at}");
        }
        for end in 0..text.len() - 1 {
            assert!(Invitation::parse(&text[..end]).is_err(), "up to {end}");
        }
        let other = text.replace("invitation 1", "invitation 2");
        let error = Invitation::parse(&other).map(drop).unwrap_err();
        assert!(error.to_string().contains("another version"), "{error}");
    }
}
