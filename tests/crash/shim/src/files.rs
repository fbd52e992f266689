//! Hooks of the functions that take an open descriptor: writing, sizes, synchronization.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, off_t, size_t, ssize_t};

use crate::fault::{Kind, Verdict};
use crate::journal::{Entry, Record};
use crate::slow;
use crate::state::{State, Turn, Watched, state};
use crate::sys;

/// All writing ends here.
fn write_at(fd: c_int, data: &[u8], offset: Option<off_t>) -> ssize_t {
    let Some((state, watched)) = state().and_then(|state| Some((state, state.watched(fd)?))) else {
        slow::before_write(fd);
        return sys::write(fd, data, offset);
    };
    let mut turn = state.turn();
    if watched == Watched::Ack {
        let written = sys::write(fd, data, offset);
        let mut record = Record::new(Entry::Ack, 0);
        record.data = data;
        turn.record(&record);
        return written;
    }
    let verdict = turn.enter(Kind::Write);
    let half = data.get(..data.len() / 2).unwrap_or_default();
    match verdict {
        Verdict::Fail(errno) => sys::fail(errno) as ssize_t,
        Verdict::HalfThenKill => {
            write_and_record(&turn, fd, half, offset);
            sys::kill_self()
        }
        // A write of nothing would look like the end of the file: let the smallest ones be full.
        Verdict::Short if half.is_empty() => {
            turn.record(&Record::new(Entry::Failed, 0));
            sys::fail(libc::ENOSPC) as ssize_t
        }
        Verdict::Short => write_and_record(&turn, fd, half, offset),
        Verdict::Go | Verdict::Kill => write_and_record(&turn, fd, data, offset),
    }
}

fn write_and_record(turn: &Turn<'_>, fd: c_int, data: &[u8], offset: Option<off_t>) -> ssize_t {
    let position = match offset {
        // Linux appends whatever the offset, where the descriptor says so.
        Some(offset) if sys::flags(fd) & libc::O_APPEND == 0 => offset as u64,
        _ => sys::position(fd),
    };
    let written = sys::write(fd, data, offset);
    let Some(data) = usize::try_from(written).ok().and_then(|n| data.get(..n)) else {
        turn.nothing();
        return written;
    };
    let mut record = Record::new(Entry::Write, inode(fd));
    record.synchronous = sys::flags(fd) & (libc::O_DSYNC | libc::O_SYNC) != 0;
    record.numbers = [position, 0];
    record.data = data;
    turn.record(&record);
    written
}

fn inode(fd: c_int) -> u64 {
    sys::identity(fd).map_or(0, |identity| identity.inode)
}

/// The bytes that an array of buffers stands for, in one piece.
///
/// # Safety
/// The arguments must be valid for `writev`.
unsafe fn gather(vectors: *const iovec, count: c_int) -> Vec<u8> {
    let mut whole = Vec::new();
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller vouches for the array and the buffers in it.
        let part = unsafe {
            let vector = &*vectors.add(index);
            bytes(vector.iov_base, vector.iov_len)
        };
        whole.extend_from_slice(part);
    }
    whole
}

/// # Safety
/// `data` must point to `count` bytes, unless `count` is 0.
unsafe fn bytes<'a>(data: *const c_void, count: size_t) -> &'a [u8] {
    if count == 0 || data.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(data.cast(), count) }
}

/// Synchronizes `fd`: with the journal, not with the device.
fn sync(fd: c_int, number: libc::c_long) -> c_int {
    let Some(state) = watching(fd) else {
        slow::before_sync();
        // SAFETY: the call takes a descriptor.
        return unsafe { sys::call(number, [fd as usize, 0, 0, 0, 0]) as c_int };
    };
    let identity = sys::identity(fd);
    let (inode, kind) = match identity {
        Some(it) if it.directory => (it.inode, Kind::SyncDir),
        Some(it) => (it.inode, Kind::Sync),
        None => (0, Kind::Sync),
    };
    let mut turn = state.turn();
    let verdict = turn.enter(kind);
    if let Verdict::Fail(errno) = verdict {
        turn.record(&Record::new(Entry::SyncFailed, inode));
        return sys::fail(errno);
    }
    turn.record(&Record::new(Entry::Sync, inode));
    finish(verdict);
    0
}

/// Changes the size of `fd`.
fn resize(fd: c_int, size: off_t) -> c_int {
    // SAFETY: the call takes integers.
    let perform = || unsafe {
        sys::call(libc::SYS_ftruncate, [fd as usize, size as usize, 0, 0, 0]) as c_int
    };
    let Some(state) = watching(fd) else {
        return perform();
    };
    let mut turn = state.turn();
    let verdict = turn.enter(Kind::Resize);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let done = perform();
    if done == 0 {
        let mut record = Record::new(Entry::Resize, inode(fd));
        record.numbers = [size as u64, 0];
        turn.record(&record);
    } else {
        turn.nothing();
    }
    finish(verdict);
    done
}

/// Allocates, zeroes or punches a range.
fn allocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int {
    let arguments = [
        fd as usize,
        mode as usize,
        offset as usize,
        length as usize,
        0,
    ];
    // SAFETY: the call takes integers.
    let perform = || unsafe { sys::call(libc::SYS_fallocate, arguments) as c_int };
    let Some(state) = watching(fd) else {
        return perform();
    };
    let zeroes = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
    if mode & !(zeroes | libc::FALLOC_FL_KEEP_SIZE) != 0 {
        return sys::fail(libc::EOPNOTSUPP);
    }
    let mut turn = state.turn();
    let verdict = turn.enter(Kind::Resize);
    if let Verdict::Fail(errno) = verdict {
        return sys::fail(errno);
    }
    let before = sys::identity(fd).map_or(0, |identity| identity.size);
    let done = perform();
    let end = (offset + length) as u64;
    let grows = mode & libc::FALLOC_FL_KEEP_SIZE == 0 && end > before;
    let inode = inode(fd);
    match (done, mode & zeroes != 0) {
        (0, true) => {
            let mut record = Record::new(Entry::Zero, inode);
            let end = if grows { end } else { end.min(before) };
            record.numbers = [offset as u64, end.saturating_sub(offset as u64)];
            turn.record(&record);
        }
        (0, false) if grows => {
            let mut record = Record::new(Entry::Resize, inode);
            record.numbers = [end, 0];
            turn.record(&record);
        }
        _ => turn.nothing(),
    }
    finish(verdict);
    done
}

/// The state, if `fd` is a file or directory below the root.
fn watching(fd: c_int) -> Option<&'static State> {
    state().filter(|state| state.watched(fd) == Some(Watched::Below))
}

/// Carries out a kill that was to come after the event.
pub(crate) fn finish(verdict: Verdict) {
    if verdict == Verdict::HalfThenKill {
        sys::kill_self();
    }
}

/// The hooks themselves: nothing but the C library's names and argument types.
mod hooks {
    use super::{
        Entry, Kind, Record, Verdict, allocate, bytes, finish, gather, resize, state, sync, sys,
        watching, write_at,
    };
    use super::{c_int, c_uint, c_void, iovec, off_t, size_t, ssize_t};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
        // SAFETY: the caller gives what `write` demands.
        write_at(fd, unsafe { bytes(data, count) }, None)
    }

    macro_rules! positioned {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                fd: c_int,
                data: *const c_void,
                count: size_t,
                offset: off_t,
            ) -> ssize_t {
                // SAFETY: the caller gives what `pwrite` demands.
                write_at(fd, unsafe { bytes(data, count) }, Some(offset))
            }
        )*};
    }
    positioned!(pwrite pwrite64);

    #[unsafe(no_mangle)]
    unsafe extern "C" fn writev(fd: c_int, vectors: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the caller gives what `writev` demands.
        write_at(fd, &unsafe { gather(vectors, count) }, None)
    }

    macro_rules! gathered {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                fd: c_int,
                vectors: *const iovec,
                count: c_int,
                offset: off_t,
            ) -> ssize_t {
                // SAFETY: the caller gives what `pwritev` demands.
                write_at(fd, &unsafe { gather(vectors, count) }, Some(offset))
            }
        )*};
    }
    gathered!(pwritev pwritev64);

    macro_rules! flagged {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                fd: c_int,
                vectors: *const iovec,
                count: c_int,
                offset: off_t,
                flags: c_int,
            ) -> ssize_t {
                if flags != 0 && watching(fd).is_some() {
                    return sys::fail(libc::EOPNOTSUPP) as ssize_t;
                }
                // SAFETY: the caller gives what `pwritev2` demands; -1 stands for the position.
                write_at(fd, &unsafe { gather(vectors, count) }, (offset != -1).then_some(offset))
            }
        )*};
    }
    flagged!(pwritev2 pwritev64v2);

    #[unsafe(no_mangle)]
    unsafe extern "C" fn fsync(fd: c_int) -> c_int {
        sync(fd, libc::SYS_fsync)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
        sync(fd, libc::SYS_fdatasync)
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn sync_file_range(
        fd: c_int,
        offset: off_t,
        length: off_t,
        flags: c_uint,
    ) -> c_int {
        if watching(fd).is_some() {
            return 0;
        }
        let arguments = [
            fd as usize,
            offset as usize,
            length as usize,
            flags as usize,
            0,
        ];
        // SAFETY: the call takes integers.
        unsafe { sys::call(libc::SYS_sync_file_range, arguments) as c_int }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn syncfs(fd: c_int) -> c_int {
        let Some(state) = watching(fd) else {
            // SAFETY: the call takes a descriptor.
            return unsafe { sys::call(libc::SYS_syncfs, [fd as usize, 0, 0, 0, 0]) as c_int };
        };
        let mut turn = state.turn();
        let verdict = turn.enter(Kind::Sync);
        if let Verdict::Fail(errno) = verdict {
            turn.record(&Record::new(Entry::Nothing, 0));
            return sys::fail(errno);
        }
        turn.record(&Record::new(Entry::SyncAll, 0));
        finish(verdict);
        0
    }

    macro_rules! sizes {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(fd: c_int, size: off_t) -> c_int {
                resize(fd, size)
            }
        )*};
    }
    sizes!(ftruncate ftruncate64);

    macro_rules! ranges {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                fd: c_int,
                mode: c_int,
                offset: off_t,
                length: off_t,
            ) -> c_int {
                allocate(fd, mode, offset, length)
            }
        )*};
    }
    ranges!(fallocate fallocate64);

    macro_rules! posix_ranges {
        ($($name:ident)*) => {$(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(fd: c_int, offset: off_t, length: off_t) -> c_int {
                match allocate(fd, 0, offset, length) {
                    0 => 0,
                    _ => sys::errno(),
                }
            }
        )*};
    }
    posix_ranges!(posix_fallocate posix_fallocate64);

    macro_rules! copies {
        ($($name:ident($out:ident; $($argument:ident: $type:ty),*) => $call:ident;)*) => {$(
            /// Copies inside the kernel are refused below the root: callers fall back to writing.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> ssize_t {
                if state().is_some_and(|state| state.watched($out).is_some()) {
                    return sys::fail(libc::ENOSYS) as ssize_t;
                }
                // SAFETY: the arguments are passed on as they came.
                unsafe { libc::syscall(libc::$call, $($argument),*) as ssize_t }
            }
        )*};
    }
    copies! {
        copy_file_range(target; source: c_int, at: *mut off_t, target: c_int, to: *mut off_t,
            count: size_t, flags: c_uint) => SYS_copy_file_range;
        splice(target; source: c_int, at: *mut off_t, target: c_int, to: *mut off_t,
            count: size_t, flags: c_uint) => SYS_splice;
        sendfile(target; target: c_int, source: c_int, at: *mut off_t, count: size_t)
            => SYS_sendfile;
        sendfile64(target; target: c_int, source: c_int, at: *mut off_t, count: size_t)
            => SYS_sendfile;
    }
}
