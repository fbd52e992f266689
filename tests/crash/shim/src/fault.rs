//! What is to happen at which event.

use std::ffi::c_int;

/// The sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    /// Of a file, or of a whole file system.
    Sync,
    SyncDir,
    Resize,
    Create,
    Rename,
    Remove,
}

impl Kind {
    /// Whether a full disk refuses it.
    fn needs_space(self) -> bool {
        !self.is_sync() && self != Kind::Remove
    }

    /// Whether it makes something durable.
    pub(crate) fn is_sync(self) -> bool {
        matches!(self, Kind::Sync | Kind::SyncDir)
    }
}

/// What the shim was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: count and record.
    None,
    /// Kill before the event, or after half of it.
    Kill { at: u64, half: bool },
    /// Let the event fail with `errno`; `on` says that later ones fail too. With a `journal` the file system
    /// keeps one: where it cannot bring a directory to the device, it never brings anything there again.
    Fail {
        at: u64,
        on: bool,
        errno: c_int,
        journal: bool,
    },
    /// Do half of a write; then the disk is full, once or for good.
    Short { at: u64, on: bool },
}

/// What an event leaves for later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// The next event in need of space finds the disk full.
    full_next: bool,
    /// Nothing becomes durable any more, for this reason.
    syncs_fail: Option<c_int>,
}

/// What is to be done with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do it.
    Go,
    /// Kill the process instead.
    Kill,
    /// Do half of it, or all where it has no half, and kill the process.
    HalfThenKill,
    /// Do half of a write and say so.
    Short,
    /// Do nothing and report this error.
    Fail(c_int),
}

impl Fault {
    /// Reads `DURUM_FAULT`; `None` where it makes no sense.
    pub(crate) fn parse(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let (name, at, what) = (parts.next()?, parts.next()?, parts.next());
        let journal = match (what, parts.next()) {
            (_, None) => false,
            (Some("EIO" | "ENOSPC" | "SHORT"), Some("journal")) => true,
            _ => return None,
        };
        let (at, on) = match at.strip_suffix('+') {
            Some(at) => (at, true),
            None => (at, false),
        };
        let at = at.parse().ok()?;
        match (name, what) {
            ("kill", None) => Some(Fault::Kill { at, half: false }),
            ("kill-half", None) => Some(Fault::Kill { at, half: true }),
            ("fail", Some("SHORT")) => Some(Fault::Short { at, on }),
            ("fail", Some("EIO" | "ENOSPC")) => Some(Fault::Fail {
                at,
                on,
                errno: match what {
                    Some("EIO") => libc::EIO,
                    _ => libc::ENOSPC,
                },
                journal,
            }),
            _ => None,
        }
    }

    /// Decides about event `number`. `aftermath` is kept between calls.
    pub(crate) fn decide(self, number: u64, kind: Kind, aftermath: &mut Aftermath) -> Verdict {
        if let Some(errno) = aftermath.syncs_fail.filter(|_| kind.is_sync()) {
            return Verdict::Fail(errno);
        }
        if aftermath.full_next && kind.needs_space() {
            aftermath.full_next = matches!(self, Fault::Short { on: true, .. });
            return Verdict::Fail(libc::ENOSPC);
        }
        let verdict = self.at(number, kind, &mut aftermath.full_next);
        if let (Fault::Fail { journal: true, .. }, Kind::SyncDir, Verdict::Fail(errno)) =
            (self, kind, verdict)
        {
            aftermath.syncs_fail = Some(errno);
        }
        verdict
    }

    fn at(self, number: u64, kind: Kind, full_next: &mut bool) -> Verdict {
        match self {
            Fault::Kill { at, half: false } if number == at => Verdict::Kill,
            Fault::Kill { at, half: true } if number == at => Verdict::HalfThenKill,
            Fault::Fail { at, errno, .. } if number == at => match kind {
                // Removing needs no space; a sync can find that there is none.
                Kind::Remove if errno == libc::ENOSPC => Verdict::Go,
                _ => Verdict::Fail(errno),
            },
            Fault::Fail { at, on, errno, .. } if on && number > at => {
                match errno == libc::ENOSPC && !kind.needs_space() {
                    true => Verdict::Go,
                    false => Verdict::Fail(errno),
                }
            }
            Fault::Short { at, on } if number == at => match kind {
                Kind::Write => {
                    *full_next = true;
                    Verdict::Short
                }
                _ if kind.needs_space() => {
                    *full_next = on;
                    Verdict::Fail(libc::ENOSPC)
                }
                _ => Verdict::Go,
            },
            _ => Verdict::Go,
        }
    }
}
