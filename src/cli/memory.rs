//! The memory that this process has taken.

/// The largest resident size so far in bytes; `None` where the system does not say.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = super::peak().unwrap();
        let touched = vec![1u8; 64 << 20];
        assert!(touched.iter().all(|byte| *byte == 1));
        assert!(super::peak().unwrap() >= before.max(64 << 20));
    }
}
