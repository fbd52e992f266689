//! Bytes of no protocol, and damage to those of one.

use fastrand::Rng;

pub(crate) fn random_bytes(draw: &mut Rng) -> Vec<u8> {
    let length = draw.usize(..300);
    (0..length).map(|_| draw.u8(..)).collect()
}

/// Changes, removes, doubles and inserts; `limits` are numbers worth putting somewhere.
pub(crate) fn damage(bytes: &mut Vec<u8>, limits: &[Vec<u8>], draw: &mut Rng) {
    for _ in 0..draw.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = draw.usize(..bytes.len());
        let end = (at + draw.usize(1..40)).min(bytes.len());
        match draw.u8(..7) {
            0 => bytes[at] = draw.u8(..),
            1 => bytes[at] ^= 1 << draw.u8(..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
            4 => {
                let length = draw.usize(1..12);
                let new: Vec<u8> = (0..length).map(|_| draw.u8(..)).collect();
                bytes.splice(at..at, new);
            }
            5 => bytes.truncate(at),
            _ => {
                let limit = draw.choice(limits).cloned().unwrap_or_default();
                let end = (at + limit.len()).min(bytes.len());
                bytes.splice(at..end, limit);
            }
        }
    }
}
