//! How fast the disk itself confirms writes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::{IoResultExt as _, Result};

/// About what a commit of one small object takes.
const APPEND: [u8; 128] = [0x5a; 128];

/// Appends to a file in `dir` and syncs it (`fdatasync`), for about `time`; how often in a second.
pub(crate) fn measure(dir: &Path, time: Duration) -> Result<f64> {
    const DOING: &str = "measure the disk";
    let path = dir.join("sync");
    let mut file = File::create(&path).during(DOING, &path)?;
    let begin = Instant::now();
    let mut syncs = 0_u32;
    while syncs == 0 || begin.elapsed() < time {
        file.write_all(&APPEND).during(DOING, &path)?;
        file.sync_data().during(DOING, &path)?;
        syncs += 1;
    }
    let rate = f64::from(syncs) / begin.elapsed().as_secs_f64();
    std::fs::remove_file(&path).during(DOING, &path)?;
    Ok(rate)
}
