//! Hooks of the functions that take a path: opening, renaming, removing, directories.

use std::ffi::{CString, c_char, c_int, c_uint};

use libc::off_t;

use crate::fault::{Kind, Verdict};
use crate::files::finish;
use crate::journal::{Entry, Record};
use crate::state::{State, absolute, state};
use crate::sys;

/// A path below the root.
struct Place {
    state: &'static State,
    path: Vec<u8>,
}

impl Place {
    /// The path, if it is below the root.
    ///
    /// # Safety
    /// `path` must be null or a valid C string.
    unsafe fn find(at: c_int, path: *const c_char) -> Option<Place> {
        let state = state()?;
        // SAFETY: the caller vouches for the path.
        let path = unsafe { absolute(at, path) }?;
        state.relative(&path)?;
        Some(Place { state, path })
    }

    fn relative(&self) -> &[u8] {
        self.state.relative(&self.path).unwrap_or_default()
    }

    fn identity(&self) -> Option<sys::Identity> {
        sys::identity_of(&CString::new(self.path.as_slice()).ok()?)
    }

    fn inode(&self) -> u64 {
        self.identity().map_or(0, |identity| identity.inode)
    }
}

/// All opening ends here: it is an event where it creates a file or cuts one off.
///
/// # Safety
/// `path` must be a valid C string.
unsafe fn open_at(at: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the caller vouches for the path.
    let perform = || unsafe { sys::open(at, path, flags, mode) };
    // SAFETY: as above.
    let Some(place) = (unsafe { Place::find(at, path) }) else {
        return perform();
    };
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return sys::fail(libc::EOPNOTSUPP);
    }
    let mut turn = place.state.turn();
    let before = place.identity();
    let creates = flags & libc::O_CREAT != 0 && before.is_none();
    let cuts = flags & libc::O_TRUNC != 0
        && flags & libc::O_ACCMODE != libc::O_RDONLY
        && before.is_some_and(|identity| identity.regular && identity.size > 0);
    if !creates && !cuts {
        return perform();
    }
    let kind = if creates { Kind::Create } else { Kind::Remove };
    let verdict = turn.enter(kind);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let fd = perform();
    if fd < 0 {
        turn.nothing();
        return fd;
    }
    let entry = if creates {
        Entry::Create
    } else {
        Entry::Resize
    };
    let mut record = Record::new(entry, place.inode());
    if creates {
        record.paths[0] = place.relative();
    }
    turn.record(&record);
    finish(verdict);
    fd
}

/// Carries out a change of the directory entry at `place` and records it as `entry`.
fn change(place: &Place, kind: Kind, entry: Entry, perform: impl Fn() -> c_int) -> c_int {
    let mut turn = place.state.turn();
    let verdict = turn.enter(kind);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let done = perform();
    if done != 0 {
        turn.nothing();
        return done;
    }
    let inode = match entry {
        Entry::MakeDir => place.inode(),
        _ => 0,
    };
    let mut record = Record::new(entry, inode);
    record.paths[0] = place.relative();
    turn.record(&record);
    finish(verdict);
    done
}

/// Carries out a change of two directory entries. Both paths are given as (directory, path).
///
/// # Safety
/// Both paths must be valid C strings, and `perform` a call with them.
unsafe fn change_two(
    from: (c_int, *const c_char),
    to: (c_int, *const c_char),
    entry: Entry,
    perform: impl Fn() -> c_int,
) -> c_int {
    // SAFETY: the caller vouches for the paths.
    let (source, target) = unsafe { (Place::find(from.0, from.1), Place::find(to.0, to.1)) };
    let (source, target) = match (source, target) {
        (None, None) => return perform(),
        (Some(source), Some(target)) => (source, target),
        // Into or out of what the journal covers: as between two file systems.
        _ => return sys::fail(libc::EXDEV),
    };
    let mut turn = source.state.turn();
    let verdict = turn.enter(Kind::Rename);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let done = perform();
    if done != 0 {
        turn.nothing();
        return done;
    }
    let mut record = Record::new(entry, 0);
    record.paths = [source.relative(), target.relative()];
    turn.record(&record);
    finish(verdict);
    done
}

/// # Safety
/// Both paths must be valid C strings.
unsafe fn rename_at(
    from: (c_int, *const c_char),
    to: (c_int, *const c_char),
    flags: c_uint,
) -> c_int {
    if flags & !libc::RENAME_NOREPLACE != 0 {
        return sys::fail(libc::EINVAL);
    }
    let arguments = [
        from.0 as usize,
        from.1 as usize,
        to.0 as usize,
        to.1 as usize,
        flags as usize,
    ];
    // SAFETY: the caller vouches for the paths.
    unsafe {
        change_two(from, to, Entry::Rename, || {
            sys::call(libc::SYS_renameat2, arguments) as c_int
        })
    }
}

/// # Safety
/// Both paths must be valid C strings.
unsafe fn link_at(from: (c_int, *const c_char), to: (c_int, *const c_char), flags: c_int) -> c_int {
    let arguments = [
        from.0 as usize,
        from.1 as usize,
        to.0 as usize,
        to.1 as usize,
        flags as usize,
    ];
    // SAFETY: the caller vouches for the paths.
    unsafe {
        change_two(from, to, Entry::Link, || {
            sys::call(libc::SYS_linkat, arguments) as c_int
        })
    }
}

/// # Safety
/// `path` must be a valid C string.
unsafe fn remove_at(at: c_int, path: *const c_char, flags: c_int) -> c_int {
    let arguments = [at as usize, path as usize, flags as usize, 0, 0];
    // SAFETY: the caller vouches for the path.
    let perform = || unsafe { sys::call(libc::SYS_unlinkat, arguments) as c_int };
    // SAFETY: as above.
    match unsafe { Place::find(at, path) } {
        None => perform(),
        Some(place) => change(&place, Kind::Remove, Entry::Remove, perform),
    }
}

/// # Safety
/// `path` must be a valid C string.
unsafe fn make_dir_at(at: c_int, path: *const c_char, mode: c_uint) -> c_int {
    let arguments = [at as usize, path as usize, mode as usize, 0, 0];
    // SAFETY: the caller vouches for the path.
    let perform = || unsafe { sys::call(libc::SYS_mkdirat, arguments) as c_int };
    // SAFETY: as above.
    match unsafe { Place::find(at, path) } {
        None => perform(),
        Some(place) => change(&place, Kind::Create, Entry::MakeDir, perform),
    }
}

/// # Safety
/// `path` must be a valid C string.
unsafe fn resize_at(path: *const c_char, size: off_t) -> c_int {
    let arguments = [path as usize, size as usize, 0, 0, 0];
    // SAFETY: the caller vouches for the path.
    let perform = || unsafe { sys::call(libc::SYS_truncate, arguments) as c_int };
    // SAFETY: as above.
    let Some(place) = (unsafe { Place::find(libc::AT_FDCWD, path) }) else {
        return perform();
    };
    let mut turn = place.state.turn();
    let verdict = turn.enter(Kind::Resize);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let done = perform();
    if done != 0 {
        turn.nothing();
        return done;
    }
    let mut record = Record::new(Entry::Resize, place.inode());
    record.numbers = [size as u64, 0];
    turn.record(&record);
    finish(verdict);
    done
}

/// The hooks themselves. `open` is variadic in C; on the architectures that Linux runs on with 64
/// bits, an integer in the place of the variable arguments is passed just as a named one.
mod hooks {
    use super::{c_char, c_int, c_uint, off_t};
    use super::{link_at, make_dir_at, open_at, remove_at, rename_at, resize_at};
    use libc::AT_FDCWD;

    macro_rules! hooks {
        ($($name:ident($($argument:ident: $type:ty),*) => $body:expr;)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
                // SAFETY: the caller gives what the C library's function demands.
                unsafe { $body }
            }
        )*};
    }

    hooks! {
        open(path: *const c_char, flags: c_int, mode: c_uint) =>
            open_at(AT_FDCWD, path, flags, mode);
        open64(path: *const c_char, flags: c_int, mode: c_uint) =>
            open_at(AT_FDCWD, path, flags, mode);
        __open_2(path: *const c_char, flags: c_int) => open_at(AT_FDCWD, path, flags, 0);
        __open64_2(path: *const c_char, flags: c_int) => open_at(AT_FDCWD, path, flags, 0);
        openat(at: c_int, path: *const c_char, flags: c_int, mode: c_uint) =>
            open_at(at, path, flags, mode);
        openat64(at: c_int, path: *const c_char, flags: c_int, mode: c_uint) =>
            open_at(at, path, flags, mode);
        creat(path: *const c_char, mode: c_uint) =>
            open_at(AT_FDCWD, path, libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY, mode);
        creat64(path: *const c_char, mode: c_uint) =>
            open_at(AT_FDCWD, path, libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY, mode);
        truncate(path: *const c_char, size: off_t) => resize_at(path, size);
        truncate64(path: *const c_char, size: off_t) => resize_at(path, size);
        rename(from: *const c_char, to: *const c_char) =>
            rename_at((AT_FDCWD, from), (AT_FDCWD, to), 0);
        renameat(at: c_int, from: *const c_char, into: c_int, to: *const c_char) =>
            rename_at((at, from), (into, to), 0);
        renameat2(at: c_int, from: *const c_char, into: c_int, to: *const c_char, flags: c_uint) =>
            rename_at((at, from), (into, to), flags);
        link(from: *const c_char, to: *const c_char) =>
            link_at((AT_FDCWD, from), (AT_FDCWD, to), 0);
        linkat(at: c_int, from: *const c_char, into: c_int, to: *const c_char, flags: c_int) =>
            link_at((at, from), (into, to), flags);
        unlink(path: *const c_char) => remove_at(AT_FDCWD, path, 0);
        unlinkat(at: c_int, path: *const c_char, flags: c_int) => remove_at(at, path, flags);
        rmdir(path: *const c_char) => remove_at(AT_FDCWD, path, libc::AT_REMOVEDIR);
        mkdir(path: *const c_char, mode: c_uint) => make_dir_at(AT_FDCWD, path, mode);
        mkdirat(at: c_int, path: *const c_char, mode: c_uint) => make_dir_at(at, path, mode);
    }
}
