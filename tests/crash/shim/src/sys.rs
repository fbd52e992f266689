//! The system calls that the hooks stand in front of, without the C library's functions.

use std::ffi::{CStr, c_char, c_int, c_long};
use std::mem::MaybeUninit;

use libc::{off_t, ssize_t};

/// What identifies a file or directory, and how large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) regular: bool,
    pub(crate) directory: bool,
}

/// Sets `errno` and returns the -1 that says so.
pub(crate) fn fail(errno: c_int) -> c_int {
    // SAFETY: the C library returns a valid pointer to this thread's `errno`.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The `errno` of the last call of this thread.
pub(crate) fn errno() -> c_int {
    // SAFETY: the C library returns a valid pointer to this thread's `errno`.
    unsafe { *libc::__errno_location() }
}

/// A system call of integers and pointers that the caller vouches for.
///
/// # Safety
/// The arguments must be what the system call `number` demands.
pub(crate) unsafe fn call(number: c_long, arguments: [usize; 5]) -> c_long {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller vouches for the arguments.
    unsafe { libc::syscall(number, a, b, c, d, e) }
}

/// `openat`.
///
/// # Safety
/// `path` must be a valid C string.
pub(crate) unsafe fn open(at: c_int, path: *const c_char, flags: c_int, mode: u32) -> c_int {
    let arguments = [at as usize, path as usize, flags as usize, mode as usize, 0];
    // SAFETY: the caller vouches for the path.
    unsafe { call(libc::SYS_openat, arguments) as c_int }
}

/// `write`, or `pwrite` where an offset is given.
pub(crate) fn write(fd: c_int, data: &[u8], offset: Option<off_t>) -> ssize_t {
    let (number, offset) = match offset {
        None => (libc::SYS_write, 0),
        Some(offset) => (libc::SYS_pwrite64, offset),
    };
    let arguments = [
        fd as usize,
        data.as_ptr() as usize,
        data.len(),
        offset as usize,
        0,
    ];
    // SAFETY: pointer and length come from a slice.
    unsafe { call(number, arguments) as ssize_t }
}

/// Where `write` without an offset will write: the position, or the end of an appending descriptor.
pub(crate) fn position(fd: c_int) -> u64 {
    if flags(fd) & libc::O_APPEND != 0 {
        return identity(fd).map_or(0, |identity| identity.size);
    }
    // SAFETY: lseek takes integers only.
    let position = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    u64::try_from(position).unwrap_or(0)
}

/// The status flags of an open descriptor, 0 for a bad one.
pub(crate) fn flags(fd: c_int) -> c_int {
    // SAFETY: F_GETFL takes no argument.
    unsafe { libc::fcntl(fd, libc::F_GETFL).max(0) }
}

/// What an open descriptor stands for.
pub(crate) fn identity(fd: c_int) -> Option<Identity> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the pointer is to memory of the right size.
    let done = unsafe { libc::syscall(libc::SYS_fstat, fd, stat.as_mut_ptr()) };
    // SAFETY: the call has filled it in where it reports success.
    (done == 0).then(|| describe(unsafe { stat.assume_init_ref() }))
}

/// What a path leads to, symbolic links not followed.
pub(crate) fn identity_of(path: &CStr) -> Option<Identity> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: both pointers are valid for the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            libc::AT_FDCWD,
            path.as_ptr(),
            stat.as_mut_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    // SAFETY: the call has filled it in where it reports success.
    (done == 0).then(|| describe(unsafe { stat.assume_init_ref() }))
}

fn describe(stat: &libc::stat) -> Identity {
    Identity {
        inode: stat.st_ino,
        size: stat.st_size as u64,
        regular: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
        directory: stat.st_mode & libc::S_IFMT == libc::S_IFDIR,
    }
}

/// Ends the process as `kill -9` does.
pub(crate) fn kill_self() -> ! {
    loop {
        // SAFETY: both take no pointers.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}
