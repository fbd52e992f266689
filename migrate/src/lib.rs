//! Streaming copies between Durum stores and foreign formats.
