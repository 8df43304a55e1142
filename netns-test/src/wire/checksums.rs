//! Checksums of frames that a test has written.

use super::frame;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// Makes the checksums of IPv4, TCP, UDP, ICMP and ICMPv6 right (RFC 1071). Fragments keep theirs.
pub(super) fn make_right(frame: &mut [u8]) {
    let Some((at, version)) = frame::ip(frame) else { return };
    let whole = match version {
        4 => {
            let header = at..at + 4 * usize::from(frame[at] & 0x0f);
            // A test may have written a length that is none.
            let Some(header) = frame.get_mut(header).filter(|header| header.len() >= 20) else { return };
            header[10..12].fill(0);
            let sum = folded(sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            usize::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]]))
        }
        _ => 40 + usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]])),
    };
    let is_fragment = version == 4 && u16::from_be_bytes([frame[at + 6], frame[at + 7]]) & 0x3fff != 0;
    let Some((protocol, start)) = frame::carried(frame).filter(|_| !is_fragment) else { return };
    let field = match protocol {
        ICMP | ICMP6 => 2,
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let addresses = match version {
        4 => at + 12..at + 20,
        _ => at + 8..at + 40,
    };
    let length = (at + whole).saturating_sub(start);
    let of_pseudo_header = match protocol {
        ICMP => 0,
        _ => sum(&frame[addresses]) + u32::from(protocol) + length as u32,
    };
    let Some(segment) = frame.get_mut(start..at + whole).filter(|segment| segment.len() >= field + 2) else {
        return;
    };
    segment[field..field + 2].fill(0);
    let sum = match folded(of_pseudo_header + sum(segment)) {
        // In UDP, 0 says that there is none (RFC 768).
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn folded(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_any_length_are_taken() {
        for first in 0x40..=0x4f_u8 {
            for length in 34..80 {
                let mut frame = vec![0; length];
                frame[12..15].copy_from_slice(&[0x08, 0x00, first]);
                frame[23] = TCP;
                make_right(&mut frame);
            }
        }
    }

    #[test]
    fn a_header_has_its_checksum() {
        let mut frame = vec![0; 12];
        // RFC 1071's sum of this header is b861.
        frame.extend([8, 0, 0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 1, 2]);
        frame.extend([0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7]);
        make_right(&mut frame);
        assert_eq!(frame[24..26], [0xb8, 0x61]);
    }
}
