//! A disk that takes its time to confirm, for measuring what group commit gains where a sync is slow.

use std::ffi::c_int;
use std::sync::OnceLock;
use std::time::Duration;

use crate::sys;

/// Waits as long as a synchronization is to take longer.
pub(crate) fn before_sync() {
    if let Some(delay) = delay() {
        std::thread::sleep(delay);
    }
}

/// The same for a write, where the descriptor is one that synchronizes with each.
pub(crate) fn before_write(fd: c_int) {
    if delay().is_some() && sys::flags(fd) & (libc::O_DSYNC | libc::O_SYNC) != 0 {
        before_sync();
    }
}

fn delay() -> Option<Duration> {
    static DELAY: OnceLock<Option<Duration>> = OnceLock::new();
    *DELAY.get_or_init(|| {
        let text = std::env::var("DURUM_SYNC_DELAY_US").ok()?;
        // An order that is not understood must not pass for a fast disk.
        let number = text.parse().unwrap_or_else(|_| std::process::abort());
        Some(Duration::from_micros(number))
    })
}
