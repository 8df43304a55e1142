//! Packets of one interface, as frames of Ethernet: a packet socket and its ring, packet(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc::{self, c_int, c_void};

/// A slot of the ring; what does not fit comes through the socket's queue.
const SLOT: usize = 2048;
/// The kernel takes memory block by block.
const BLOCK: usize = 64 * 1024;
/// The most packets that wait to be read.
pub(crate) const SLOTS: usize = 2048;
const RING: usize = SLOT * SLOTS;

/// The longest frame: the largest MTU, a header of Ethernet, and a tag.
const LONGEST: usize = 65535 + 14 + 4;

/// `TPACKET_V2` in linux/if_packet.h.
const TPACKET_V2: c_int = 1;

/// What has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A frame, and when it came, since 1970.
    At(Duration),
    /// A frame that was too long to be kept.
    TooLong,
    /// A frame, and before it some that found the ring full.
    Losing(Duration),
}

/// A packet socket that hears what comes in by one interface, and sends by it.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    ring: NonNull<u8>,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone, and to no thread.
unsafe impl Send for PacketSocket {}

impl PacketSocket {
    /// Opens a socket in the calling thread's network namespace. It hears nothing before it is bound.
    pub(crate) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no memory; a new descriptor belongs to the caller alone.
        let socket = unsafe {
            match libc::socket(libc::AF_PACKET, kind, 0) {
                -1 => return Err(io::Error::last_os_error()),
                socket => OwnedFd::from_raw_fd(socket),
            }
        };
        set(&socket, libc::PACKET_VERSION, &TPACKET_V2)?;
        // What is sent by this socket is not to be heard by it, nor to wait in a queue.
        set(&socket, libc::PACKET_IGNORE_OUTGOING, &1)?;
        set(&socket, libc::PACKET_QDISC_BYPASS, &1)?;
        set(&socket, libc::PACKET_COPY_THRESH, &1)?;
        // `struct tpacket_req`: size and number of blocks, size and number of frames.
        set(&socket, libc::PACKET_RX_RING, &[BLOCK, RING / BLOCK, SLOT, SLOTS].map(|number| number as u32))?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let ring = unsafe {
            libc::mmap(std::ptr::null_mut(), RING, access, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        match NonNull::new(ring.cast::<u8>()) {
            Some(ring) if ring.as_ptr().cast::<c_void>() != libc::MAP_FAILED => {
                Ok(Self { socket, ring, next: 0 })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Hears and sends by the interface from now on.
    pub(crate) fn bind(&self, interface: u32) -> io::Result<()> {
        super::sockets::bind_packet(self.socket.as_fd(), interface)
    }

    /// Takes the next packet out of the ring, into `frame`; `None` if there is none.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>) -> io::Result<Option<Received>> {
        // SAFETY: `next` is below SLOTS, so the slot is within the mapping.
        let slot = unsafe { self.ring.add(self.next * SLOT) };
        // SAFETY: a slot begins with its status, aligned to 16 bytes, which the kernel changes as an atomic does.
        let status = unsafe { AtomicU32::from_ptr(slot.as_ptr().cast()) };
        let state = status.load(Ordering::Acquire);
        if state & libc::TP_STATUS_USER == 0 {
            return Ok(None);
        }
        // SAFETY: the slot is this program's until the status says otherwise, and begins with this header.
        let header = unsafe { slot.cast::<libc::tpacket2_hdr>().read() };
        frame.clear();
        let stamp = Duration::new(header.tp_sec.into(), header.tp_nsec);
        let mut received = match state & libc::TP_STATUS_LOSING {
            0 => Received::At(stamp),
            _ => Received::Losing(stamp),
        };
        let kept = (header.tp_snaplen as usize).min(SLOT - usize::from(header.tp_mac).min(SLOT));
        if header.tp_snaplen >= header.tp_len {
            // SAFETY: these bytes are within the slot, and the kernel has written them.
            frame.extend_from_slice(unsafe {
                std::slice::from_raw_parts(slot.add(usize::from(header.tp_mac)).as_ptr(), kept)
            });
        } else if state & libc::TP_STATUS_COPY == 0 || !self.receive_long(frame)? {
            received = Received::TooLong;
        }
        if state & libc::TP_STATUS_VLAN_VALID != 0 && frame.len() >= 12 {
            // The kernel has taken the tag out of the frame.
            let kind = match state & libc::TP_STATUS_VLAN_TPID_VALID {
                0 => 0x8100,
                _ => header.tp_vlan_tpid,
            };
            let [[a, b], [c, d]] = [kind, header.tp_vlan_tci].map(u16::to_be_bytes);
            frame.splice(12..12, [a, b, c, d]);
        }
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        Ok(Some(received))
    }

    /// Takes a packet out of the socket's queue; `false` if it is not there.
    fn receive_long(&self, frame: &mut Vec<u8>) -> io::Result<bool> {
        frame.resize(LONGEST, 0);
        match nix::sys::socket::recv(self.socket.as_raw_fd(), frame, nix::sys::socket::MsgFlags::MSG_DONTWAIT)
        {
            Ok(length) => {
                frame.truncate(length);
                Ok(true)
            }
            Err(nix::errno::Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame by the interface.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
        nix::sys::socket::send(self.socket.as_raw_fd(), frame, flags)?;
        Ok(())
    }

    /// How many packets found the ring full since this was called last.
    pub(crate) fn overruns(&self) -> io::Result<u32> {
        // `struct tpacket_stats`: packets, and dropped ones.
        let mut counts = [0_u32; 2];
        let mut length = size_of_val(&counts) as libc::socklen_t;
        // SAFETY: the kernel writes two numbers, and their length, to this stack.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(counts[1]) } else { Err(io::Error::last_os_error()) }
    }

    /// The error that the interface has told, which is then forgotten.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = nix::sys::socket::getsockopt(&self.socket, nix::sys::socket::sockopt::SocketError)?;
        Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nobody holds a reference into it.
        unsafe {
            libc::munmap(self.ring.as_ptr().cast::<c_void>(), RING);
        }
    }
}

/// setsockopt(2) of an option of packet(7).
fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads one value of this size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
