//! Streaming copies between Durum stores and foreign formats.

#![forbid(unsafe_code)]

pub mod durus;
