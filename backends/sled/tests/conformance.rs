//! The conformance suite on sled.

// Its files grow to 8 to 30 times the data where others stay below 4, by how far its own thread gets.
durum_core::conformance!(durum_sled::SledBackend, space_factor_max: 100);
