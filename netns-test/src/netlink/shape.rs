//! Queueing disciplines that delay, lose and limit what an interface sends: netem and tbf (tc-netem(8), tc-tbf(8)).

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcMessage};

use super::route::Request;

/// What netem does, in the kernel's own terms; a probability is a share of `u32::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Netem {
    /// In nanoseconds.
    pub(crate) latency: u64,
    /// In nanoseconds.
    pub(crate) jitter: u64,
    pub(crate) loss: u32,
    /// Gilbert and Elliott's model, in place of `loss`.
    pub(crate) model: Option<Model>,
    pub(crate) duplicate: u32,
    pub(crate) reorder: u32,
    pub(crate) corrupt: u32,
    pub(crate) marks_ecn: bool,
    /// What random numbers follow, for kernels that have it (Linux 6.6).
    pub(crate) seed: u64,
}

/// The model of Gilbert and Elliott, as `tc_netem_gemodel` of linux/pkt_sched.h has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// From good to bad.
    pub(crate) p: u32,
    /// From bad to good.
    pub(crate) r: u32,
    /// Not lost while bad.
    pub(crate) h: u32,
    /// Lost while good.
    pub(crate) k1: u32,
}

/// What tbf does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tbf {
    /// Bytes in a second.
    pub(crate) rate: u64,
    /// Bytes that may leave at once.
    pub(crate) burst: u32,
    /// Bytes that may wait.
    pub(crate) limit: u32,
}

/// What an interface sends through: netem, tbf, or tbf behind netem.
///
/// Before netem stands another tbf, whose rate nothing reaches: it takes large packets apart (`tbf_segment` in
/// net/sched/sch_tbf.c). TCP, programs that have datagrams cut (`UDP_SEGMENT`) and routers hand over packets of up to 64 kB, whatever the
/// interface's offloads are: these are asked for behind the qdiscs (`validate_xmit_skb` in net/core/dev.c). netem would lose all of one or
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) netem: Option<Netem>,
    pub(crate) tbf: Option<Tbf>,
    /// The longest frame. One that is longer is several, or dropped.
    pub(crate) longest: u32,
}

/// `TC_H_ROOT` of linux/pkt_sched.h.
const ROOT: u32 = u32::MAX;
/// The handles `1:`, `10:` and `100:`, and the only classes of the first two, `1:1` and `10:1`.
const FIRST: u32 = 0x1_0000;
const SECOND: u32 = 0x10_0000;
const THIRD: u32 = 0x100_0000;
const CLASS: u32 = 1;

/// netem counts what it delays: it is not to drop anything for that.
const NETEM_LIMIT: u32 = 1_000_000;

/// Bytes in a second of which the longest frame takes no nanosecond: tbf lets pass what it has taken, also with a smaller burst than then.
const AT_ONCE: u64 = 1_000_000_000_000_000;

/// `GSO_MAX_SEGS` of linux/netdevice.h, which interfaces begin with.
const ANY_SEGMENTS: u32 = 65_535;

/// Bytes in a second that no test sends. With a rate, netem keeps the order of packets whose delay varies (`netem_enqueue`
/// in net/sched/sch_netem.c).
const NO_RATE: u64 = 12_500_000_000;

impl Request<'_> {
    /// Puts a shape on an interface that has the kernel's default there.
    pub(crate) fn add_shape(link: u32, shape: &Shape) -> Vec<Self> {
        shape.requests(link, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Changes a shape to another of the same qdiscs; what waits in them stays.
    pub(crate) fn change_shape(link: u32, shape: &Shape) -> Vec<Self> {
        shape.requests(link, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Has a shape take longer or shorter frames; what waits in it stays, and netem's chances go on. A burst is only made for longer ones:
    /// a frame that waits, and is longer than the burst, would wait for ever.
    pub(crate) fn resize_shape(link: u32, shape: &Shape, are_longer: bool) -> Vec<Self> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        shape
            .splitter(link, flags)
            .into_iter()
            .chain(shape.limiter(link, flags).filter(|_| are_longer))
            .collect()
    }

    /// Has TCP send packets of as many segments as before a shape.
    pub(crate) fn restore_segments(link: u32) -> Self {
        Self::set_gso_segments(link, ANY_SEGMENTS)
    }

    /// Takes an interface's shape away.
    pub(crate) fn delete_shape(link: u32) -> Self {
        let mut message = TcMessage::default();
        message.header.index = link.cast_signed();
        message.header.parent = ROOT.into();
        Self::new(RouteNetlinkMessage::DelQueueDiscipline(message), 0)
    }
}

impl Shape {
    /// Whether it does nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.netem.is_none() && self.tbf.is_none()
    }

    /// Whether the other has the same qdiscs.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.netem.is_some() == other.netem.is_some() && self.tbf.is_some() == other.tbf.is_some()
    }

    fn requests<'a>(&self, link: u32, flags: u16) -> Vec<Request<'a>> {
        let netem =
            self.netem.map(|netem| request(link, [FIRST | CLASS, SECOND], "netem", netem.options(), flags));
        // TCP does not make large ones here in the first place: it would be told where all that is in one is lost.
        let segments = netem.is_some().then(|| Request::set_gso_segments(link, 1));
        segments
            .into_iter()
            .chain(self.splitter(link, flags))
            .chain(netem)
            .chain(self.limiter(link, flags))
            .collect()
    }

    /// What takes packets apart before netem.
    fn splitter<'a>(&self, link: u32, flags: u16) -> Option<Request<'a>> {
        let apart = Tbf { rate: AT_ONCE, burst: self.longest, limit: self.longest };
        self.netem.map(|_| request(link, [ROOT, FIRST], "tbf", apart.options(), flags))
    }

    /// What keeps to the rate.
    fn limiter<'a>(&self, link: u32, flags: u16) -> Option<Request<'a>> {
        let place = if self.netem.is_some() { [SECOND | CLASS, THIRD] } else { [ROOT, FIRST] };
        self.tbf.map(|tbf| request(link, place, "tbf", tbf.options(), flags))
    }
}

fn request<'a>(
    link: u32,
    [parent, handle]: [u32; 2],
    kind: &str,
    options: Vec<u8>,
    flags: u16,
) -> Request<'a> {
    let mut message = TcMessage::default();
    message.header.index = link.cast_signed();
    message.header.parent = parent.into();
    message.header.handle = handle.into();
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options)));
    Request::new(RouteNetlinkMessage::NewQueueDiscipline(message), flags)
}

/// In linux/rtnetlink.h and linux/pkt_sched.h.
const TCA_OPTIONS: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_LOSS: u16 = 5;
const NETEM_LOSS_GE: u16 = 2;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_ECN: u16 = 7;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_PRNG_SEED: u16 = 14;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `NLA_F_NESTED` of linux/netlink.h.
const NESTED: u16 = 1 << 15;

impl Netem {
    /// `struct tc_netem_qopt`, and attributes behind it.
    fn options(&self) -> Vec<u8> {
        // Latency and jitter are said below, in nanoseconds. A gap of 1 is what reordering by chance takes.
        let gap = u32::from(self.reorder > 0);
        let mut bytes = words(&[0, NETEM_LIMIT, self.loss, gap, self.duplicate, 0]);
        attribute(&mut bytes, TCA_NETEM_LATENCY64, &self.latency.to_ne_bytes());
        attribute(&mut bytes, TCA_NETEM_JITTER64, &self.jitter.to_ne_bytes());
        if let Some(Model { p, r, h, k1 }) = self.model {
            let mut model = Vec::new();
            attribute(&mut model, NETEM_LOSS_GE, &words(&[p, r, h, k1]));
            attribute(&mut bytes, TCA_NETEM_LOSS | NESTED, &model);
        }
        // Each with a correlation of 0.
        attribute(&mut bytes, TCA_NETEM_REORDER, &words(&[self.reorder, 0]));
        attribute(&mut bytes, TCA_NETEM_CORRUPT, &words(&[self.corrupt, 0]));
        attribute(&mut bytes, TCA_NETEM_ECN, &words(&[self.marks_ecn.into()]));
        if self.jitter > 0 {
            // `struct tc_netem_rate`: the rate where it has 32 bits, and nothing about cells.
            attribute(&mut bytes, TCA_NETEM_RATE, &words(&[u32::MAX, 0, 0, 0]));
            attribute(&mut bytes, TCA_NETEM_RATE64, &NO_RATE.to_ne_bytes());
        }
        attribute(&mut bytes, TCA_NETEM_PRNG_SEED, &self.seed.to_ne_bytes());
        bytes
    }
}

impl Tbf {
    /// Attributes: `struct tc_tbf_qopt` with the rate as a `struct tc_ratespec`, no peak rate, and the limit.
    fn options(&self) -> Vec<u8> {
        const ETHERNET: u8 = 1;
        // Cell size, link layer, overhead, alignment, and the smallest packet.
        let mut parameters = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
        parameters.extend(u32::try_from(self.rate).unwrap_or(u32::MAX).to_ne_bytes());
        parameters.extend([0; 12]);
        parameters.extend(words(&[self.limit, 0, 0]));
        let mut bytes = Vec::new();
        attribute(&mut bytes, TCA_TBF_PARMS, &parameters);
        attribute(&mut bytes, TCA_TBF_BURST, &words(&[self.burst]));
        if self.rate > u64::from(u32::MAX) {
            attribute(&mut bytes, TCA_TBF_RATE64, &self.rate.to_ne_bytes());
        }
        bytes
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Appends an attribute of netlink(7), padded.
fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}
