//! The system calls that the standard library has no form of, each with its error.
#![expect(
    unsafe_code,
    reason = "system calls take pointers; those given here are to what lives as long as the call, which is all that each asks for"
)]

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Seek, Write};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

use libc::{c_int, c_long, c_ulong, pid_t};

fn check(result: c_int) -> Result<c_int> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(result)
}

fn check_long(result: c_long) -> Result<c_long> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(result)
}

fn text(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// That this process has one thread, so that it may be copied.
#[derive(Debug)]
pub(super) struct Alone(());

impl Alone {
    /// # Errors
    /// It has others, or it cannot be known.
    pub(super) fn check() -> Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            threads => Err(Error::other(format!("it has {threads} threads"))),
        }
    }
}

/// Copies this process. The copy is told none, and the process which its copy is.
pub(super) fn fork(_: &Alone) -> Result<Option<pid_t>> {
    // SAFETY: there is one thread, which goes on in the copy as it was.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// Ends this process as it is: nothing is flushed and nothing called, for a copy must not do what the process will.
pub(super) fn leave(code: c_int) -> ! {
    // SAFETY: it takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this code.
    Exited(c_int),
    /// By this signal.
    Killed(c_int),
}

/// The end of `pid`, or of any child; none where `patient` is not and all are still there.
pub(super) fn wait(pid: Option<pid_t>, patient: bool) -> Result<Option<(pid_t, End)>> {
    let mut status = 0;
    let options = if patient { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: the status is written into a local.
        match check(unsafe { libc::waitpid(pid.unwrap_or(-1), &raw mut status, options) }) {
            Ok(0) => return Ok(None),
            Ok(ended) if libc::WIFSIGNALED(status) => {
                return Ok(Some((ended, End::Killed(libc::WTERMSIG(status)))));
            }
            Ok(ended) => return Ok(Some((ended, End::Exited(libc::WEXITSTATUS(status))))),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn kill(pid: pid_t, signal: c_int) -> Result<()> {
    // SAFETY: it takes no pointer.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Which of `fds` have something, or nobody at their other end; none of them after `timeout`.
pub(super) fn poll(fds: &[BorrowedFd<'_>], timeout: Duration) -> Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up, so that a wait does not end before its time.
    let milliseconds = c_int::try_from(timeout.as_millis() + 1).unwrap_or(c_int::MAX);
    let count = libc::nfds_t::try_from(polled.len()).map_err(Error::other)?;
    // SAFETY: the list has `count` entries.
    match check(unsafe { libc::poll(polled.as_mut_ptr(), count, milliseconds) }) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(polled.iter().map(|of| of.revents != 0).collect())
}

/// A file without a name that has `bytes`, at its beginning.
pub(super) fn memory_file(bytes: &[u8]) -> Result<File> {
    // SAFETY: the name is a constant that ends in zero, and the descriptor is nobody else's.
    let mut file = unsafe {
        let fd = check(libc::memfd_create(c"source".as_ptr(), libc::MFD_CLOEXEC))?;
        File::from_raw_fd(fd)
    };
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Gives `fds` the numbers 0, 1, ... and closes all others: what a program then begins with.
pub(super) fn place(fds: &[RawFd]) -> Result<()> {
    // Above those that are given out, and below the limit of files.
    const ABOVE: c_int = 32;
    let mut copies = Vec::with_capacity(fds.len());
    for &fd in fds {
        // SAFETY: numbers alone; what is closed belongs to a process that goes on as another program.
        copies.push(check(unsafe { libc::fcntl(fd, libc::F_DUPFD, ABOVE) })?);
    }
    let mut next = 0;
    for copy in copies {
        // SAFETY: as above.
        check(unsafe { libc::dup2(copy, next) })?;
        next += 1;
    }
    // SAFETY: as above.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, next, c_long::from(u32::MAX), 0) })?;
    Ok(())
}

/// Becomes another program.
pub(super) fn execute(path: &Path, arguments: &[&str], environment: &[&str]) -> Result<Infallible> {
    let path = text(path)?;
    let owned = |texts: &[&str]| -> Result<Vec<CString>> {
        texts.iter().map(|text| Ok(CString::new(*text)?)).collect()
    };
    let (arguments, environment) = (owned(arguments)?, owned(environment)?);
    let list = |texts: &[CString]| {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([null()]).collect::<Vec<_>>()
    };
    let (arguments, environment) = (list(&arguments), list(&environment));
    // SAFETY: both lists end in a null pointer, and their texts live until the end of this function.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Err(Error::last_os_error())
}

pub(super) fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: it takes no pointer.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// A process of its own session, without a terminal.
pub(super) fn new_session() -> Result<()> {
    // SAFETY: it takes no pointer.
    check(unsafe { libc::setsid() }).map(drop)
}

pub(super) fn set_host_name(name: &str) -> Result<()> {
    // SAFETY: the name has the length that is said.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Real, effective and saved user and group; what is given up cannot be had again.
pub(super) fn become_user(user: u32, group: u32) -> Result<()> {
    // SAFETY: no groups are read from a list of none; the others take no pointer.
    unsafe {
        check(libc::setgroups(0, null()))?;
        check(libc::setresgid(group, group, group))?;
        check(libc::setresuid(user, user, user))?;
    }
    Ok(())
}

pub(super) fn user() -> u32 {
    // SAFETY: it takes no pointer and cannot fail.
    unsafe { libc::geteuid() }
}

pub(super) fn group() -> u32 {
    // SAFETY: it takes no pointer and cannot fail.
    unsafe { libc::getegid() }
}

/// A switch of this process.
pub(super) fn control(option: c_int, value: c_ulong) -> Result<c_int> {
    let zero: c_ulong = 0;
    // SAFETY: the options that are asked here take numbers.
    check(unsafe { libc::prctl(option, value, zero, zero, zero) })
}

/// No capability goes on to another program.
pub(super) fn clear_ambient_capabilities() -> Result<()> {
    let (what, zero): (c_ulong, c_ulong) = (
        c_ulong::try_from(libc::PR_CAP_AMBIENT_CLEAR_ALL).unwrap_or(0),
        0,
    );
    // SAFETY: it takes numbers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, what, zero, zero, zero) }).map(drop)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Effective, permitted and inheritable capabilities: the lower 32 of each, then the upper.
type Capabilities = [[u32; 3]; 2];

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITIES_OF_64_BITS: u32 = 0x2008_0522;

pub(super) fn drop_capabilities() -> Result<()> {
    let mut header = CapabilityHeader {
        version: CAPABILITIES_OF_64_BITS,
        pid: 0,
    };
    let none: Capabilities = [[0; 3]; 2];
    // SAFETY: header and sets have the layout of this version.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) })?;
    Ok(())
}

pub(super) fn capabilities() -> Result<Capabilities> {
    let mut header = CapabilityHeader {
        version: CAPABILITIES_OF_64_BITS,
        pid: 0,
    };
    let mut sets: Capabilities = [[0; 3]; 2];
    // SAFETY: as above; the sets are written into a local.
    check_long(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

/// Limits a resource, softly and hard, to no more than it was, and looks whether it is.
pub(super) fn limit(resource: c_long, soft: u64, hard: u64) -> Result<()> {
    let was = limits_of(resource)?;
    let wanted = [soft.min(was[1]), hard.min(was[1])];
    // SAFETY: a limit is two 64-bit numbers here on every processor; they are read from a local.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            wanted.as_ptr(),
            null_mut::<u64>(),
        )
    })?;
    let is = limits_of(resource)?;
    if is == wanted {
        return Ok(());
    }
    Err(Error::other(format!("it is {is:?} and not {wanted:?}")))
}

/// The soft and the hard limit.
fn limits_of(resource: c_long) -> Result<[u64; 2]> {
    let mut is = [0_u64; 2];
    // SAFETY: as above; they are written into a local.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            null::<u64>(),
            is.as_mut_ptr(),
        )
    })?;
    Ok(is)
}

pub(super) fn make_mounts_private() -> Result<()> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: what is null is not read with these flags.
    check(unsafe { libc::mount(null(), c"/".as_ptr(), null(), flags, null()) }).map(drop)
}

/// Mounts a file system in memory.
pub(super) fn mount_memory(at: &Path, flags: c_ulong, options: &str) -> Result<()> {
    let (at, options) = (text(at)?, CString::new(options)?);
    let kind = c"tmpfs".as_ptr();
    // SAFETY: all texts end in zero and live until the call is done.
    check(unsafe { libc::mount(kind, at.as_ptr(), kind, flags, options.as_ptr().cast()) }).map(drop)
}

/// A copy of what is mounted at `path`, and below it, that is nowhere yet.
pub(super) fn copy_tree(path: &Path) -> Result<OwnedFd> {
    let path = text(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let flags = c_long::from(flags) | c_long::from(libc::AT_RECURSIVE);
    // SAFETY: the path ends in zero, and the descriptor is nobody else's.
    unsafe {
        let fd = check_long(libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(
            RawFd::try_from(fd).map_err(Error::other)?,
        ))
    }
}

/// Adds attributes to a tree, or to the mount at a path.
pub(super) fn set_attributes(tree: Option<&OwnedFd>, path: &Path, attributes: u64) -> Result<()> {
    let path = text(path)?;
    let set = [attributes, 0, 0, 0];
    let (fd, flags) = match tree {
        Some(tree) => (tree.as_raw_fd(), libc::AT_EMPTY_PATH | libc::AT_RECURSIVE),
        None => (libc::AT_FDCWD, 0),
    };
    // SAFETY: the four numbers are `struct mount_attr`, whose size is said.
    let result = unsafe {
        let size = size_of::<[u64; 4]>();
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            set.as_ptr(),
            size,
        )
    };
    check_long(result).map(drop)
}

/// Puts a tree where it belongs.
pub(super) fn attach(tree: &OwnedFd, at: &Path) -> Result<()> {
    let at = text(at)?;
    let (from, to) = (tree.as_raw_fd(), libc::AT_FDCWD);
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths end in zero.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from,
            c"".as_ptr(),
            to,
            at.as_ptr(),
            flags,
        )
    };
    check_long(result).map(drop)
}

/// Makes the working folder the root, and what was the root nowhere.
pub(super) fn change_root() -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: the path is a constant that ends in zero.
    unsafe {
        // The old root comes to lie over the new one, and is what `.` then means.
        check_long(libc::syscall(libc::SYS_pivot_root, here, here))?;
        check(libc::umount2(here, libc::MNT_DETACH))?;
    }
    std::env::set_current_dir("/")
}

/// Flags of the mount at `path`, as `ST_RDONLY`.
pub(super) fn mount_flags(path: &Path) -> Result<c_ulong> {
    let path = text(path)?;
    // SAFETY: it is written into a local of plain numbers.
    unsafe {
        let mut of = std::mem::zeroed::<libc::statvfs>();
        check(libc::statvfs(path.as_ptr(), &raw mut of))?;
        Ok(of.f_flag)
    }
}

/// Puts all further system calls of this process, and of those that come from it, through a filter.
pub(super) fn filter_calls(program: &mut [libc::sock_filter]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(Error::other)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_mut_ptr(),
    };
    let zero: c_ulong = 0;
    // SAFETY: the filter has the length that is said.
    check(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
            zero,
            zero,
        )
    })
    .map(drop)
}

/// What a call of this number with zeros for arguments gives: for calls that fail with zeros, filtered or not.
pub(super) fn fails_with(number: c_long) -> Option<c_int> {
    let zero: c_long = 0;
    // SAFETY: no argument is an address.
    let result = unsafe { libc::syscall(number, zero, zero, zero, zero, zero, zero) };
    check_long(result)
        .err()
        .and_then(|error| error.raw_os_error())
}
