//! What is to happen at which event.

use std::ffi::c_int;

/// The sorts of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Sync,
    Resize,
    Create,
    Rename,
    Remove,
}

impl Kind {
    /// Whether a full disk refuses it.
    fn needs_space(self) -> bool {
        !matches!(self, Kind::Sync | Kind::Remove)
    }
}

/// What the shim was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: count and record.
    None,
    /// Kill before the event, or after half of it.
    Kill { at: u64, half: bool },
    /// Let the event fail with `errno`; `on` says that later ones fail too.
    Fail { at: u64, on: bool, errno: c_int },
    /// Do half of a write; then the disk is full, once or for good.
    Short { at: u64, on: bool },
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
        let (at, on) = match at.strip_suffix('+') {
            Some(at) => (at, true),
            None => (at, false),
        };
        let at = at.parse().ok()?;
        match (name, what) {
            ("kill", None) => Some(Fault::Kill { at, half: false }),
            ("kill-half", None) => Some(Fault::Kill { at, half: true }),
            ("fail", Some("SHORT")) => Some(Fault::Short { at, on }),
            ("fail", Some("EIO")) => Some(Fault::fail(at, on, libc::EIO)),
            ("fail", Some("ENOSPC")) => Some(Fault::fail(at, on, libc::ENOSPC)),
            _ => None,
        }
    }

    fn fail(at: u64, on: bool, errno: c_int) -> Fault {
        Fault::Fail { at, on, errno }
    }

    /// Decides about event `number`. `full_next` is kept between calls: it says that the next event
    /// in need of space finds the disk full.
    pub(crate) fn decide(self, number: u64, kind: Kind, full_next: &mut bool) -> Verdict {
        if *full_next && kind.needs_space() {
            *full_next = matches!(self, Fault::Short { on: true, .. });
            return Verdict::Fail(libc::ENOSPC);
        }
        match self {
            Fault::Kill { at, half: false } if number == at => Verdict::Kill,
            Fault::Kill { at, half: true } if number == at => Verdict::HalfThenKill,
            Fault::Fail { at, errno, .. } if number == at => match kind {
                // Removing needs no space; a sync can find that there is none.
                Kind::Remove if errno == libc::ENOSPC => Verdict::Go,
                _ => Verdict::Fail(errno),
            },
            Fault::Fail { at, on, errno } if on && number > at => {
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
