//! Offloads of an interface, `SIOCETHTOOL` of netdevice(7), linux/ethtool.h.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::libc;

const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// `ETH_SS_FEATURES`.
const FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME: usize = 32;

/// Switches off what makes one packet of several, leaves checksums to be computed later, or hides tags from who looks at
/// frames. The socket, of whatever kind, tells the namespace.
pub(crate) fn switch_off_offloads(socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    let call = |buffer: &mut [u32]| call(socket, interface, buffer);
    // `struct ethtool_sset_info`: command, reserved, a mask of 64 bits, and a count.
    let mut info = [GET_SET_INFO, 0, 0, 0, 0];
    let mask = 1_u64 << FEATURES;
    let halves = mask.to_ne_bytes();
    for (word, half) in info[2..4].iter_mut().zip(halves.chunks(4)) {
        *word = u32::from_ne_bytes([half[0], half[1], half[2], half[3]]);
    }
    call(&mut info)?;
    let count = info[4] as usize;
    // `struct ethtool_gstrings`: command, set, count, and the names.
    let mut strings = vec![0; 3 + count * NAME / 4];
    strings[..3].copy_from_slice(&[GET_STRINGS, FEATURES, count as u32]);
    call(&mut strings)?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let is_unwanted = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        let has = |word: &str| name.contains(word);
        name.starts_with("tx-") && (has("segmentation") || has("checksum") || has("gso") || has("vlan"))
            || name.starts_with("rx-") && has("gro")
    };
    let unwanted: Vec<bool> = bytes.chunks(NAME).map(is_unwanted).collect();
    let blocks = count.div_ceil(32);
    let bits = |block: usize| {
        let of_block = unwanted.iter().skip(32 * block).take(32).enumerate();
        of_block.fold(0, |bits, (bit, unwanted)| bits | u32::from(*unwanted) << bit)
    };
    // `struct ethtool_sfeatures`: command, count, and of each block which bits are meant, and what they are to be.
    let mut wanted = vec![SET_FEATURES, blocks as u32];
    wanted.extend((0..blocks).flat_map(|block| [bits(block), 0]));
    call(&mut wanted)?;
    // `struct ethtool_gfeatures`: of each block what is available, asked for, active, and fixed.
    let mut found = vec![0; 2 + 4 * blocks];
    found[..2].copy_from_slice(&[GET_FEATURES, blocks as u32]);
    call(&mut found)?;
    match (0..blocks).all(|block| found[2 + 4 * block + 2] & bits(block) == 0) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Unsupported, "the interface keeps some of its offloads")),
    }
}

fn call(socket: BorrowedFd<'_>, interface: &str, buffer: &mut [u32]) -> io::Result<()> {
    // SAFETY: all zeros is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes what the command at the buffer's start and the counts behind it say, which the
    // callers above have made room for.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
