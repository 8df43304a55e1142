//! Packet sockets: all that passes the interfaces of a network namespace, packet(7).

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How many packets one system call reads.
const BATCH: usize = 16;

/// The largest packet: what segmentation offload makes of a stream, and its headers.
pub(crate) const LARGEST: usize = 65_536 + 64;

/// Room for a timestamp, and for what else the kernel says of a packet.
const CONTROL: usize = 128;

/// A packet as a packet socket tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// When it passed, in nanoseconds since 1970 by the clock of the machine; `None` where the kernel has not noted it.
    pub(crate) time: Option<u64>,
    pub(crate) interface: u32,
    /// `ARPHRD_…` of linux/if_arp.h.
    pub(crate) hardware: u16,
    /// `PACKET_…` of linux/if_packet.h: to whom it goes, or that it was sent.
    pub(crate) kind: u8,
    /// The tag of a VLAN (IEEE 802.1Q), which the kernel has taken out of the bytes behind the addresses.
    pub(crate) tag: Option<[u8; 4]>,
    /// As much of it as was asked for.
    pub(crate) bytes: &'a [u8],
    pub(crate) length: usize,
}

/// Opens a socket that is given all packets of all interfaces of the calling thread's network namespace from now on. What nobody
/// reads is kept up to about `room` bytes of the kernel's memory; the newest are lost beyond it.
pub(crate) fn open(room: usize) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes three integers; a new descriptor belongs to the caller alone.
    let socket = unsafe {
        match libc::socket(libc::AF_PACKET, kind, i32::from((libc::ETH_P_ALL as u16).to_be())) {
            -1 => return Err(io::Error::last_os_error()),
            socket => OwnedFd::from_raw_fd(socket),
        }
    };
    let room = libc::c_int::try_from(room).unwrap_or(libc::c_int::MAX);
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, room)?;
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, TIMESTAMPS)?;
    set_option(socket.as_fd(), libc::SOL_PACKET, PACKET_AUXDATA, 1)?;
    Ok(socket)
}

/// Opens one more socket beside `first` and those that were opened so before: what finds their queues full comes to this one's (a
/// fanout by `PACKET_FANOUT_ROLLOVER`, packet(7)). The kernel allows a socket alone no more than `net.core.rmem_max`.
/// Opened one after the other, by one thread.
pub(crate) fn open_beside(first: BorrowedFd<'_>, room: usize) -> io::Result<OwnedFd> {
    const PACKET_FANOUT_ROLLOVER: libc::c_int = 3;
    const PACKET_FANOUT_FLAG_UNIQUEID: libc::c_int = 0x2000;
    if fanout(first)? == 0 {
        let new = (PACKET_FANOUT_ROLLOVER | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
        set_option(first, libc::SOL_PACKET, PACKET_FANOUT, new)?;
    }
    let socket = open(room)?;
    set_option(socket.as_fd(), libc::SOL_PACKET, PACKET_FANOUT, fanout(first)?)?;
    // What it was given before it belonged to them, the first was given, too.
    let mut buffers = Buffers::new();
    while read(socket.as_fd(), &mut buffers, 0, |_twice| ())? == BATCH {}
    lost(socket.as_fd())?;
    Ok(socket)
}

/// `PACKET_FANOUT` of linux/if_packet.h: the number and the kind of the fanout that a socket belongs to; 0 is none.
const PACKET_FANOUT: libc::c_int = 18;

fn fanout(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    option(socket, libc::SOL_PACKET, PACKET_FANOUT)
}

/// How many bytes of the kernel's memory a socket can queue: twice what it asked for, if that was allowed.
pub(crate) fn room(socket: BorrowedFd<'_>) -> io::Result<usize> {
    option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF).map(|room| room as usize)
}

/// Whether there are packets to be read of each of the sockets.
pub(crate) fn have_packets(sockets: &[OwnedFd]) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::ZERO) {
        // An error that it has to tell is read as packets are.
        Ok(_some) => Ok(polled.iter().map(|socket| socket.any() != Some(false)).collect()),
        Err(Errno::EINTR) => Ok(vec![true; sockets.len()]),
        Err(error) => Err(error.into()),
    }
}

/// Has the kernel note when each packet passes, for as long as this socket is open. That takes effect when a worker of the kernel has
/// had its turn (`net_enable_timestamp`), so whoever wants it soon opens this one early.
pub(crate) fn keep_timestamps() -> io::Result<OwnedFd> {
    // SAFETY: as in `open`.
    let socket = unsafe {
        match libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(io::Error::last_os_error()),
            socket => OwnedFd::from_raw_fd(socket),
        }
    };
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, TIMESTAMPS)?;
    Ok(socket)
}

/// The times at which packets pass, and none for one whose time was not noted: `SO_TIMESTAMPNS` would give that the time at which it
/// is read (`__sock_recv_timestamp`).
const TIMESTAMPS: libc::c_int =
    (libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE) as libc::c_int;

/// Of linux/if_packet.h: a control message tells more of each packet.
const PACKET_AUXDATA: libc::c_int = 8;

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one int from this stack.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn option(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes one int to this stack.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// How many packets the socket was not given for want of room, since this was last asked (`PACKET_STATISTICS`).
pub(crate) fn lost(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const PACKET_STATISTICS: libc::c_int = 6;
    // `struct tpacket_stats` of linux/if_packet.h: how many there were, and how many of these were lost.
    let mut statistics = [0_u32; 2];
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to this stack.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(statistics[1]) } else { Err(io::Error::last_os_error()) }
}

/// Room for what one call reads.
pub(crate) struct Buffers(Vec<u8>);

impl Buffers {
    pub(crate) fn new() -> Self {
        // Memory that is not touched is not there.
        Self(vec![0; BATCH * LARGEST])
    }
}

/// Reads the packets that are there, at most some of them, the first `most` bytes of each; returns how many. 0 is that there are none.
pub(crate) fn read(
    socket: BorrowedFd<'_>,
    buffers: &mut Buffers,
    most: usize,
    mut seen: impl FnMut(Seen<'_>),
) -> io::Result<usize> {
    let most = most.min(LARGEST);
    // SAFETY: all zeros is a value of these plain structures.
    let (mut addresses, mut vectors, mut messages): (
        [libc::sockaddr_ll; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    // Aligned as control messages want it.
    let mut controls = [[0_u64; CONTROL / 8]; BATCH];
    for (index, buffer) in buffers.0.chunks_mut(LARGEST).enumerate() {
        vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: most };
        let header = &mut messages[index].msg_hdr;
        header.msg_name = (&raw mut addresses[index]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        header.msg_iov = &raw mut vectors[index];
        header.msg_iovlen = 1;
        header.msg_control = controls[index].as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
    }
    // With MSG_TRUNC each length is the packet's own.
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: every pointer of the messages leads to live memory of the length beside it, and nothing else uses it meanwhile.
    let count = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as _, flags as _, ptr::null_mut())
    };
    let count = match usize::try_from(count) {
        Ok(count) => count,
        Err(_negative) => {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(0),
                // An interface was switched off (`packet_notifier`); there may be packets behind this.
                Some(libc::ENETDOWN) => read(socket, buffers, most, seen),
                _ => Err(error),
            };
        }
    };
    for index in 0..count {
        let length = messages[index].msg_len as usize;
        let address = &addresses[index];
        let told = told(&messages[index].msg_hdr);
        seen(Seen {
            time: told.time,
            tag: told.tag,
            interface: address.sll_ifindex as u32,
            hardware: address.sll_hatype,
            kind: address.sll_pkttype,
            bytes: &buffers.0[index * LARGEST..][..length.min(most)],
            length,
        });
    }
    Ok(count)
}

/// What the kernel tells beside a packet.
#[derive(Default)]
struct Told {
    time: Option<u64>,
    tag: Option<[u8; 4]>,
}

/// Reads the control messages of a message.
fn told(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel has filled the control buffer of this header, which is still alive; the CMSG functions stay inside.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            match (message.cmsg_level, message.cmsg_type) {
                // `struct scm_timestamping`: the software's comes first.
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                    let mut time = MaybeUninit::<libc::timespec>::zeroed();
                    ptr::copy_nonoverlapping(
                        libc::CMSG_DATA(control),
                        time.as_mut_ptr().cast::<u8>(),
                        size_of::<libc::timespec>(),
                    );
                    let time = time.assume_init();
                    told.time = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                }
                (libc::SOL_PACKET, PACKET_AUXDATA) => {
                    let mut more = MaybeUninit::<libc::tpacket_auxdata>::zeroed();
                    ptr::copy_nonoverlapping(
                        libc::CMSG_DATA(control),
                        more.as_mut_ptr().cast::<u8>(),
                        size_of::<libc::tpacket_auxdata>(),
                    );
                    told.tag = tag(&more.assume_init());
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    told
}

fn tag(more: &libc::tpacket_auxdata) -> Option<[u8; 4]> {
    const ETHERTYPE_VLAN: u16 = 0x8100;
    if more.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let kind = match more.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => ETHERTYPE_VLAN,
        _ => more.tp_vlan_tpid,
    };
    let [[a, b], [c, d]] = [kind, more.tp_vlan_tci].map(u16::to_be_bytes);
    Some([a, b, c, d])
}

/// The clock of the timestamps.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
