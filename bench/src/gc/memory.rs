//! The memory that this process takes.

/// Resident bytes that are no file's; `None` where the system does not say. Pages of mapped files are
/// left out: the system takes them back when it likes.
pub(crate) fn anonymous() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
