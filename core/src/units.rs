//! Sizes and times with units, as configurations, URLs and the command line write them.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Units by name. Powers of 1,000 and of 1,024 are told apart as IEC 80000-13 does.
const UNITS: [(&str, u64); 11] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a size such as `4096`, `64GiB` or `1.5 MB`, in bytes.
///
/// # Errors
/// `Usage`, naming the units, for anything else and for sizes from 2^63 on.
///
/// ```
/// assert_eq!(durum_core::units::parse_size("64 MiB")?, 64 << 20);
/// # Ok::<(), durum_core::Error>(())
/// ```
pub fn parse_size(text: &str) -> Result<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = UNITS
        .iter()
        .find(|(name, _)| *name == unit.trim())
        .map(|(_, factor)| *factor);
    let bytes = unit.and_then(|unit| match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(unit),
        Err(_) => number
            .parse::<f64>()
            .ok()
            .map(|part| (part * unit as f64) as u64),
    });
    bytes.filter(|bytes| *bytes < 1 << 63).ok_or_else(|| {
        Error::new(ErrorKind::Usage, "read a size")
            .because(format!("`{text}` is not a size"))
            .hint("Write a number with an optional unit: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.")
    })
}

/// Units of time by name, in seconds.
const TIME_UNITS: [(&str, f64); 6] = [
    ("", 1.0),
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// Reads a time such as `90`, `250ms`, `45s`, `30m` or `1.5h`, in seconds where there is no unit.
///
/// # Errors
/// `Usage`, naming the units, for anything else.
///
/// ```
/// assert_eq!(durum_core::units::parse_duration("2m")?.as_secs(), 120);
/// # Ok::<(), durum_core::Error>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = TIME_UNITS.iter().find(|(name, _)| *name == unit.trim());
    let seconds = unit.and_then(|(_, factor)| Some(number.parse::<f64>().ok()? * *factor));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            Error::new(ErrorKind::Usage, "read a time")
                .because(format!("`{text}` is not a time"))
                .hint("Write a number with an optional unit: ms, s, m, h, d.")
        })
}

/// Writes a number of bytes for people: `1.5 MiB`.
pub fn format_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "bytes");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_units() {
        for (text, seconds) in [
            ("0", 0.0),
            ("250ms", 0.25),
            ("45s", 45.0),
            ("1.5h", 5400.0),
            ("2 d", 172_800.0),
        ] {
            assert_eq!(
                parse_duration(text).unwrap().as_secs_f64(),
                seconds,
                "{text}"
            );
        }
        for bad in ["", "s", "-1", "1 week", "1h30m", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_take_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1kB", 1000),
            ("1.5 KiB", 1536),
            (" 2GiB ", 2 << 30),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "GiB", "1 gib", "-1", "9900000000GB", "1.2.3", "."] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(format_size(512), "512 bytes");
        assert_eq!(format_size(3 << 19), "1.5 MiB");
    }
}
