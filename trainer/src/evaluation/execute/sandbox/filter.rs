//! Which system calls a program may make: a filter of the kernel's (seccomp), which says no to those of a list. What nothing but an
//! attempt to get out asks for kills the process; what a library may try is refused; what is newer than the list is not there.

use std::io::{Error, Result};

use libc::{c_int, c_long, sock_filter};

use super::calls;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// `set_mempolicy_home_node`, the last call that the lists know of.
const LAST: u32 = 450;

/// Calls of a second table on x86-64 have this bit.
#[cfg(target_arch = "x86_64")]
const SECOND_TABLE: u32 = 0x4000_0000;

/// Kill.
const KILLED: &[c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Files by other means than their names.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_lookup_dcookie,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_nfsservctl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// Kill, where there are such.
#[cfg(target_arch = "x86_64")]
const KILLED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS__sysctl,
];
#[cfg(target_arch = "aarch64")]
const KILLED_HERE: &[c_long] = &[];

/// Are not permitted.
const REFUSED: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // Memory that no limit of a process counts.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_io_setup,
    libc::SYS_mknodat,
    libc::SYS_personality,
    libc::SYS_seccomp,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_capset,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_mknod];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[c_long] = &[];

/// Flags with which a new process would get namespaces of its own.
const NAMESPACES: c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Where `struct seccomp_data` has what.
const NUMBER: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
/// The lower half of the first argument, and of the second.
const FIRST: u32 = 16;
const SECOND: u32 = 24;

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        // The codes are below 256.
        code: (code & 0xFFFF) as u16,
        jt,
        jf,
        k,
    }
}

const fn load(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at)
}

/// Goes so many instructions on where the loaded number is `k`, or is not.
const fn equal(k: u32, if_so: u8, if_not: u8) -> sock_filter {
    instruction(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        if_so,
        if_not,
        k,
    )
}

const fn any_bit(k: u32, if_so: u8, if_not: u8) -> sock_filter {
    instruction(
        libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
        if_so,
        if_not,
        k,
    )
}

const fn at_least(k: u32, if_so: u8, if_not: u8) -> sock_filter {
    instruction(
        libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
        if_so,
        if_not,
        k,
    )
}

const fn answer(k: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k)
}

fn fail(error: c_int) -> Result<sock_filter> {
    let error = u32::try_from(error).map_err(Error::other)?;
    Ok(answer(libc::SECCOMP_RET_ERRNO | error))
}

/// The filter, for the processor that this was compiled for.
fn program() -> Result<Vec<sock_filter>> {
    let number = |call: &c_long| u32::try_from(*call).map_err(Error::other);
    let kill = answer(libc::SECCOMP_RET_KILL_PROCESS);
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    let (refuse, absent) = (fail(libc::EPERM)?, fail(libc::ENOSYS)?);
    let mut program = vec![
        load(ARCHITECTURE_AT),
        equal(ARCHITECTURE, 1, 0),
        kill,
        load(NUMBER),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([at_least(SECOND_TABLE, 0, 1), kill]);
    program.extend([at_least(LAST + 1, 0, 1), absent]);
    for call in KILLED.iter().chain(KILLED_HERE) {
        program.extend([equal(number(call)?, 0, 1), kill]);
    }
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        program.extend([equal(number(call)?, 0, 1), refuse]);
    }
    // Its flags are in memory, where a filter cannot look; C libraries then take the older call.
    program.extend([equal(number(&libc::SYS_clone3)?, 0, 1), absent]);
    let namespaces = u32::try_from(NAMESPACES).map_err(Error::other)?;
    program.extend([
        equal(number(&libc::SYS_clone)?, 0, 4),
        load(FIRST),
        any_bit(namespaces, 0, 1),
        kill,
        allow,
    ]);
    // Input that a terminal takes for typed.
    let [typed, console] = [libc::TIOCSTI, libc::TIOCLINUX]
        .map(|request| u32::try_from(request).map_err(Error::other));
    program.extend([
        equal(number(&libc::SYS_ioctl)?, 0, 5),
        load(SECOND),
        equal(typed?, 1, 0),
        equal(console?, 0, 1),
        refuse,
        allow,
    ]);
    program.push(allow);
    Ok(program)
}

/// Puts the filter in force, for good, and looks whether it is.
pub(super) fn install() -> Result<()> {
    calls::filter_calls(&mut program()?)?;
    let mode = calls::control(libc::PR_GET_SECCOMP, 0)?;
    if u32::try_from(mode) != Ok(libc::SECCOMP_MODE_FILTER) {
        return Err(Error::other(format!("its mode is {mode}")));
    }
    for (call, name, error) in [
        (libc::SYS_socket, "socket", libc::EPERM),
        (libc::SYS_mq_open, "mq_open", libc::EPERM),
        (libc::SYS_clone3, "clone3", libc::ENOSYS),
    ] {
        if calls::fails_with(call) != Some(error) {
            return Err(Error::other(format!("{name} is not kept from programs")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of a call: the kernel's machine, as far as the filter uses it.
    fn run(architecture: u32, call: u32, arguments: [u32; 2]) -> u32 {
        let program = program().unwrap();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                0x20 => {
                    loaded = match k {
                        NUMBER => call,
                        ARCHITECTURE_AT => architecture,
                        FIRST => arguments[0],
                        SECOND => arguments[1],
                        other => panic!("nothing at {other}"),
                    };
                }
                0x15 => jump(loaded == k),
                0x35 => jump(loaded >= k),
                0x45 => jump(loaded & k != 0),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn number(call: c_long) -> u32 {
        u32::try_from(call).unwrap()
    }

    #[test]
    fn calls_are_told_apart() {
        let of = |call: c_long, first: c_int, second: u32| {
            run(ARCHITECTURE, number(call), [first.cast_unsigned(), second])
        };
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        for &call in KILLED.iter().chain(KILLED_HERE) {
            assert_eq!(of(call, 0, 0), libc::SECCOMP_RET_KILL_PROCESS, "{call}");
        }
        for &call in REFUSED.iter().chain(REFUSED_HERE) {
            assert_eq!(of(call, 0, 0), refused, "{call}");
        }
        for call in [
            libc::SYS_read,
            libc::SYS_execve,
            libc::SYS_exit_group,
            libc::SYS_kill,
        ] {
            assert_eq!(of(call, 0, 0), libc::SECCOMP_RET_ALLOW, "{call}");
        }
        assert_eq!(of(libc::SYS_clone3, 0, 0), absent);
        assert_eq!(
            of(libc::SYS_clone, libc::SIGCHLD, 0),
            libc::SECCOMP_RET_ALLOW
        );
        for flag in [
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
        ] {
            let flags = libc::SIGCHLD | flag;
            assert_eq!(
                of(libc::SYS_clone, flags, 0),
                libc::SECCOMP_RET_KILL_PROCESS
            );
        }
        assert_eq!(of(libc::SYS_ioctl, 0, 0x5412), refused);
        assert_eq!(of(libc::SYS_ioctl, 0, 0x541C), refused);
        assert_eq!(of(libc::SYS_ioctl, 0, 0x5413), libc::SECCOMP_RET_ALLOW);
        assert_eq!(of(c_long::from(LAST) + 1, 0, 0), absent);
        assert_eq!(of(c_long::from(LAST) - 1, 0, 0), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn other_tables_of_calls_are_closed() {
        // 32-bit x86, where 1 ends a process and 39 makes a folder; and the second table of 64-bit x86.
        let kill = libc::SECCOMP_RET_KILL_PROCESS;
        assert_eq!(run(0x4000_0003, 1, [0; 2]), kill);
        assert_eq!(run(0, 39, [0; 2]), kill);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(ARCHITECTURE, SECOND_TABLE | 39, [0; 2]), kill);
    }
}
