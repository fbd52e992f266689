//! Moving stores from engine to engine, and between them and files of the original Durus.
//!
//! - `backup`: backups, and what is restored from them.
//! - `digest`: what the proof rests on: any one changed byte, reference or OID changes the digest.
//! - `pairs`: every engine to every other, with every codec.
//! - `failures`: what must not happen, and that nothing is left behind when it does.
//! - `follow`: stores that are committed to while they are copied.
//! - `stops`: stopping in every phase, and going on.
//!
//! Random tests print their seed; `DURUM_TEST_SEED` repeats one.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod backup;
mod digest;
mod failures;
mod follow;
mod kept;
mod pairs;
mod sample;
mod stops;
