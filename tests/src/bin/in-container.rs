//! Runs a program under the seccomp filter that containers have by default: what Docker's profile refuses on x86-64 and
//! aarch64, given the capabilities that this process may ever have (<https://docs.docker.com/engine/security/seccomp/>).

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};

const CAP_DAC_READ_SEARCH: u64 = 2;
const CAP_SYS_MODULE: u64 = 16;
const CAP_SYS_RAWIO: u64 = 17;
const CAP_SYS_CHROOT: u64 = 18;
const CAP_SYS_PTRACE: u64 = 19;
const CAP_SYS_PACCT: u64 = 20;
const CAP_SYS_ADMIN: u64 = 21;
const CAP_SYS_BOOT: u64 = 22;
const CAP_SYS_NICE: u64 = 23;
const CAP_SYS_TIME: u64 = 25;
const CAP_SYSLOG: u64 = 34;
const CAP_PERFMON: u64 = 38;
const CAP_BPF: u64 = 39;
const NEVER: u64 = 63;

/// Everything that clone(2) makes a namespace by.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// System calls that are refused, unless the container has one of the capabilities.
const REFUSED: &[(&[u64], &[libc::c_long])] = &[
    (
        &[CAP_SYS_ADMIN],
        &[
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_quotactl,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (&[CAP_SYS_ADMIN, CAP_BPF], &[libc::SYS_bpf]),
    (&[CAP_SYS_ADMIN, CAP_PERFMON], &[libc::SYS_perf_event_open]),
    (&[CAP_SYS_ADMIN, CAP_SYSLOG], &[libc::SYS_syslog]),
    (&[CAP_DAC_READ_SEARCH], &[libc::SYS_open_by_handle_at]),
    (&[CAP_SYS_BOOT], &[libc::SYS_reboot]),
    (&[CAP_SYS_CHROOT], &[libc::SYS_chroot]),
    (&[CAP_SYS_MODULE], &[libc::SYS_delete_module, libc::SYS_init_module, libc::SYS_finit_module]),
    (&[CAP_SYS_PACCT], &[libc::SYS_acct]),
    (&[CAP_SYS_PTRACE], &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise]),
    #[cfg(target_arch = "x86_64")]
    (&[CAP_SYS_RAWIO], &[libc::SYS_iopl, libc::SYS_ioperm]),
    (&[CAP_SYS_TIME], &[libc::SYS_settimeofday, libc::SYS_clock_settime]),
    (&[CAP_SYS_NICE], &[libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy]),
    (
        &[NEVER],
        &[
            libc::SYS_add_key,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
            libc::SYS_pivot_root,
            libc::SYS_request_key,
            libc::SYS_swapoff,
            libc::SYS_swapon,
            libc::SYS_userfaultfd,
            libc::SYS_vhangup,
        ],
    ),
];

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Loads a word of what the filter is asked about (seccomp(2), `struct seccomp_data`): the number of the call is at 0, the lower
/// half of its first argument at 16.
fn load(offset: u32) -> libc::sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn answer(errno: libc::c_int) -> libc::sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32)
}

/// Skips as many instructions as told unless the loaded word is the value, or has bits of it.
fn unless(test: u32, value: u32, skip: u8) -> libc::sock_filter {
    instruction(BPF_JMP | test | BPF_K, 0, skip, value)
}

fn filter(bounding: u64) -> Vec<libc::sock_filter> {
    let has = |capability: &u64| bounding & (1 << capability) != 0;
    let mut filter = vec![load(0)];
    for (_, calls) in REFUSED.iter().filter(|(capabilities, _)| !capabilities.iter().any(has)) {
        for &call in *calls {
            filter.extend([unless(BPF_JEQ, call as u32, 1), answer(libc::EPERM)]);
        }
    }
    if !has(&CAP_SYS_ADMIN) {
        // The C library then takes clone(2), whose flags a filter can read.
        filter.extend([unless(BPF_JEQ, libc::SYS_clone3 as u32, 1), answer(libc::ENOSYS)]);
        filter.extend([unless(BPF_JEQ, libc::SYS_clone as u32, 4), load(16)]);
        filter.extend([unless(BPF_JSET, NAMESPACES as u32, 1), answer(libc::EPERM), load(0)]);
    }
    // Of the newer families of sockets, those of the kernel's cryptography and of virtual machines are left out.
    filter.extend([unless(BPF_JEQ, libc::SYS_socket as u32, 5), load(16)]);
    for family in [libc::AF_ALG, libc::AF_VSOCK] {
        filter.extend([unless(BPF_JEQ, family as u32, 1), answer(libc::EPERM)]);
    }
    filter.push(instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter
}

fn main() {
    let status = std::fs::read_to_string("/proc/self/status").expect("a procfs");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a bounding set");
    let filter = filter(u64::from_str_radix(bounding.trim(), 16).expect("hexadecimal"));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: both calls read their arguments only, and the filter outlives them.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    assert!(!refused, "failed to install the filter: {}", std::io::Error::last_os_error());
    let mut line = std::env::args_os().skip(1);
    let error = Command::new(line.next().expect("a program to run")).args(line).exec();
    panic!("failed to run it: {error}");
}
