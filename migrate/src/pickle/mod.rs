//! Python's pickles, as far as copying objects needs them.
//!
//! [`PersistentIds`] finds the references in a pickle without building the objects. The crates that read
//! pickles, `serde-pickle` and `pickled`, refuse the opcodes for persistent ids.
//!
//! The format is that of the standard library's `pickletools`, protocols 0 to 5.

mod machine;
pub(crate) mod opcode;
mod reader;
mod text;
mod value;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub(crate) use machine::{BadPickle, PersistentIds};
pub(crate) use value::{ListHead, PersistentId, Text};
