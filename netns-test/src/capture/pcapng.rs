//! Packets as a file for wireshark(1) and tshark(1): pcapng, draft-ietf-opsawg-pcapng.

use super::frame::{Direction, Link, Reception};
use super::recording::Recorded;

/// An interface as the file names it.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// The node's index, and the interface's in it.
    pub(crate) key: (usize, u32),
    /// `node/eth0`.
    pub(crate) name: String,
    pub(crate) link: Link,
}

/// Link types of <https://www.iana.org/assignments/pcap>.
const LINKTYPE_ETHERNET: u16 = 1;
const LINKTYPE_RAW: u16 = 101;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

/// Secrets of TLS, in lines: `TLSK`.
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// The file: secrets of TLS, and all frames in the order of their times. Frames of an interface that is not listed are left out.
pub(crate) fn write(recorded: &Recorded, interfaces: &[Interface], comment: &str, secrets: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut section = Block::new(SECTION_HEADER);
    // The byte order, the version, and that the section's length is not given.
    section.numbers(&[0x1a2b_3c4d, 0x0000_0001, u32::MAX, u32::MAX]);
    section.option(1, comment.as_bytes());
    section.option(4, concat!("netns-test ", env!("CARGO_PKG_VERSION")).as_bytes());
    section.finish(&mut file);
    for interface in interfaces {
        let mut block = Block::new(INTERFACE_DESCRIPTION);
        let link = match interface.link {
            Link::Ethernet | Link::Loopback => LINKTYPE_ETHERNET,
            Link::Ip => LINKTYPE_RAW,
        };
        block.numbers(&[link.into(), 0]);
        block.option(2, interface.name.as_bytes());
        // Times are in nanoseconds.
        block.option(9, &[9]);
        block.finish(&mut file);
    }
    // Before the packets that they open.
    if !secrets.is_empty() {
        let mut block = Block::new(DECRYPTION_SECRETS);
        block.numbers(&[TLS_KEY_LOG, secrets.len() as u32]);
        block.bytes(secrets);
        block.finish(&mut file);
    }
    let number = |node, index| {
        let position = interfaces.iter().position(|interface| interface.key == (node, index))?;
        u32::try_from(position).ok()
    };
    for frame in recorded.frames() {
        let Some(interface) = number(frame.node, frame.interface) else { continue };
        let mut block = Block::new(ENHANCED_PACKET);
        let (high, low) = halves(frame.time);
        block.numbers(&[interface, high, low, frame.bytes.len() as u32, frame.length as u32]);
        block.bytes(&frame.bytes);
        // Bits 0 and 1: inbound or outbound; bits 2 to 4: how it was received.
        let flags: u32 = match frame.direction {
            Direction::Sent => 2,
            Direction::Received(Reception::Host) => 1 | 1 << 2,
            Direction::Received(Reception::Multicast) => 1 | 2 << 2,
            Direction::Received(Reception::Broadcast) => 1 | 3 << 2,
            Direction::Received(Reception::Other) => 1 | 4 << 2,
        };
        block.option(2, &flags.to_ne_bytes());
        block.finish(&mut file);
    }
    // A node's packets are lost before it is known on which interface they were: its first one tells of them.
    for node in 0..recorded.nodes.len() {
        let of_node = interfaces.iter().position(|interface| interface.key.0 == node);
        let lost = recorded.lost.iter().filter(|lost| lost.node == node);
        let (count, time) =
            lost.fold((0, 0), |(count, time), lost| (count + lost.count, lost.time.max(time)));
        let Some(interface) = of_node.and_then(|position| u32::try_from(position).ok()) else { continue };
        if count == 0 {
            continue;
        }
        let mut block = Block::new(INTERFACE_STATISTICS);
        let (high, low) = halves(time);
        block.numbers(&[interface, high, low]);
        // Packets that were dropped by the operating system, since the beginning.
        block.option(7, &u64::to_ne_bytes(count));
        block.finish(&mut file);
    }
    file
}

fn halves(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// A block in the making. The byte order is the machine's own, as the format has it.
struct Block {
    kind: u32,
    body: Vec<u8>,
    has_options: bool,
}

impl Block {
    fn new(kind: u32) -> Self {
        Self { kind, body: Vec::new(), has_options: false }
    }

    fn numbers(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.body.extend(number.to_ne_bytes()));
    }

    /// Bytes, filled up to a multiple of four.
    fn bytes(&mut self, bytes: &[u8]) {
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        // Longer ones have no place; a comment is cut.
        let value = &value[..value.len().min(usize::from(u16::MAX) - 3)];
        self.body.extend(code.to_ne_bytes());
        self.body.extend((value.len() as u16).to_ne_bytes());
        self.bytes(value);
        self.has_options = true;
    }

    fn finish(mut self, file: &mut Vec<u8>) {
        if self.has_options {
            self.numbers(&[0]);
        }
        let length = self.body.len() as u32 + 12;
        file.extend(self.kind.to_ne_bytes());
        file.extend(length.to_ne_bytes());
        file.append(&mut self.body);
        file.extend(length.to_ne_bytes());
    }
}
