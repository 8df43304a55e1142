//! Programs of eBPF in a node: what its interface takes in is theirs to decide.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::{io, mem};

use netns_test::{Node, netns_test};
use netns_test_tests::{is_root, rerun};

/// Commands and types of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACHED_TO_XDP: u32 = 37;
/// `XDP_FLAGS_SKB_MODE` of linux/if_link.h: any driver does.
const GENERIC: u32 = 1 << 1;

/// Lets frames pass that are shorter than this, and drops all others.
const LONG: i32 = 200;

/// A `struct bpf_insn`: code, registers (destination, source), offset and number.
const fn instruction(code: u8, [to, from]: [u8; 2], offset: i16, number: i32) -> u64 {
    let ([low, high], number) = (offset.to_le_bytes(), number.to_le_bytes());
    u64::from_ne_bytes([code, to | from << 4, low, high, number[0], number[1], number[2], number[3]])
}

const PROGRAM: [u64; 7] = [
    instruction(0x61, [2, 1], 0, 0), // r2 = data
    instruction(0x61, [3, 1], 4, 0), // r3 = data_end
    instruction(0xb7, [0, 0], 0, 2), // r0 = XDP_PASS
    instruction(0x07, [2, 0], 0, LONG),
    instruction(0x2d, [2, 3], 1, 0), // if data + LONG > data_end, skip one
    instruction(0xb7, [0, 0], 0, 1), // r0 = XDP_DROP
    instruction(0x95, [0, 0], 0, 0), // exit
];

/// What bpf(2) makes of one of the variants of `union bpf_attr`.
fn bpf<A>(command: libc::c_int, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads a structure of this length, and what it points to, which outlives the call; a new descriptor belongs to the
    // caller alone.
    unsafe {
        match libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), mem::size_of::<A>()) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor as i32)),
        }
    }
}

#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: *const u64,
    licence: *const libc::c_char,
    log: [u64; 2],
    version_and_flags: [u32; 2],
}

/// Has an interface of the calling thread's namespace drop long frames, until the descriptor is closed.
fn drop_long_frames(interface: u32) -> io::Result<OwnedFd> {
    let program = bpf(
        PROG_LOAD,
        &Load {
            program_type: PROG_TYPE_XDP,
            instruction_count: PROGRAM.len() as u32,
            instructions: PROGRAM.as_ptr(),
            licence: c"GPL".as_ptr(),
            log: [0; 2],
            version_and_flags: [0; 2],
        },
    )?;
    bpf(LINK_CREATE, &[program.as_raw_fd() as u32, interface, ATTACHED_TO_XDP, GENERIC])
}

#[netns_test(nodes = 2, require = [bpf])]
#[ignore = "run by its proof"]
async fn decide_what_comes_in(a: Node, b: Node) -> io::Result<()> {
    let index = b.interface("eth0")?.index();
    let _attached = b.enter(|| drop_long_frames(index))?;
    let (out, inc) = (a.bind_udp(7).await?, b.bind_udp(7).await?);
    for length in [500, 1, 300, 2] {
        out.send_to(&[0; 500][..length], (b.ip(), 7)).await?;
    }
    for length in [1, 2] {
        assert_eq!(inc.recv(&mut [0; 500]).await?, length);
    }
    Ok(())
}

#[test]
fn programs_are_loaded_by_who_may() {
    let decides = || rerun("decide_what_comes_in");
    if is_root() {
        decides().run().passed();
    }
    decides().as_ordinary_user().run().failed_with(&["cannot run here: the test requires eBPF"]);
}
