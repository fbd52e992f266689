//! Keys of nodes, by which Garage processes know each other.

use std::path::Path;

use durum_core::{Error, ErrorKind, IoResultExt as _, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::files;

const DOING: &str = "make a node's key";
const SEED: usize = 32;
const PUBLIC: usize = 32;

/// A node's key: Ed25519, as Garage keeps it.
///
/// It is made before Garage starts for the first time, so that a node's number is known when others are told of
/// it, without asking the process.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey {
    seed: [u8; SEED],
    public: [u8; PUBLIC],
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("NodeKey").field(&self.id()).finish()
    }
}

impl NodeKey {
    /// A new one.
    ///
    /// # Errors
    /// `Io` where the system has no random numbers.
    pub fn generate() -> Result<NodeKey> {
        let mut seed = [0; SEED];
        fill(&mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| Error::new(ErrorKind::Other, DOING).because(error.to_string()))?;
        let mut public = [0; PUBLIC];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(NodeKey { seed, public })
    }

    /// The node's number: its public key in hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&self.public)
    }

    /// Writes it where Garage looks for it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, metadata: &Path) -> Result<()> {
        let both = [self.seed, self.public].concat();
        files::write(
            DOING,
            &metadata.join("node_key.pub"),
            files::SECRET,
            &self.public,
        )?;
        files::write(DOING, &metadata.join("node_key"), files::SECRET, &both)
    }

    /// Copies it to where Garage looks for it, unless it is there: a disk that was replaced does not have it, and
    /// Garage would draw another one, with which nobody knows the node.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn keep(key: &Path, metadata: &Path) -> Result<()> {
        for name in ["node_key.pub", "node_key"] {
            let (from, to) = (key.join(name), metadata.join(name));
            if !to.exists() {
                let bytes = std::fs::read(&from).during(DOING, &from)?;
                files::write(DOING, &to, files::SECRET, &bytes)?;
            }
        }
        Ok(())
    }

    /// The number of the node whose key is there.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Damaged` where it has not the right length.
    pub fn read_id(metadata: &Path) -> Result<String> {
        const DOING: &str = "read a node's key";
        let path = metadata.join("node_key.pub");
        let public = std::fs::read(&path).during(DOING, &path)?;
        match public.len() {
            PUBLIC => Ok(hex(&public)),
            len => {
                let why = format!("it has {len} bytes instead of {PUBLIC}");
                Err(Error::damaged(DOING, why).with_path(&path))
            }
        }
    }
}

/// Random bytes in hexadecimal digits.
///
/// # Errors
/// `Io` where the system has no random numbers.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    fill(&mut random)?;
    Ok(hex(&random))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| {
        Error::new(ErrorKind::Io, "draw random numbers").because("the system has none")
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
