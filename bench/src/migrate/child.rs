//! A process of its own for each measurement, so that its memory is that of nothing else.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::DOING;

/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The most memory that a process had resident, as far as the system says, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it, as the system keeps it: pages of mapped files and of the program are counted.
    pub(crate) peak: Option<u64>,
    /// What belongs to no file: heaps and stacks. Seen by looking every 20 ms.
    pub(crate) anonymous: Option<u64>,
    /// Pages of mapped files, the program's own among them, which the system takes back when it likes.
    /// Seen by looking every 20 ms.
    pub(crate) mapped: Option<u64>,
}

impl Memory {
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
    }
}

/// Runs `program`, which prints a JSON object, with temporary files in `dir`. Returns the object, and
/// what memory it took.
pub(crate) fn run(program: &Path, dir: &Path, arguments: &[&OsStr]) -> Result<(Value, Memory)> {
    let mut child = Command::new(program)
        .args(arguments)
        .args(["--json", "--quiet"])
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::io(error, DOING).with_path(program))?;
    let (mut memory, process) = (Memory::default(), child.id());
    // It says little, which the pipes hold until it has ended.
    let ended = loop {
        memory.look(process);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return Err(Error::io(error, DOING)),
        }
    };
    let (out, complaint) = said(&mut child);
    let object = serde_json::from_str(&out).unwrap_or(Value::Null);
    if ended.success() && object.is_object() {
        return Ok((object, memory));
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
        let (object, memory) = run(Path::new("/bin/sh"), dir, &script).unwrap();
        assert_eq!(object["a"], 1);
        if cfg!(target_os = "linux") {
            assert!(memory.peak >= memory.anonymous && memory.anonymous > Some(0));
            assert!(memory.mapped > Some(0));
        }
    }

    #[test]
    fn a_failure_says_what_the_process_said() {
        let script = ["-c", "echo alas >&2; exit 5"].map(OsStr::new);
        let error = run(Path::new("/bin/sh"), Path::new("."), &script).unwrap_err();
        assert!(error.to_string().contains("alas"), "{error}");
        assert!(run(Path::new("/nonexistent-durum"), Path::new("."), &[]).is_err());
    }
}
