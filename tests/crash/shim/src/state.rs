//! What the shim knows: its orders, the number of the last event, and which paths it watches.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::fault::{Aftermath, Fault, Kind, Verdict};
use crate::journal::{Entry, Record};
use crate::sys;

/// The orders, read from the environment once.
#[derive(Debug)]
pub(crate) struct State {
    root: Vec<u8>,
    ack: Option<Vec<u8>>,
    fault: Fault,
    journal: Option<c_int>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    number: u64,
    aftermath: Aftermath,
}

/// What a descriptor that concerns the shim stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// A file or directory below the root.
    Below,
    /// The file of acknowledgements.
    Ack,
}

/// The exclusive right to carry out an event: events happen, and are recorded, one at a time.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    state: &'static State,
    progress: MutexGuard<'a, Progress>,
}

/// The state; `None` in a process that has no root to watch.
pub(crate) fn state() -> Option<&'static State> {
    static STATE: OnceLock<Option<State>> = OnceLock::new();
    STATE.get_or_init(State::from_env).as_ref()
}

impl State {
    fn from_env() -> Option<State> {
        let variable = |name| std::env::var_os(name).map(OsString::into_vec);
        let root = variable("DURUM_FAULT_ROOT")?;
        let fault = match std::env::var("DURUM_FAULT") {
            Err(_) => Fault::None,
            // Orders that are not understood must not pass for a run without faults.
            Ok(text) => Fault::parse(&text).unwrap_or_else(|| std::process::abort()),
        };
        let journal = variable("DURUM_FAULT_RECORD").map(|path| {
            let path = CString::new(path).unwrap_or_default();
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
            // SAFETY: the path is a C string.
            let fd = unsafe { sys::open(libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
            if fd < 0 {
                std::process::abort();
            }
            fd
        });
        if let (Some(journal), Ok(path)) = (journal, CString::new(root.clone())) {
            let inode = sys::identity_of(&path).map_or(0, |identity| identity.inode);
            Record::new(Entry::Root, inode).append(journal);
        }
        Some(State {
            root,
            ack: variable("DURUM_FAULT_ACK"),
            fault,
            journal,
            progress: Mutex::new(Progress {
                number: 0,
                aftermath: Aftermath::default(),
            }),
        })
    }

    /// What the descriptor stands for, if it concerns the shim.
    pub(crate) fn watched(&self, fd: c_int) -> Option<Watched> {
        let path = path_of(fd)?;
        if self.ack.as_ref() == Some(&path) {
            return Some(Watched::Ack);
        }
        self.relative(&path).map(|_| Watched::Below)
    }

    /// The part of a path after the root, empty for the root itself.
    pub(crate) fn relative<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        match path.strip_prefix(self.root.as_slice())? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// Waits for the turn of this thread.
    pub(crate) fn turn(&'static self) -> Turn<'static> {
        let progress = self.progress.lock();
        Turn {
            state: self,
            progress: progress.unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }
}

impl Turn<'_> {
    /// Numbers an event and says what to do with it. The process may be killed here.
    pub(crate) fn enter(&mut self, kind: Kind) -> Verdict {
        self.progress.number += 1;
        let number = self.progress.number;
        let fault = self.state.fault;
        let verdict = fault.decide(number, kind, &mut self.progress.aftermath);
        match verdict {
            Verdict::Kill => sys::kill_self(),
            Verdict::Fail(_) if !kind.is_sync() => self.record(&Record::new(Entry::Failed, 0)),
            _ => {}
        }
        verdict
    }

    /// Appends to the journal, if one is kept.
    pub(crate) fn record(&self, record: &Record<'_>) {
        if let Some(journal) = self.state.journal {
            record.append(journal);
        }
    }

    /// Records that the event has had no effect.
    pub(crate) fn nothing(&self) {
        let errno = sys::errno();
        self.record(&Record::new(Entry::Nothing, 0));
        sys::fail(errno);
    }
}

/// The absolute path of an open descriptor, as the system knows it.
fn path_of(fd: c_int) -> Option<Vec<u8>> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut buffer = vec![0_u8; 4096];
    let arguments = [
        libc::AT_FDCWD as usize,
        link.as_ptr() as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
    ];
    // SAFETY: a C string, and a buffer with its length.
    let length = unsafe { sys::call(libc::SYS_readlinkat, arguments) };
    buffer.truncate(usize::try_from(length).ok()?);
    Some(buffer)
}

/// The absolute path that `path` means to a call relative to the directory `at`, without `.`, `..`
/// and doubled slashes. Symbolic links are not resolved: tests use canonical paths.
///
/// # Safety
/// `path` must be null or a valid C string.
pub(crate) unsafe fn absolute(at: c_int, path: *const c_char) -> Option<Vec<u8>> {
    if path.is_null() {
        return None;
    }
    // SAFETY: not null, so the caller vouches for it.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let mut whole = match path.first() {
        Some(b'/') => Vec::new(),
        _ if at == libc::AT_FDCWD => std::env::current_dir().ok()?.into_os_string().into_vec(),
        _ => path_of(at)?,
    };
    whole.push(b'/');
    whole.extend(path);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut clean = Vec::with_capacity(whole.len());
    for part in parts {
        clean.push(b'/');
        clean.extend(part);
    }
    Some(clean)
}
