//! TCP segments that are sent again.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Packet;

/// How far each TCP flow has come that one interface sends.
#[derive(Debug, Default)]
pub(crate) struct Repeats(HashMap<(SocketAddr, SocketAddr), u32>);

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
        let end = tcp.sequence.wrapping_add(length);
        let so_far = self.0.entry((source, destination)).or_insert(tcp.sequence);
        // Another SYN of the same addresses is another connection.
        if tcp.flags.syn && end != *so_far {
            *so_far = end;
            return false;
        }
        // Serial number arithmetic, RFC 1982.
        let is_new = end.wrapping_sub(*so_far) as i32 > 0;
        if is_new {
            *so_far = end;
        }
        !is_new
    }
}
