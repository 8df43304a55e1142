//! Whether this process may load programs of eBPF, bpf(2).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::libc;

/// `BPF_PROG_LOAD` and `BPF_PROG_TYPE_SCHED_CLS` of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const SCHED_CLS: u32 = 3;

/// `r0 = 0` and `exit`: a `struct bpf_insn` each.
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The part of `union bpf_attr` that loads a program; the kernel takes what is missing at its end for zeros.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Loads a program for traffic control, which does nothing, and lets go of it.
pub(crate) fn try_to_load() -> io::Result<()> {
    let load = Load {
        program_type: SCHED_CLS,
        instruction_count: PROGRAM.len() as u32,
        instructions: PROGRAM.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads one structure of the length that it is told, the instructions and the text, all of which live until
    // it returns; a new descriptor belongs to the caller alone.
    unsafe {
        match libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) {
            -1 => Err(io::Error::last_os_error()),
            program => {
                drop(OwnedFd::from_raw_fd(program as i32));
                Ok(())
            }
        }
    }
}
