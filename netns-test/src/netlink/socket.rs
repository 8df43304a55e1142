//! The transport: requests out, acknowledgements and dumps back, over one netlink socket.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator, parse_i32, parse_string, parse_u32,
};
use netlink_sys::Socket;
use nix::libc;

/// The most requests in one datagram, so that even if the kernel refuses all of them, its answers fit into the
/// socket's receive buffer.
const MAX_MESSAGES: usize = 64;
/// The size at which a datagram is sent; the kernel's limit is the send buffer, some 200 kB.
const MAX_DATAGRAM: usize = 64 * 1024;
/// More than the kernel puts into one datagram of a dump (32 KiB), but for links with hundreds of virtual functions.
const INCOMING: usize = 64 * 1024;
/// How often a dump is started anew because the table changed meanwhile.
const DUMP_ATTEMPTS: usize = 32;

const NLMSG_HEADER_LEN: usize = 16;
// `enum nlmsgerr_attrs` in `linux/netlink.h`.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// A netlink socket that any thread may use; requests wait for each other.
///
/// The kernel works on a request within the call that sends it, so an answer is there when the call returns, or never
/// comes. Nothing here blocks.
pub(super) struct Channel {
    inner: Mutex<Inner>,
}

struct Inner {
    socket: Socket,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// Why the kernel refused a request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) source: io::Error,
    /// The text of the extended acknowledgement.
    pub(super) kernel: Option<String>,
    /// The attribute of the request that was refused, with its header, where the kernel says which; of transactions alone.
    pub(super) attribute: Option<Vec<u8>>,
}

impl Refusal {
    fn new(errno: i32, kernel: Option<String>) -> Self {
        Self { source: io::Error::from_raw_os_error(errno), kernel, attribute: None }
    }

    pub(super) fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { source, kernel: None, attribute: None }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.kernel {
            Some(text) => Self::new(refusal.source.kind(), format!("{text}: {}", refusal.source)),
            None => refusal.source,
        }
    }
}

impl Channel {
    /// Opens a socket in the calling thread's network namespace (close-on-exec).
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        let inner = Inner { socket, sequence: 0, outgoing: Vec::new(), incoming: Vec::new() };
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// Sends requests in as few datagrams as possible and waits until the kernel has worked on all of them, in order.
    ///
    /// Refusals that `tolerate` accepts are counted. Of the others the first is returned, with the position of its
    /// request. The kernel goes on after a refusal, so later requests of the same datagram have been tried as well;
    /// the datagrams after it are not sent.
    pub(super) fn transact<M: NetlinkSerializable>(
        &self,
        requests: impl IntoIterator<Item = (M, u16)>,
        mut tolerate: impl FnMut(&Refusal) -> bool,
    ) -> Result<usize, (usize, Refusal)> {
        let mut inner = self.lock();
        let mut requests = requests.into_iter();
        let mut sent = 0;
        let mut tolerated = 0;
        loop {
            let count = inner.fill(&mut requests);
            if count == 0 {
                return Ok(tolerated);
            }
            let mut first = None;
            inner
                .exchange(count, |position, refusal| {
                    if tolerate(&refusal) {
                        tolerated += 1;
                    } else if first.is_none() {
                        first = Some((sent + position, refusal));
                    }
                })
                .map_err(|error| (sent, Refusal::from(error)))?;
            if let Some(refusal) = first {
                return Err(refusal);
            }
            sent += count;
        }
    }

    /// Sends messages in one datagram, on which the kernel works as a whole, and tells the first that it refused.
    ///
    /// At least one of the messages has to ask for an acknowledgement.
    pub(super) fn transaction<M: NetlinkSerializable>(
        &self,
        messages: impl IntoIterator<Item = (M, u16)>,
    ) -> Result<(), (usize, Refusal)> {
        let mut inner = self.lock();
        inner.outgoing.clear();
        let first = inner.sequence.wrapping_add(1);
        for (message, flags) in messages {
            inner.append(message, NLM_F_REQUEST | flags);
        }
        inner.transaction(first).map_err(|error| (0, Refusal::from(error)))?.map_or(Ok(()), Err)
    }

    /// Sends one request that is answered with one message.
    pub(super) fn get<M: NetlinkSerializable, T>(
        &self,
        request: M,
        decode: impl FnOnce(u16, &[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, Refusal> {
        let mut inner = self.lock();
        inner.outgoing.clear();
        let sequence = inner.append(request, NLM_F_REQUEST);
        inner.send()?;
        loop {
            inner.receive()?;
            for message in Messages(&inner.incoming) {
                let (header, payload) = message.map_err(invalid)?;
                if header.sequence_number != sequence {
                    continue;
                }
                return match Reply::new(&header, payload).map_err(invalid)? {
                    Reply::Data => decode(header.message_type, payload).map_err(|e| invalid(e).into()),
                    Reply::Refused(errno, ack) => Err(Refusal::new(errno, ack.text)),
                    Reply::Done | Reply::Noise => continue,
                };
            }
        }
    }

    /// Reads a whole table. `decode` returns `None` for entries that are of no interest.
    pub(super) fn dump<M: NetlinkSerializable + Clone, T>(
        &self,
        request: &M,
        mut decode: impl FnMut(u16, &[u8]) -> Result<Option<T>, DecodeError>,
    ) -> io::Result<Vec<T>> {
        let mut inner = self.lock();
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(entries) = inner.dump(request.clone(), &mut decode)? {
                return Ok(entries);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's table kept changing while it was read"))
    }

    /// Does something else with the socket, by its descriptor.
    pub(super) fn with_descriptor<R>(&self, act: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        act(self.lock().socket.as_fd())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic leaves nothing half-done here that the next request would trip over: it discards old answers.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Encodes requests until a datagram is full. Only the last one asks for an acknowledgement: the kernel reports
    /// errors in any case, and in order.
    fn fill<M: NetlinkSerializable>(&mut self, requests: &mut impl Iterator<Item = (M, u16)>) -> usize {
        self.outgoing.clear();
        let mut count = 0;
        let mut last = None;
        while count < MAX_MESSAGES && self.outgoing.len() < MAX_DATAGRAM {
            let Some((request, flags)) = requests.next() else { break };
            last = Some((self.outgoing.len(), flags));
            self.append(request, NLM_F_REQUEST | flags);
            count += 1;
        }
        if let Some((start, flags)) = last {
            NetlinkBuffer::new(&mut self.outgoing[start..]).set_flags(NLM_F_REQUEST | NLM_F_ACK | flags);
        }
        count
    }

    /// Encodes one request at the end of the datagram and returns its sequence number.
    fn append<M: NetlinkSerializable>(&mut self, request: M, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let start = self.outgoing.len();
        let end = start + message.buffer_len();
        self.outgoing.resize(align(end), 0);
        message.serialize(&mut self.outgoing[start..end]);
        self.sequence
    }

    fn send(&self) -> io::Result<()> {
        loop {
            match self.socket.send(&self.outgoing, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Receives one datagram; `false` if the buffer was too small for it, which it then no longer is.
    fn receive(&mut self) -> io::Result<bool> {
        self.incoming.clear();
        self.incoming.reserve(INCOMING);
        loop {
            match self.socket.recv(&mut self.incoming, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel did not answer"));
                }
                Err(error) => return Err(error),
                Ok(len) if len > self.incoming.len() => {
                    self.incoming.clear();
                    self.incoming.reserve(len);
                    return Ok(false);
                }
                Ok(_) => return Ok(true),
            }
        }
    }

    /// Sends the datagram of `count` requests and reads the answers to them.
    fn exchange(&mut self, count: usize, mut refused: impl FnMut(usize, Refusal)) -> io::Result<()> {
        let last = self.sequence;
        let first = last.wrapping_sub(count as u32 - 1);
        self.send()?;
        loop {
            self.receive()?;
            for message in Messages(&self.incoming) {
                let (header, payload) = message.map_err(invalid)?;
                let position = header.sequence_number.wrapping_sub(first) as usize;
                if position >= count {
                    continue;
                }
                match Reply::new(&header, payload).map_err(invalid)? {
                    Reply::Refused(errno, ack) => refused(position, Refusal::new(errno, ack.text)),
                    Reply::Done => {}
                    Reply::Data | Reply::Noise => continue,
                }
                if header.sequence_number == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends the datagram, whose first message has this sequence number, and returns the first refusal.
    fn transaction(&mut self, first: u32) -> io::Result<Option<(usize, Refusal)>> {
        self.send()?;
        let mut refusal: Option<(usize, Refusal)> = None;
        let mut answered = false;
        // All answers are there; which of them is the last is not to be told from it.
        loop {
            match self.receive() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && answered => return Ok(refusal),
                // So many refusals that they did not fit: those before are the first.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) && refusal.is_some() => continue,
                Err(error) => return Err(error),
            }
            for message in Messages(&self.incoming) {
                let (header, payload) = message.map_err(invalid)?;
                let position = header.sequence_number.wrapping_sub(first) as usize;
                if header.sequence_number.wrapping_sub(first) > self.sequence.wrapping_sub(first) {
                    continue;
                }
                answered = true;
                if let Reply::Refused(errno, ack) = Reply::new(&header, payload).map_err(invalid)?
                    && refusal.as_ref().is_none_or(|(earlier, _)| position < *earlier)
                {
                    let attribute = ack.offset.and_then(|at| attribute(&self.outgoing, position, at));
                    refusal = Some((position, Refusal { attribute, ..Refusal::new(errno, ack.text) }));
                }
            }
        }
    }

    /// Reads a table once; `None` if what was read is not all of one state of it.
    fn dump<M: NetlinkSerializable, T>(
        &mut self,
        request: M,
        decode: &mut impl FnMut(u16, &[u8]) -> Result<Option<T>, DecodeError>,
    ) -> io::Result<Option<Vec<T>>> {
        self.outgoing.clear();
        let sequence = self.append(request, NLM_F_REQUEST | NLM_F_DUMP);
        self.send()?;
        let mut entries = Vec::new();
        let mut whole = true;
        let mut undecoded = None;
        // To the end in any case: the kernel refuses a new dump before the old one is read.
        loop {
            match self.receive() {
                Ok(complete) => whole &= complete,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => whole = false,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !whole => return Ok(None),
                Err(error) => return Err(error),
            }
            for message in Messages(&self.incoming) {
                let (header, payload) = message.map_err(invalid)?;
                if header.sequence_number != sequence {
                    continue;
                }
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match Reply::new(&header, payload).map_err(invalid)? {
                    Reply::Data => match decode(header.message_type, payload) {
                        Ok(entry) => entries.extend(entry),
                        Err(error) => undecoded = undecoded.or(Some(error)),
                    },
                    Reply::Refused(libc::EINTR | libc::EBUSY, _) => return Ok(None),
                    Reply::Refused(errno, ack) => return Err(Refusal::new(errno, ack.text).into()),
                    Reply::Done => {
                        return match undecoded {
                            Some(error) if whole => Err(invalid(error)),
                            _ => Ok(whole.then_some(entries)),
                        };
                    }
                    Reply::Noise => {}
                }
            }
        }
    }
}

/// What a message from the kernel means.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// An entry of a table, or the answer to a question.
    Data,
    /// The end of a dump, or an acknowledgement.
    Done,
    /// The error number, and what the kernel tells beside it.
    Refused(i32, ExtendedAck),
    Noise,
}

/// What the kernel tells of a refusal beside its number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ExtendedAck {
    pub(super) text: Option<String>,
    /// Where in the request the attribute stands that was refused.
    pub(super) offset: Option<usize>,
}

impl Reply {
    pub(super) fn new(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let (code, attributes) = match header.message_type {
            NLMSG_NOOP | NLMSG_OVERRUN => return Ok(Self::Noise),
            NLMSG_DONE if payload.len() < 4 => return Ok(Self::Done),
            NLMSG_DONE => (parse_i32(&payload[..4])?, &payload[4..]),
            NLMSG_ERROR => {
                let Some((code, request)) = payload.split_at_checked(4) else {
                    return Err(DecodeError::buffer_too_small(payload.len(), 4));
                };
                // The request follows, or, where the kernel was asked to cap it, its header alone.
                let echoed = match request.get(..4).filter(|_| header.flags & NLM_F_CAPPED == 0) {
                    Some(len) => align(u32::from_ne_bytes([len[0], len[1], len[2], len[3]]) as usize),
                    None => NLMSG_HEADER_LEN,
                };
                (parse_i32(code)?, request.get(echoed..).unwrap_or_default())
            }
            _ => return Ok(Self::Data),
        };
        if code >= 0 {
            return Ok(Self::Done);
        }
        let explained = header.flags & NLM_F_ACK_TLVS != 0;
        let ack = if explained { ExtendedAck::read(attributes) } else { ExtendedAck::default() };
        Ok(Self::Refused(code.saturating_neg(), ack))
    }
}

impl ExtendedAck {
    fn read(attributes: &[u8]) -> Self {
        let mut ack = Self::default();
        for attribute in NlasIterator::new(attributes).flatten() {
            match attribute.kind() {
                NLMSGERR_ATTR_MSG => {
                    let text = parse_string(attribute.value()).unwrap_or_default();
                    // Some of the kernel's texts are sentences, with a full stop or a line feed.
                    let text = text.trim_end_matches(['.', '\n', ' ']);
                    ack.text = (!text.is_empty()).then(|| text.to_owned());
                }
                NLMSGERR_ATTR_OFFS => ack.offset = parse_u32(attribute.value()).ok().map(|at| at as usize),
                _ => {}
            }
        }
        ack
    }
}

/// The attribute that begins at an offset of a datagram's message, with its header.
fn attribute(datagram: &[u8], message: usize, offset: usize) -> Option<Vec<u8>> {
    let (_, payload) = Messages(datagram).nth(message)?.ok()?;
    let attribute = payload.get(offset.checked_sub(NLMSG_HEADER_LEN)?..)?;
    let length = usize::from(u16::from_ne_bytes([*attribute.first()?, *attribute.get(1)?]));
    attribute.get(..length).map(<[u8]>::to_vec)
}

/// The messages of one datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(NetlinkHeader, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let buffer = match NetlinkBuffer::new_checked(rest) {
            Ok(buffer) => buffer,
            Err(error) => return Some(Err(error)),
        };
        let len = buffer.length() as usize;
        self.0 = rest.get(align(len)..).unwrap_or_default();
        let mut header = NetlinkHeader::default();
        header.length = buffer.length();
        header.message_type = buffer.message_type();
        header.flags = buffer.flags();
        header.sequence_number = buffer.sequence_number();
        header.port_number = buffer.port_number();
        Some(Ok((header, &rest[NLMSG_HEADER_LEN..len])))
    }
}

fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer makes no sense: {error}"))
}
