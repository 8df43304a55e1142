//! The little of a frame that conditions ask for.

/// Where the header of IP begins, and which version it is, in an Ethernet frame (IEEE 802.3, 802.1Q).
pub(super) fn ip(frame: &[u8]) -> Option<(usize, u8)> {
    let mut at = 12;
    while let Some(kind) = be16(frame, at) {
        match kind {
            0x8100 | 0x88a8 => at += 4,
            0x0800 if frame.get(at + 2)? >> 4 == 4 && frame.len() >= at + 22 => return Some((at + 2, 4)),
            0x86dd if frame.get(at + 2)? >> 4 == 6 && frame.len() >= at + 42 => return Some((at + 2, 6)),
            _ => return None,
        }
    }
    None
}

/// The protocol that a packet carries, and where that begins: of the first fragment, and behind no extension header but
/// hop-by-hop options.
pub(super) fn carried(frame: &[u8]) -> Option<(u8, usize)> {
    match ip(frame)? {
        (at, 4) => {
            let is_first = be16(frame, at + 6)? & 0x1fff == 0;
            is_first.then(|| (frame[at + 9], at + 4 * usize::from(frame[at] & 0x0f)))
        }
        (at, _) => match frame[at + 6] {
            0 => Some((*frame.get(at + 40)?, at + 48 + 8 * usize::from(*frame.get(at + 41)?))),
            next => Some((next, at + 40)),
        },
    }
}

const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const ICMP6: u8 = 58;

/// Whether it is what the kernel says to its neighbours on its own account: ARP, IGMP, and ICMPv6's neighbour and listener
/// discovery (RFC 4861, RFC 3810).
pub(super) fn is_chatter(frame: &[u8]) -> bool {
    match carried(frame) {
        None => ip(frame).is_none(),
        Some((IGMP, _)) => true,
        Some((ICMP6, at)) => frame.get(at).is_some_and(|kind| matches!(kind, 130..=137 | 143)),
        Some(_) => false,
    }
}

/// Whether it is one of ICMP's error messages (RFC 792; RFC 4443 section 2.1).
pub(super) fn is_icmp_error(frame: &[u8]) -> bool {
    match carried(frame) {
        Some((ICMP, at)) => frame.get(at).is_some_and(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
        Some((ICMP6, at)) => frame.get(at).is_some_and(|kind| *kind < 128),
        _ => false,
    }
}

/// The ECN field (RFC 3168 section 5); 0 is a packet that is not capable of it.
pub(super) fn ecn(frame: &[u8]) -> u8 {
    match ip(frame) {
        Some((at, 4)) => frame[at + 1] & 3,
        Some((at, _)) => frame[at + 1] >> 4 & 3,
        None => 0,
    }
}

/// Sets the ECN field, and the checksum of IPv4's header with it.
pub(super) fn set_ecn(frame: &mut [u8], ecn: u8) {
    match ip(frame) {
        Some((at, 4)) => {
            let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
            frame[at + 1] = frame[at + 1] & !3 | ecn;
            let new = u16::from_be_bytes([frame[at], frame[at + 1]]);
            // RFC 1624, equation 3.
            let sum = u16::from_be_bytes([frame[at + 10], frame[at + 11]]);
            let sum = u32::from(!sum) + u32::from(!old) + u32::from(new);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        Some((at, _)) => frame[at + 1] = frame[at + 1] & !0x30 | ecn << 4,
        None => {}
    }
}

/// Whether it is the SYN of a TCP connection that asks for ECN (RFC 3168 section 6.1.1).
pub(super) fn is_ecn_setup(frame: &[u8]) -> bool {
    const SYN_ECE_CWR: u8 = 0x02 | 0x40 | 0x80;
    const ACK: u8 = 0x10;
    matches!(carried(frame), Some((TCP, at))
        if frame.get(at + 13).is_some_and(|flags| flags & (SYN_ECE_CWR | ACK) == SYN_ECE_CWR))
}

fn be16(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame
            .extend([0x08, 0x00, 0x45, 0x02, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = header_sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn header_sum(header: &[u8]) -> u16 {
        let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }

    #[test]
    fn a_changed_ecn_field_leaves_a_right_checksum() {
        let mut frame = ipv4(17, &[0; 8]);
        assert_eq!((ecn(&frame), header_sum(&frame[14..34])), (2, 0));
        for field in [3, 0, 1] {
            set_ecn(&mut frame, field);
            assert_eq!((ecn(&frame), header_sum(&frame[14..34])), (field, 0));
        }
    }

    #[test]
    fn ipv6_is_read_behind_a_tag_and_options() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0x00, 0, 5, 0x86, 0xdd, 0x60, 0x20, 0, 0, 0, 16, 0, 1]);
        frame.extend([0; 32]);
        frame.extend([58, 0, 5, 2, 0, 0, 0, 0, 143, 0, 0, 0]);
        assert_eq!(ecn(&frame), 2);
        assert!(is_chatter(&frame) && !is_icmp_error(&frame));
        set_ecn(&mut frame, 3);
        assert_eq!(ecn(&frame), 3);
        *frame.iter_mut().rev().nth(3).unwrap() = 2;
        assert!(is_icmp_error(&frame) && !is_chatter(&frame));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert!(is_icmp_error(&ipv4(1, &[3, 4])) && !is_icmp_error(&ipv4(1, &[8, 0])));
        assert!(is_chatter(&[0; 60]) && is_chatter(&ipv4(2, &[0x22])) && !is_chatter(&ipv4(17, &[0; 8])));
        let mut tcp = [0_u8; 20];
        tcp[13] = 0xc2;
        assert!(is_ecn_setup(&ipv4(6, &tcp)));
        tcp[13] = 0x52;
        assert!(!is_ecn_setup(&ipv4(6, &tcp)));
    }

    #[test]
    fn damaged_frames_are_looked_at_and_changed_all_the_same() {
        let mut tagged = vec![0; 12];
        tagged.extend([0x81, 0x00, 0, 5, 0x86, 0xdd, 0x60, 0x20, 0, 0, 0, 16, 0, 1]);
        tagged.extend([0; 32]);
        tagged.extend([58, 0, 5, 2, 0, 0, 0, 0, 143, 0, 0, 0]);
        let samples = vec![ipv4(6, &[0; 24]), ipv4(17, &[0; 9]), ipv4(1, &[3, 4, 0, 0]), tagged];
        crate::fuzz::survives("frames on a wire", samples, |frame| {
            let _judged = (is_chatter(frame), is_icmp_error(frame), is_ecn_setup(frame));
            let mut changed = frame.to_vec();
            set_ecn(&mut changed, 3);
            assert!(ip(frame).is_none() || ecn(&changed) == 3);
            crate::wire::checksums::make_right(&mut changed);
            assert_eq!(changed.len(), frame.len());
        });
    }
}
