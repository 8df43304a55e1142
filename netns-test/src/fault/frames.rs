//! Which frames a fault is about, and the programs that pick them out. Pure.

use std::net::IpAddr;

use nix::libc;

use crate::netlink::{Instruction, MOST_INSTRUCTIONS, NEXT, VANISH};

/// Frames of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    All,
    FromMac([u8; 6]),
    ToMac([u8; 6]),
    /// Packets with this source address.
    FromIp(IpAddr),
    /// Packets with this destination address.
    ToIp(IpAddr),
}

// Where things stand in a frame: Ethernet (IEEE 802.3), IPv4 (RFC 791), IPv6 (RFC 8200).
const TO_MAC: u32 = 0;
const FROM_MAC: u32 = 6;
const ETHER_TYPE: u32 = 12;
const FROM_IP4: u32 = 14 + 12;
const TO_IP4: u32 = 14 + 16;
const FROM_IP6: u32 = 14 + 8;
const TO_IP6: u32 = 14 + 24;

/// `SKF_AD_OFF` and `SKF_AD_MARK` of linux/filter.h.
const MARK: u32 = 0xffff_f000 + 20;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const JUMP_IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Something to load, and what it has to be.
struct Test {
    load: u32,
    at: u32,
    is: u32,
}

impl Frames {
    /// What is true of a frame of the kind. A program that loads from beyond the end of a frame lets it pass for good, so the
    /// protocol comes first.
    fn tests(self) -> Vec<Test> {
        let word = |at: u32, bytes: &[u8]| Test {
            load: LOAD_WORD,
            at,
            is: bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)),
        };
        let mac = |at: u32, mac: [u8; 6]| {
            let rest =
                Test { load: LOAD_HALF, at: at + 4, is: u32::from(u16::from_be_bytes([mac[4], mac[5]])) };
            vec![word(at, &mac[..4]), rest]
        };
        let packet = |ip: IpAddr, [at4, at6]: [u32; 2]| {
            let (at, protocol, bytes) = match ip {
                IpAddr::V4(ip) => (at4, libc::ETH_P_IP, ip.octets().to_vec()),
                IpAddr::V6(ip) => (at6, libc::ETH_P_IPV6, ip.octets().to_vec()),
            };
            let protocol = Test { load: LOAD_HALF, at: ETHER_TYPE, is: protocol as u32 };
            let words = bytes.chunks(4).enumerate().map(|(index, bytes)| word(at + 4 * index as u32, bytes));
            [protocol].into_iter().chain(words).collect()
        };
        match self {
            Self::All => Vec::new(),
            Self::FromMac(address) => mac(FROM_MAC, address),
            Self::ToMac(address) => mac(TO_MAC, address),
            Self::FromIp(ip) => packet(ip, [FROM_IP4, FROM_IP6]),
            Self::ToIp(ip) => packet(ip, [TO_IP4, TO_IP6]),
        }
    }

    /// Whether a frame is of the kind.
    pub(super) fn matches(self, frame: &[u8]) -> bool {
        self.tests().iter().all(|test| test.holds(frame))
    }

    /// Instructions that let frames of the kind vanish, and are left at their end by others.
    fn instructions(self) -> Vec<Instruction> {
        let tests = self.tests();
        let length = 2 * tests.len() as u8;
        let mut instructions = Vec::with_capacity(usize::from(length) + 1);
        for (Test { load, at, is }, position) in tests.into_iter().zip((0..length).step_by(2)) {
            instructions.push(instruction(load, 0, at));
            // Past the other tests and the return.
            instructions.push(instruction(JUMP_IF_EQUAL, length - position - 1, is));
        }
        instructions.push(instruction(RETURN, 0, VANISH));
        instructions
    }
}

fn instruction(code: u32, if_false: u8, k: u32) -> Instruction {
    Instruction { code: code as u16, if_true: 0, if_false, k }
}

/// How many bytes an instruction loads.
fn width(load: u32) -> usize {
    match load {
        LOAD_WORD => 4,
        LOAD_HALF => 2,
        _ => 1,
    }
}

impl Test {
    fn holds(&self, frame: &[u8]) -> bool {
        let at = self.at as usize;
        let loaded = frame.get(at..at + width(self.load));
        loaded.is_some_and(|bytes| bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)) == self.is)
    }
}

/// A program that picks out IPv4 and IPv6 packets without this mark; what it picks out has the action of its filter. It leaves what
/// kernels say of themselves: neighbour discovery (RFC 4861) and multicast reports (RFC 3376, 3810), which IPv6 has behind a
/// hop-by-hop header.
pub(super) fn redirected(mark: u32) -> Vec<Instruction> {
    const PROTOCOL: u32 = 14 + 9;
    const NEXT_HEADER: u32 = 14 + 6;
    /// Of the packet, or of its hop-by-hop header where that comes first.
    const AFTER_IP6: u32 = 14 + 40;
    const IGMP: u32 = 2;
    const HOP_BY_HOP: u32 = 0;
    const ICMP6: u32 = 58;
    let jump = |code: u32, if_true: u8, if_false: u8, k: u32| Instruction {
        code: code as u16,
        if_true,
        if_false,
        k,
    };
    vec![
        instruction(LOAD_WORD, 0, MARK),
        jump(JUMP_IF_EQUAL, 14, 0, mark),
        instruction(LOAD_HALF, 0, ETHER_TYPE),
        jump(JUMP_IF_EQUAL, 1, 0, libc::ETH_P_IP as u32),
        jump(JUMP_IF_EQUAL, 2, 11, libc::ETH_P_IPV6 as u32),
        instruction(LOAD_BYTE, 0, PROTOCOL),
        jump(JUMP_IF_EQUAL, 9, 8, IGMP),
        instruction(LOAD_BYTE, 0, NEXT_HEADER),
        jump(JUMP_IF_EQUAL, 4, 0, HOP_BY_HOP),
        jump(JUMP_IF_EQUAL, 0, 5, ICMP6),
        instruction(LOAD_BYTE, 0, AFTER_IP6),
        // Router and neighbour solicitations and advertisements, and redirects: 133 to 137.
        jump(JUMP_IF_AT_LEAST, 0, 3, 133),
        jump(JUMP_IF_AT_LEAST, 2, 3, 138),
        instruction(LOAD_BYTE, 0, AFTER_IP6),
        jump(JUMP_IF_EQUAL, 1, 0, ICMP6),
        instruction(RETURN, 0, u32::MAX),
        instruction(RETURN, 0, 0),
    ]
}

/// Programs that let frames of these kinds vanish, each no longer than the kernel takes.
pub(super) fn programs(kinds: &[Frames]) -> Vec<Vec<Instruction>> {
    let mut programs: Vec<Vec<Instruction>> = Vec::new();
    for kind in kinds {
        let more = kind.instructions();
        match programs.last_mut() {
            Some(program) if program.len() + more.len() < MOST_INSTRUCTIONS => program.extend(more),
            _ => programs.push(more),
        }
    }
    for program in &mut programs {
        program.push(instruction(RETURN, 0, NEXT));
    }
    programs
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// What a program says to a frame, as the kernel would run it.
    fn run(programs: &[Vec<Instruction>], frame: &[u8]) -> u32 {
        let verdict = |program: &[Instruction]| {
            let (mut position, mut accumulator) = (0, 0);
            loop {
                let Instruction { code, if_true, if_false, k } = program[position];
                position += 1;
                let load = |length: usize| {
                    let bytes = frame.get(k as usize..k as usize + length)?;
                    Some(bytes.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)))
                };
                let jump_by = |is_so: bool| usize::from(if is_so { if_true } else { if_false });
                match u32::from(code) {
                    // Of a packet without a mark.
                    LOAD_WORD if k == MARK => accumulator = 0,
                    code @ (LOAD_WORD | LOAD_HALF | LOAD_BYTE) => match load(width(code)) {
                        Some(loaded) => accumulator = loaded,
                        None => return 0,
                    },
                    JUMP_IF_EQUAL => position += jump_by(accumulator == k),
                    JUMP_IF_AT_LEAST => position += jump_by(accumulator >= k),
                    RETURN => return k,
                    other => panic!("no such instruction: {other:#x}"),
                }
            }
        };
        programs.iter().map(|program| verdict(program)).find(|&verdict| verdict != NEXT).unwrap_or(NEXT)
    }

    fn frame(to: u8, from: u8, protocol: u16, packet: &[u8]) -> Vec<u8> {
        let mac = |last: u8| [2, b'n', b't', 0, 0, last];
        [&mac(to)[..], &mac(from), &protocol.to_be_bytes(), packet].concat()
    }

    fn packet4(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        [&[0x45; 12][..], &from, &to].concat()
    }

    #[test]
    fn frames_are_picked_by_their_addresses() {
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]];
        let [a6, b6] = [1, 2].map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let packet6 = |from: Ipv6Addr, to: Ipv6Addr| [&[0x60; 8][..], &from.octets(), &to.octets()].concat();
        let arp = frame(2, 1, 0x0806, &[0; 28]);
        let (four, six) = (frame(2, 1, 0x0800, &packet4(a, b)), frame(2, 1, 0x86dd, &packet6(a6, b6)));
        let cases = [
            (Frames::All, [true, true, true]),
            (Frames::FromMac([2, b'n', b't', 0, 0, 1]), [true, true, true]),
            (Frames::ToMac([2, b'n', b't', 0, 0, 1]), [false, false, false]),
            (Frames::ToMac([2, b'n', b't', 0, 0, 2]), [true, true, true]),
            (Frames::ToMac([3, b'n', b't', 0, 0, 2]), [false, false, false]),
            (Frames::FromIp(a.into()), [false, true, false]),
            (Frames::ToIp(a.into()), [false, false, false]),
            (Frames::ToIp(b.into()), [false, true, false]),
            (Frames::FromIp(a6.into()), [false, false, true]),
            (Frames::FromIp(b6.into()), [false, false, false]),
            (Frames::ToIp(b6.into()), [false, false, true]),
        ];
        for (kind, vanish) in cases {
            for (frame, vanishes) in [&arp, &four, &six].into_iter().zip(vanish) {
                let verdict = run(&programs(&[kind]), frame);
                assert_eq!(verdict, if vanishes { VANISH } else { NEXT }, "{kind:?} {frame:?}");
            }
        }
        // The first that matches is not the only one.
        let both = programs(&[Frames::FromIp(b6.into()), Frames::ToIp(b.into())]);
        assert_eq!([&arp, &four, &six].map(|frame| run(&both, frame)), [NEXT, VANISH, NEXT]);
    }

    #[test]
    fn what_kernels_say_of_themselves_is_left() {
        let four = |protocol: u8| {
            frame(2, 1, 0x0800, &[&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol][..], &[0; 18]].concat())
        };
        let six = |next_header: u8, payload: &[u8]| {
            frame(2, 1, 0x86dd, &[&[0x60, 0, 0, 0, 0, 8, next_header, 64][..], &[0; 32], payload].concat())
        };
        let cases = [
            ("ARP", frame(2, 1, 0x0806, &[0; 28]), false),
            ("UDP", four(17), true),
            ("ICMP", four(1), true),
            ("IGMP", four(2), false),
            ("UDP", six(17, &[0; 8]), true),
            ("echo request", six(58, &[128; 8]), true),
            ("packet too big", six(58, &[2; 8]), true),
            ("router solicitation", six(58, &[133; 8]), false),
            ("redirect", six(58, &[137; 8]), false),
            ("behind the last", six(58, &[138; 8]), true),
            ("multicast report", six(0, &[58, 0, 5, 2, 0, 0, 1, 0, 143]), false),
            ("UDP with options", six(0, &[17, 0, 5, 2, 0, 0, 1, 0]), true),
        ];
        for (what, frame, is_taken) in cases {
            assert_eq!(run(&[redirected(7)], &frame), if is_taken { u32::MAX } else { 0 }, "{what}");
        }
    }

    #[test]
    fn many_addresses_make_several_programs() {
        let address = |number: u32| IpAddr::from(Ipv6Addr::from(u128::from(number)));
        let kinds: Vec<Frames> = (0..1000).map(|number| Frames::ToIp(address(number))).collect();
        let programs = programs(&kinds);
        assert!(programs.len() > 1 && programs.iter().all(|program| program.len() <= MOST_INSTRUCTIONS));
        for number in [0, 500, 999, 1000] {
            let IpAddr::V6(to) = address(number) else { unreachable!() };
            let packet = [&[0x60; 24][..], &to.octets()].concat();
            let verdict = run(&programs, &frame(2, 1, 0x86dd, &packet));
            assert_eq!(verdict, if number < 1000 { VANISH } else { NEXT }, "{number}");
        }
    }
}
