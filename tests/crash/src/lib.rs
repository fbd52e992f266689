//! Crash tests for engines: what a `kill -9`, a failing disk and a loss of power leave behind.
//!
//! A workload ([`workload`]) runs in a child process with a library preloaded (`durum-crash-shim`)
//! that numbers all its file operations. The [`suite`] runs it once for every operation K:
//!
//! - *kill*: the process gets SIGKILL before operation K, or half-way through it;
//! - *fail*: operation K fails, with an I/O error or a full disk, or writes less than it should;
//! - *power loss*: one run is recorded, and [`disk`] builds what a disk may hold after a loss of
//!   power that follows operation K: only what was synchronized, or that and some of the rest;
//! - *control*: the same, on a disk that ignores synchronization. It must find losses.
//!
//! Afterwards the store has to open, with every commit that was acknowledged, at most one more, and
//! exactly the content that these commits make.

// The whole package is a test harness: where something goes wrong here, a test is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![forbid(unsafe_code)]

pub mod acks;
pub mod disk;
pub mod image;
pub mod journal;
pub mod process;
pub mod suite;
pub mod workload;
