//! How fast the disk itself confirms writes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use durum_core::{IoResultExt as _, Result};

use crate::clock::Whose;
use crate::measure::Sample;

/// About what a commit of one small object takes.
const APPEND: [u8; 128] = [0x5a; 128];

/// Appends to a file in `dir` and syncs it (`fdatasync`), for about `time`.
pub(crate) fn measure(dir: &Path, time: Duration) -> Result<Sample> {
    const DOING: &str = "measure the disk";
    let path = dir.join("sync");
    let mut file = File::create(&path).during(DOING, &path)?;
    let (mut sample, begin) = (Sample::default(), Instant::now());
    while sample.count == 0 || begin.elapsed() < time {
        let begin = Instant::now();
        sample.took.add(Whose::Thread, || {
            file.write_all(&APPEND)
                .and_then(|()| file.sync_data())
                .during(DOING, &path)
        })?;
        sample.latencies.add(begin.elapsed());
        sample.count += 1;
    }
    std::fs::remove_file(&path).during(DOING, &path)?;
    Ok(sample)
}
