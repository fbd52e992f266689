//! Processes of PostgreSQL, which has several.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills all processes of the server with this directory of data at once, as a crash of its machine does; whether
/// there were any.
pub(crate) fn kill_postgres(data: &Path) -> bool {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let Some(Ok(main)) = text.lines().next().map(str::parse) else {
        return false;
    };
    let main = Pid::from_raw(main);
    // A crash leaves the file behind, and the number may be another process's by now.
    if !is_about(main, data) || kill(main, Signal::SIGSTOP).is_err() {
        return false;
    }
    let mut all = children(main);
    all.push(main);
    kill_all(&all);
    true
}

/// Kills processes, and waits until they are gone.
pub(crate) fn kill_all(all: &[Pid]) {
    for process in all {
        let _ = kill(*process, Signal::SIGKILL);
    }
    while all.iter().any(|process| runs(*process)) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Whether the command of a process names the directory.
fn is_about(process: Pid, directory: &Path) -> bool {
    let command = std::fs::read_to_string(format!("/proc/{process}/cmdline"));
    command.is_ok_and(|command| command.contains(&*directory.to_string_lossy()))
}

/// What `/proc` says of a process behind its name: its state, and its parent.
fn state_and_parent(process: Pid) -> Option<(String, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn runs(process: Pid) -> bool {
    state_and_parent(process).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("the processes");
    let all = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some(Pid::from_raw(number))
    });
    let is_child = |process: &Pid| {
        state_and_parent(*process).is_some_and(|(_, found)| found == parent.as_raw())
    };
    all.filter(is_child).collect()
}
