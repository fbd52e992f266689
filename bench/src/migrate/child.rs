//! A process of its own for each measurement, so that its memory is that of nothing else.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

const DOING: &str = "run a part of a benchmark";
/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a process took, as far as the system says: memory in bytes, the most that it had resident.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// All of it, as the system keeps it: pages of mapped files and of the program are counted.
    pub(crate) peak: Option<u64>,
    /// What belongs to no file: heaps and stacks. Seen by looking every 20 ms.
    pub(crate) anonymous: Option<u64>,
    /// Pages of mapped files, the program's own among them, which the system takes back when it likes.
    /// Seen by looking every 20 ms.
    pub(crate) mapped: Option<u64>,
    /// Seconds of processor time of all threads. Seen by looking every 20 ms.
    pub(crate) cpu_seconds: Option<f64>,
}

impl Taken {
    /// What a process has taken by now.
    pub(crate) fn of(process: u32) -> Taken {
        let mut taken = Taken::default();
        taken.look(process);
        taken
    }

    fn look(&mut self, process: u32) {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
            return;
        };
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        // A process that has just ended has none of these lines.
        self.peak = self.peak.max(bytes("VmHWM:"));
        self.anonymous = self.anonymous.max(bytes("RssAnon:"));
        let mapped = bytes("RssFile:").zip(bytes("RssShmem:"));
        self.mapped = self.mapped.max(mapped.map(|(file, shared)| file + shared));
        self.cpu_seconds = processor_time(process)
            .map(|time| time.as_secs_f64())
            .or(self.cpu_seconds);
    }
}

/// The processor time of all threads of a process, those that have ended among them; `None` where the
/// system does not say. It is the process's clock, not `/proc`, whose ticks of a hundredth of a second would show
/// nothing of a short run.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    let process = Pid::from_raw(i32::try_from(process).ok()?);
    let now = clock_gettime(clock_getcpuclockid(process).ok()?).ok()?;
    Some(Duration::from(now))
}

/// Runs `program`, which prints a JSON object, with temporary files in `dir`. Returns the object, and
/// what it took.
pub(crate) fn run(program: &Path, dir: &Path, arguments: &[&OsStr]) -> Result<(Value, Taken)> {
    let mut child = Command::new(program)
        .args(arguments)
        .args(["--json", "--quiet"])
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::io(error, DOING).with_path(program))?;
    let (mut taken, process) = (Taken::default(), child.id());
    // It says little, which the pipes hold until it has ended.
    let ended = loop {
        taken.look(process);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return Err(Error::io(error, DOING)),
        }
    };
    let (out, complaint) = said(&mut child);
    let object = serde_json::from_str(&out).unwrap_or(Value::Null);
    if ended.success() && object.is_object() {
        return Ok((object, taken));
    }
    let command = arguments.join(OsStr::new(" "));
    Err(Error::new(ErrorKind::Other, DOING).because(format!(
        "`{} {}` ended with {ended}: {}",
        program.display(),
        command.to_string_lossy(),
        complaint.trim()
    )))
}

fn said(child: &mut Child) -> (String, String) {
    let (mut out, mut complaint) = (String::new(), String::new());
    // What cannot be read is as good as nothing said.
    if let Some(pipe) = &mut child.stdout {
        let _ = pipe.read_to_string(&mut out);
    }
    if let Some(pipe) = &mut child.stderr {
        let _ = pipe.read_to_string(&mut complaint);
    }
    (out, complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_and_takes_is_noted() {
        let dir = Path::new(".");
        let script = ["-c", "sleep 0.1; echo '{\"a\": 1}'"].map(OsStr::new);
        let (object, taken) = run(Path::new("/bin/sh"), dir, &script).unwrap();
        assert_eq!(object["a"], 1);
        if cfg!(target_os = "linux") {
            assert!(taken.peak >= taken.anonymous && taken.anonymous > Some(0));
            assert!(taken.mapped > Some(0) && taken.cpu_seconds < Some(1.0));
            assert!(taken.cpu_seconds > Some(0.0));
        }
    }

    #[test]
    fn little_work_of_a_process_is_seen() {
        let before = processor_time(std::process::id()).unwrap();
        // A thread that has ended by the time of the second look.
        let sum = std::thread::spawn(|| (0..1_000_u64).map(std::hint::black_box).sum::<u64>());
        assert_eq!(sum.join().unwrap(), 499_500);
        let taken = processor_time(std::process::id()).unwrap() - before;
        assert!(taken > Duration::ZERO && taken < Duration::from_secs(10));
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[test]
    fn a_failure_says_what_the_process_said() {
        let script = ["-c", "echo alas >&2; exit 5"].map(OsStr::new);
        let error = run(Path::new("/bin/sh"), Path::new("."), &script).unwrap_err();
        assert!(error.to_string().contains("alas"), "{error}");
        assert!(run(Path::new("/nonexistent-durum"), Path::new("."), &[]).is_err());
    }
}
