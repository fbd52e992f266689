//! Comparison of Durum's engines on one machine.
