//! The registry of compiled-in engines.
