//! A library to preload (`LD_PRELOAD`) into a process whose crashes are to be tested.
//!
//! It stands before the C library's functions that change files. Each change below a root directory
//! is an *event* and gets the next number. Events can be counted and recorded, and one of them can be
//! made to fail or to be the moment at which the process is killed. Everything is controlled by
//! environment variables:
//!
//! - `DURUM_FAULT_ROOT`: the directory, as a canonical path. Without it nothing of this happens.
//! - `DURUM_FAULT_RECORD`: the journal, a file outside the root, to which events are appended once
//!   they have happened; see `journal.rs` for its format.
//! - `DURUM_FAULT_ACK`: a file outside the root; what is written to it goes into the journal as well,
//!   so that acknowledgements and events stand in one order.
//! - `DURUM_FAULT`: what happens at event K:
//!   - `kill:K`: SIGKILL before the event;
//!   - `kill-half:K`: SIGKILL after half of it (of a write; after the whole of any other event);
//!   - `fail:K:EIO`, `fail:K:ENOSPC`: it fails with that error. `fail:K+:...`: all later ones too; a
//!     full disk then refuses what needs space and allows the rest;
//!   - `fail:K:SHORT`: half of a write is done and the next event that needs space finds the disk
//!     full; `fail:K+:SHORT`: and so do all later ones.
//!
//! Below the root, synchronization with the device is recorded and not carried out: a kill leaves the page
//! cache alone, and a power loss is played from the journal. `sync_file_range` promises nothing, so it is
//! no event.
//!
//! Without a root it can play a slow disk, for measuring: `DURUM_SYNC_DELAY_US` is the number of
//! microseconds for which each synchronization waits before it is carried out, synchronous writes included.
//!
//! The real work is done by direct system calls, so that the hooks never meet themselves.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod fault;
mod files;
mod journal;
mod names;
mod slow;
mod state;
mod sys;
