//! What a process may do beyond its own memory: no powers of root's, now or later, and so much of the machine.

use std::io::{Error, Result};

use libc::{c_int, c_long, c_ulong};

use super::calls;
use super::namespaces::USER;
use crate::evaluation::execute::job::Limits;

/// More than there are capabilities, of any kernel.
const CAPABILITIES: c_ulong = 64;

/// No program has powers for being root's, and none can be passed on: `SECBIT_NOROOT`, `SECBIT_NO_CAP_AMBIENT_RAISE`, and their locks.
const SECURE_BITS: c_ulong = 0x1 | 0x2 | 0x40 | 0x80;

/// Gives up whatever powers there are in these namespaces, for good, and looks whether they are gone.
pub(super) fn give_up() -> Result<()> {
    calls::control(libc::PR_SET_SECUREBITS, SECURE_BITS)?;
    for capability in 0..CAPABILITIES {
        // There are fewer than that: where none is of this number, there is none above.
        if calls::control(libc::PR_CAPBSET_READ, capability).is_err() {
            break;
        }
        calls::control(libc::PR_CAPBSET_DROP, capability)?;
    }
    if calls::user() != USER {
        calls::become_user(USER, USER)?;
    }
    calls::clear_ambient_capabilities()?;
    calls::drop_capabilities()?;
    calls::control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    calls::control(libc::PR_SET_DUMPABLE, 0)?;
    // A change of user takes this back, so it comes last: with who watches, all end.
    calls::control(libc::PR_SET_PDEATHSIG, signal(libc::SIGKILL)?)?;

    let wrong = |problem: &str| Err(Error::other(problem.to_owned()));
    if calls::capabilities()? != [[0; 3]; 2] {
        return wrong("capabilities are left");
    }
    for capability in 0..CAPABILITIES {
        if calls::control(libc::PR_CAPBSET_READ, capability).is_ok_and(|has| has != 0) {
            return wrong("capabilities could come back");
        }
    }
    if calls::control(libc::PR_GET_NO_NEW_PRIVS, 0)? != 1 {
        return wrong("a program could get new powers");
    }
    if calls::user() != USER || calls::group() != USER {
        return wrong("it is still the user outside");
    }
    Ok(())
}

fn signal(number: c_int) -> Result<c_ulong> {
    c_ulong::try_from(number).map_err(Error::other)
}

/// Limits this process and all that come from it.
pub(super) fn limit(limits: &Limits) -> Result<()> {
    let seconds = limits.time.as_secs() + 1;
    let all: [(&str, c_long, u64, u64); 11] = [
        // First a signal, then the end.
        ("CPU", c_long::from(libc::RLIMIT_CPU), seconds, seconds + 1),
        (
            "AS",
            c_long::from(libc::RLIMIT_AS),
            limits.memory_bytes,
            limits.memory_bytes,
        ),
        (
            "FSIZE",
            c_long::from(libc::RLIMIT_FSIZE),
            limits.file_bytes,
            limits.file_bytes,
        ),
        (
            "NPROC",
            c_long::from(libc::RLIMIT_NPROC),
            limits.processes,
            limits.processes,
        ),
        (
            "NOFILE",
            c_long::from(libc::RLIMIT_NOFILE),
            limits.files,
            limits.files,
        ),
        ("CORE", c_long::from(libc::RLIMIT_CORE), 0, 0),
        ("MEMLOCK", c_long::from(libc::RLIMIT_MEMLOCK), 0, 0),
        ("MSGQUEUE", c_long::from(libc::RLIMIT_MSGQUEUE), 0, 0),
        ("SIGPENDING", c_long::from(libc::RLIMIT_SIGPENDING), 64, 64),
        ("NICE", c_long::from(libc::RLIMIT_NICE), 0, 0),
        ("RTPRIO", c_long::from(libc::RLIMIT_RTPRIO), 0, 0),
    ];
    for (name, resource, soft, hard) in all {
        let set = calls::limit(resource, soft, hard);
        set.map_err(|error| Error::new(error.kind(), format!("RLIMIT_{name}: {error}")))?;
    }
    Ok(())
}
