//! Variable-length numbers: LEB128, seven bits a byte, the least significant first.

/// Appends `value` in one to ten bytes.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `input`; `None` where it is cut off or longer than 64 bits.
pub fn take(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_return_and_use_few_bytes() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1] {
                let mut bytes = Vec::new();
                put(&mut bytes, value);
                assert!(bytes.len() <= 1 + shift / 7);
                let mut input = bytes.as_slice();
                assert_eq!(take(&mut input), Some(value));
                assert!(input.is_empty());
                assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(take(&mut &[0xff; 10][..]), None);
        let mut largest: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(take(&mut largest), Some(u64::MAX));
    }
}
