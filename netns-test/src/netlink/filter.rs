//! Filters on what an interface sends and receives (tc(8), `clsact` and `bpf`): classic BPF programs that let frames pass or
//! vanish.
//!
//! A frame that vanishes as it is sent counts as sent (`TC_ACT_STOLEN` in `sch_handle_egress`, net/core/dev.c): nothing tells the
//! sender, and no packet socket at the other end sees it.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcMessage, TcOption},
};
use nix::libc;

use super::route::Request;

/// Which way frames go through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Out of the interface, before its queue.
    Sent,
    /// In by the interface, before the protocols.
    Received,
}

/// An instruction of classic BPF (Documentation/networking/filter.rst), the structure `sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) k: u32,
}

/// The most instructions of a program, `BPF_MAXINSNS` of linux/bpf_common.h.
pub(crate) const MOST_INSTRUCTIONS: usize = 4096;

/// What a program returns that has nothing to say: the next filter is asked (`TC_ACT_UNSPEC` of linux/pkt_cls.h).
pub(crate) const NEXT: u32 = u32::MAX;
/// What a program returns for a frame that is to vanish (`TC_ACT_STOLEN`).
pub(crate) const VANISH: u32 = 4;

/// The mark of packets that are not redirected any more (SO_MARK of socket(7)): "hold". It does not leave the namespace.
pub(crate) const MARK: u32 = 0x686f_6c64;

// linux/pkt_cls.h and linux/tc_act/tc_mirred.h.
const TCA_BPF_ACT: u16 = 1;
const FIRST_ACTION: u16 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_EGRESS_REDIR: u32 = 1;

const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;

/// The qdisc's handle and place, and the places of its filters: `TC_H_CLSACT`, `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS` of
/// linux/pkt_sched.h.
const CLSACT: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const RECEIVED: u32 = 0xffff_fff2;
const SENT: u32 = 0xffff_fff3;

impl Request<'_> {
    /// Puts the place for filters on an interface. The kernel answers `EEXIST` where it has one.
    pub(crate) fn add_filters_place(link: u32) -> Self {
        let message = RouteNetlinkMessage::NewQueueDiscipline(filters_place(link));
        Self::new(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes the place for filters away, with all that are in it.
    pub(crate) fn delete_filters_place(link: u32) -> Self {
        Self::new(RouteNetlinkMessage::DelQueueDiscipline(filters_place(link)), 0)
    }

    /// Adds a filter. Those of the lowest priority number are asked first, of equal ones that of the lowest handle.
    pub(crate) fn add_filter(
        link: u32,
        direction: Direction,
        priority: u16,
        handle: u32,
        program: &[Instruction],
    ) -> Self {
        let mut message = filter(link, direction, priority);
        message.header.handle = handle.into();
        let flags = TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction));
        let [length, instructions] = encode(program);
        message.attributes.push(TcAttribute::Options(vec![flags, length, instructions]));
        Self::new(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a filter that sends the frames which its program picks out (by what is not 0) through another interface instead.
    pub(crate) fn add_redirect(
        link: u32,
        direction: Direction,
        priority: u16,
        program: &[Instruction],
        to: u32,
    ) -> Self {
        // `struct tc_mirred` of linux/tc_act/tc_mirred.h: index, capabilities, action, two counts, which way, and where.
        let parameters = [0, 0, VANISH, 0, 0, TCA_EGRESS_REDIR, to].map(u32::to_ne_bytes).concat();
        let options = attribute(TCA_ACT_OPTIONS, &attribute(TCA_MIRRED_PARMS, &parameters));
        let kind = attribute(TCA_ACT_KIND, b"mirred\0");
        let actions = attribute(FIRST_ACTION, &[kind, options].concat());
        let mut message = filter(link, direction, priority);
        message.header.handle = 1.into();
        let class = TcOption::Bpf(TcFilterBpfOption::ClassId(1.into()));
        let actions = TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(TCA_BPF_ACT, actions)));
        let [length, instructions] = encode(program);
        message.attributes.push(TcAttribute::Options(vec![class, actions, length, instructions]));
        Self::new(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes the filters of one priority.
    pub(crate) fn delete_filters(link: u32, direction: Direction, priority: u16) -> Self {
        Self::new(RouteNetlinkMessage::DelTrafficFilter(filter(link, direction, priority)), 0)
    }
}

fn encode(program: &[Instruction]) -> [TcOption; 2] {
    let length = (program.len() as u16).to_ne_bytes().to_vec();
    let instructions = program.iter().flat_map(|instruction| {
        let [code, k] = [&instruction.code.to_ne_bytes()[..], &instruction.k.to_ne_bytes()[..]];
        [code, &[instruction.if_true, instruction.if_false], k].concat()
    });
    [DefaultNla::new(TCA_BPF_OPS_LEN, length), DefaultNla::new(TCA_BPF_OPS, instructions.collect())]
        .map(|attribute| TcOption::Bpf(TcFilterBpfOption::Other(attribute)))
}

/// A netlink attribute, padded to four bytes (netlink(7)).
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [((4 + value.len()) as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn filters_place(link: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = link.cast_signed();
    message.header.handle = CLSACT.into();
    message.header.parent = CLSACT_PARENT.into();
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    message
}

fn filter(link: u32, direction: Direction, priority: u16) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = link.cast_signed();
    let parent = match direction {
        Direction::Sent => SENT,
        Direction::Received => RECEIVED,
    };
    message.header.parent = parent.into();
    // Of whatever protocol, in network byte order.
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    message.header.info = u32::from(priority) << 16 | u32::from(protocol);
    message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
    message
}
