//! The conformance suite on fjall.

// Up to 64 MiB of journal stay, whatever they hold.
durum_core::conformance!(durum_fjall::FjallBackend, space_factor_max: 16);
