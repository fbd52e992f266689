//! A thread for each Garage process: it starts it, starts it again when it ends, and ends it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use durum_core::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::{error, info, warn};

use crate::process::Process;
use crate::program::Launcher;

/// How often a thread looks.
const TICK: Duration = Duration::from_millis(25);
/// How long a process may take to end when it is asked to.
const END_TIME_MAX: Duration = Duration::from_secs(15);
/// How long is waited before it is started again; after each further end twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A process that has run for so long did not end because of how it was started.
const SETTLED: Duration = Duration::from_secs(30);

/// What a thread and its owner tell each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// It is to end.
    stop: AtomicBool,
    /// It does not answer: it is to be killed, and started again.
    pub(crate) hangs: AtomicBool,
    /// How often it was started.
    pub(crate) starts: AtomicU32,
}

/// A process that is kept running.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Keeper {
    copies: u32,
    garage: PathBuf,
    config: PathBuf,
    launcher: Launcher,
    shared: Arc<Shared>,
}

impl Supervised {
    /// Starts the process in a directory, whose configuration is written.
    pub(crate) fn start(
        copies: u32,
        garage: &Path,
        dir: &Path,
        launcher: &Launcher,
    ) -> Result<Supervised> {
        let shared = Arc::new(Shared::default());
        let keeper = Keeper {
            copies,
            garage: garage.to_path_buf(),
            config: Process::config_path(dir),
            launcher: launcher.clone(),
            shared: shared.clone(),
        };
        // A process that asks for a signal at its parent's end gets it at the end of the thread that has started
        // it: this thread lasts as long as the process is wanted.
        let thread = thread::Builder::new()
            .name(format!("garage-{copies}"))
            .spawn(move || keeper.keep())
            .map_err(|error| Error::io(error, "supervise Garage"))?;
        Ok(Supervised {
            shared,
            thread: Some(thread),
        })
    }

    /// Asks it to end.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Waits until it has.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that supervises Garage has panicked");
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

impl Keeper {
    fn stops(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn keep(&self) {
        let copies = self.copies;
        let mut pause = PAUSE_MIN;
        while !self.stops() {
            let begun = Instant::now();
            match self.spawn() {
                Ok(child) => {
                    info!(copies, pid = child.id(), "Garage was started");
                    self.shared.starts.fetch_add(1, Ordering::AcqRel);
                    self.watch(child);
                }
                Err(error) => error!(copies, %error, "Garage cannot be started"),
            }
            if begun.elapsed() > SETTLED {
                pause = PAUSE_MIN;
            }
            let until = Instant::now() + pause;
            while !self.stops() && Instant::now() < until {
                thread::sleep(TICK);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command: Command = self.launcher.command(&self.garage);
        command.arg("-c").arg(&self.config).arg("server");
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        // Standard output is for the results of our own commands.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        command.spawn()
    }

    /// Until it has ended.
    fn watch(&self, mut child: Child) {
        let copies = self.copies;
        let mut asked: Option<Instant> = None;
        loop {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) if asked.is_some() => {
                    info!(copies, %status, "Garage has ended");
                    return;
                }
                Ok(Some(status)) => {
                    warn!(copies, %status, "Garage has ended by itself, and is started again");
                    return;
                }
                Err(error) => {
                    error!(copies, %error, "Garage cannot be waited for");
                    return;
                }
            }
            if self.shared.hangs.swap(false, Ordering::AcqRel) {
                warn!(copies, "Garage no longer answers, and is killed");
                let _gone = child.kill();
            }
            match asked {
                None if self.stops() => {
                    signal(&child, Signal::SIGTERM);
                    asked = Some(Instant::now());
                }
                Some(since) if since.elapsed() > END_TIME_MAX => {
                    warn!(copies, "Garage does not end, and is killed");
                    let _gone = child.kill();
                    asked = Some(Instant::now());
                }
                _ => {}
            }
            thread::sleep(TICK);
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id())
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        warn!(%error, "Garage could not be told to end");
    }
}
