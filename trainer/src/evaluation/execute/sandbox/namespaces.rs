//! Namespaces of its own for a process: none of what it has in them is the machine's.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use libc::{c_int, pid_t};

use super::calls::{self, Alone, End};
use crate::evaluation::execute::job::Missing;

/// The user that programs run as, in their own namespace; nobody outside.
pub(super) const USER: u32 = 1;

/// Whom root gives programs to: on every Linux, the user who owns nothing.
const NOBODY: u32 = 65_534;

/// How each is called, its flag, and the file of a process that says which it is in. The one of users comes first: it permits the
/// others. Of that of processes children alone are, and the first of them looks.
const ALL: [(&str, c_int, Option<&str>); 7] = [
    ("user", libc::CLONE_NEWUSER, Some("user")),
    ("mount", libc::CLONE_NEWNS, Some("mnt")),
    ("process", libc::CLONE_NEWPID, None),
    ("network", libc::CLONE_NEWNET, Some("net")),
    ("IPC", libc::CLONE_NEWIPC, Some("ipc")),
    ("host name", libc::CLONE_NEWUTS, Some("uts")),
    ("cgroup", libc::CLONE_NEWCGROUP, Some("cgroup")),
];

const HINT: &str = "user namespaces must be allowed: `unshare --user --map-root-user true` says whether they are; sysctl kernel.unprivileged_userns_clone=1 or user.max_user_namespaces=10000, \
     on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0, in Docker `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`";

fn missing(layer: &str, problem: impl ToString) -> Missing {
    Missing {
        layer: layer.to_owned(),
        problem: problem.to_string(),
        hint: HINT.to_owned(),
    }
}

/// Takes this process into namespaces of its own, and its children into a process namespace. Looks whether each is another one.
pub(super) fn enter(alone: &Alone) -> Result<(), Missing> {
    let mapping = |problem: std::io::Error| missing("mapping of users", problem);
    let before = names()?;
    let (mut waits, mut goes) = std::io::pipe().map_err(mapping)?;
    // Only who is outside may say who the users inside are.
    let parent = std::process::id();
    let Some(mapper) = calls::fork(alone).map_err(mapping)? else {
        drop(goes);
        let told = waits.read_exact(&mut [0]);
        let mapped = told.and_then(|()| map_users(parent));
        calls::leave(mapped.map_or_else(|error| error.raw_os_error().unwrap_or(255), |()| 0));
    };
    drop(waits);
    for (name, flag, _) in ALL {
        let entered = calls::unshare(flag);
        entered.map_err(|error| missing(&format!("{name} namespaces"), error))?;
    }
    goes.write_all(&[1]).map_err(mapping)?;
    match calls::wait(Some(mapper), true).map_err(mapping)? {
        Some((_, End::Exited(0))) => {}
        Some((_, End::Exited(code))) => {
            return Err(mapping(std::io::Error::from_raw_os_error(code)));
        }
        other => {
            return Err(missing(
                "mapping of users",
                format!("it ended as {other:?}"),
            ));
        }
    }
    for ((name, before), (_, after)) in before.iter().zip(names()?) {
        if *before == after {
            return Err(missing(
                &format!("{name} namespaces"),
                "it is the one outside",
            ));
        }
    }
    Ok(())
}

/// Which namespaces this process is in.
fn names() -> Result<Vec<(&'static str, PathBuf)>, Missing> {
    let named = ALL
        .iter()
        .filter_map(|&(name, _, file)| Some((name, file?)));
    let of = |(name, file): (&'static str, &str)| {
        let read = fs::read_link(format!("/proc/self/ns/{file}"));
        let read = read.map_err(|error| missing(&format!("{name} namespaces"), error))?;
        Ok((name, read))
    };
    named.map(of).collect()
}

/// Says who the users of a process's new namespace are. For root, programs are nobody; for anybody else, and for who is root of a
/// container without a nobody, they are that user, without any power and without a file of his.
fn map_users(of: u32) -> std::io::Result<()> {
    let (user, group) = (calls::user(), calls::group());
    let write = |file: &str, text: String| fs::write(format!("/proc/{of}/{file}"), text);
    if user == 0 && there_is_nobody(&fs::read_to_string("/proc/self/uid_map")?) {
        let of_nobody = format!("0 0 1\n{USER} {NOBODY} 1\n");
        return write("uid_map", of_nobody.clone()).and_then(|()| write("gid_map", of_nobody));
    }
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{USER} {user} 1\n"))?;
    write("gid_map", format!("{USER} {group} 1\n"))
}

/// Whether a mapping of users has the one who owns nothing.
fn there_is_nobody(mapping: &str) -> bool {
    mapping.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        (first..first.saturating_add(count)).contains(&u64::from(NOBODY))
    })
}

/// In the first process of a process namespace: whether it is that, and whether there is no network.
pub(super) fn look_from_inside() -> Result<(), Missing> {
    let pid = pid_t::try_from(std::process::id());
    if pid != Ok(1) {
        return Err(missing(
            "process namespaces",
            "its first process has another number than 1",
        ));
    }
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0));
    for address in ["127.0.0.1:9", "192.0.2.1:9"] {
        if socket
            .as_ref()
            .is_ok_and(|socket| socket.connect(address).is_ok())
        {
            return Err(missing(
                "network namespaces",
                format!("there is a way to {address}"),
            ));
        }
    }
    calls::set_host_name("sandbox").map_err(|error| missing("host name namespaces", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_found_in_mappings() {
        assert!(there_is_nobody("         0          0 4294967295\n"));
        assert!(there_is_nobody("0 1000 1\n1 100000 65536\n"));
        assert!(!there_is_nobody("0 1000 1\n"));
        assert!(!there_is_nobody("0 1000 1\n1 100000 60000\n"));
        assert!(!there_is_nobody("what\n"));
    }
}
