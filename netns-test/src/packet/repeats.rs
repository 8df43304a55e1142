//! TCP segments that are sent again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::ops::Range;

use super::Packet;

/// What one interface has sent of each TCP flow.
#[derive(Debug, Default)]
pub(crate) struct Repeats(HashMap<(SocketAddr, SocketAddr), Sent>);

/// What was sent of a flow: all from `begin` to `end`, but for the holes.
#[derive(Debug)]
struct Sent {
    begin: u32,
    end: u32,
    holes: Vec<Range<u32>>,
}

impl Repeats {
    /// Notes a packet that was sent; returns whether all that it carries of TCP was sent before. A SYN and a FIN count as a byte.
    pub(crate) fn is_repeated(&mut self, packet: &Packet) -> bool {
        let (Some(tcp), Some(source), Some(destination)) =
            (packet.tcp(), packet.source(), packet.destination())
        else {
            return false;
        };
        let length = packet.payload_length() as u32 + u32::from(tcp.flags.syn) + u32::from(tcp.flags.fin);
        if length == 0 || tcp.flags.rst {
            return false;
        }
        let segment = tcp.sequence..tcp.sequence.wrapping_add(length);
        let new = || Sent { begin: segment.start, end: segment.end, holes: Vec::new() };
        match self.0.entry((source, destination)) {
            Entry::Vacant(entry) => {
                entry.insert(new());
                false
            }
            // Another SYN of the same addresses is another connection.
            Entry::Occupied(mut entry) if tcp.flags.syn && entry.get().begin != segment.start => {
                entry.insert(new());
                false
            }
            Entry::Occupied(mut entry) => !entry.get_mut().add(segment),
        }
    }
}

impl Sent {
    /// Adds a segment; returns whether any of it is new.
    fn add(&mut self, segment: Range<u32>) -> bool {
        let mut is_new = false;
        if is_before(segment.start, self.begin) {
            if is_before(segment.end, self.begin) {
                self.holes.push(segment.end..self.begin);
            }
            self.begin = segment.start;
            is_new = true;
        }
        if is_before(self.end, segment.end) {
            if is_before(self.end, segment.start) {
                self.holes.push(self.end..segment.start);
            }
            self.end = segment.end;
            is_new = true;
        }
        let mut holes = Vec::new();
        for hole in self.holes.drain(..) {
            if !(is_before(hole.start, segment.end) && is_before(segment.start, hole.end)) {
                holes.push(hole);
                continue;
            }
            is_new = true;
            if is_before(hole.start, segment.start) {
                holes.push(hole.start..segment.start);
            }
            if is_before(segment.end, hole.end) {
                holes.push(segment.end..hole.end);
            }
        }
        self.holes = holes;
        is_new
    }
}

/// Serial number arithmetic, RFC 1982.
fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::Sent;

    /// Each segment of a flow, and whether any of it is new.
    fn is_new(segments: &[Range<u32>]) -> Vec<bool> {
        let mut sent = Sent { begin: segments[0].start, end: segments[0].end, holes: Vec::new() };
        segments[1..].iter().map(|segment| sent.add(segment.clone())).collect()
    }

    #[test]
    fn what_fills_a_hole_is_no_repeat() {
        // Sent at once, in one piece or more.
        assert_eq!(is_new(&[0..10, 10..20, 0..20, 15..20, 15..21]), [true, false, false, true]);
        // The second was lost before, and one of its halves comes first.
        assert_eq!(is_new(&[0..10, 20..30, 15..20, 10..20, 10..20, 0..30]), [true, true, true, false, false]);
        // Recorded from its middle on.
        assert_eq!(is_new(&[50..60, 20..30, 30..50, 20..60]), [true, true, false]);
        // Over the end of the numbers.
        let (a, b, c) = (u32::MAX - 5, 4, 14);
        assert_eq!(is_new(&[a..b, c..24, b..c, a..c]), [true, true, false]);
    }
}
