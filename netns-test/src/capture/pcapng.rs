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

#[cfg(test)]
mod tests {
    use super::super::recording::Lost;
    use super::*;
    use crate::capture::frame::Frame;
    use crate::fuzz::Random;

    /// The blocks of a file, each with its kind and body, as a reader finds them: by their lengths, from the front and from the back.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let number =
            |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let (kind, length) = (number(file, 0), number(file, 4) as usize);
            let (block, rest) = file.split_at(length);
            assert!(length % 4 == 0 && number(block, length - 4) as usize == length, "{length}");
            blocks.push((kind, &block[8..length - 4]));
            file = rest;
        }
        blocks
    }

    /// What of options comes before their end; they fill the body.
    fn options(mut body: &[u8]) -> Vec<(u16, &[u8])> {
        let mut options = Vec::new();
        while let [a, b, c, d, rest @ ..] = body {
            let (code, length) = (u16::from_ne_bytes([*a, *b]), usize::from(u16::from_ne_bytes([*c, *d])));
            if code == 0 {
                assert!(length == 0 && rest.is_empty());
                return options;
            }
            options.push((code, &rest[..length]));
            body = &rest[length.next_multiple_of(4)..];
        }
        panic!("the options have no end");
    }

    #[test]
    fn whatever_was_recorded_is_read_back() {
        let mut random = Random(11);
        for _ in 0..300 {
            let links = [Link::Ethernet, Link::Loopback, Link::Ip];
            let directions = [Direction::Sent, Direction::Received(Reception::Other)];
            let nodes = 1 + random.below(4);
            let frames: Vec<Frame> = (0..random.below(20))
                .map(|_| {
                    let bytes = random.bytes(70);
                    Frame {
                        time: random.number() >> random.below(64),
                        node: random.below(nodes),
                        interface: 100 + random.below(3) as u32,
                        link: *random.one_of(&links),
                        direction: *random.one_of(&directions),
                        length: bytes.len() + random.below(3000),
                        bytes: bytes.into(),
                    }
                })
                .collect();
            let interfaces: Vec<Interface> = (0..random.below(6))
                .map(|_| Interface {
                    key: (random.below(nodes), 100 + random.below(3) as u32),
                    name: "n".repeat(random.below(20)),
                    link: *random.one_of(&links),
                })
                .collect();
            let lost = (0..random.below(3)).map(|_| Lost {
                node: random.below(nodes),
                count: random.below(3) as u64,
                time: random.number(),
            });
            let lost: Vec<Lost> = lost.collect();
            let names = (0..nodes).map(|node| format!("n{node}")).collect();
            let recorded = Recorded { nodes: names, first: frames, lost, ..Recorded::default() };
            let (comment, secrets) = ("c".repeat(random.below(70_000)), random.bytes(50));
            let file = write(&recorded, &interfaces, &comment, &secrets);

            let blocks = blocks(&file);
            assert_eq!(blocks[0].0, SECTION_HEADER);
            let said = options(&blocks[0].1[16..]);
            assert!(said[0].0 == 1 && comment.as_bytes().starts_with(said[0].1));
            let of = |kind| blocks.iter().filter(move |block| block.0 == kind).map(|block| block.1);
            let names: Vec<&[u8]> = of(INTERFACE_DESCRIPTION).map(|body| options(&body[8..])[0].1).collect();
            assert_eq!(
                names,
                interfaces.iter().map(|interface| interface.name.as_bytes()).collect::<Vec<_>>()
            );
            assert_eq!(of(DECRYPTION_SECRETS).count(), usize::from(!secrets.is_empty()));
            assert!(of(DECRYPTION_SECRETS).all(|body| body[8..].starts_with(&secrets)));
            let tells = |node: &usize| {
                let lost = recorded.lost.iter().any(|lost| lost.node == *node && lost.count > 0);
                lost && interfaces.iter().any(|interface| interface.key.0 == *node)
            };
            assert_eq!(of(INTERFACE_STATISTICS).count(), (0..nodes).filter(tells).count());
            let frames = recorded.frames();
            let has_one = |frame: &&&Frame| {
                interfaces.iter().any(|interface| interface.key == (frame.node, frame.interface))
            };
            let expected: Vec<&&Frame> = frames.iter().filter(has_one).collect();
            let packets: Vec<&[u8]> = of(ENHANCED_PACKET).collect();
            assert_eq!(packets.len(), expected.len());
            for (body, frame) in packets.into_iter().zip(expected) {
                let numbers: Vec<u32> = body[..20]
                    .chunks(4)
                    .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
                    .collect();
                assert_eq!(interfaces[numbers[0] as usize].key, (frame.node, frame.interface));
                assert_eq!(u64::from(numbers[1]) << 32 | u64::from(numbers[2]), frame.time);
                assert_eq!((numbers[3] as usize, numbers[4] as usize), (frame.bytes.len(), frame.length));
                assert_eq!(body[20..20 + frame.bytes.len()], *frame.bytes);
                assert_eq!(options(&body[20 + frame.bytes.len().next_multiple_of(4)..]).len(), 1);
            }
        }
    }
}
